#include "sentinel/limit/rate.hpp"

#include <gtest/gtest.h>

#include <string>

#include "sentinel/base/utf8.hpp"

namespace sentinel::limit {
namespace {

using namespace std::chrono_literals;

struct Written {
  std::string text;
  Kind kind;
  std::int64_t amount;
  Duration period;
  std::int64_t burst;
};

class RatesThatAreTaken : public testing::TestWithParam<Written> {};

TEST_P(RatesThatAreTaken, MeanWhatTheySay) {
  const auto rate = Rate::parse(GetParam().text);
  ASSERT_TRUE(rate) << rate.error().message;
  EXPECT_EQ(rate->kind(), GetParam().kind);
  EXPECT_EQ(rate->amount(), GetParam().amount);
  EXPECT_EQ(rate->period(), GetParam().period);
  EXPECT_EQ(rate->burst(), GetParam().burst);
}

INSTANTIATE_TEST_SUITE_P(
    All, RatesThatAreTaken,
    testing::Values(Written{"100/min", Kind::requests, 100, 1min, 100},
                    Written{"60/s", Kind::requests, 60, 1s, 60},
                    Written{"100/min burst 20", Kind::requests, 100, 1min, 20},
                    Written{" 1 request / hour ", Kind::requests, 1, 1h, 1},
                    Written{"20000 tokens/min", Kind::tokens, 20000, 1min, 20000},
                    Written{"7 tokens/10s burst 9", Kind::tokens, 7, 10s, 9},
                    Written{"5 usd/day", Kind::money, 5'000'000, 24h, 5'000'000},
                    Written{"0.25 usd/hour burst 1.5", Kind::money, 250'000, 1h, 1'500'000},
                    Written{"0.000001 usd/366day", Kind::money, 1, 24h * 366, 1},
                    Written{"1000000000000000/s", Kind::requests, kMaxAmount, 1s, kMaxAmount}));

class RatesThatAreRefused : public testing::TestWithParam<std::string> {};

TEST_P(RatesThatAreRefused, AreQuotedInTheError) {
  const auto rate = Rate::parse(GetParam());
  ASSERT_FALSE(rate);
  EXPECT_EQ(rate.error().code, ErrorCode::invalid_request);
  EXPECT_NE(rate.error().message.find('"' + GetParam().substr(0, 80) + '"'), std::string::npos)
      << rate.error().message;
}

INSTANTIATE_TEST_SUITE_P(All, RatesThatAreRefused,
                         testing::Values("", "/", "100", "100/", "/min", "0/min", "-1/min", "100/min burst 0",
                                         "100/min burst -5", "100/min burst", "100/min burst 5 more",
                                         "1.5/min", "0 usd/day", "0.0000001 usd/day", "1. usd/day",
                                         ".usd/day", "1.2.3 usd/day", "100 apples/min", "100/m",
                                         "100/fortnight", "100/0s", "100/367day", "1000000000000001/s",
                                         "99999999999999999999999999/s", "1000000000.1 usd/day",
                                         "1/99999999999999999999min", "100 / min extra",
                                         "5 concurrency/min"));

TEST(Rate, QuotesNoHalfCharacter) {
  std::string text = "x";
  for (int i = 0; i < 60; ++i) text += "\u00e9";
  const auto rate = Rate::parse(text);
  ASSERT_FALSE(rate);
  EXPECT_TRUE(utf8::valid(rate.error().message)) << rate.error().message;
  EXPECT_NE(rate.error().message.find('"' + text.substr(0, 79) + '"'), std::string::npos);
}

TEST(Rate, OfNumbersRefusesWhatIsOutOfBoundsAndNamesIt) {
  for (const std::int64_t amount : {std::int64_t{0}, std::int64_t{-7}, kMaxAmount + 1}) {
    const auto rate = Rate::make(Kind::tokens, amount, 1min);
    ASSERT_FALSE(rate);
    EXPECT_NE(rate.error().message.find(std::to_string(amount)), std::string::npos);
  }
  EXPECT_FALSE(Rate::make(Kind::tokens, 1, 1min, 0));
  EXPECT_FALSE(Rate::make(Kind::tokens, 1, 0s));
  EXPECT_FALSE(Rate::make(Kind::tokens, 1, kMaxPeriod + Duration{1}));
  EXPECT_FALSE(Rate::make(Kind::concurrency, 1, 1s));
}

}  // namespace
}  // namespace sentinel::limit
