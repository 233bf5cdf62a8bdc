// A piece of up to 15 bytes as two words: what tables of pieces are keyed by.
//
// Contract: the bytes in order, zeros behind them, and the length in the last byte, so that equal keys are equal pieces,
// also where a piece holds zeros. A key of no bytes is no piece's and marks an empty slot. `Window` is the 16 bytes from a
// place of a text on, of which a key is cut without looking at the text again; beyond the text's end it holds 0xFF, which
// no UTF-8 text holds.
// Cost: a load, a mask, two moves; `hash` is one multiplication. On x86-64 with SSE2, which every such processor has;
// elsewhere the same in portable steps. Thread rule: values. Failure rule: a key is asked for at most 15 bytes (asserted).
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sentinel::tokens {

struct PieceKey {
  static constexpr std::size_t kMostBytes = 15;

  std::uint64_t low = 0;
  std::uint64_t high = 0;

  friend bool operator==(const PieceKey&, const PieceKey&) = default;
  bool empty() const { return high == 0; }
  std::uint64_t hash() const {
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(low ^ 0x9E3779B97F4A7C15U) * (high ^ 0xD6E8FEB86659FD93U);
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
  }
};

class Window {
 public:
  static constexpr std::size_t kBytes = 16;

  Window(std::string_view text, std::size_t place) {
    assert(place <= text.size());
    if (text.size() - place >= kBytes) [[likely]] {
      load(text.data() + place);
      return;
    }
    std::array<char, kBytes> rest;  // NOLINT: filled below
    rest.fill('\xFF');
    std::memcpy(rest.data(), text.data() + place, text.size() - place);
    load(rest.data());
  }

  PieceKey key(std::size_t length) const {
    assert(length <= PieceKey::kMostBytes);
    static constexpr std::array<std::uint8_t, 32> kMasks = [] {
      std::array<std::uint8_t, 32> masks{};
      for (std::size_t at = 0; at < 16; ++at) masks[at] = 0xFF;
      return masks;
    }();
    const std::uint8_t* mask = kMasks.data() + kBytes - length;
    const std::uint64_t last = std::uint64_t{length} << 56U;
#if defined(__SSE2__)
    const __m128i kept = _mm_and_si128(bytes_, _mm_loadu_si128(reinterpret_cast<const __m128i*>(mask)));
    return {static_cast<std::uint64_t>(_mm_cvtsi128_si64(kept)),
            static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm_unpackhi_epi64(kept, kept))) | last};
#else
    return {word(bytes_.data()) & word(mask), (word(bytes_.data() + 8) & word(mask + 8)) | last};
#endif
  }

#if defined(__SSE2__)
  __m128i bytes() const { return bytes_; }

 private:
  void load(const char* from) { bytes_ = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); }

  __m128i bytes_;
#else
 private:
  // Little endian on every machine, so that the length's byte is the last.
  template <class Byte>
  static std::uint64_t word(const Byte* from) {
    std::uint64_t number = 0;
    for (std::size_t at = 8; at-- > 0;) number = number << 8U | static_cast<std::uint8_t>(from[at]);
    return number;
  }
  void load(const char* from) { std::memcpy(bytes_.data(), from, kBytes); }

  std::array<char, kBytes> bytes_;
#endif
};

inline PieceKey key_of(std::string_view piece) { return Window(piece, 0).key(piece.size()); }

}  // namespace sentinel::tokens
