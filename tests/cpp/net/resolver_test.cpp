#include "sentinel/net/resolver.hpp"

#include <gtest/gtest.h>

#include "sentinel/base/clock.hpp"
#include "sentinel/net/loop.hpp"

namespace sentinel::net {
namespace {

using std::chrono::seconds;

const asio::ip::address kFirst = asio::ip::make_address("192.0.2.1");

struct ResolverTest : ::testing::Test {
  ManualClock clock;
  Loop loop{clock};
  Resolver resolver{loop};
};

TEST_F(ResolverTest, AnAddressWrittenAsTextIsItsOwnAnswer) {
  const auto lookup = resolver.look_up("::ffff:127.0.0.1");
  EXPECT_TRUE(lookup->done);
  ASSERT_EQ(lookup->addresses.size(), 1U);
  EXPECT_TRUE(lookup->addresses[0].is_v6());
}

TEST_F(ResolverTest, AnAnswerIsKeptForThirtySeconds) {
  resolver.remember("a.example", {kFirst});
  clock.advance(seconds{30} - Duration{1});
  EXPECT_TRUE(resolver.look_up("a.example")->done);
  clock.advance(Duration{1});
  EXPECT_FALSE(resolver.look_up("a.example")->done) << "asked again";
}

TEST_F(ResolverTest, LookUpsOfOneNameInFlightAreOneAndOpenEveryGate) {
  const auto first = resolver.look_up("localhost");
  EXPECT_FALSE(first->done);
  EXPECT_EQ(resolver.look_up("localhost"), first);
  Gate a(loop.executor());
  Gate b(loop.executor());
  first->waiting = {&a, &b};
  while (!first->done) loop.context().run_one();
  EXPECT_TRUE(a.is_open());
  EXPECT_TRUE(b.is_open());
  EXPECT_FALSE(first->addresses.empty()) << first->failure;
  EXPECT_EQ(resolver.look_up("localhost"), first) << "from the cache";
}

TEST_F(ResolverTest, FailuresAreToldAndNotRemembered) {
  const auto lookup = resolver.look_up("no-such-name.invalid");
  while (!lookup->done) loop.context().run_one();
  EXPECT_TRUE(lookup->addresses.empty());
  EXPECT_FALSE(lookup->failure.empty());
  EXPECT_NE(resolver.look_up("no-such-name.invalid"), lookup);
}

TEST(Resolver, MayGoWhileAnAnswerIsOnItsWay) {
  ManualClock clock;
  Loop loop(clock);
  std::shared_ptr<Lookup> lookup;
  {
    Resolver resolver(loop);
    lookup = resolver.look_up("localhost");
  }
  while (loop.context().run_one_for(std::chrono::milliseconds{100}) > 0) {
  }
  EXPECT_FALSE(lookup->done);
}

}  // namespace
}  // namespace sentinel::net
