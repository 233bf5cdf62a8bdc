// The class of a code point, as far as the encodings' patterns tell characters apart.
//
// Contract: every code point is in exactly one class; the classes are those of the Unicode version that tiktoken's
// regular expressions know (tools/unicode_classes.py asks it and writes the table). Sets of classes are bit masks.
// Cost: two loads; 21 KiB of tables (blocks of 128 code points, equal blocks stored once, two classes a byte).
// Thread rule: pure. Failure rule: none; what is no code point must not be asked (asserted).
#pragma once

#include <array>
#include <cassert>
#include <cstdint>

namespace sentinel::tokens {

using ClassSet = std::uint8_t;

inline constexpr ClassSet kOther = 1U << 0U;
inline constexpr ClassSet kUpper = 1U << 1U;     // Lu, Lt
inline constexpr ClassSet kLower = 1U << 2U;     // Ll
inline constexpr ClassSet kCaseless = 1U << 3U;  // Lm, Lo
inline constexpr ClassSet kMark = 1U << 4U;      // M
inline constexpr ClassSet kNumber = 1U << 5U;    // N
inline constexpr ClassSet kBlank = 1U << 6U;     // White_Space, without the two of kNewline
inline constexpr ClassSet kNewline = 1U << 7U;   // U+000A and U+000D

inline constexpr ClassSet kPrefix =
    kOther | kMark | kBlank;  // [^\r\n\p{L}\p{N}], what may stand before a word

inline constexpr std::array<ClassSet, 128> kAsciiClasses = [] {
  std::array<ClassSet, 128> classes{};
  for (unsigned byte = 0; byte < 128; ++byte) {
    const bool blank = byte == ' ' || byte == '\t' || byte == '\v' || byte == '\f';
    classes[byte] = byte == '\n' || byte == '\r' ? kNewline
                    : blank                      ? kBlank
                    : byte >= 'a' && byte <= 'z' ? kLower
                    : byte >= 'A' && byte <= 'Z' ? kUpper
                    : byte >= '0' && byte <= '9' ? kNumber
                                                 : kOther;
  }
  return classes;
}();

extern const std::uint32_t kLastClassBlock;  // code points of later blocks have this block's classes
extern const std::uint8_t kClassBlockOf[];
extern const std::uint8_t kClassBlocks[];

// The set with the one class of `point`.
inline ClassSet class_of(std::uint32_t point) {
  assert(point <= 0x10FFFF);
  const std::uint32_t block = point / 128 < kLastClassBlock ? point / 128 : kLastClassBlock;
  const std::uint32_t pair = kClassBlocks[kClassBlockOf[block] * 64U + point % 128 / 2];
  return static_cast<ClassSet>(1U << (pair >> (point % 2 * 4) & 15U));
}

}  // namespace sentinel::tokens
