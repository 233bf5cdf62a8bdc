#include "sentinel/resilience/credential_pool.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "resilience/moments.hpp"
#include "sentinel/base/random.hpp"

namespace sentinel::resilience {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

TEST(CredentialPool, TakesItsCredentialsInTurn) {
  CredentialPool pool(3, {});
  std::vector<std::size_t> chosen;
  for (int i = 0; i < 6; ++i) chosen.push_back(*pool.choose(at(seconds{0})).credential);
  EXPECT_EQ(chosen, (std::vector<std::size_t>{0, 1, 2, 0, 1, 2}));
}

TEST(CredentialPool, ARefusedCredentialRestsAsLongAsRetryAfterSays) {
  CredentialPool pool(2, {});
  pool.record_refusal(0, seconds{20}, at(seconds{0}));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(pool.choose(at(seconds{i})).credential, 1U);
  EXPECT_EQ(pool.resting(0, at(seconds{19})), seconds{1});
  EXPECT_EQ(pool.choose(at(seconds{20})).credential, 0U);
}

TEST(CredentialPool, WhenAllRestItTellsTheEarliestTime) {
  CredentialPool pool(3, {});
  pool.record_refusal(0, seconds{20}, at(seconds{0}));
  pool.record_refusal(1, seconds{7}, at(seconds{0}));
  pool.record_refusal(2, seconds{9}, at(seconds{0}));
  const CredentialChoice choice = pool.choose(at(seconds{2}));
  EXPECT_FALSE(choice.credential.has_value());
  EXPECT_EQ(choice.retry_after, seconds{5});
  EXPECT_EQ(pool.choose(at(seconds{7})).credential, 1U);
}

TEST(CredentialPool, WithoutRetryAfterTheRestDoublesUpToItsCapAndASuccessResetsIt) {
  CredentialPool pool(1, {seconds{1}, seconds{10}});
  Duration now{0};
  for (const seconds rest : {seconds{1}, seconds{2}, seconds{4}, seconds{8}, seconds{10}, seconds{10}}) {
    pool.record_refusal(0, std::nullopt, at(now));
    EXPECT_EQ(pool.choose(at(now)).retry_after, rest);
    now += rest;
  }
  pool.record_success(0);
  pool.record_refusal(0, std::nullopt, at(now));
  EXPECT_EQ(pool.choose(at(now)).retry_after, seconds{1});
}

TEST(CredentialPool, RefusalsOfCallsUnderWayTogetherDoubleOnce) {
  CredentialPool pool(1, {});
  for (int i = 0; i < 50; ++i) pool.record_refusal(0, std::nullopt, at(seconds{0}));
  EXPECT_EQ(pool.resting(0, at(seconds{0})), seconds{1});
}

TEST(CredentialPool, ALateSuccessEndsNoRestAndAShorterRetryAfterShortensNone) {
  CredentialPool pool(1, {});
  pool.record_refusal(0, seconds{20}, at(seconds{0}));
  pool.record_success(0);
  pool.record_refusal(0, seconds{1}, at(seconds{0}));
  EXPECT_EQ(pool.resting(0, at(seconds{0})), seconds{20});
}

TEST(CredentialPool, AnAbsurdRetryAfterIsCut) {
  CredentialPool pool(1, {});
  pool.record_refusal(0, hours{24 * 365 * 100}, at(seconds{0}));
  EXPECT_EQ(pool.resting(0, at(seconds{0})), minutes{5});
}

TEST(CredentialPool, NeverChoosesOneThatRestsAndIsFairToTheOthers) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Random random(seed);
    const std::size_t size = 1 + random.below(6);
    CredentialPool pool(size, {});
    std::vector<Duration> rests_until(size, Duration{0});
    Duration now{0};
    for (int step = 0; step < 300; ++step) {
      now += Duration{static_cast<std::int64_t>(random.below(1'000'000))};
      const CredentialChoice choice = pool.choose(at(now));
      const Duration earliest = *std::min_element(rests_until.begin(), rests_until.end());
      ASSERT_EQ(choice.credential.has_value(), earliest <= now);
      if (!choice.credential) {
        ASSERT_EQ(choice.retry_after, earliest - now);
        continue;
      }
      ASSERT_LE(rests_until[*choice.credential], now);
      if (random.below(2) == 0) continue;
      const Duration rest{static_cast<std::int64_t>(random.below(9'000'000))};
      pool.record_refusal(*choice.credential, rest, at(now));
      rests_until[*choice.credential] = now + rest;
    }
  }
}

}  // namespace
}  // namespace sentinel::resilience
