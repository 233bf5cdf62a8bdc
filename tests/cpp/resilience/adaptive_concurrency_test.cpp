#include "sentinel/resilience/adaptive_concurrency.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

#include "resilience/moments.hpp"
#include "sentinel/base/random.hpp"

namespace sentinel::resilience {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

ConcurrencySettings settings_from(std::uint32_t least, std::uint32_t initial, std::uint32_t most) {
  ConcurrencySettings settings;
  settings.least = least;
  settings.initial = initial;
  settings.most = most;
  return settings;
}

void end_call(AdaptiveConcurrency& target, Duration latency, bool overloaded, Instant now) {
  target.sample(latency, overloaded, now);
  target.release(now);
}

TEST(AdaptiveConcurrency, AdmitsAsManyAsItsLimit) {
  AdaptiveConcurrency target(settings_from(1, 3, 10));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(target.try_acquire(at(seconds{0})));
  EXPECT_FALSE(target.try_acquire(at(seconds{0})));
  target.release(at(seconds{0}));
  EXPECT_TRUE(target.try_acquire(at(seconds{0})));
}

TEST(AdaptiveConcurrency, OverloadTakesATenthOncePerRound) {
  AdaptiveConcurrency target(settings_from(1, 100, 1000));
  for (int i = 0; i < 60; ++i) target.try_acquire(at(seconds{0}));
  // All these began before the first of them told of the overload.
  for (int i = 0; i < 50; ++i) end_call(target, milliseconds{100}, true, at(seconds{10}));
  EXPECT_EQ(target.limit(), 90U);
  end_call(target, milliseconds{100}, true, at(seconds{10} + milliseconds{99}));
  EXPECT_EQ(target.limit(), 90U);
  end_call(target, milliseconds{100}, true, at(seconds{10} + milliseconds{100}));
  EXPECT_EQ(target.limit(), 81U);
}

TEST(AdaptiveConcurrency, LatencyBeyondTheToleranceIsCongestion) {
  AdaptiveConcurrency target(settings_from(1, 100, 1000));
  for (int i = 0; i < 3; ++i) target.try_acquire(at(seconds{0}));
  end_call(target, milliseconds{100}, false, at(seconds{1}));
  end_call(target, milliseconds{200}, false, at(seconds{2}));
  EXPECT_EQ(target.limit(), 100U) << "twice the baseline is still fine";
  end_call(target, milliseconds{201}, false, at(seconds{3}));
  EXPECT_EQ(target.limit(), 90U);
}

TEST(AdaptiveConcurrency, AnIdleTargetProvesNothing) {
  AdaptiveConcurrency target(settings_from(1, 100, 1000));
  for (int i = 0; i < 10'000; ++i) {
    target.try_acquire(at(milliseconds{100 * i}));
    end_call(target, milliseconds{100}, false, at(milliseconds{100 * i}));
  }
  EXPECT_EQ(target.limit(), 100U);
}

TEST(AdaptiveConcurrency, LearnsATargetThatHasBecomeSlowerForGood) {
  AdaptiveConcurrency target(settings_from(1, 100, 100));
  target.try_acquire(at(seconds{0}));
  end_call(target, milliseconds{100}, false, at(seconds{1}));
  std::uint64_t least_seen = 100;
  for (int second = 2; second < 400; ++second) {
    while (target.try_acquire(at(milliseconds{1000 * second - 500}))) continue;
    while (target.in_flight() > 0) end_call(target, milliseconds{500}, false, at(seconds{second}));
    least_seen = std::min(least_seen, target.limit());
  }
  EXPECT_EQ(least_seen, 1U) << "first it must be sure that it is not the load";
  EXPECT_EQ(target.limit(), 100U);
}

TEST(AdaptiveConcurrency, StaysWithinItsBoundsWhateverHappens) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    Random random(seed);
    const auto least = static_cast<std::uint32_t>(1 + random.below(5));
    const auto most = static_cast<std::uint32_t>(least + random.below(50));
    AdaptiveConcurrency target(settings_from(least, least, most));
    const std::uint64_t overloaded = random.below(50);
    Duration now{seconds{1}};
    for (int step = 0; step < 2000; ++step) {
      now += Duration{static_cast<std::int64_t>(random.below(50'000))};
      const std::uint64_t before = target.in_flight();
      if (random.below(3) != 0) {
        ASSERT_EQ(target.try_acquire(at(now)), before < target.limit());
      } else if (before > 0) {
        end_call(target, Duration{static_cast<std::int64_t>(random.below(900'000))},
                 random.below(100) < overloaded, at(now));
      }
      ASSERT_GE(target.limit(), least);
      ASSERT_LE(target.limit(), most);
    }
  }
}

// A target that serves 40 at once in 100 ms and lets the others queue: the limit settles near it.
TEST(AdaptiveConcurrency, SettlesNearWhatTheTargetCanDo) {
  AdaptiveConcurrency target(settings_from(1, 5, 1000));
  constexpr std::uint64_t kCapacity = 40;
  std::uint64_t least_seen = 1000;
  std::uint64_t most_seen = 0;
  Duration now{seconds{1}};
  for (int round = 0; round < 3000; ++round) {
    while (target.try_acquire(at(now))) continue;
    const std::uint64_t load = target.in_flight();
    const Duration latency = milliseconds{100} * std::max(load, kCapacity) / kCapacity;
    now += latency;
    while (target.in_flight() > 0) end_call(target, latency, false, at(now));
    if (round < 500) continue;
    least_seen = std::min(least_seen, target.limit());
    most_seen = std::max(most_seen, target.limit());
  }
  EXPECT_GE(least_seen, kCapacity) << "the target is kept busy";
  EXPECT_LE(most_seen, 2 * kCapacity + 5) << "the queue stays bounded by the tolerance";
}

}  // namespace
}  // namespace sentinel::resilience
