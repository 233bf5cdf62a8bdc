// A float16 (IEEE 754 binary16) as the float32 of the same value. Every one has one. Cost: a few instructions.
#pragma once

#include <bit>
#include <cstdint>

namespace sentinel::vector {

inline float from_half(std::uint16_t half) {
  constexpr float kSmallest = 0x1p-24F;  // what the last bit of a number without a leading one is worth
  const std::uint32_t sign = (half & 0x8000U) << 16U;
  const std::uint32_t exponent = (half >> 10U) & 31U;
  const std::uint32_t fraction = half & 0x3ffU;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * kSmallest;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t wide = exponent == 31 ? 255 : exponent + (127 - 15);
  return std::bit_cast<float>(sign | (wide << 23U) | (fraction << 13U));
}

}  // namespace sentinel::vector
