#include "sentinel/resilience/circuit_breaker.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "resilience/moments.hpp"

namespace sentinel::resilience {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

BreakerSettings small() {
  BreakerSettings settings;
  settings.window_calls = 10;
  settings.minimum_calls = 4;
  settings.open_wait = seconds{5};
  settings.longest_wait = seconds{30};
  settings.jitter_percent = 0;
  return settings;
}

BreakerPermit permit(CircuitBreaker& breaker, Instant now) {
  BreakerAnswer answer = breaker.allow(now);
  EXPECT_TRUE(answer.permit.has_value());
  return *answer.permit;
}

BreakerChange succeed(CircuitBreaker& breaker, Instant now, const CallTimes& times = {}) {
  BreakerPermit taken = permit(breaker, now);
  return breaker.record_success(taken, times, now);
}

BreakerChange fail(CircuitBreaker& breaker, Instant now) {
  BreakerPermit taken = permit(breaker, now);
  return breaker.record_failure(taken, now);
}

void trip(CircuitBreaker& breaker, Instant now) {
  while (breaker.state() == BreakerState::closed) fail(breaker, now);
}

TEST(CircuitBreaker, A6IsSafeBeforeTheFirstCall) {
  CircuitBreaker breaker(BreakerSettings{}, 1);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  EXPECT_EQ(breaker.counts(at(hours{5})), OutcomeCounts{});
  EXPECT_TRUE(breaker.allow(Instant{}).permit.has_value());
  EXPECT_EQ(breaker.snapshot(Instant{}), BreakerSnapshot{});
}

TEST(CircuitBreaker, OpensAtTheThresholdButNotBeforeTheMinimumOfCalls) {
  CircuitBreaker breaker(small(), 1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(fail(breaker, at(seconds{i})), BreakerChange::none);
  EXPECT_EQ(fail(breaker, at(seconds{3})), BreakerChange::opened);
  EXPECT_EQ(breaker.state(), BreakerState::open);
}

TEST(CircuitBreaker, StaysClosedJustBelowTheFailureRate) {
  CircuitBreaker breaker(small(), 1);
  for (int i = 0; i < 100; ++i) {
    if (i % 5 < 3) {
      succeed(breaker, at(seconds{i}));
    } else {
      fail(breaker, at(seconds{i}));  // 4 of each 10
    }
  }
  EXPECT_EQ(breaker.state(), BreakerState::closed);
}

TEST(CircuitBreaker, RefusesWhileOpenAndSaysWhenToComeBack) {
  CircuitBreaker breaker(small(), 1);
  trip(breaker, at(seconds{10}));
  const BreakerAnswer answer = breaker.allow(at(seconds{12}));
  EXPECT_FALSE(answer.permit.has_value());
  EXPECT_EQ(answer.retry_after, seconds{3});
  EXPECT_EQ(breaker.refused(), 1U);
  EXPECT_FALSE(breaker.allow(at(seconds{15} - Duration{1})).permit.has_value());
  EXPECT_EQ(breaker.allow(at(seconds{15})).change, BreakerChange::half_opened);
}

TEST(CircuitBreaker, A6LetsOneProbePassInHalfOpenAndClosesWhenItSucceeds) {
  CircuitBreaker breaker(small(), 1);
  trip(breaker, at(seconds{0}));
  BreakerPermit probe = permit(breaker, at(seconds{6}));
  EXPECT_EQ(breaker.state(), BreakerState::half_open);
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(breaker.allow(at(seconds{6})).permit.has_value());
  EXPECT_EQ(breaker.record_success(probe, {}, at(seconds{7})), BreakerChange::closed);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  EXPECT_EQ(breaker.counts(at(seconds{7})), OutcomeCounts{}) << "the window starts afresh";
}

TEST(CircuitBreaker, ClosesOnlyWhenEveryProbeHasSucceeded) {
  BreakerSettings settings = small();
  settings.probes = 3;
  CircuitBreaker breaker(settings, 1);
  trip(breaker, at(seconds{0}));
  std::vector<BreakerPermit> probes;
  for (int i = 0; i < 3; ++i) probes.push_back(permit(breaker, at(seconds{6})));
  EXPECT_FALSE(breaker.allow(at(seconds{6})).permit.has_value());
  EXPECT_EQ(breaker.record_success(probes[0], {}, at(seconds{7})), BreakerChange::none);
  EXPECT_EQ(breaker.record_success(probes[1], {}, at(seconds{7})), BreakerChange::none);
  EXPECT_FALSE(breaker.allow(at(seconds{7})).permit.has_value()) << "a success does not free a seat";
  EXPECT_EQ(breaker.record_success(probes[2], {}, at(seconds{7})), BreakerChange::closed);
}

TEST(CircuitBreaker, AFailedProbeReopensWithALongerWaitUpToTheCap) {
  CircuitBreaker breaker(small(), 1);
  Duration now{0};
  trip(breaker, at(now));
  for (const seconds wait : {seconds{5}, seconds{10}, seconds{20}, seconds{30}, seconds{30}}) {
    EXPECT_EQ(breaker.allow(at(now)).retry_after, wait);
    now += wait;
    EXPECT_EQ(fail(breaker, at(now)), BreakerChange::opened);
  }
  now += seconds{30};
  EXPECT_EQ(succeed(breaker, at(now)), BreakerChange::closed);
  trip(breaker, at(now));
  EXPECT_EQ(breaker.allow(at(now)).retry_after, seconds{5}) << "closing resets the wait";
}

TEST(CircuitBreaker, ACancelledProbeIsNoFailureAndReturnsItsPermit) {
  CircuitBreaker breaker(small(), 1);
  trip(breaker, at(seconds{0}));
  for (int i = 0; i < 50; ++i) {
    BreakerPermit probe = permit(breaker, at(seconds{6}));
    breaker.cancel(probe);
  }
  EXPECT_EQ(breaker.state(), BreakerState::half_open);
  EXPECT_EQ(succeed(breaker, at(seconds{6})), BreakerChange::closed);
}

TEST(CircuitBreaker, AClientsLeavingIsNoFailure) {
  CircuitBreaker breaker(small(), 1);
  for (int i = 0; i < 100; ++i) {
    BreakerPermit taken = permit(breaker, at(seconds{i}));
    breaker.cancel(taken);
  }
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  EXPECT_EQ(breaker.counts(at(seconds{100})), OutcomeCounts{});
}

TEST(CircuitBreaker, ALateResultOfAnEarlierStateChangesNothing) {
  CircuitBreaker breaker(small(), 1);
  BreakerPermit late_failure = permit(breaker, at(seconds{0}));
  BreakerPermit late_success = permit(breaker, at(seconds{0}));
  BreakerPermit late_cancel = permit(breaker, at(seconds{0}));
  trip(breaker, at(seconds{0}));
  BreakerPermit probe = permit(breaker, at(seconds{6}));
  EXPECT_EQ(breaker.record_success(late_success, {}, at(seconds{6})), BreakerChange::none);
  EXPECT_EQ(breaker.record_failure(late_failure, at(seconds{6})), BreakerChange::none);
  breaker.cancel(late_cancel);
  EXPECT_EQ(breaker.state(), BreakerState::half_open);
  EXPECT_FALSE(breaker.allow(at(seconds{6})).permit.has_value()) << "the probe's seat is still taken";
  EXPECT_EQ(breaker.record_success(probe, {}, at(seconds{6})), BreakerChange::closed);
}

TEST(CircuitBreaker, APermitCountsOnce) {
  CircuitBreaker breaker(small(), 1);
  BreakerPermit taken = permit(breaker, at(seconds{0}));
  for (int i = 0; i < 20; ++i) breaker.record_failure(taken, at(seconds{0}));
  EXPECT_TRUE(taken.spent());
  EXPECT_EQ(breaker.counts(at(seconds{0})), (OutcomeCounts{1, 1, 0}));
}

TEST(CircuitBreaker, ALostProbeGivesItsSeatBackAfterTheTimeoutAndItsLateSuccessStillCounts) {
  CircuitBreaker breaker(small(), 1);
  trip(breaker, at(seconds{0}));
  BreakerPermit lost = permit(breaker, at(seconds{5}));
  EXPECT_FALSE(breaker.allow(at(seconds{64})).permit.has_value());
  EXPECT_TRUE(breaker.allow(at(seconds{65})).permit.has_value());
  EXPECT_EQ(breaker.record_success(lost, {}, at(seconds{66})), BreakerChange::closed);
}

struct SlowCase {
  const char* name;
  Duration BreakerSettings::* threshold;
  Duration CallTimes::* measure;
};

class SlowCalls : public ::testing::TestWithParam<SlowCase> {};

TEST_P(SlowCalls, OpenTheBreakerWhenTheirRateReachesItsThreshold) {
  BreakerSettings settings = small();
  settings.slow_rate_percent = 50;
  settings.*GetParam().threshold = seconds{2};
  CircuitBreaker breaker(settings, 1);
  CallTimes just_fast;
  just_fast.*GetParam().measure = seconds{2};
  CallTimes slow;
  slow.*GetParam().measure = seconds{2} + Duration{1};
  for (int i = 0; i < 2; ++i) EXPECT_EQ(succeed(breaker, at(seconds{0}), just_fast), BreakerChange::none);
  EXPECT_EQ(succeed(breaker, at(seconds{0}), slow), BreakerChange::none);
  EXPECT_EQ(breaker.counts(at(seconds{0})), (OutcomeCounts{3, 0, 1}));
  EXPECT_EQ(succeed(breaker, at(seconds{0}), slow), BreakerChange::opened);
  EXPECT_EQ(succeed(breaker, at(seconds{5}), slow), BreakerChange::opened) << "a slow probe is no good probe";
}

TEST_P(SlowCalls, AreNotLookedAtWithoutAThreshold) {
  CircuitBreaker breaker(small(), 1);
  CallTimes slow;
  slow.*GetParam().measure = hours{1};
  for (int i = 0; i < 50; ++i) succeed(breaker, at(seconds{0}), slow);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
}

INSTANTIATE_TEST_SUITE_P(
    ByMeasure, SlowCalls,
    ::testing::Values(SlowCase{"duration", &BreakerSettings::slow_duration, &CallTimes::duration},
                      SlowCase{"first_token", &BreakerSettings::slow_first_token, &CallTimes::first_token},
                      SlowCase{"gap", &BreakerSettings::slow_gap, &CallTimes::longest_gap}),
    [](const auto& the_case) { return the_case.param.name; });

TEST(CircuitBreaker, ATimeWindowForgetsWhatIsOlder) {
  BreakerSettings settings = small();
  settings.window = WindowKind::time;
  settings.window_length = seconds{10};
  settings.window_buckets = 10;
  CircuitBreaker breaker(settings, 1);
  for (int i = 0; i < 3; ++i) fail(breaker, at(seconds{1}));
  EXPECT_EQ(breaker.counts(at(seconds{10})), (OutcomeCounts{3, 3, 0}));
  EXPECT_EQ(breaker.counts(at(seconds{11})), OutcomeCounts{});
  EXPECT_EQ(fail(breaker, at(seconds{11})), BreakerChange::none);
}

TEST(CircuitBreaker, JitterLengthensTheWaitByAtMostItsShareAndTheSeedReplaysIt) {
  BreakerSettings settings = small();
  settings.jitter_percent = 20;
  bool differed = false;
  std::optional<Duration> first;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    CircuitBreaker breaker(settings, seed);
    CircuitBreaker again(settings, seed);
    trip(breaker, at(seconds{0}));
    trip(again, at(seconds{0}));
    const auto wait = breaker.allow(at(seconds{0})).retry_after;
    EXPECT_EQ(wait, again.allow(at(seconds{0})).retry_after);
    EXPECT_GE(*wait, seconds{5});
    EXPECT_LE(*wait, seconds{6});
    differed = differed || (first && *first != *wait);
    first = wait;
  }
  EXPECT_TRUE(differed);
}

TEST(CircuitBreaker, ForcedOpenRefusesUntilItIsAutomaticAgain) {
  CircuitBreaker breaker(small(), 1);
  BreakerPermit before = permit(breaker, at(seconds{0}));
  breaker.force(BreakerMode::forced_open);
  EXPECT_EQ(breaker.state(), BreakerState::open);
  const BreakerAnswer answer = breaker.allow(at(hours{9}));
  EXPECT_FALSE(answer.permit.has_value());
  EXPECT_FALSE(answer.retry_after.has_value()) << "nobody knows when the operator lets go";
  EXPECT_EQ(breaker.record_failure(before, at(hours{9})), BreakerChange::none);
  breaker.force(BreakerMode::automatic);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  EXPECT_TRUE(breaker.allow(at(hours{9})).permit.has_value());
}

TEST(CircuitBreaker, ForcedClosedAdmitsEverythingAndStillCounts) {
  CircuitBreaker breaker(small(), 1);
  trip(breaker, at(seconds{0}));
  breaker.force(BreakerMode::forced_closed);
  for (int i = 0; i < 9; ++i) EXPECT_EQ(fail(breaker, at(seconds{0})), BreakerChange::none);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  EXPECT_EQ(breaker.counts(at(seconds{0})), (OutcomeCounts{9, 9, 0}));
}

TEST(CircuitBreaker, B16AnOpenBreakerSurvivesARestart) {
  CircuitBreaker before(small(), 1);
  trip(before, at(seconds{100}));
  const BreakerSnapshot saved = before.snapshot(at(seconds{101}));
  CircuitBreaker after(small(), 2);
  const Instant restarted{seconds{1}, at(seconds{102}).unix_time};  // a new monotonic axis
  after.restore(saved, restarted);
  EXPECT_EQ(after.state(), BreakerState::open);
  EXPECT_EQ(after.allow(restarted).retry_after, seconds{3});
  const Instant later{seconds{4}, at(seconds{105}).unix_time};
  EXPECT_EQ(fail(after, later), BreakerChange::opened);
  EXPECT_EQ(after.allow(later).retry_after, seconds{10}) << "the backoff goes on where it was";
}

TEST(CircuitBreaker, B16AHalfOpenBreakerAsksForNewProbesAfterARestart) {
  CircuitBreaker before(small(), 1);
  trip(before, at(seconds{0}));
  permit(before, at(seconds{6}));
  CircuitBreaker after(small(), 2);
  after.restore(before.snapshot(at(seconds{6})), at(seconds{7}));
  EXPECT_EQ(after.allow(at(seconds{7})).change, BreakerChange::half_opened);
}

TEST(CircuitBreaker, B16AForcedModeSurvivesAndAnAbsurdWaitIsCut) {
  CircuitBreaker breaker(small(), 1);
  breaker.restore({BreakerState::open, BreakerMode::automatic, 1, Duration::max()}, at(seconds{0}));
  EXPECT_LE(*breaker.allow(at(seconds{0})).retry_after, seconds{60});
  breaker.restore({BreakerState::open, BreakerMode::forced_closed, 1, Duration{0}}, at(seconds{0}));
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  EXPECT_EQ(breaker.mode(), BreakerMode::forced_closed);
}

TEST(CircuitBreaker, AFailedCallCanBeSlowToo) {
  BreakerSettings settings = small();
  settings.slow_duration = seconds{2};
  CircuitBreaker breaker(settings, 1);
  BreakerPermit taken = permit(breaker, at(seconds{0}));
  breaker.record_failure(taken, {.duration = seconds{3}}, at(seconds{3}));
  EXPECT_EQ(breaker.counts(at(seconds{3})), (OutcomeCounts{1, 1, 1}));
}

BreakerSettings by_rates(std::uint32_t probes) {
  BreakerSettings settings = small();
  settings.probe_rule = ProbeRule::rates;
  settings.probes = probes;
  return settings;
}

TEST(CircuitBreaker, ByRatesTheThresholdsDecideWhenAllProbesHaveReported) {
  for (const int failures : {1, 2}) {
    CircuitBreaker breaker(by_rates(4), 1);
    trip(breaker, at(seconds{0}));
    std::vector<BreakerPermit> probes;
    for (int i = 0; i < 4; ++i) probes.push_back(permit(breaker, at(seconds{6})));
    for (int i = 0; i < 3; ++i) {
      const BreakerChange change =
          i < failures ? breaker.record_failure(probes[static_cast<std::size_t>(i)], at(seconds{6}))
                       : breaker.record_success(probes[static_cast<std::size_t>(i)], {}, at(seconds{6}));
      EXPECT_EQ(change, BreakerChange::none);
      EXPECT_EQ(breaker.outcomes(at(seconds{6})).calls, static_cast<std::uint64_t>(i + 1));
    }
    const BreakerChange last = breaker.record_success(probes[3], {}, at(seconds{6}));
    EXPECT_EQ(last, failures < 2 ? BreakerChange::closed : BreakerChange::opened);
  }
}

TEST(CircuitBreaker, WhatOpenedItCanBeSeenWhileItIsOpen) {
  CircuitBreaker breaker(small(), 1);
  succeed(breaker, at(seconds{0}));
  trip(breaker, at(seconds{0}));
  EXPECT_EQ(breaker.outcomes(at(seconds{1})), (OutcomeCounts{4, 3, 0}));
  EXPECT_EQ(breaker.counts(at(seconds{1})), OutcomeCounts{});
  permit(breaker, at(seconds{6}));
  EXPECT_EQ(breaker.outcomes(at(seconds{6})), OutcomeCounts{});
}

TEST(CircuitBreaker, HalfOpenForTooLongIsOpenSinceThen) {
  BreakerSettings settings = by_rates(2);
  settings.longest_half_open = seconds{3};
  settings.wait_factor = 1;
  CircuitBreaker breaker(settings, 1);
  trip(breaker, at(seconds{0}));
  permit(breaker, at(seconds{5}));
  EXPECT_EQ(breaker.catch_up(at(seconds{8} - Duration{1})), BreakerChange::none);
  const BreakerAnswer refused = breaker.allow(at(seconds{10}));
  EXPECT_FALSE(refused.permit);
  EXPECT_EQ(refused.change, BreakerChange::opened);
  EXPECT_EQ(refused.retry_after, seconds{3}) << "it opened at 8";
  permit(breaker, at(seconds{13}));
  EXPECT_TRUE(breaker.allow(at(seconds{30})).permit) << "open at 16, half-open again from 21 on";
}

TEST(CircuitBreaker, WhoReportsWithoutAPermitReportsTheOldestProbe) {
  CircuitBreaker breaker(by_rates(2), 1);
  trip(breaker, at(seconds{0}));
  EXPECT_TRUE(breaker.unnamed_permit().spent()) << "open";
  permit(breaker, at(seconds{5}));
  permit(breaker, at(seconds{6}));
  EXPECT_FALSE(breaker.allow(at(seconds{6})).permit);
  BreakerPermit unnamed = breaker.unnamed_permit();
  breaker.cancel(unnamed);
  permit(breaker, at(seconds{7}));
  for (int i = 0; i < 2; ++i) {
    unnamed = breaker.unnamed_permit();
    breaker.record_success(unnamed, {}, at(seconds{7}));
  }
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  unnamed = breaker.unnamed_permit();
  breaker.record_failure(unnamed, at(seconds{7}));
  EXPECT_EQ(breaker.counts(at(seconds{7})), (OutcomeCounts{1, 1, 0}));
}

TEST(CircuitBreaker, DisabledCountsNothing) {
  CircuitBreaker breaker(small(), 1);
  trip(breaker, at(seconds{0}));
  breaker.disable();
  for (int i = 0; i < 50; ++i) EXPECT_EQ(fail(breaker, at(seconds{1})), BreakerChange::none);
  EXPECT_EQ(breaker.counts(at(seconds{1})), OutcomeCounts{});
  breaker.force(BreakerMode::automatic);
  EXPECT_FALSE(breaker.disabled());
  trip(breaker, at(seconds{1}));
}

TEST(CircuitBreaker, ByHandItOpensHalfOpensAndBeginsAnew) {
  CircuitBreaker breaker(small(), 1);
  EXPECT_FALSE(breaker.half_open_now(at(seconds{0})));
  EXPECT_EQ(breaker.open_now(at(seconds{0})), BreakerChange::opened);
  EXPECT_EQ(breaker.open_now(at(seconds{1})), BreakerChange::none);
  EXPECT_EQ(breaker.allow(at(seconds{1})).retry_after, seconds{4});
  EXPECT_TRUE(breaker.half_open_now(at(seconds{1})));
  permit(breaker, at(seconds{1}));
  EXPECT_TRUE(breaker.half_open_now(at(seconds{2})));
  EXPECT_FALSE(breaker.allow(at(seconds{2})).permit) << "still the same probes";
  breaker.reset();
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  EXPECT_EQ(breaker.refused(), 0U);
  breaker.force(BreakerMode::forced_open);
  EXPECT_TRUE(breaker.half_open_now(at(seconds{3})));
  EXPECT_EQ(breaker.mode(), BreakerMode::automatic);
}

// The quiet calls are a shortcut, not another rule.
TEST(CircuitBreaker, QuietCallsDoWhatTheOthersDo) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    BreakerSettings settings = by_rates(1 + static_cast<std::uint32_t>(random.below(3)));
    settings.window_calls = 1 + static_cast<std::uint32_t>(random.below(12));
    settings.minimum_calls = 1 + static_cast<std::uint32_t>(random.below(settings.window_calls));
    settings.failure_rate_percent = 1 + static_cast<std::uint32_t>(random.below(100));
    CircuitBreaker quiet(settings, seed);
    CircuitBreaker plain(settings, seed);
    Duration now{0};
    for (int step = 0; step < 300; ++step) {
      now += milliseconds{random.below(3'000)};
      BreakerPermit permit_of_quiet;
      const bool passed = quiet.pass_quietly(permit_of_quiet);
      if (!passed) {
        const BreakerAnswer answer = quiet.allow(at(now));
        if (answer.permit) permit_of_quiet = *answer.permit;
      }
      BreakerAnswer answer = plain.allow(at(now));
      ASSERT_EQ(answer.permit.has_value(), !permit_of_quiet.spent());
      if (!answer.permit) continue;
      if (random.below(4) == 0) {
        quiet.record_failure(permit_of_quiet, at(now));
        plain.record_failure(*answer.permit, at(now));
      } else {
        if (!quiet.succeed_quietly(permit_of_quiet)) quiet.record_success(permit_of_quiet, {}, at(now));
        plain.record_success(*answer.permit, {}, at(now));
      }
      ASSERT_TRUE(permit_of_quiet.spent());
      ASSERT_EQ(quiet.state(), plain.state()) << "seed " << seed << " step " << step;
      ASSERT_EQ(quiet.outcomes(at(now)), plain.outcomes(at(now))) << "seed " << seed << " step " << step;
    }
  }
}

TEST(BreakerSettings, AreCheckedAndTheErrorNamesTheValue) {
  ASSERT_TRUE(validate(BreakerSettings{}));
  const std::vector<std::pair<std::string, std::function<void(BreakerSettings&)>>> faults = {
      {"window_calls", [](auto& s) { s.window_calls = 0; }},
      {"minimum_calls", [](auto& s) { s.minimum_calls = 0; }},
      {"minimum_calls", [](auto& s) { s.minimum_calls = s.window_calls + 1; }},
      {"window_buckets", [](auto& s) { s.window = WindowKind::time, s.window_buckets = 0; }},
      {"window_length", [](auto& s) { s.window = WindowKind::time, s.window_length = Duration{9}; }},
      {"failure_rate_percent", [](auto& s) { s.failure_rate_percent = 0; }},
      {"failure_rate_percent", [](auto& s) { s.failure_rate_percent = 101; }},
      {"slow_rate_percent", [](auto& s) { s.slow_rate_percent = 0; }},
      {"slow_duration", [](auto& s) { s.slow_duration = Duration{-1}; }},
      {"slow_first_token", [](auto& s) { s.slow_first_token = Duration{-1}; }},
      {"slow_gap", [](auto& s) { s.slow_gap = Duration{-1}; }},
      {"open_wait", [](auto& s) { s.open_wait = Duration{0}; }},
      {"wait_factor", [](auto& s) { s.wait_factor = 0; }},
      {"longest_wait", [](auto& s) { s.longest_wait = s.open_wait - Duration{1}; }},
      {"jitter_percent", [](auto& s) { s.jitter_percent = 101; }},
      {"probes", [](auto& s) { s.probes = 0; }},
      {"probe_timeout", [](auto& s) { s.probe_timeout = Duration{0}; }},
      {"longest_half_open", [](auto& s) { s.longest_half_open = Duration{-1}; }},
  };
  for (const auto& [name, spoil] : faults) {
    BreakerSettings settings;
    spoil(settings);
    const Status status = validate(settings);
    ASSERT_FALSE(status) << name;
    EXPECT_EQ(status.error().param, name);
    EXPECT_NE(status.error().message.find(name), std::string::npos);
  }
}

}  // namespace
}  // namespace sentinel::resilience
