// The piece at the start of a window, where sixteen bytes of ASCII decide it.
//
// Contract: the length that `next_piece` would find, or 0 where the window does not decide: there is something beyond
// ASCII where the piece ends, the piece reaches the window's end, or there may be a contraction. The window's filling
// beyond the text is no ASCII, so the last piece of a text is never decided here.
// Cost: some thirty instructions without a loop; every class of characters is a mask of 16 bits, and runs are counted as
// zeros of its complement. Without SSE2 nothing is decided here. Thread rule: pure. Failure rule: none.
#pragma once

#include <bit>
#include <cstddef>

#include "sentinel/tokens/piece_key.hpp"
#include "sentinel/tokens/pretokenize.hpp"
#include "sentinel/tokens/unicode_classes.hpp"

namespace sentinel::tokens {

#if defined(__SSE2__)

class AsciiLane {
 public:
  explicit AsciiLane(const Window& window) : bytes_(window.bytes()), beyond_(mask(bytes_)) {}

  template <EncodingName kName>
  [[gnu::always_inline]] std::size_t piece() const {
    const unsigned first = static_cast<unsigned>(_mm_cvtsi128_si32(bytes_)) & 0xFFU;
    if (first >= 0x80) return 0;
    const ClassSet in = kAsciiClasses[first];
    const unsigned letters = mask(range(_mm_or_si128(bytes_, _mm_set1_epi8(0x20)), 'a', 'z'));
    const unsigned prefix = (in & kPrefix) != 0 ? 1U : 0U;
    if ((letters >> prefix & 1U) != 0) return word<kName>(letters, prefix, first);
    const unsigned digits = mask(range(bytes_, '0', '9'));
    if ((in & kNumber) != 0) return number(digits);
    const unsigned spaces = mask(range(bytes_, '\t', '\r')) | is(' ');
    const unsigned symbols = ~(letters | digits | spaces | beyond_) & 0xFFFFU;
    const unsigned space = first == ' ' ? 1U : 0U;
    if ((symbols >> space & 1U) != 0) return symbol_piece<kName>(run(symbols, space));
    return space_piece(spaces);
  }

 private:
  static unsigned mask(__m128i bytes) { return static_cast<unsigned>(_mm_movemask_epi8(bytes)); }
  // All ones where first <= byte <= last: shifted so that the range lies at the lower end of signed bytes.
  static __m128i range(__m128i bytes, char first, char last) {
    const __m128i shifted = _mm_add_epi8(bytes, _mm_set1_epi8(static_cast<char>(-128 - first)));
    return _mm_cmplt_epi8(shifted, _mm_set1_epi8(static_cast<char>(-128 + (last - first) + 1)));
  }
  unsigned is(char byte) const { return mask(_mm_cmpeq_epi8(bytes_, _mm_set1_epi8(byte))); }
  unsigned newlines() const { return is('\n') | is('\r'); }
  // The end of the run of set bits from `place` on.
  static unsigned run(unsigned bits, unsigned place) {
    return place + static_cast<unsigned>(std::countr_one(bits >> place));
  }
  // The end itself, or 0 if what is there is not known or not ASCII.
  std::size_t decided(unsigned end, unsigned undecided) const {
    return ((undecided | beyond_ | 0x10000U) >> end & 1U) != 0 ? 0 : end;
  }

  template <EncodingName kName>
  std::size_t word(unsigned letters, unsigned start, unsigned first) const {
    if constexpr (kName == EncodingName::o200k_base) {
      const unsigned small = mask(_mm_slli_epi16(bytes_, 2));  // of letters, bit 5 tells the case
      const unsigned end = run(letters & small, run(letters & ~small, start));
      return decided(end, is('\''));
    } else {
      return first == '\'' ? 0 : decided(run(letters, start), 0);
    }
  }

  std::size_t number(unsigned digits) const {
    const unsigned end = run(digits, 0);
    return end >= 3 ? 3 : decided(end, 0);
  }

  template <EncodingName kName>
  std::size_t symbol_piece(unsigned end) const {
    const unsigned tail = kName == EncodingName::o200k_base ? newlines() | is('/') : newlines();
    return decided(run(tail, end), 0);
  }

  std::size_t space_piece(unsigned spaces) const {
    const unsigned end = run(spaces, 0);
    if (decided(end, 0) == 0) return 0;
    const unsigned before_end = newlines() & ((1U << end) - 1);
    if (before_end != 0) return static_cast<std::size_t>(std::bit_width(before_end));
    return end > 1 ? end - 1 : 1;
  }

  __m128i bytes_;
  unsigned beyond_;  // what is not ASCII, or beyond the text
};

template <EncodingName kName>
std::size_t ascii_piece(const Window& window) {
  return AsciiLane(window).piece<kName>();
}

#else

template <EncodingName kName>
std::size_t ascii_piece(const Window&) {
  return 0;
}

#endif

}  // namespace sentinel::tokens
