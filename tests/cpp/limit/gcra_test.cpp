#include "sentinel/limit/gcra.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "sentinel/base/random.hpp"
#include "sentinel/limit/concurrency.hpp"

namespace sentinel::limit {
namespace {

using namespace std::chrono_literals;

Rate rate_of(std::string_view text) { return *Rate::parse(text); }

TEST(Gcra, B14_OneHundredOfThreeHundredPassWithinHalfASecond) {
  const Rate rate = rate_of("100/min");
  Gcra bucket;
  int passed = 0;
  for (int i = 0; i < 300; ++i)
    passed += try_charge(bucket, rate, 5s + i * Duration{1'666}, 1).allowed() ? 1 : 0;
  EXPECT_EQ(passed, 100);
}

TEST(Gcra, B14_TheNextOnePassesAtTheEmissionIntervalAndNotAMicrosecondSooner) {
  const Rate rate = rate_of("100/min");
  Gcra bucket;
  ASSERT_TRUE(try_charge(bucket, rate, 0s, 100).allowed());
  const Decision refused = try_charge(bucket, rate, 0s, 1);
  EXPECT_EQ(refused.verdict, Verdict::wait);
  EXPECT_EQ(refused.retry_after, 600ms);
  EXPECT_EQ(refused.reset_after, 1min);
  EXPECT_EQ(refused.remaining, 0);
  EXPECT_FALSE(try_charge(bucket, rate, 600ms - 1us, 1).allowed());
  EXPECT_TRUE(try_charge(bucket, rate, 600ms, 1).allowed());
  EXPECT_FALSE(try_charge(bucket, rate, 600ms, 1).allowed());
}

TEST(Gcra, B14_ThirdsOfASecondDoNotDrift) {
  const Rate rate = rate_of("3/s burst 1");
  Gcra bucket;
  int passed = 0;
  for (Duration now = 0s; now < 100s; now += 1us) {
    const Decision decision = try_charge(bucket, rate, now, 1);
    if (decision.allowed()) {
      ++passed;
    } else {
      now += decision.retry_after - 1us;
    }
  }
  EXPECT_EQ(passed, 300);  // rounding 333333.3 us to whole ones would give 301, or lose one in time
}

TEST(Gcra, B15_TheBurstIsApartFromTheRate) {
  const Rate rate = rate_of("100/min burst 20");
  Gcra bucket;
  EXPECT_EQ(try_charge(bucket, rate, 0s, 20).remaining, 0);
  EXPECT_EQ(decide(bucket, rate, 0s, 1).retry_after, 600ms);
  EXPECT_EQ(decide(bucket, rate, 12s, 20).verdict, Verdict::allowed);
  EXPECT_EQ(decide(bucket, rate, 12s - 1us, 20).verdict, Verdict::wait);
}

TEST(Gcra, S29_ACostAboveTheBurstNeverPassesEvenWhenFull) {
  const Rate rate = rate_of("100 tokens/min");
  Gcra bucket;
  EXPECT_EQ(try_reserve(bucket, rate, 0s, 663).verdict, Verdict::never);
  EXPECT_EQ(try_reserve(bucket, rate, 0s, std::numeric_limits<std::int64_t>::max()).verdict, Verdict::never);
  EXPECT_EQ(try_reserve(bucket, rate, 0s, 100).verdict, Verdict::allowed);
}

TEST(Gcra, B11_WhatIsHeldDoesNotFlowBackUntilItIsSettled) {
  const Rate rate = rate_of("60 tokens/min");
  Gcra bucket;
  ASSERT_TRUE(try_reserve(bucket, rate, 0s, 60).allowed());
  EXPECT_FALSE(try_reserve(bucket, rate, 1h, 1).allowed());
  settle(bucket, rate, 1h, 60, 20);
  EXPECT_EQ(decide(bucket, rate, 1h, 0).remaining, 40);
  EXPECT_EQ(decide(bucket, rate, 1h + 20s, 0).remaining, 60);
}

TEST(Gcra, B11_ARefundGivesAllBack) {
  const Rate rate = rate_of("60 tokens/min");
  Gcra bucket;
  ASSERT_TRUE(try_reserve(bucket, rate, 0s, 60).allowed());
  refund(bucket, rate, 1s, 60);
  EXPECT_EQ(decide(bucket, rate, 1s, 0).remaining, 60);
}

TEST(Gcra, B11_AnOverrunIsOwedAndNothingPassesUntilItIsPaid) {
  const Rate rate = rate_of("60 tokens/min");
  Gcra bucket;
  ASSERT_TRUE(try_reserve(bucket, rate, 0s, 10).allowed());
  settle(bucket, rate, 0s, 10, 90);
  const Decision decision = decide(bucket, rate, 0s, 1);
  EXPECT_EQ(decision.remaining, 0);
  EXPECT_EQ(decision.retry_after, 31s);
  EXPECT_EQ(decision.reset_after, 90s);
  EXPECT_FALSE(decide(bucket, rate, 30s - 1us, 0).allowed());
  EXPECT_TRUE(decide(bucket, rate, 31s, 1).allowed());
}

TEST(Gcra, AChargeThatFlowedBackIsNotGivenBackASecondTime) {
  const Rate rate = rate_of("60/min");
  Gcra bucket;
  ASSERT_TRUE(try_charge(bucket, rate, 0s, 60).allowed());
  ASSERT_TRUE(try_charge(bucket, rate, 30s, 30).allowed());
  uncharge(bucket, rate, 30s, 60, 0s);
  EXPECT_EQ(decide(bucket, rate, 30s, 0).remaining,
            30);  // 30 stand charged; 60 would be a second 30 from nowhere
}

TEST(Gcra, R10_TimeThatGoesBackRefillsNothing) {
  const Rate rate = rate_of("60/min");
  Gcra bucket;
  ASSERT_TRUE(try_charge(bucket, rate, 100s, 60).allowed());
  EXPECT_FALSE(try_charge(bucket, rate, 0s, 1).allowed());
  EXPECT_FALSE(try_charge(bucket, rate, 100s, 1).allowed());
  ASSERT_TRUE(try_charge(bucket, rate, 101s, 1).allowed());
  EXPECT_FALSE(try_charge(bucket, rate, 50s, 1).allowed());
  EXPECT_FALSE(try_charge(bucket, rate, 101s, 1).allowed());
}

TEST(Gcra, S31_TheLargestNumbersDoNotOverflow) {
  const Rate rate = *Rate::make(Kind::money, kMaxAmount, kMaxPeriod);
  Gcra bucket;
  ASSERT_TRUE(try_reserve(bucket, rate, 0s, kMaxAmount).allowed());
  for (int i = 0; i < 2'000; ++i) settle(bucket, rate, 0s, 0, std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(bucket.debt, max_debt(rate));
  EXPECT_EQ(decide(bucket, rate, 0s, 1).retry_after, kForever);
  advance(bucket, rate, Duration::max());
  EXPECT_EQ(bucket.debt, 0);
  const Rate slow = *Rate::make(Kind::requests, 1, kMaxPeriod);
  Gcra drop;
  ASSERT_TRUE(try_charge(drop, slow, 0s, 1).allowed());
  EXPECT_EQ(decide(drop, slow, 0s, 1).retry_after, kMaxPeriod);
}

TEST(Gcra, ANegativeCostGivesNothing) {
  const Rate rate = rate_of("60/min");
  Gcra bucket;
  ASSERT_TRUE(try_charge(bucket, rate, 0s, 60).allowed());
  EXPECT_FALSE(try_charge(bucket, rate, 0s, 1).allowed());
  (void)try_charge(bucket, rate, 0s, -60);
  (void)try_reserve(bucket, rate, 0s, -60);
  settle(bucket, rate, 0s, 0, -60);
  EXPECT_FALSE(try_charge(bucket, rate, 0s, 1).allowed());
}

TEST(Concurrency, HoldsAsManyAsThereAreSlotsAndReleasesThem) {
  Concurrency calls;
  const Slots slots{2};
  EXPECT_EQ(try_reserve(calls, slots, 1).remaining, 1);
  EXPECT_TRUE(try_reserve(calls, slots, 1).allowed());
  EXPECT_EQ(try_reserve(calls, slots, 1).verdict, Verdict::wait);
  EXPECT_EQ(try_reserve(calls, slots, 3).verdict, Verdict::never);
  release(calls, 1);
  EXPECT_TRUE(try_reserve(calls, slots, 1).allowed());
  release(calls, 9);
  EXPECT_EQ(calls.held, 0);
}

TEST(Gcra, AdmitsWhatDecideAllows) {
  Random random(5);
  for (int round = 0; round < 20'000; ++round) {
    const auto amount = static_cast<std::int64_t>(1 + random.below(1'000));
    const Rate rate =
        *Rate::make(Kind::tokens, amount, Duration{static_cast<std::int64_t>(1 + random.below(1'000'000))},
                    static_cast<std::int64_t>(1 + random.below(50)));
    Gcra bucket;
    bucket.debt = Int128{static_cast<std::int64_t>(random.below(60'000'000))};
    bucket.held = static_cast<std::int64_t>(random.below(30));
    const Duration now{static_cast<std::int64_t>(random.below(100'000))};
    const auto cost = static_cast<std::int64_t>(random.below(60)) - 2;
    const Decision decision = decide(bucket, rate, now, cost);
    ASSERT_EQ(admits(bucket, rate, now, cost), decision.allowed());
    if (decision.allowed()) charge(bucket, rate, now, cost);
    const Int128 used = used_at(bucket, rate, now);
    ASSERT_EQ(remaining_after(used, rate), decision.remaining);
    ASSERT_EQ(reset_after(used, rate), decision.reset_after);
  }
}

}  // namespace
}  // namespace sentinel::limit
