// What a vocabulary does with characters of three UTF-8 bytes (Chinese, Japanese, Korean ...): where a piece of them falls
// apart, and whether they may be joined as they are, without looking at their bytes.
//
// Where no token reaches across the place between two characters, nothing is ever joined there: both sides may be split by
// themselves. Most of Chinese falls apart into one to three characters so.
//   Byte pair encoding starts from bytes, but the bytes of most such characters join to one token before anything else
// happens to them. Then joining may start from characters. It gives the same tokens if
//   (a) no token of the vocabulary that is in the piece begins or ends within a character and reaches into another, and
//   (b) of every token of several characters in the piece, each character becomes one token by joins of lower ids.
// For by (a) bytes join within their character only, and characters only when they are whole; by (b), when a join of
// whole characters is the lowest in the piece, so is it among those that starting from characters would see: a join with
// a character that is not whole yet has a higher id than what makes that character whole, which would be done before.
//   So of every token that breaks (a) or (b) a place between two characters is chosen, and the characters that may stand
// left and right of it are marked: where no character marked left stands before one marked right, there is no such token.
//
// Cost: 64 KiB of facts about characters, and 32 KiB of bits about pairs of them. Thread rule: immutable once made.
// Failure rule: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sentinel::tokens {

class Vocabulary;

class Characters3 {
 public:
  static constexpr std::size_t kBytes = 3;

  // One character: its code point and what is known of it.
  struct Character {
    std::uint32_t point;
    std::uint8_t facts;

    std::size_t tokens() const { return facts & 3U; }  // by itself, 1 to 3
  };

  Characters3() = default;
  explicit Characters3(const Vocabulary& vocabulary);

  Character at(const char* bytes) const {
    const std::size_t point = number(bytes);
    return {static_cast<std::uint32_t>(point), facts_[point]};
  }
  // Whether a token that breaks the rules may reach across the place between the two.
  static bool may_break(Character left, Character right) {
    return (left.facts & kBreaksBefore) != 0 && (right.facts & kBreaksAfter) != 0;
  }
  // False only if no token at all reaches across.
  bool may_join(Character left, Character right) const {
    const std::size_t bit = bit_of(left.point, right.point);
    return (neighbours_[bit / 64] >> (bit % 64) & 1U) != 0 || may_break(left, right);
  }

 private:
  class Maker;
  static constexpr std::uint8_t kBreaksBefore = 1U << 2U;  // stands left in a token that breaks the rules
  static constexpr std::uint8_t kBreaksAfter = 1U << 3U;   // stands right in one
  static constexpr unsigned kFilterBitsLog2 = 18;

  static std::size_t number(const char* bytes) {
    const auto low = [&](std::size_t at) {
      return static_cast<std::size_t>(static_cast<std::uint8_t>(bytes[at]));
    };
    return (low(0) & 0x0FU) << 12U | (low(1) & 0x3FU) << 6U | (low(2) & 0x3FU);
  }
  static std::size_t bit_of(std::size_t left, std::size_t right) {
    return static_cast<std::size_t>((left << 16U | right) * 0x9E3779B97F4A7C15U >> (64U - kFilterBitsLog2));
  }

  std::vector<std::uint8_t> facts_;        // by code point
  std::vector<std::uint64_t> neighbours_;  // in some token: a Bloom filter of one hash
};

}  // namespace sentinel::tokens
