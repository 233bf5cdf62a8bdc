#include "sentinel/base/random.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>

namespace sentinel {
namespace {

// The published algorithm, run in Python from the seed that splitmix64 makes of 0.
TEST(Random, GivesThePublishedSequence) {
  Random random(0);
  EXPECT_EQ(random.next(), 0x99ec5f36cb75f2b4U);
  EXPECT_EQ(random.next(), 0xbf6e1f784956452aU);
  EXPECT_EQ(random.next(), 0x1a5f849d4933e6e0U);
  EXPECT_EQ(random.next(), 0x6aa594f1262d2d2cU);
}

TEST(Random, TheSameSeedReplaysAndAnotherDoesNot) {
  Random one(42);
  Random same(42);
  Random other(43);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t value = one.next();
    ASSERT_EQ(value, same.next());
    differs = differs || value != other.next();
  }
  EXPECT_TRUE(differs);
}

TEST(Random, BelowStaysBelowAndReachesEveryValueEvenly) {
  Random random(1);
  std::array<int, 7> seen{};
  for (int i = 0; i < 70'000; ++i) ++seen.at(random.below(7));
  for (const int count : seen) {
    EXPECT_GT(count, 9'500);
    EXPECT_LT(count, 10'500);
  }
  for (int i = 0; i < 100; ++i) EXPECT_EQ(random.below(1), 0U);
}

TEST(Random, HexIsSixteenLowerCaseDigitsAppended) {
  Random random(1);
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    std::string text = "req_";
    random.append_hex(text);
    ASSERT_EQ(text.size(), 20U);
    ASSERT_EQ(text.find_first_not_of("0123456789abcdef", 4), std::string::npos) << text;
    seen.insert(text);
  }
  EXPECT_EQ(seen.size(), 1000U);
}

}  // namespace
}  // namespace sentinel
