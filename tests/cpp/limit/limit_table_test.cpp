#include "sentinel/limit/limit_table.hpp"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sentinel/base/random.hpp"

namespace sentinel::limit {
namespace {

using namespace std::chrono_literals;

Instant at(Duration monotonic) { return {monotonic, Duration{1'700'000'000'000'000} + monotonic}; }
Rule rule(std::string_view text) { return *Rate::parse(text); }

std::optional<Reservation> reserved(LimitTable& table, std::vector<Want> wants, Instant now) {
  const auto outcome = table.reserve(wants, now);
  if (const Grant* grant = std::get_if<Grant>(&outcome)) return grant->reservation;
  return std::nullopt;
}

Refusal refused(LimitTable& table, std::vector<Want> wants, Instant now) {
  const auto outcome = table.reserve(wants, now);
  EXPECT_TRUE(std::holds_alternative<Refusal>(outcome));
  return std::holds_alternative<Refusal>(outcome) ? std::get<Refusal>(outcome) : Refusal{};
}

bool charged(LimitTable& table, const Want& want, Instant now) {
  return std::holds_alternative<Headroom>(table.charge({&want, 1}, now));
}

std::int64_t tokens_left(const LimitTable& table, std::string_view id, const Rule& of, Instant now) {
  const Want want{id, of, 0};
  return table.look({&want, 1}, now).tokens->remaining;
}

TEST(LimitTable, S29_AllOfThePathIsTakenOrNone) {
  LimitTable table;
  const Rule wide = rule("1000 tokens/min");
  const Rule narrow = rule("50 tokens/min");
  const Refusal refusal =
      refused(table, {{"account:a", wide, 60}, {"key:k", narrow, 60}, {"a", Slots{1}, 1}}, at(0s));
  EXPECT_EQ(refusal.cause, Cause::never);
  EXPECT_EQ(refusal.id, "key:k");
  EXPECT_EQ(tokens_left(table, "account:a", wide, at(0s)), 1000);
  EXPECT_TRUE(reserved(table, {{"account:a", wide, 50}, {"key:k", narrow, 50}, {"a", Slots{1}, 1}}, at(0s)));
  EXPECT_EQ(tokens_left(table, "account:a", wide, at(0s)), 950);
  EXPECT_EQ(table.stats().reservations, 1U);
}

TEST(LimitTable, B11_ARefusalNamesTheWorstLimitItsWaitAndThePredictedCost) {
  LimitTable table;
  const std::vector<Want> path = {{"account:a", rule("60/min burst 1"), 1},
                                  {"account:a", rule("600 tokens/min"), 500},
                                  {"key:k", rule("0.01 usd/day"), 9'000}};
  const auto first = reserved(table, path, at(0s));
  ASSERT_TRUE(first);
  ASSERT_EQ(table.settle(*first, {500, 9'000}, at(0s)), Ending::done);
  const Refusal refusal = refused(table, path, at(0s));
  EXPECT_EQ(refusal.cause, Cause::wait);
  EXPECT_EQ(refusal.id, "key:k");
  EXPECT_EQ(refusal.kind, Kind::money);
  EXPECT_EQ(refusal.predicted_cost, 9'000);
  EXPECT_EQ(refusal.retry_after, 86'400s * 8 / 10);
  EXPECT_EQ(refusal.view, (View{10'000, 1'000, 86'400s * 9 / 10}));
  EXPECT_EQ(refusal.headroom.tokens, (View{600, 100, 50s}));
  EXPECT_EQ(refusal.headroom.requests, (View{1, 0, 1s}));
  EXPECT_EQ(refusal.error().code, ErrorCode::budget_exceeded);
}

TEST(LimitTable, B11_SettleCorrectsTokensAndMoneyAndKeepsTheRequest) {
  LimitTable table;
  const Rule tokens = rule("1000 tokens/min");
  const std::vector<Want> path = {
      {"a", rule("10/min"), 1}, {"a", tokens, 800}, {"a", rule("1 usd/day"), 500'000}, {"a", Slots{1}, 1}};
  const auto reservation = reserved(table, path, at(0s));
  ASSERT_TRUE(reservation);
  EXPECT_EQ(refused(table, {{"a", Slots{1}, 1}}, at(0s)).retry_after, kBusyRetry);
  EXPECT_EQ(table.settle(*reservation, {100, 1'000}, at(0s)), Ending::done);
  EXPECT_EQ(tokens_left(table, "a", tokens, at(0s)), 900);
  EXPECT_EQ(table.look(path, at(0s)).requests, (View{10, 9, 6s}));
  EXPECT_TRUE(reserved(table, {{"a", rule("1 usd/day"), 999'000}, {"a", Slots{1}, 1}}, at(0s)));
}

TEST(LimitTable, B11_RefundGivesBackEverythingTheRequestToo) {
  LimitTable table;
  const std::vector<Want> path = {
      {"a", rule("10/min"), 1}, {"a", rule("1000 tokens/min"), 800}, {"a", Slots{1}, 1}};
  const auto reservation = reserved(table, path, at(0s));
  ASSERT_TRUE(reservation);
  EXPECT_EQ(table.refund(*reservation, at(0s)), Ending::done);
  EXPECT_EQ(table.look(path, at(0s)).requests, (View{10, 10, 0s}));
  EXPECT_EQ(table.look(path, at(0s)).tokens, (View{1000, 1000, 0s}));
}

TEST(LimitTable, AReservationEndsOnceAndWhoeverComesSecondIsTold) {
  LimitTable table;
  const Rule tokens = rule("1000 tokens/min");
  const auto first = reserved(table, {{"a", tokens, 400}}, at(0s));
  ASSERT_TRUE(first);
  EXPECT_EQ(table.settle(*first, {300, 0}, at(0s)), Ending::done);
  EXPECT_EQ(table.settle(*first, {300, 0}, at(0s)), Ending::gone);
  EXPECT_EQ(table.refund(*first, at(0s)), Ending::gone);
  EXPECT_EQ(tokens_left(table, "a", tokens, at(0s)), 700);
  const auto reuses_the_slot = reserved(table, {{"a", tokens, 100}}, at(0s));
  ASSERT_TRUE(reuses_the_slot);
  EXPECT_EQ(table.refund(*first, at(0s)), Ending::gone);
  EXPECT_EQ(table.refund(Reservation{}, at(0s)), Ending::gone);
  EXPECT_EQ(table.refund(Reservation{0xffff'ffff'ffff'ffff, 0s}, at(0s)), Ending::gone);
  EXPECT_EQ(tokens_left(table, "a", tokens, at(0s)), 600);
}

TEST(LimitTable, ALostReservationComesBackAtItsExpiryAndALateSettleIsTold) {
  LimitTable table({.reservation_ttl = 10s});
  const Rule tokens = rule("1000 tokens/min");
  const std::vector<Want> path = {{"a", rule("3/day"), 1}, {"a", tokens, 1000}, {"a", Slots{1}, 1}};
  const auto lost = reserved(table, path, at(0s));
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->expires_at, 10s);
  table.tick(at(10s - 1us));
  EXPECT_EQ(tokens_left(table, "a", tokens, at(10s - 1us)), 0);
  table.tick(at(10s));
  EXPECT_EQ(tokens_left(table, "a", tokens, at(10s)), 1000);
  EXPECT_EQ(table.settle(*lost, {5, 0}, at(11s)), Ending::gone);
  EXPECT_EQ(table.stats().expired, 1U);
  ASSERT_TRUE(reserved(table, path, at(11s)));
  EXPECT_EQ(refused(table, path, at(12s)).kind, Kind::tokens);
  EXPECT_TRUE(reserved(table, path, at(21s))) << "a refusal returns what is lost, without a tick";
  EXPECT_EQ(refused(table, path, at(31s)).kind, Kind::requests) << "requests stay charged";
}

class TheEndOfWhatExpired : public testing::TestWithParam<std::size_t> {};

TEST_P(TheEndOfWhatExpired, IsToldWithoutATickAndCountsNoMore) {
  LimitTable table({.reservation_ttl = 10s, .shards = GetParam()});
  const Rule tokens = rule("100 tokens/day");
  const auto early = reserved(table, {{"a", tokens, 40}}, at(0s));
  const auto later = reserved(table, {{"a", tokens, 30}}, at(5s));
  ASSERT_TRUE(early && later);
  EXPECT_EQ(table.settle(*early, {40, 0}, at(10s)), Ending::gone);
  EXPECT_EQ(tokens_left(table, "a", tokens, at(10s)), 70);
  EXPECT_EQ(table.settle(*later, {30, 0}, at(15s - 1us)), Ending::done);
  EXPECT_EQ(tokens_left(table, "a", tokens, at(15s)), 70);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(reserved(table, {{"b", tokens, 1}}, at(20s + i * 100ms)));
  const Want one{"b", tokens, 1};
  const auto outcome = table.charge({&one, 1}, at(32s));
  ASSERT_TRUE(std::holds_alternative<Headroom>(outcome));
  EXPECT_EQ(std::get<Headroom>(outcome).tokens->remaining, 100 - 29 - 1);  // those of 22.1 s to 24.9 s
  EXPECT_EQ(table.stats().expired, 22U);
  EXPECT_EQ(table.stats().reservations, 29U);
}

INSTANTIATE_TEST_SUITE_P(Shards, TheEndOfWhatExpired, testing::Values(1, 2, 16, 64));

TEST(LimitTable, TheSameBucketTwiceInOnePathCountsTwice) {
  LimitTable table;
  const Rule tokens = rule("100 tokens/min");
  EXPECT_FALSE(reserved(table, {{"a", tokens, 60}, {"a", tokens, 60}}, at(0s)));
  EXPECT_EQ(tokens_left(table, "a", tokens, at(0s)), 100);
  EXPECT_TRUE(reserved(table, {{"a", tokens, 50}, {"a", tokens, 50}}, at(0s)));
  EXPECT_EQ(tokens_left(table, "a", tokens, at(0s)), 0);
}

TEST(LimitTable, AReloadWithANewAmountKeepsWhatWasUsed) {
  LimitTable table;
  ASSERT_TRUE(charged(table, {"a", rule("100/min"), 80}, at(0s)));
  EXPECT_FALSE(charged(table, {"a", rule("50/min"), 1}, at(0s)));
  EXPECT_TRUE(charged(table, {"a", rule("200/min"), 120}, at(0s)));
  EXPECT_FALSE(charged(table, {"a", rule("200/min"), 1}, at(0s)));
}

TEST(LimitTable, TwoPeriodsOnOneNodeAreTwoLimits) {
  LimitTable table;
  for (int minute = 0; minute < 3; ++minute) {
    const std::vector<Want> path = {{"a", rule("10/min"), 10}, {"a", rule("25/day"), 10}};
    EXPECT_EQ(std::holds_alternative<Headroom>(table.charge(path, at(minute * 60s))), minute < 2);
  }
}

TEST(LimitTable, ConcurrencyIsAskedButNotTakenByACharge) {
  LimitTable table;
  EXPECT_TRUE(charged(table, {"a", Slots{1}, 1}, at(0s)));
  const auto call = reserved(table, {{"a", Slots{1}, 1}}, at(0s));
  ASSERT_TRUE(call);
  EXPECT_FALSE(charged(table, {"a", Slots{1}, 1}, at(0s)));
  EXPECT_EQ(table.refund(*call, at(0s)), Ending::done);
  EXPECT_TRUE(charged(table, {"a", Slots{1}, 1}, at(0s)));
}

TEST(LimitTable, S31_TooManyReservationsAreRefusedAsBusyAndTakeNothing) {
  LimitTable table({.max_reservations = 2, .shards = 1});
  const Rule tokens = rule("1000 tokens/min");
  const auto first = reserved(table, {{"a", tokens, 1}}, at(0s));
  ASSERT_TRUE(first);
  ASSERT_TRUE(reserved(table, {{"a", tokens, 1}}, at(0s)));
  EXPECT_EQ(refused(table, {{"a", tokens, 1}}, at(0s)).cause, Cause::busy);
  EXPECT_EQ(tokens_left(table, "a", tokens, at(0s)), 998);
  EXPECT_EQ(table.refund(*first, at(0s)), Ending::done);
  EXPECT_TRUE(reserved(table, {{"a", tokens, 1}}, at(0s)));
}

TEST(LimitTable, MoreWantsThanAPathCanHaveAreRefused) {
  LimitTable table;
  const std::vector<Want> path(kMaxWants + 1, Want{"a", rule("1000/min"), 1});
  EXPECT_EQ(refused(table, path, at(0s)).cause, Cause::busy);
  EXPECT_FALSE(table.look(path, at(0s)).requests);
}

TEST(LimitTable, LongIdsAreKeptApartAndShort) {
  LimitTable table;
  const std::string long_id(100'000, 'x');
  EXPECT_TRUE(charged(table, {long_id, rule("1/min"), 1}, at(0s)));
  EXPECT_FALSE(charged(table, {long_id, rule("1/min"), 1}, at(0s)));
  EXPECT_TRUE(charged(table, {long_id + "y", rule("1/min"), 1}, at(0s)));
  EXPECT_LT(table.snapshot(at(0s)).size(), 1'000U);
}

TEST(LimitTable, D22_AFullBucketGoesBeforeOneInDebtAndTheLeastIndebtedBeforeTheRest) {
  LimitTable table({.max_buckets = 3, .shards = 1});
  const Rule limit = rule("60/min");
  ASSERT_TRUE(charged(table, {"address:deep", limit, 60}, at(0s)));
  ASSERT_TRUE(charged(table, {"address:shallow", limit, 10}, at(0s)));
  ASSERT_TRUE(charged(table, {"address:once", limit, 1}, at(0s)));
  ASSERT_TRUE(charged(table, {"address:new", limit, 30}, at(1s)));  // once is full again by now
  EXPECT_EQ(table.stats().forgiven, 0U);
  ASSERT_TRUE(charged(table, {"address:next", limit, 40}, at(1s)));  // shallow owes least
  EXPECT_EQ(table.stats().forgiven, 1U);
  EXPECT_FALSE(charged(table, {"address:deep", limit, 60}, at(1s)));
  EXPECT_FALSE(charged(table, {"address:new", limit, 31}, at(1s)));
  EXPECT_EQ(table.stats().buckets, 3U);
}

TEST(LimitTable, S14_WhatClientsMakeUpGoesFirstAndDisplacesNothingElseInDebt) {
  LimitTable table({.max_buckets = 3, .shards = 1});
  const Rule limit = rule("60/min");
  ASSERT_TRUE(charged(table, {"account:a", limit, 1}, at(0s)));
  ASSERT_TRUE(charged(table, {"user:deep", limit, 60, true}, at(0s)));
  ASSERT_TRUE(charged(table, {"account:b", limit, 30}, at(0s)));
  ASSERT_TRUE(charged(table, {"account:c", limit, 30}, at(0s))) << "in place of the user, who owes most";
  EXPECT_EQ(table.stats().forgiven, 1U);
  EXPECT_EQ(refused(table, {{"user:new", limit, 1, true}}, at(0s)).cause, Cause::busy);
  ASSERT_TRUE(charged(table, {"user:new", limit, 60, true}, at(1s))) << "account:a is full again";
  ASSERT_TRUE(charged(table, {"user:other", limit, 60, true}, at(1s)));
  EXPECT_EQ(table.stats().forgiven, 2U);
  EXPECT_FALSE(charged(table, {"account:b", limit, 60}, at(1s)));
  EXPECT_FALSE(charged(table, {"account:c", limit, 60}, at(1s)));
  table.tick(at(10min));
  EXPECT_EQ(table.stats().buckets, 0U);
}

TEST(LimitTable, AFullBucketGoesBeforeASpareOneInDebt) {
  LimitTable table({.max_buckets = 2, .shards = 1});
  const Rule limit = rule("60/min");
  ASSERT_TRUE(charged(table, {"account:a", limit, 1}, at(0s)));
  ASSERT_TRUE(charged(table, {"user:deep", limit, 60, true}, at(0s)));
  ASSERT_TRUE(charged(table, {"account:b", limit, 1}, at(2s)));
  EXPECT_EQ(table.stats().forgiven, 0U);
  EXPECT_FALSE(charged(table, {"user:deep", limit, 60, true}, at(2s)));
}

TEST(LimitTable, B25_ASpareBucketIsSpareAfterARestartToo) {
  LimitTable before({.max_buckets = 2, .shards = 1});
  const Rule limit = rule("60/min");
  ASSERT_TRUE(charged(before, {"user:deep", limit, 60, true}, at(0s)));
  ASSERT_TRUE(charged(before, {"account:a", limit, 30}, at(0s)));
  LimitTable after({.max_buckets = 2, .shards = 1});
  ASSERT_TRUE(after.restore(before.snapshot(at(0s)), at(0s)));
  ASSERT_TRUE(charged(after, {"account:b", limit, 30}, at(0s)));
  EXPECT_FALSE(charged(after, {"account:a", limit, 60}, at(0s))) << "the user went";
}

TEST(LimitTable, ABucketWithAnOpenReservationIsNeverDropped) {
  LimitTable table({.max_buckets = 1, .shards = 1});
  const auto open = reserved(table, {{"a", Slots{1}, 1}}, at(0s));
  ASSERT_TRUE(open);
  EXPECT_EQ(refused(table, {{"b", Slots{1}, 1}}, at(0s)).cause, Cause::busy);
  table.tick(at(1s));
  EXPECT_EQ(refused(table, {{"a", Slots{1}, 1}}, at(1s)).cause, Cause::wait);
  ASSERT_EQ(table.refund(*open, at(1s)), Ending::done);
  EXPECT_TRUE(reserved(table, {{"b", Slots{1}, 1}}, at(1s)));
}

TEST(LimitTable, S14_AMillionAddressesStayWithinTheBoundAndTheWorstOneStaysRefused) {
  LimitTable table({.max_buckets = 4'096}, 7);
  const Rule limit = rule("60/min");
  ASSERT_TRUE(charged(table, {"address:attacker", limit, 60}, at(0s)));
  Duration now{0};
  for (int i = 0; i < 1'000'000; ++i) {
    const std::string id = "address:" + std::to_string(i);
    ASSERT_TRUE(charged(table, {id, limit, 1}, at(now)));
    if (i % 25'000 == 0) {
      ASSERT_LE(table.stats().buckets, 4'096U);
      now += 1s;
      ASSERT_FALSE(charged(table, {"address:attacker", limit, 2}, at(now)));
      (void)charged(table, {"address:attacker", limit, 1}, at(now));
    }
  }
  EXPECT_LE(table.stats().buckets, 4'096U);
  table.tick(at(now + 2min));
  EXPECT_EQ(table.stats().buckets, 0U) << "full buckets are dropped at no loss";
}

TEST(LimitTable, B25_StateSurvivesARestartLessWhatFlowedBackMeanwhile) {
  const Rule requests = rule("60/min");
  const Rule tokens = rule("600 tokens/min");
  LimitTable before;
  ASSERT_TRUE(charged(before, {"a", requests, 60}, at(100s)));
  ASSERT_TRUE(reserved(before, {{"a", tokens, 600}, {"a", Slots{1}, 1}}, at(100s)));
  const std::string bytes = before.snapshot(at(110s));
  LimitTable after;
  const Instant later{3s, at(130s).unix_time};  // a new boot: the monotonic axis began anew
  ASSERT_TRUE(after.restore(bytes, later));
  const std::vector<Want> path = {{"a", requests, 0}, {"a", tokens, 0}};
  EXPECT_EQ(after.look(path, later).requests, (View{60, 30, 30s}));
  EXPECT_EQ(after.look(path, later).tokens, (View{600, 200, 40s})) << "what was held counts as used";
  EXPECT_TRUE(reserved(after, {{"a", Slots{1}, 1}}, later)) << "calls end with their process";
}

TEST(LimitTable, B25_AWallClockThatWentBackForgivesNothingAndRestoringTwiceNeverForgives) {
  const Rule requests = rule("60/min");
  LimitTable before;
  ASSERT_TRUE(charged(before, {"a", requests, 20}, at(100s)));
  const std::string bytes = before.snapshot(at(100s));
  LimitTable after;
  const Instant earlier{0s, 0s};
  ASSERT_TRUE(after.restore(bytes, earlier));
  const Want want{"a", requests, 0};
  EXPECT_EQ(after.look({&want, 1}, earlier).requests->remaining, 40);
  ASSERT_TRUE(after.restore(bytes, earlier));
  EXPECT_EQ(after.look({&want, 1}, earlier).requests->remaining, 20);
}

TEST(LimitTable, B25_JunkIsRefusedWholeAndChangesNothing) {
  LimitTable table;
  ASSERT_TRUE(charged(table, {"a", rule("60/min"), 20}, at(0s)));
  std::string bytes = table.snapshot(at(0s));
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  const auto status = table.restore(bytes, at(0s));
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("checksum"), std::string::npos);
  EXPECT_EQ(table.stats().buckets, 1U);
}

// A tree of three nodes and one route, with plain arithmetic beside it: what is open, what was settled, no refill.
TEST(LimitTable, ARandomRunOfPathsAgreesWithPlainSums) {
  Random random(11);
  const Rule limit = *Rate::make(Kind::tokens, 1, kMaxPeriod, 10'000);  // within this run nothing flows back
  const std::array<std::string_view, 4> nodes = {"account:a", "account:a/b", "key:k", "route:r"};
  LimitTable table({.shards = 3}, 5);
  std::map<std::string_view, std::int64_t> used;
  struct Open {
    Reservation reservation;
    std::vector<Want> path;
  };
  std::vector<Open> open;
  for (int step = 0; step < 20'000; ++step) {
    if (open.empty() || random.below(2) == 0) {
      std::vector<Want> path;
      bool fits = true;
      const auto cost = static_cast<std::int64_t>(random.below(900));
      for (const auto node : nodes) {
        if (random.below(3) == 0) continue;
        path.push_back({node, limit, cost});
        fits = fits && used[node] + cost <= 10'000;
      }
      const auto reservation = reserved(table, path, at(0s));
      ASSERT_EQ(reservation.has_value(), fits) << step;
      if (!fits) continue;
      for (const Want& want : path) used[want.id] += cost;
      open.push_back({*reservation, path});
    } else {
      std::swap(open[static_cast<std::size_t>(random.below(open.size()))], open.back());
      // Settled at nothing most of the time, so that the run does not fill up.
      const auto actual = static_cast<std::int64_t>(random.below(8) == 0 ? random.below(20) : 0);
      ASSERT_EQ(table.settle(open.back().reservation, {actual, 0}, at(0s)), Ending::done);
      for (const Want& want : open.back().path) used[want.id] += actual - want.cost;
      open.pop_back();
    }
    for (const auto node : nodes) {
      ASSERT_EQ(tokens_left(table, node, limit, at(0s)), std::max<std::int64_t>(0, 10'000 - used[node]))
          << step;
    }
  }
}

TEST(LimitTable, B11_AReleaseUsesWhatWasReserved) {
  LimitTable table;
  const Rule tokens = rule("100 tokens/min");
  const auto reservation = reserved(table, {{"a", tokens, 60}, {"a", Slots{1}, 1}}, at(0s));
  EXPECT_EQ(table.release(*reservation, at(0s)), Ending::done);
  EXPECT_EQ(table.release(*reservation, at(0s)), Ending::gone);
  EXPECT_EQ(tokens_left(table, "a", tokens, at(0s)), 40);
  EXPECT_EQ(tokens_left(table, "a", tokens, at(60s)), 100);
  EXPECT_TRUE(reserved(table, {{"a", tokens, 1}, {"a", Slots{1}, 1}}, at(0s)));
}

// take() is what reserve() and charge() are made of; what it tells is what they tell.
TEST(LimitTable, TakeTellsWhatReserveAndChargeTell) {
  const std::vector<Rule> rules = {rule("5/s"), rule("90/min burst 7"), rule("40 tokens/min"), Slots{3},
                                   rule("0.001 usd/day")};
  Random random(7);
  LimitTable quick({.max_buckets = 12, .max_reservations = 6, .shards = 1});
  LimitTable plain({.max_buckets = 12, .max_reservations = 6, .shards = 1});
  Duration now{0};
  std::vector<std::pair<Reservation, Reservation>> open;
  for (int step = 0; step < 20'000; ++step) {
    now += Duration{static_cast<std::int64_t>(random.below(400'000))};
    const std::string id(1, static_cast<char>('a' + random.below(4)));
    std::vector<Want> path;
    for (const Rule& of : rules)
      if (random.below(2) == 0) path.push_back({id, of, static_cast<std::int64_t>(random.below(9))});
    std::array<Int128, kMaxWants> used;
    if (!open.empty() && random.below(2) == 0) {
      const auto [one, other] = open.back();
      open.pop_back();
      ASSERT_EQ(quick.settle(one, {3, 90}, at(now)), plain.settle(other, {3, 90}, at(now)));
    }
    const Mode mode = random.below(2) == 0 ? Mode::reserve : Mode::charge;
    const Taken taken = quick.take(path, mode, at(now), used);
    Headroom headroom;
    if (mode == Mode::reserve) {
      const auto outcome = plain.reserve(path, at(now));
      const Grant* grant = std::get_if<Grant>(&outcome);
      ASSERT_EQ(taken.passed, grant != nullptr);
      headroom = grant != nullptr ? grant->headroom : std::get<Refusal>(outcome).headroom;
      if (grant != nullptr) open.emplace_back(taken.reservation, grant->reservation);
      if (grant == nullptr) {
        ASSERT_EQ(taken.retry_after, std::get<Refusal>(outcome).retry_after);
        ASSERT_EQ(taken.cause, std::get<Refusal>(outcome).cause);
      }
    } else {
      const auto outcome = plain.charge(path, at(now));
      const Headroom* passed = std::get_if<Headroom>(&outcome);
      ASSERT_EQ(taken.passed, passed != nullptr);
      headroom = passed != nullptr ? *passed : std::get<Refusal>(outcome).headroom;
    }
    Headroom mine;
    for (std::size_t i = 0; taken.visited && i < path.size(); ++i)
      mine.note(kind_of(path[i].rule), view_of(path[i].rule, used[i]));
    ASSERT_EQ(mine.requests, headroom.requests) << step;
    ASSERT_EQ(mine.tokens, headroom.tokens) << step;
    ASSERT_EQ(quick.stats().buckets, plain.stats().buckets);
    ASSERT_EQ(quick.stats().forgiven, plain.stats().forgiven);
  }
}

}  // namespace
}  // namespace sentinel::limit
