// What is known of targets and credentials: kept over a reload by name and settings, and over a restart as text.
#include "sentinel/engine/health.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "engine/support.hpp"

namespace sentinel::engine {
namespace {

using resilience::BreakerMode;
using resilience::BreakerState;
using std::chrono::seconds;

const std::string kBreaker =
    R"(,"breaker":{"enabled":true,"window_calls":2,"minimum_calls":2,"open_wait_us":5000000,"jitter_percent":0})";

class Health : public ::testing::Test {
 protected:
  static SnapshotText with(const std::string& more) {
    SnapshotText text;
    text.upstreams = "[" + SnapshotText::upstream("up", "openai", "http://a", more) + "]";
    text.routes =
        R"([{"name":"gpt","targets":[{"upstream":"up","model":"a","weight":1},{"upstream":"up","model":"b","weight":1}]}])";
    return text;
  }
  std::shared_ptr<Snapshot> adopted(const std::string& more) {
    auto snapshot = make_snapshot(with(more));
    table.adopt(*snapshot);
    return snapshot;
  }
  void open(TargetHealth& health) {
    for (int i = 0; i < 2; ++i) health.allow(clock.now()).permit->fail(clock.now());
    ASSERT_EQ(health.state(), BreakerState::open);
  }
  static TargetHealth& health_of(const Snapshot& snapshot, std::size_t target) {
    return *snapshot.routes[0]->targets[target].health;
  }

