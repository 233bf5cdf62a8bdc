#include "sentinel/base/utf8.hpp"

#include <cstdint>
#include <cstring>

namespace sentinel::utf8 {
namespace {

struct Part {  // one character, or one maximal ill-formed part
  std::size_t size;
  bool well_formed;
};

unsigned byte_at(std::string_view text, std::size_t at) { return static_cast<unsigned char>(text[at]); }

bool is_continuation(unsigned byte) { return (byte & 0xC0U) == 0x80U; }

std::size_t length_by_lead(unsigned lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

// The second byte's range is what excludes overlong forms, surrogates and values above U+10FFFF.
bool second_byte_fits(unsigned lead, unsigned second) {
  switch (lead) {
    case 0xE0: return second >= 0xA0 && second <= 0xBF;
    case 0xED: return second >= 0x80 && second <= 0x9F;
    case 0xF0: return second >= 0x90 && second <= 0xBF;
    case 0xF4: return second >= 0x80 && second <= 0x8F;
    default: return is_continuation(second);
  }
}

Part part_at(std::string_view text, std::size_t at) {
  const unsigned lead = byte_at(text, at);
  const std::size_t length = length_by_lead(lead);
  if (length <= 1) return {1, length == 1};
  if (at + 1 == text.size() || !second_byte_fits(lead, byte_at(text, at + 1))) return {1, false};
  for (std::size_t i = 2; i < length; ++i) {
    if (at + i == text.size() || !is_continuation(byte_at(text, at + i))) return {i, false};
  }
  return {length, true};
}

std::size_t skip_ascii(std::string_view text, std::size_t at) {
  constexpr std::uint64_t kHighBits = 0x8080808080808080ULL;
  for (; at + 8 <= text.size(); at += 8) {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, text.data() + at, 8);
    if ((bytes & kHighBits) != 0) break;
  }
  while (at < text.size() && byte_at(text, at) < 0x80) ++at;
  return at;
}

}  // namespace

bool valid(std::string_view text) {
  for (std::size_t at = skip_ascii(text, 0); at < text.size(); at = skip_ascii(text, at)) {
    const Part part = part_at(text, at);
    if (!part.well_formed) return false;
    at += part.size;
  }
  return true;
}

std::string_view truncate(std::string_view text, std::size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  for (std::size_t back = 1; back <= 3 && back <= max_bytes; ++back) {
    const std::size_t at = max_bytes - back;
    if (is_continuation(byte_at(text, at))) continue;
    const Part part = part_at(text, at);
    const bool split = part.well_formed && at + part.size > max_bytes;
    return text.substr(0, split ? at : max_bytes);
  }
  return text.substr(0, max_bytes);
}

std::string sanitize(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::size_t copied = 0;
  std::size_t at = skip_ascii(text, 0);
  while (at < text.size()) {
    const Part part = part_at(text, at);
    if (!part.well_formed) {
      out.append(text, copied, at - copied).append("\xEF\xBF\xBD");
      copied = at + part.size;
    }
    at = skip_ascii(text, at + part.size);
  }
  return out.append(text, copied);
}

}  // namespace sentinel::utf8
