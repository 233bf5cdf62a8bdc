#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "resilience/moments.hpp"
#include "sentinel/base/random.hpp"
#include "sentinel/resilience/backoff.hpp"
#include "sentinel/resilience/retry_budget.hpp"

namespace sentinel::resilience {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

TEST(RetryBudget, GrantsAShareOfTheCallsAndAMinimum) {
  RetryBudget budget({.percent = 20, .per_second = 1, .window_seconds = 10});
  EXPECT_EQ(budget.left(at(seconds{0})), 10U) << "a quiet gateway may retry too";
  for (int i = 0; i < 100; ++i) budget.record_call(at(seconds{0}));
  int granted = 0;
  while (budget.try_retry(at(seconds{0}))) ++granted;
  EXPECT_EQ(granted, 30);
}

TEST(RetryBudget, GivesBackWhatHasLeftTheWindow) {
  RetryBudget budget({.percent = 20, .per_second = 1, .window_seconds = 10});
  while (budget.try_retry(at(seconds{0}))) continue;
  EXPECT_FALSE(budget.try_retry(at(seconds{10} - Duration{1})));
  EXPECT_TRUE(budget.try_retry(at(seconds{10})));
}

TEST(RetryBudget, WithoutAMinimumAQuietGatewayDoesNotRetry) {
  RetryBudget budget({.percent = 20, .per_second = 0, .window_seconds = 10});
  for (int i = 0; i < 4; ++i) budget.record_call(at(seconds{0}));
  EXPECT_FALSE(budget.try_retry(at(seconds{0})));
  budget.record_call(at(seconds{0}));
  EXPECT_TRUE(budget.try_retry(at(seconds{0})));
}

TEST(RetryBudget, GrantsWhatAModelWithTheFullHistoryGrants) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Random random(seed);
    const RetryBudgetSettings settings{static_cast<std::uint32_t>(random.below(101)),
                                       static_cast<std::uint32_t>(random.below(3)),
                                       static_cast<std::uint32_t>(1 + random.below(12))};
    RetryBudget budget(settings);
    std::vector<Duration> calls;
    std::vector<Duration> retries;
    Duration now{0};
    for (int step = 0; step < 500; ++step) {
      now += Duration{static_cast<std::int64_t>(random.below(random.below(30) == 0 ? 15'000'000 : 200'000))};
      const auto recent = [&](const std::vector<Duration>& all) {
        const auto oldest = now.count() / 1'000'000 - settings.window_seconds;
        const auto count = std::count_if(all.begin(), all.end(),
                                         [&](Duration when) { return when.count() / 1'000'000 > oldest; });
        return static_cast<std::uint64_t>(count);
      };
      if (random.below(3) != 0) {
        budget.record_call(at(now));
        calls.push_back(now);
        continue;
      }
      const std::uint64_t most =
          recent(calls) * settings.percent / 100 + settings.per_second * settings.window_seconds;
      const bool expected = recent(retries) + 1 <= most;
      ASSERT_EQ(budget.try_retry(at(now)), expected) << "seed " << seed << " step " << step;
      if (expected) retries.push_back(now);
    }
  }
}

// What becomes of calls of which each attempt fails with this chance, at 100 calls a second.
struct Tally {
  std::uint64_t succeeded = 0;
  std::uint64_t retries = 0;
};
Tally attempt_all(std::uint64_t calls, std::uint64_t failing_percent, std::uint32_t attempts) {
  Random random(7);
  RetryBudget budget(RetryBudgetSettings{});
  Tally seen;
  for (std::uint64_t call = 0; call < calls; ++call) {
    const Instant now = at(milliseconds{10 * call});
    budget.record_call(now);
    bool failed = random.below(100) < failing_percent;
    for (std::uint32_t retry = 1; failed && retry < attempts && budget.try_retry(now); ++retry) {
      ++seen.retries;
      failed = random.below(100) < failing_percent;
    }
    if (!failed) ++seen.succeeded;
  }
  return seen;
}

TEST(RetryBudget, D5OfAHundredThousandCallsWithOnePercentFaults999PerMilleSucceed) {
  const Tally seen = attempt_all(100'000, 1, 3);
  EXPECT_GE(seen.succeeded, 99'900U);
}

TEST(RetryBudget, D5AnUpstreamThatIsDownGetsLittleMoreThanAFifthMore) {
  const Tally seen = attempt_all(100'000, 100, 3);
  EXPECT_EQ(seen.succeeded, 0U);
  EXPECT_LE(seen.retries, 100'000U * 20 / 100 + 1'000U + 10U);  // and one a second, for 1,000 seconds
}

TEST(Backoff, IsFullJitterBelowADoublingCeilingUpToItsCap) {
  const BackoffSettings settings{milliseconds{100}, milliseconds{1500}, seconds{10}};
  Random random(3);
  for (std::uint32_t attempt : {0U, 1U, 2U, 3U, 4U, 63U, 4'000'000'000U}) {
    const Duration ceiling = attempt < 4 ? milliseconds{100} * (1 << attempt) : milliseconds{1500};
    Duration least = Duration::max();
    Duration most{0};
    for (int i = 0; i < 2000; ++i) {
      const Duration delay = *retry_delay(settings, attempt, std::nullopt, random);
      least = std::min(least, delay);
      most = std::max(most, delay);
    }
    EXPECT_LE(most, ceiling);
    EXPECT_GT(most, ceiling * 98 / 100) << "the whole range is used";
    EXPECT_LT(least, ceiling * 2 / 100);
  }
}

TEST(Backoff, HonoursRetryAfterAndAddsItsJitter) {
  const BackoffSettings settings;
  Random random(3);
  for (int i = 0; i < 1000; ++i) {
    const Duration delay = *retry_delay(settings, 0, seconds{3}, random);
    EXPECT_GE(delay, seconds{3});
    EXPECT_LE(delay, seconds{3} + settings.base);
  }
}

TEST(Backoff, GivesUpWhenTheUpstreamAsksForTooLong) {
  Random random(3);
  EXPECT_TRUE(retry_delay({}, 0, seconds{10}, random).has_value());
  EXPECT_FALSE(retry_delay({}, 0, seconds{10} + Duration{1}, random).has_value());
}

TEST(RetryAfter, ReadsSeconds) {
  EXPECT_EQ(parse_retry_after("0", Instant{}), Duration{0});
  EXPECT_EQ(parse_retry_after("120", Instant{}), seconds{120});
  EXPECT_EQ(parse_retry_after(" 7\t", Instant{}), seconds{7});
  EXPECT_EQ(parse_retry_after("99999999999999999999999999", Instant{}), seconds{4'000'000'000});
}

constexpr Duration kExample = seconds{784'111'777};  // Sun, 06 Nov 1994 08:49:37 GMT

TEST(RetryAfter, ReadsAllThreeDateForms) {
  const Instant now{Duration{0}, kExample - minutes{2}};
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), minutes{2});
  EXPECT_EQ(parse_retry_after("Sunday, 06-Nov-94 08:49:37 GMT", now), minutes{2});
  EXPECT_EQ(parse_retry_after("Sun Nov  6 08:49:37 1994", now), minutes{2});
  EXPECT_EQ(parse_retry_after("Wed Nov 16 08:49:37 1994", now), hours{240} + minutes{2});
  EXPECT_EQ(parse_retry_after("Thu, 29 Feb 1996 00:00:60 GMT", Instant{}), seconds{825'552'060});
}

TEST(RetryAfter, ADateThatHasPassedIsNow) {
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", at(seconds{0})), Duration{0});
  EXPECT_EQ(parse_retry_after("Sunday, 06-Nov-94 08:49:37 GMT", at(seconds{0})), Duration{0})
      << "94 is 1994, for 2094 would be more than 50 years ahead of 2023";
  EXPECT_GT(*parse_retry_after("Sunday, 06-Nov-73 08:49:37 GMT", at(seconds{0})), hours{24} * 365 * 49);
}

TEST(RetryAfter, WhatCannotBeReadIsNothing) {
  for (const char* text : {"",
                           " ",
                           "-1",
                           "+1",
                           "1.5",
                           "1s",
                           "0x10",
                           "1 2",
                           "soon",
                           "Sun, 06 Nov 1994 08:49:37",
                           "Sun, 06 Nov 1994",
                           "sun, 06 Nov 1994 08:49:37 GMT",
                           "Sun, 31 Feb 1994 08:49:37 GMT",
                           "Sun, 00 Nov 1994 08:49:37 GMT",
                           "Sun, 06 Nov 1994 24:00:00 GMT",
                           "Sun, 06 Nov 1994 23:60:00 GMT",
                           "Sun, 06 Nov 1994 23:00:61 GMT",
                           "Sun, 06 Nov 1994 08:49:37 CET",
                           "Sun, 06 Nov 1994 08:49:37 GMT!",
                           "Sun Nov 06 08:49:37 GMT",
                           "Sun Nov   08:49:37 1994",
                           "Sunday, 06-Nov-1994 08:49:37 GMT"}) {
    EXPECT_FALSE(parse_retry_after(text, at(seconds{0})).has_value()) << text;
  }
}

TEST(RetryAfter, AnyBytesAreReadWithoutHarm) {
  const std::string sound = "Sunday, 06-Nov-94 08:49:37 GMT";
  Random random(11);
  for (int i = 0; i < 20'000; ++i) {
    std::string text = sound.substr(0, random.below(sound.size() + 1));
    if (!text.empty()) text[random.below(text.size())] = static_cast<char>(random.below(256));
    const auto delay = parse_retry_after(text, at(seconds{0}));
    if (delay) {
      EXPECT_GE(*delay, Duration{0});
    }
  }
}

}  // namespace
}  // namespace sentinel::resilience
