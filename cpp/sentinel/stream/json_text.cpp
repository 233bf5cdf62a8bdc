#include "sentinel/stream/json_text.hpp"

#include <algorithm>
#include <optional>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sentinel::stream {
namespace {

#if defined(__SSE2__)
// Sixteen bytes at once: bit i of `stops` if byte i ends a run of ordinary characters, of `high` if it is not ASCII.
struct Sixteen {
  unsigned stops;
  unsigned high;
};

Sixteen look_at(const char* from) {
  const __m128i last_control = _mm_set1_epi8(0x1F);
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  const __m128i control = _mm_cmpeq_epi8(_mm_max_epu8(bytes, last_control), last_control);
  const __m128i quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
  const __m128i backslashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
  const __m128i stops = _mm_or_si128(_mm_or_si128(quotes, backslashes), control);
  return {static_cast<unsigned>(_mm_movemask_epi8(stops)), static_cast<unsigned>(_mm_movemask_epi8(bytes))};
}
#endif

// Past bytes that are ordinary characters: no quote, no backslash, no control character.
std::size_t skip_ordinary(std::string_view text, std::size_t at, bool& is_ascii) {
#if defined(__SSE2__)
  if (text.size() >= 16) {
    while (at < text.size()) {
      const std::size_t from = std::min(at, text.size() - 16);  // the last step looks back as far as it must
      const Sixteen seen = look_at(text.data() + from);
      const unsigned wanted = ~0U << (at - from);
      const unsigned stops = seen.stops & wanted;
      const unsigned before = stops == 0 ? wanted : wanted & (stops ^ (stops - 1U)) >> 1U;
      if ((seen.high & before) != 0) is_ascii = false;
      if (stops != 0) return from + static_cast<unsigned>(__builtin_ctz(stops));
      at = from + 16;
    }
    return at;
  }
#endif
  for (; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte == '"' || byte == '\\' || byte < 0x20) break;
    if (byte >= 0x80) is_ascii = false;
  }
  return at;
}

std::optional<unsigned> hex_value(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  const char lower = static_cast<char>(c | 0x20);
  if (lower >= 'a' && lower <= 'f') return static_cast<unsigned>(lower - 'a' + 10);
  return std::nullopt;
}

// The four digits at `at`.
std::optional<unsigned> code_unit(std::string_view text, std::size_t at) {
  if (at + 4 > text.size()) return std::nullopt;
  unsigned unit = 0;
  for (std::size_t i = at; i < at + 4; ++i) {
    const auto digit = hex_value(text[i]);
    if (!digit) return std::nullopt;
    unit = unit * 16 + *digit;
  }
  return unit;
}

void append_utf8(unsigned code, std::string& out) {
  const auto put = [&out](unsigned byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xC0U | (code >> 6U));
  } else {
    if (code < 0x10000) {
      put(0xE0U | (code >> 12U));
    } else {
      put(0xF0U | (code >> 18U));
      put(0x80U | ((code >> 12U) & 0x3FU));
    }
    put(0x80U | ((code >> 6U) & 0x3FU));
  }
  put(0x80U | (code & 0x3FU));
}

// A \u escape whose digits begin at `at`; gives the place behind it, or npos.
std::size_t take_unicode(std::string_view text, std::size_t at, std::string& out) {
  constexpr auto npos = std::string_view::npos;
  const auto unit = code_unit(text, at);
  if (!unit || (*unit >= 0xDC00 && *unit <= 0xDFFF)) return npos;
  if (*unit < 0xD800 || *unit > 0xDBFF) {
    append_utf8(*unit, out);
    return at + 4;
  }
  if (text.substr(at + 4, 2) != "\\u") return npos;
  const auto low = code_unit(text, at + 6);
  if (!low || *low < 0xDC00 || *low > 0xDFFF) return npos;
  append_utf8(0x10000U + ((*unit - 0xD800U) << 10U) + (*low - 0xDC00U), out);
  return at + 10;
}

std::optional<char> simple_escape(char c) {
  switch (c) {
    case '"':
    case '\\':
    case '/': return c;
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return std::nullopt;
  }
}

}  // namespace

ScannedString scan_string(std::string_view text, std::size_t at) {
  ScannedString found;
  for (;;) {
    at = skip_ordinary(text, at, found.is_ascii);
    if (at >= text.size() || static_cast<unsigned char>(text[at]) < 0x20) return found;
    if (text[at] == '"') {
      found.end = at;
      return found;
    }
    found.has_escapes = true;
    if (at + 1 >= text.size()) return found;
    at += 2;
    if (static_cast<signed char>(text[at - 1]) < 0x20) return found;  // no such escape
  }
}

bool unescape(std::string_view escaped, std::string& out) {
  std::size_t copied = 0;
  for (;;) {
    const std::size_t at = escaped.find('\\', copied);
    if (at == std::string_view::npos) break;
    out.append(escaped, copied, at - copied);
    if (at + 1 == escaped.size()) return false;
    if (escaped[at + 1] == 'u') {
      copied = take_unicode(escaped, at + 2, out);
      if (copied == std::string_view::npos) return false;
      continue;
    }
    const auto meant = simple_escape(escaped[at + 1]);
    if (!meant) return false;
    out.push_back(*meant);
    copied = at + 2;
  }
  out.append(escaped, copied);
  return true;
}

}  // namespace sentinel::stream
