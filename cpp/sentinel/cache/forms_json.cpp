#include "sentinel/cache/forms_json.hpp"

#include <algorithm>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sentinel::cache::raw {
namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The first byte from `at` on that `one` is true for, or the text's end. `wide` says the same of sixteen
// bytes at once.
template <class Wide, class One>
std::size_t find(std::string_view text, std::size_t at, [[maybe_unused]] Wide wide, One one) {
#if defined(__SSE2__)
  for (; text.size() - at >= 16; at += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at));
    const int mask = _mm_movemask_epi8(wide(bytes));
    if (mask != 0) return at + static_cast<std::size_t>(__builtin_ctz(static_cast<unsigned>(mask)));
  }
#endif
  while (at < text.size() && !one(text[at])) ++at;
  return at;
}

#if defined(__SSE2__)
__m128i equal(__m128i bytes, char c) { return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(c)); }

__m128i wide_string_mark(__m128i bytes) { return _mm_or_si128(equal(bytes, '"'), equal(bytes, '\\')); }

// A brace is a bracket with one bit more.
__m128i wide_bracket_or_quote(__m128i bytes) {
  const __m128i braces = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
  return _mm_or_si128(equal(bytes, '"'), _mm_or_si128(equal(braces, '{'), equal(braces, '}')));
}

__m128i wide_space_or_quote(__m128i bytes) {
  const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(' ')), bytes);
  return _mm_or_si128(equal(bytes, '"'), low);
}
#else
struct Unused {};
constexpr Unused wide_string_mark, wide_bracket_or_quote, wide_space_or_quote;
#endif

bool is_string_mark(char c) { return c == '"' || c == '\\'; }
bool is_bracket_or_quote(char c) { return c == '"' || (c | 0x20) == '{' || (c | 0x20) == '}'; }
bool is_space_or_quote(char c) { return c == '"' || static_cast<unsigned char>(c) <= ' '; }

// The end of the string that opens at `at`, its closing quote included; the text's end when it has none.
std::size_t string_end(std::string_view text, std::size_t at) {
  for (std::size_t i = at + 1;;) {
    i = find(text, i, wide_string_mark, is_string_mark);
    if (i >= text.size()) return text.size();
    if (text[i] == '"') return i + 1;
    i = std::min(i + 2, text.size());
  }
}

// The end of the object or array that opens at `at`: brackets are counted, not matched, the parser did that.
std::size_t nested_end(std::string_view text, std::size_t at) {
  std::size_t depth = 0;
  for (std::size_t i = at;;) {
    i = find(text, i, wide_bracket_or_quote, is_bracket_or_quote);
    if (i >= text.size()) return text.size();
    const char c = text[i];
    if (c == '"') {
      i = string_end(text, i);
      continue;
    }
    ++i;
    if ((c | 0x20) == '{') {
      ++depth;
    } else if (--depth == 0) {
      return i;
    }
  }
}

std::size_t scalar_end(std::string_view text, std::size_t at) {
  const auto ends = [](char c) { return is_space(c) || c == ',' || c == ']' || c == '}' || c == ':'; };
  while (at < text.size() && !ends(text[at])) ++at;
  return at;
}

// The size of the UTF-8 character with this first byte.
std::size_t character_size(char first) {
  const auto byte = static_cast<unsigned char>(first);
  if (byte < 0xC0) return 1;
  if (byte < 0xE0) return 2;
  return byte < 0xF0 ? 3 : 4;
}

// A \uDxxx escape at `at` whose third digit lies in [low, high].
bool is_surrogate(std::string_view inside, std::size_t at, char low, char high) {
  if (at + 6 > inside.size() || inside[at] != '\\' || inside[at + 1] != 'u') return false;
  if ((inside[at + 2] | 0x20) != 'd') return false;
  const char third = static_cast<char>(is_digit(inside[at + 3]) ? inside[at + 3] : inside[at + 3] | 0x20);
  return third >= low && third <= high;
}

bool is_first_half(std::string_view inside, std::size_t at) {
  return is_surrogate(inside, at, '8', '9') || is_surrogate(inside, at, 'a', 'b');
}

bool is_second_half(std::string_view inside, std::size_t at) { return is_surrogate(inside, at, 'c', 'f'); }

}  // namespace

