// Text as heads of HTTP have it: bytes of ASCII, whatever the locale.
//
// Cost: one pass, no allocation. Thread rule: pure. Failure rule: none.
#pragma once

#include <algorithm>
#include <string_view>

namespace sentinel {

// Printable, spaces included: what may stand in a head that we write.
inline bool is_visible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

inline char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Most names are written in lower case, and most others differ in their first letter.
inline bool equals_ignoring_case(std::string_view text, std::string_view lower_case) {
  if (text.size() != lower_case.size()) return false;
  if (text.empty() || lower(text.front()) != lower_case.front()) return text.empty();
  if (text == lower_case) return true;
  const auto same = [](char a, char b) { return lower(a) == b; };
  return std::equal(text.begin(), text.end(), lower_case.begin(), lower_case.end(), same);
}

// What may stand around a field's value and is none of it (RFC 9110, 5.6.3).
inline bool is_blank(char c) { return c == ' ' || c == '\t'; }

inline std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace sentinel
