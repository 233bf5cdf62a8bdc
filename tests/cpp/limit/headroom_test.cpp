#include "sentinel/limit/headroom.hpp"

#include <gtest/gtest.h>

#include "sentinel/limit/refusal.hpp"

namespace sentinel::limit {
namespace {

using namespace std::chrono_literals;

TEST(Headroom, ShowsTheTightestPerKind) {
  Headroom headroom;
  headroom.note(Kind::requests, {100, 40, 36s});
  headroom.note(Kind::requests, {600, 7, 1s});
  headroom.note(Kind::requests, {600, 7, 9s});
  headroom.note(Kind::money, {1, 0, 1h});
  EXPECT_EQ(headroom.requests, (View{600, 7, 9s}));
  EXPECT_FALSE(headroom.tokens);
  Headroom later;
  later.note(Kind::requests, {10, 8, 1s});
  later.note(Kind::tokens, {1000, 3, 2s});
  headroom.note(later);
  EXPECT_EQ(headroom.requests, (View{600, 7, 9s}));
  EXPECT_EQ(headroom.tokens, (View{1000, 3, 2s}));
}

TEST(Durations, AreWrittenAsOpenAiWritesThem) {
  EXPECT_EQ(format_duration(0s), "0s");
  EXPECT_EQ(format_duration(-1s), "0s");
  EXPECT_EQ(format_duration(1us), "1ms");
  EXPECT_EQ(format_duration(12ms), "12ms");
  EXPECT_EQ(format_duration(999'001us), "1s");
  EXPECT_EQ(format_duration(1s), "1s");
  EXPECT_EQ(format_duration(8'640ms), "8.64s");
  EXPECT_EQ(format_duration(1'061ms), "1.061s");
  EXPECT_EQ(format_duration(6min), "6m0s");
  EXPECT_EQ(format_duration(72'500ms), "1m12.5s");
  EXPECT_EQ(format_duration(1h), "1h0m0s");
  EXPECT_EQ(format_duration(1h + 2min + 3s), "1h2m3s");
  EXPECT_EQ(format_duration(25h), "25h0m0s");
}

TEST(RetryAfter, IsWholeSecondsNeverTooEarlyAndNeverZero) {
  EXPECT_EQ(retry_after_seconds(0s), 1);
  EXPECT_EQ(retry_after_seconds(600ms), 1);
  EXPECT_EQ(retry_after_seconds(1s), 1);
  EXPECT_EQ(retry_after_seconds(1s + 1us), 2);
}

TEST(Refusals, B11_SayTheLimitTheWaitAndThePredictedCost) {
  const Refusal tokens{Cause::wait, "account:acme", Kind::tokens, {20'000, 120, 59s}, 1'524, 4'212ms, {}};
  EXPECT_EQ(tokens.error().code, ErrorCode::rate_limit_exceeded);
  EXPECT_EQ(tokens.error().message,
            "Limit of tokens reached on account:acme: this call needs up to 1524 tokens, 120 tokens of 20000 "
            "tokens "
            "left. Try again in 4.212s.");
  const Refusal money{Cause::never, "key:ci", Kind::money, {1'000'000, 1'000'000, 0s}, 1'250'001, 0s, {}};
  EXPECT_EQ(money.error().code, ErrorCode::budget_exceeded);
  EXPECT_EQ(money.error().message,
            "Limit of money reached on key:ci: this call needs up to 1.250001 USD, but at most 1.00 USD may "
            "ever pass "
            "at once. Ask for less.");
  Refusal busy;
  busy.cause = Cause::busy;
  EXPECT_EQ(busy.error().code, ErrorCode::overloaded);
}

}  // namespace
}  // namespace sentinel::limit