bool is_object(std::string_view value) {
  return value.size() >= 2 && value.front() == '{' && value.back() == '}';
}

bool is_array(std::string_view value) {
  return value.size() >= 2 && value.front() == '[' && value.back() == ']';
}

bool is_number(std::string_view value) {
  return !value.empty() && (value.front() == '-' || is_digit(value.front()));
}

std::optional<std::string_view> inside(std::string_view value) {
  if (value.size() < 2 || value.front() != '"' || value.back() != '"') return std::nullopt;
  return value.substr(1, value.size() - 2);
}

std::optional<std::size_t> small_count(std::string_view value) {
  constexpr std::size_t kMostDigits = 9;
  if (value.empty() || value.size() > kMostDigits) return std::nullopt;
  if (!std::all_of(value.begin(), value.end(), is_digit)) return std::nullopt;
  std::size_t number = 0;
  for (const char c : value) number = number * 10 + static_cast<std::size_t>(c - '0');
  return number;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

void append_compact(std::string& out, std::string_view value) {
  std::size_t begin = 0;
  for (std::size_t at = 0; at < value.size();) {
    at = find(value, at, wide_space_or_quote, is_space_or_quote);
    if (at < value.size() && value[at] == '"') {
      at = string_end(value, at);
      continue;
    }
    out.append(value.substr(begin, at - begin));
    while (at < value.size() && is_space(value[at])) ++at;
    begin = at;
  }
  out.append(value.substr(begin));
}

std::size_t character_end(std::string_view inside, std::size_t at) {
  std::size_t end = at + 1;
  if (inside[at] != '\\') {
    end = at + character_size(inside[at]);
  } else if (is_first_half(inside, at) && is_second_half(inside, at + 6)) {
    end = at + 12;
  } else {
    end = at + (at + 1 < inside.size() && inside[at + 1] == 'u' ? 6 : 2);
  }
  return std::min(end, inside.size());
}

Walk::Walk(std::string_view value) : text_(value), at_(value.empty() ? 0 : 1) {}

void Walk::skip_space() {
  while (at_ < text_.size() && is_space(text_[at_])) ++at_;
}

// Stands before an element, past its comma, or has seen the closing bracket at the very end.
bool Walk::begin_element(char closing) {
  if (done_) return false;
  skip_space();
  if (at_ < text_.size() && text_[at_] == closing) {
    done_ = at_ + 1 == text_.size();
    at_ = text_.size();
    return false;
  }
  if (!first_) {
    if (at_ >= text_.size() || text_[at_] != ',') return false;
    ++at_;
    skip_space();
  }
  first_ = false;
  return at_ < text_.size();
}

std::optional<std::string_view> Walk::take_value() {
  skip_space();
  if (at_ >= text_.size()) return std::nullopt;
  const std::size_t begin = at_;
  const char c = text_[at_];
  if (c == '"') {
    at_ = string_end(text_, at_);
  } else if (c == '{' || c == '[') {
    at_ = nested_end(text_, at_);
  } else {
    at_ = scalar_end(text_, at_);
  }
  if (at_ == begin) return std::nullopt;
  return text_.substr(begin, at_ - begin);
}

std::optional<Member> Walk::next_member() {
  if (!begin_element('}') || text_[at_] != '"') return std::nullopt;
  const auto quoted = take_value();
  const auto key = quoted ? inside(*quoted) : std::nullopt;
  skip_space();
  if (!key || key->find('\\') != std::string_view::npos) return std::nullopt;
  if (at_ >= text_.size() || text_[at_] != ':') return std::nullopt;
  ++at_;
  const auto value = take_value();
  if (!value) return std::nullopt;
  return Member{*key, *value};
}

std::optional<std::string_view> Walk::next_item() {
  if (!begin_element(']')) return std::nullopt;
  return take_value();
}

std::optional<std::vector<std::string_view>> items_of(std::string_view value) {
  if (!is_array(value)) return std::nullopt;
  std::vector<std::string_view> items;
  Walk walk(value);
  while (const auto item = walk.next_item()) items.push_back(*item);
  if (!walk.done()) return std::nullopt;
  return items;
}

}  // namespace sentinel::cache::raw
