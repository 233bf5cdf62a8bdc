#include "sentinel/resilience/flight.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "resilience/flight_fixture.hpp"

namespace sentinel::resilience {
namespace {

using std::chrono::seconds;

constexpr auto kPlain = FlightForm::plain;
constexpr auto kStream = FlightForm::stream;

FlightSettings tiny(OnAbort on_abort = OnAbort::cancel) {
  FlightSettings settings;
  settings.replay_bytes = 100;
  settings.credit_bytes = 20;
  settings.on_abort = on_abort;
  settings.drain_bytes = 50;
  settings.drain_time = seconds{30};
  return settings;
}

TEST(Flight, BeginsToReadWithItsLeaderAndNotBefore) {
  FlightLoop loop(kStream, tiny());
  EXPECT_FALSE(loop.flight().leader().has_value());
  EXPECT_FALSE(loop.reading());
  const ConsumerId leader = *loop.join(kStream);
  EXPECT_EQ(loop.flight().leader(), leader);
  EXPECT_TRUE(loop.reading());
}

TEST(Flight, APlainCallerMayFollowAStreamButAStreamingOneNeverAPlainCall) {
  FlightLoop stream(kStream, tiny());
  stream.join(kStream);
  EXPECT_TRUE(stream.join(kPlain).has_value());
  FlightLoop plain(kPlain, tiny());
  plain.join(kPlain);
  EXPECT_TRUE(plain.join(kPlain).has_value());
  EXPECT_FALSE(plain.join(kStream).has_value());
}

TEST(Flight, ALateJoinerIsReplayedFromTheFirstByte) {
  FlightLoop loop(kStream, tiny());
  const ConsumerId leader = *loop.join(kStream);
  loop.send(15);
  const ConsumerId late = *loop.join(kStream);
  EXPECT_EQ(loop.client(late).received, 15U);
  loop.consume_all(leader);
  loop.consume_all(late);
  loop.end();
  EXPECT_EQ(loop.client(leader).finish, FinishReason::done);
  EXPECT_EQ(loop.client(late).finish, FinishReason::done);
  EXPECT_EQ(loop.settled()->received_bytes, 15U);
  EXPECT_TRUE(loop.flight().finished());
}

TEST(Flight, TakesNoJoinerPastTheReplayBuffer) {
  FlightLoop loop(kStream, tiny());
  const ConsumerId leader = *loop.join(kStream);
  for (int i = 0; i < 10; ++i) {
    loop.send(10);
    loop.consume_all(leader);
  }
  EXPECT_TRUE(loop.flight().joinable(kStream)) << "exactly full is still whole";
  loop.send(1);
  EXPECT_FALSE(loop.join(kStream).has_value());
}

TEST(Flight, TakesNoJoinerOnceTheCallIsOver) {
  FlightLoop loop(kStream, tiny());
  loop.join(kStream);
  loop.end();
  EXPECT_FALSE(loop.join(kStream).has_value());
}

TEST(Flight, ReadsAtTheFastestConsumersPace) {
  FlightLoop loop(kStream, tiny());
  loop.join(kStream);
  const ConsumerId fast = *loop.join(kStream);
  loop.send(19);
  EXPECT_TRUE(loop.reading());
  loop.send(1);
  EXPECT_FALSE(loop.reading()) << "nobody has credit left";
  loop.consume(fast, 1);
  EXPECT_TRUE(loop.reading()) << "the fastest goes on, whatever the other does";
}

TEST(Flight, WhenTheFastestLeavesReadingWaitsForTheNextFastest) {
  FlightLoop loop(kStream, tiny());
  const ConsumerId slow = *loop.join(kStream);
  const ConsumerId fast = *loop.join(kStream);
  loop.send(20);
  loop.consume(fast, 20);
  loop.send(15);
  EXPECT_TRUE(loop.reading());
  loop.leave(fast);
  EXPECT_FALSE(loop.reading());
  loop.consume(slow, 16);
  EXPECT_TRUE(loop.reading());
}

TEST(Flight, AConsumerTooFarBehindEndsWithSlowReaderAndTheOthersGoOn) {
  FlightLoop loop(kStream, tiny());
  const ConsumerId slow = *loop.join(kStream);  // it leads, which does not spare it
  const ConsumerId fast = *loop.join(kStream);
  for (int i = 0; i < 10; ++i) {
    loop.send(10);
    loop.consume_all(fast);
  }
  EXPECT_TRUE(loop.client(slow).present()) << "100 behind is just within the buffer";
  loop.send(1);
  EXPECT_EQ(loop.client(slow).finish, FinishReason::slow_reader);
  EXPECT_EQ(loop.told_leader(), fast);
  loop.consume_all(fast);
  loop.end();
  EXPECT_EQ(loop.client(fast).finish, FinishReason::done);
  EXPECT_EQ(loop.client(fast).received, 101U);
}

TEST(Flight, TheOnlyConsumerIsNeverASlowReader) {
  FlightLoop loop(kStream, tiny());
  const ConsumerId only = *loop.join(kStream);
  loop.send(500);  // one chunk, larger than the whole buffer
  EXPECT_TRUE(loop.client(only).present());
  EXPECT_FALSE(loop.reading());
  loop.consume_all(only);
  loop.end();
  EXPECT_EQ(loop.client(only).received, 500U);
  EXPECT_EQ(loop.client(only).finish, FinishReason::done);
}

TEST(Flight, AConsumerGetsAtMostItsCreditAheadAndTheRestAsItConsumes) {
  FlightLoop loop(kStream, tiny());
  const ConsumerId one = *loop.join(kStream);
  loop.send(50);
  loop.end();
  EXPECT_EQ(loop.client(one).received, 20U);
  EXPECT_FALSE(loop.client(one).finish.has_value());
  loop.consume(one, 20);
  loop.consume(one, 20);
  EXPECT_EQ(loop.client(one).received, 50U);
  EXPECT_EQ(loop.client(one).finish, FinishReason::done);
}

TEST(Flight, S27AFollowersLeavingHurtsNobody) {
  FlightLoop loop(kStream, tiny());
  const ConsumerId leader = *loop.join(kStream);
  const ConsumerId follower = *loop.join(kPlain);
  loop.send(5);
  loop.leave(follower);
  loop.send(5);
  loop.end();
  EXPECT_EQ(loop.client(leader).finish, FinishReason::done);
  EXPECT_EQ(loop.cancelled(), 0);
}

TEST(Flight, S27TheLeadersLeavingHandsTheCallOverAndThePayerStays) {
  FlightLoop loop(kStream, tiny());
  const ConsumerId leader = *loop.join(kStream);
  const ConsumerId follower = *loop.join(kStream);
  loop.send(5);
  loop.leave(leader);
  EXPECT_EQ(loop.told_leader(), follower);
  EXPECT_EQ(loop.cancelled(), 0);
  loop.send(5);
  loop.end();
  EXPECT_EQ(loop.client(follower).received, 10U);
  EXPECT_EQ(loop.client(follower).finish, FinishReason::done);
  EXPECT_EQ(loop.settled()->payer, FlightLoop::kPayer);
}

TEST(Flight, TheLastOnesLeavingCancelsUpstreamAndSettlesOnce) {
  FlightLoop loop(kStream, tiny());
  const ConsumerId one = *loop.join(kStream);
  const ConsumerId two = *loop.join(kStream);
  loop.send(5);
  loop.leave(one);
  loop.leave(two);
  EXPECT_EQ(loop.cancelled(), 1);
  EXPECT_EQ(loop.settled()->reason, SettleReason::cancelled);
  EXPECT_TRUE(loop.settled()->abandoned);
  loop.leave(two);
  loop.send(5);
  loop.end();
  loop.fail();
  EXPECT_EQ(loop.cancelled(), 1);
  EXPECT_EQ(loop.settled()->received_bytes, 5U);
}

TEST(Flight, DrainReadsAnAbandonedCallToItsEnd) {
  FlightLoop loop(kStream, tiny(OnAbort::drain));
  const ConsumerId only = *loop.join(kStream);
  loop.send(20);
  EXPECT_FALSE(loop.reading());
  loop.leave(only);
  EXPECT_TRUE(loop.reading()) << "nobody has to keep up any more";
  loop.send(50);
  loop.end();
  EXPECT_EQ(loop.cancelled(), 0);
  EXPECT_EQ(loop.settled()->reason, SettleReason::done);
  EXPECT_TRUE(loop.settled()->abandoned);
}

TEST(Flight, DrainIsBoundedByBytes) {
  FlightLoop loop(kStream, tiny(OnAbort::drain));
  loop.leave(*loop.join(kStream));
  loop.send(50);
  EXPECT_EQ(loop.cancelled(), 0);
  loop.send(1);
  EXPECT_EQ(loop.cancelled(), 1);
  EXPECT_EQ(loop.settled()->reason, SettleReason::drain_exceeded);
}

TEST(Flight, DrainIsBoundedByTime) {
  FlightLoop loop(kStream, tiny(OnAbort::drain));
  const ConsumerId only = *loop.join(kStream);
  loop.tick(seconds{5});
  EXPECT_FALSE(loop.flight().deadline().has_value());
  loop.leave(only);
  EXPECT_EQ(loop.flight().deadline(), seconds{35});
  loop.tick(seconds{35} - Duration{1});
  EXPECT_EQ(loop.cancelled(), 0);
  loop.tick(seconds{35});
  EXPECT_EQ(loop.settled()->reason, SettleReason::drain_exceeded);
  EXPECT_FALSE(loop.flight().deadline().has_value());
}

TEST(Flight, AJoinerRevivesADrainingCallAndLeadsIt) {
  FlightLoop loop(kStream, tiny(OnAbort::drain));
  const ConsumerId first = *loop.join(kStream);
  loop.send(10);
  loop.leave(first);
  loop.send(40);
  const ConsumerId second = *loop.join(kStream);
  EXPECT_EQ(loop.told_leader(), second);
  EXPECT_FALSE(loop.reading()) << "50 bytes are ahead of it";
  loop.consume_all(second);
  loop.tick(seconds{100});
  EXPECT_EQ(loop.cancelled(), 0) << "the drain's deadline is gone";
  loop.end();
  EXPECT_EQ(loop.client(second).received, 50U);
  EXPECT_EQ(loop.client(second).finish, FinishReason::done);
  EXPECT_FALSE(loop.settled()->abandoned);
}

TEST(Flight, C5AFailureReachesEveryFollower) {
  FlightLoop loop(kStream, tiny());
  std::vector<ConsumerId> all;
  for (int i = 0; i < 100; ++i) all.push_back(*loop.join(i % 2 == 0 ? kStream : kPlain));
  loop.fail();
  for (const ConsumerId id : all) EXPECT_EQ(loop.client(id).finish, FinishReason::failed);
  EXPECT_EQ(loop.flight().failure()->code, ErrorCode::upstream_error);
  EXPECT_EQ(loop.settled()->reason, SettleReason::failed);
}

TEST(Flight, AFailureInTheMiddleComesAfterTheBytesBeforeIt) {
  FlightLoop loop(kStream, tiny());
  const ConsumerId slow = *loop.join(kStream);
  loop.send(30);
  loop.fail();
  EXPECT_FALSE(loop.client(slow).finish.has_value());
  loop.consume_all(slow);
  EXPECT_EQ(loop.client(slow).received, 30U);
  EXPECT_EQ(loop.client(slow).finish, FinishReason::failed);
}

TEST(Flight, ALeaverAfterTheEndNeitherCancelsNorSettlesAgain) {
  FlightLoop loop(kStream, tiny());
  const ConsumerId slow = *loop.join(kStream);
  loop.send(30);
  loop.end();
  loop.leave(slow);
  EXPECT_EQ(loop.cancelled(), 0);
  EXPECT_TRUE(loop.flight().finished());
}

TEST(Flight, HoldsTheBytesOnceHoweverManyFollow) {
  FlightLoop loop(kStream, FlightSettings{});
  for (int i = 0; i < 1000; ++i) loop.join(kStream);
  FlightCommands out;
  const Chunk chunk = std::make_shared<const std::string>(1000, byte_at(0));
  loop.flight().bytes(chunk, out);
  EXPECT_EQ(out.size(), 1000U);
  EXPECT_EQ(chunk.use_count(), 2) << "one here, one in the flight";
  EXPECT_EQ(loop.flight().slices(10, 20).front().bytes.data(), chunk->data() + 10) << "no copy";
}

TEST(Flight, ReleasesWhatEverybodyHasConsumedOnceNobodyMayJoin) {
  FlightLoop loop(kStream, tiny());
  const ConsumerId only = *loop.join(kStream);
  for (int i = 0; i < 1000; ++i) {
    loop.send(10);
    loop.consume_all(only);
    EXPECT_LE(loop.flight().held_bytes(), 110U);
  }
}

TEST(Flight, Of50FollowersTheTenSlowAndTheTwentyLeaversHurtNobody) {
  FlightSettings settings;
  settings.replay_bytes = 64 << 10;
  settings.credit_bytes = 8 << 10;
  FlightLoop loop(kStream, settings);
  std::vector<ConsumerId> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(*loop.join(i % 3 == 0 ? kPlain : kStream));
  const auto is_slow = [](std::size_t i) { return i % 5 == 0; };                // 10, the leader too
  const auto leaves = [&](std::size_t i) { return !is_slow(i) && i % 5 < 3; };  // 20
  for (std::size_t round = 0; round < 1000; ++round) {
    if (loop.reading()) loop.send(997);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (!loop.client(ids[i]).present()) continue;
      if (leaves(i) && round == 10 * i) {
        loop.leave(ids[i]);
      } else if (!is_slow(i)) {
        loop.consume_all(ids[i]);
      } else if (round % 100 == 0 && loop.client(ids[i]).received > loop.client(ids[i]).consumed) {
        loop.consume(ids[i], 1);
      }
    }
    ASSERT_LE(loop.flight().held_bytes(), settings.replay_bytes + 2 * 997);
  }
  loop.end();
  int done = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto& client = loop.client(ids[i]);
    if (is_slow(i)) {
      EXPECT_EQ(client.finish, FinishReason::slow_reader);
    } else if (!leaves(i)) {
      EXPECT_EQ(client.finish, FinishReason::done);
      EXPECT_EQ(client.received, 997'000U);
      ++done;
    }
  }
  EXPECT_EQ(done, 20);
  EXPECT_EQ(loop.settled()->reason, SettleReason::done);
  EXPECT_EQ(loop.cancelled(), 0);
}

}  // namespace
}  // namespace sentinel::resilience
