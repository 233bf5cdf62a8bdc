// 64-bit words as lower-case hexadecimal text.
//
// Cost: sixteen digits in a dozen operations on words; ids are made for every request, digit by digit it shows.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace sentinel {

namespace hex_detail {

// One nibble a byte, the first digit in the highest byte.
constexpr std::uint64_t spread(std::uint64_t half) {
  half = ((half & 0xffff0000U) << 16U) | (half & 0xffffU);
  half = ((half & 0x0000'ff00'0000'ff00U) << 8U) | (half & 0x0000'00ff'0000'00ffU);
  return ((half & 0x00f0'00f0'00f0'00f0U) << 4U) | (half & 0x000f'000f'000f'000fU);
}

constexpr std::uint64_t digits(std::uint64_t half) {
  constexpr std::uint64_t kOnes = 0x0101'0101'0101'0101U;
  const std::uint64_t nibbles = spread(half);
  const std::uint64_t letters = ((nibbles + 6U * kOnes) >> 4U) & kOnes;  // 1 where a nibble is over 9
  return nibbles + '0' * kOnes + letters * ('a' - '0' - 10);
}

}  // namespace hex_detail

using HexDigits = std::array<char, 16>;

// The sixteen digits of a word, the highest first.
constexpr HexDigits hex_digits(std::uint64_t word) {
  HexDigits text{};
  const std::uint64_t high = hex_detail::digits(word >> 32U);
  const std::uint64_t low = hex_detail::digits(word & 0xffff'ffffU);
  for (unsigned i = 0; i < 8; ++i) {
    text[i] = static_cast<char>(high >> (56U - 8U * i));
    text[8 + i] = static_cast<char>(low >> (56U - 8U * i));
  }
  return text;
}

inline void append_hex(std::string& out, std::uint64_t word) {
  const HexDigits text = hex_digits(word);
  out.append(text.data(), text.size());
}

// The word that up to sixteen digits write; digits only, lower case.
constexpr std::uint64_t read_hex(std::string_view text) {
  std::uint64_t word = 0;
  for (const char c : text)
    word = (word << 4U) | static_cast<std::uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  return word;
}

}  // namespace sentinel
