#include "sentinel/vector/half.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace sentinel::vector {
namespace {

TEST(Half, EveryFiniteValueIsTheOneItsBitsSay) {
  for (unsigned bits = 0; bits < 0x10000U; ++bits) {
    const int exponent = static_cast<int>(bits >> 10U & 31U);
    if (exponent == 31) continue;
    const double fraction = static_cast<double>(bits & 0x3ffU) / 1024;
    const double magnitude =
        exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15);
    const float made = from_half(static_cast<std::uint16_t>(bits));
    EXPECT_EQ(static_cast<double>(made), bits >= 0x8000U ? -magnitude : magnitude) << bits;
    EXPECT_EQ(std::signbit(made), bits >= 0x8000U) << bits;
  }
}

TEST(Half, InfinitiesAndNotANumberStayWhatTheyAre) {
  EXPECT_EQ(from_half(0x7c00), INFINITY);
  EXPECT_EQ(from_half(0xfc00), -INFINITY);
  for (unsigned fraction = 1; fraction < 0x400U; ++fraction)
    EXPECT_TRUE(std::isnan(from_half(static_cast<std::uint16_t>(0x7c00U | fraction))));
}

}  // namespace
}  // namespace sentinel::vector