  HealthTable table;
  ManualClock clock;
};

TEST_F(Health, AReloadKeepsWhatIsKnownAsLongAsTheSettingsAreTheSame) {
  const auto first = adopted(kBreaker);
  open(health_of(*first, 0));
  first->upstreams[0]->health->record_refusal(0, seconds{30}, clock.now());
  const auto second = adopted(kBreaker);
  EXPECT_EQ(health_of(*second, 0).state(), BreakerState::open);
  EXPECT_EQ(health_of(*second, 1).state(), BreakerState::closed);
  EXPECT_FALSE(second->upstreams[0]->health->choose(clock.now()).credential);
  const auto changed = adopted(
      R"(,"breaker":{"enabled":true,"window_calls":3,"minimum_calls":2},"cool_down_us":{"first":5,"longest":6})");
  EXPECT_EQ(health_of(*changed, 0).state(), BreakerState::closed);
  EXPECT_TRUE(changed->upstreams[0]->health->choose(clock.now()).credential);
  EXPECT_EQ(health_of(*first, 0).state(), BreakerState::open) << "running exchanges keep their snapshot's";
}

TEST_F(Health, APermitIsReportedOnceAndADroppedOneLeavesNoTrace) {
  const auto snapshot = adopted(kBreaker);
  TargetHealth& health = health_of(*snapshot, 0);
  for (int i = 0; i < 10; ++i) {
    auto permit = std::move(*health.allow(clock.now()).permit);
    Permit moved = std::move(permit);
    EXPECT_FALSE(permit);  // NOLINT(bugprone-use-after-move): what a moved one is
    EXPECT_TRUE(moved);
  }
  Permit permit = std::move(*health.allow(clock.now()).permit);
  permit.fail(clock.now());
  permit.fail(clock.now());
  permit.fail(clock.now());
  EXPECT_EQ(health.state(), BreakerState::closed) << "one failure, told three times";
}

TEST_F(Health, WithoutABreakerCallsAlwaysPass) {
  const auto snapshot = adopted("");
  TargetHealth& health = health_of(*snapshot, 0);
  for (int i = 0; i < 200; ++i) {
    auto answer = health.allow(clock.now());
    ASSERT_TRUE(answer.permit);
    answer.permit->fail(clock.now());
  }
  EXPECT_FALSE(table.force("up/a", BreakerMode::forced_open));
  EXPECT_FALSE(health.status(clock.now()).has_breaker);
}

TEST_F(Health, AFullTargetIsBusyAndNotOpen) {
  const auto snapshot = adopted(kBreaker + R"(,"concurrency":{"least":1,"most":2,"initial":2})");
  TargetHealth& health = health_of(*snapshot, 0);
  auto first = health.allow(clock.now());
  const auto second = health.allow(clock.now());
  const auto third = health.allow(clock.now());
  EXPECT_FALSE(third.permit);
  EXPECT_TRUE(third.busy);
  EXPECT_EQ(health.status(clock.now()).in_flight, 2U);
  EXPECT_EQ(health.status(clock.now()).concurrency_limit, 2U);
  first.permit.reset();
  EXPECT_TRUE(health.allow(clock.now()).permit);
  EXPECT_EQ(health.status(clock.now()).in_flight, 1U);
}

TEST_F(Health, OperatorsForceABreakerByTheNameOfItsTarget) {
  const auto snapshot = adopted(kBreaker);
  EXPECT_TRUE(table.force("up/b", BreakerMode::forced_open));
  EXPECT_FALSE(table.force("up/c", BreakerMode::forced_open));
  const auto answer = health_of(*snapshot, 1).allow(clock.now());
  EXPECT_FALSE(answer.permit);
  EXPECT_FALSE(answer.retry_after);
  const auto statuses = table.statuses(clock.now());
  ASSERT_EQ(statuses.size(), 2U);
  EXPECT_EQ(statuses[0].target, "up/a");
  EXPECT_EQ(statuses[1].mode, BreakerMode::forced_open);
  EXPECT_EQ(statuses[1].refused, 1U);
  EXPECT_TRUE(table.force("up/b", BreakerMode::automatic));
  EXPECT_TRUE(health_of(*snapshot, 1).allow(clock.now()).permit);
}

TEST_F(Health, B25ABreakersStateSurvivesARestart) {
  const auto before = adopted(kBreaker);
  open(health_of(*before, 0));
  table.force("up/b", BreakerMode::forced_closed);
  const std::string text = table.snapshot(clock.now());
  clock.advance(seconds{2});
  HealthTable restarted;
  const auto after = make_snapshot(with(kBreaker));
  restarted.adopt(*after);
  ASSERT_TRUE(restarted.restore(text, clock.now()));
  const auto refused = health_of(*after, 0).allow(clock.now());
  EXPECT_FALSE(refused.permit);
  EXPECT_EQ(refused.retry_after, seconds{3}) << "what is left of its wait";
  EXPECT_EQ(restarted.statuses(clock.now())[1].mode, BreakerMode::forced_closed);
  clock.advance(seconds{3});
  EXPECT_TRUE(health_of(*after, 0).allow(clock.now()).permit) << "its probe";
}

TEST_F(Health, WhatIsSimplyClosedIsNotWrittenDown) {
  const auto snapshot = adopted(kBreaker);
  EXPECT_EQ(table.snapshot(clock.now()), "");
  EXPECT_TRUE(table.restore("", clock.now()));
}

TEST_F(Health, JunkIsRefusedWholeAndUnknownTargetsArePassedOver) {
  const auto snapshot = adopted(kBreaker);
  open(health_of(*snapshot, 0));
  const std::string good = table.snapshot(clock.now());
  HealthTable other;
  const auto fresh = make_snapshot(with(kBreaker));
  other.adopt(*fresh);
  for (const std::string& junk :
       {good + "junk\n", good + "9 0 1 5 up/b\n", good + "2 9 1 5 up/b\n", good + "2 0 -1 5 up/b\n",
        good + "2 0 99999999999 5 up/b\n", good + "2 0 1 99999999999999999999 up/b\n", good + "\n"}) {
    EXPECT_FALSE(other.restore(junk, clock.now())) << junk;
    EXPECT_EQ(health_of(*fresh, 0).state(), BreakerState::closed) << junk;
  }
  EXPECT_TRUE(other.restore("2 0 1 5 gone/model with a space\n" + good, clock.now()));
  EXPECT_EQ(health_of(*fresh, 0).state(), BreakerState::open);
}

}  // namespace
}  // namespace sentinel::engine
