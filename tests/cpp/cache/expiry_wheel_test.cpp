#include "sentinel/cache/expiry_wheel.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <vector>

#include "sentinel/base/random.hpp"

namespace sentinel::cache {
namespace {

constexpr std::int64_t kTick = std::int64_t{1} << 24U;

std::vector<std::uint32_t> all_due(ExpiryWheel& wheel, std::int64_t now) {
  std::vector<std::uint32_t> due;
  wheel.take_all_due(now, due);
  std::ranges::sort(due);
  return due;
}

TEST(ExpiryWheel, TakesExactlyWhatIsDueToTheNanosecond) {
  ExpiryWheel wheel;
  for (std::uint32_t slot = 0; slot < 5; ++slot) wheel.arm(slot, 1'000 + slot);
  EXPECT_EQ(all_due(wheel, 1'002), (std::vector<std::uint32_t>{0, 1, 2}));
  EXPECT_EQ(all_due(wheel, 1'002), std::vector<std::uint32_t>{});
  EXPECT_EQ(all_due(wheel, 1'004), (std::vector<std::uint32_t>{3, 4}));
  EXPECT_EQ(wheel.size(), 0U);
}

TEST(ExpiryWheel, TakesADeadlineThatPassedBeforeItWasSet) {
  ExpiryWheel wheel;
  wheel.arm(0, 1);
  EXPECT_EQ(all_due(wheel, 1'000 * kTick), std::vector<std::uint32_t>{0});
  wheel.arm(1, 5);
  EXPECT_EQ(all_due(wheel, 1'000 * kTick), std::vector<std::uint32_t>{1});
}

TEST(ExpiryWheel, ArmingAgainMovesAndDisarmingForgets) {
  ExpiryWheel wheel;
  wheel.arm(0, 10);
  wheel.arm(0, 500 * kTick);
  wheel.arm(1, 10);
  wheel.disarm(1);
  wheel.disarm(77);
  EXPECT_EQ(all_due(wheel, 400 * kTick), std::vector<std::uint32_t>{});
  EXPECT_EQ(all_due(wheel, 500 * kTick), std::vector<std::uint32_t>{0});
}

TEST(ExpiryWheel, ATimeThatGoesBackStandsStill) {
  ExpiryWheel wheel;
  wheel.arm(0, 100 * kTick);
  EXPECT_EQ(all_due(wheel, 50 * kTick), std::vector<std::uint32_t>{});
  EXPECT_EQ(all_due(wheel, 10 * kTick), std::vector<std::uint32_t>{});
  EXPECT_EQ(all_due(wheel, 100 * kTick), std::vector<std::uint32_t>{0});
}

TEST(ExpiryWheel, HoldsTheFarthestDeadline) {
  ExpiryWheel wheel;
  const std::int64_t farthest = std::numeric_limits<std::int64_t>::max();
  wheel.arm(0, farthest);
  EXPECT_EQ(all_due(wheel, farthest - 1), std::vector<std::uint32_t>{});
  EXPECT_EQ(all_due(wheel, farthest), std::vector<std::uint32_t>{0});
}

TEST(ExpiryWheel, SpendsNoMoreThanItsBudget) {
  ExpiryWheel wheel;
  for (std::uint32_t slot = 0; slot < 1'000; ++slot) wheel.arm(slot, 70 * kTick);
  int taken = 0;
  for (int call = 0; call < 3'000 && wheel.size() > 0; ++call) {
    int budget = 8;
    int in_call = 0;
    while (wheel.take_due(100 * kTick, budget) != kNoSlot) ++in_call;
    EXPECT_LE(in_call, 8);
    taken += in_call;
  }
  EXPECT_EQ(taken, 1'000);
}

// Deadlines near and far, time in small steps and leaps, exact and bounded calls in turns.
TEST(ExpiryWheel, DoesAsASortedMapUnderRandomUse) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    ExpiryWheel wheel;
    std::map<std::uint32_t, std::int64_t> model;
    std::int64_t now = static_cast<std::int64_t>(random.below(1'000)) * kTick;
    for (int step = 0; step < 3'000; ++step) {
      const auto slot = static_cast<std::uint32_t>(random.below(300));
      const auto far = static_cast<std::int64_t>(random.next() >> (20 + random.below(43)));
      switch (random.below(6)) {
        case 0:
        case 1:
        case 2:
          wheel.arm(slot, now + far);
          model[slot] = now + far;
          break;
        case 3:
          wheel.disarm(slot);
          model.erase(slot);
          break;
        case 4: {
          now += static_cast<std::int64_t>(random.next() >> (30 + random.below(33)));
          int budget = 5;
          const std::uint32_t due = wheel.take_due(now, budget);
          if (due == kNoSlot) break;
          ASSERT_TRUE(model.contains(due));
          ASSERT_LE(model[due], now);
          model.erase(due);
          break;
        }
        default: {
          now += static_cast<std::int64_t>(random.next() >> (30 + random.below(33)));
          std::vector<std::uint32_t> expected;
          for (const auto& [held, deadline] : model)
            if (deadline <= now) expected.push_back(held);
          ASSERT_EQ(all_due(wheel, now), expected);
          for (const std::uint32_t gone : expected) model.erase(gone);
        }
      }
      ASSERT_EQ(wheel.size(), model.size());
    }
  }
}

}  // namespace
}  // namespace sentinel::cache
