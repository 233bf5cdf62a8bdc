// Random lives of a flight. The loop of the fixture checks every command (bytes, order, credit, one finish,
// one settle); here a plain model foretells who may join, who is read for, who is too slow and who leads.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "resilience/flight_fixture.hpp"
#include "sentinel/base/random.hpp"

namespace sentinel::resilience {
namespace {

struct Seen {
  std::array<std::uint64_t, 3> finishes{};  // by FinishReason
  std::array<std::uint64_t, 4> settles{};   // by SettleReason
  std::uint64_t hand_overs = 0;
  std::uint64_t refused_joins = 0;
  std::uint64_t revivals = 0;
};

FlightSettings random_settings(Random& random) {
  FlightSettings settings;
  settings.replay_bytes = random.below(400);
  settings.credit_bytes = 1 + random.below(120);
  settings.on_abort = random.below(2) == 0 ? OnAbort::cancel : OnAbort::drain;
  settings.drain_bytes = random.below(200);
  settings.drain_time = Duration{static_cast<std::int64_t>(1 + random.below(50))};
  return settings;
}

class Life {
 public:
  Life(std::uint64_t seed, Seen& seen)
      : random_(seed),
        settings_(random_settings(random_)),
        form_(random_.below(3) == 0 ? FlightForm::plain : FlightForm::stream),
        loop_(form_, settings_),
        seen_(seen) {}

  void run() {
    join();
    const std::uint64_t leaving = random_.below(12);
    for (int step = 0; step < 300 && !::testing::Test::HasFailure(); ++step) {
      const std::uint64_t choice = random_.below(100);
      if (choice < 8) {
        join();
      } else if (choice < 8 + leaving) {
        leave();
      } else if (choice < 50) {
        send();
      } else if (choice < 97) {
        consume();
      } else if (choice < 98) {
        tick();
      } else if (random_.below(5) == 0) {
        random_.below(2) == 0 ? loop_.end() : loop_.fail();
        over_ = begun_;  // before the first consumer there is no call
      }
      check();
    }
    wind_up();
  }

 private:
  std::vector<ConsumerId> present() {
    std::vector<ConsumerId> ids;
    for (const auto& [id, client] : loop_.clients()) {
      if (client.present()) ids.push_back(id);
    }
    return ids;
  }
  std::uint64_t fastest() {
    std::uint64_t most = 0;
    for (const ConsumerId id : present()) most = std::max(most, loop_.client(id).consumed);
    return most;
  }
  std::uint64_t received() { return loop_.flight().received_bytes(); }

  void join() {
    const FlightForm wanted = random_.below(2) == 0 ? FlightForm::plain : FlightForm::stream;
    const bool fits = wanted == FlightForm::plain || form_ == FlightForm::stream;
    const bool expected = fits && !over_ && received() <= settings_.replay_bytes;
    const bool draining = draining_;
    const bool joined = loop_.join(wanted).has_value();
    EXPECT_EQ(joined, expected);
    if (!joined) ++seen_.refused_joins;
    if (joined && draining) ++seen_.revivals;
    if (joined) draining_ = false;
    begun_ = begun_ || joined;
  }
  void leave() {
    const auto ids = present();
    if (ids.empty()) return;
    loop_.leave(ids[random_.below(ids.size())]);
    if (over_ || ids.size() > 1) return;
    if (settings_.on_abort == OnAbort::cancel) {
      over_ = true;
    } else {
      draining_ = true;
      drained_ = 0;
      drain_until_ = now_ + settings_.drain_time;
    }
  }
  void send() {
    // Mostly only when asked; at times what was under way when reading stopped.
    if (over_ || !begun_ || (!loop_.reading() && random_.below(10) != 0)) return;
    const std::uint64_t size = 1 + random_.below(60);
    std::vector<ConsumerId> slow;
    const std::uint64_t after = received() + size;
    for (const ConsumerId id : present()) {
      const std::uint64_t consumed = loop_.client(id).consumed;
      if (after - consumed > settings_.replay_bytes && consumed < fastest()) slow.push_back(id);
    }
    const auto before = present();
    loop_.send(size);
    for (const ConsumerId id : before) {
      const bool expected = std::find(slow.begin(), slow.end(), id) != slow.end();
      EXPECT_EQ(loop_.client(id).finish == FinishReason::slow_reader, expected) << "consumer " << id;
    }
    drained_ += size;
    if (draining_ && drained_ > settings_.drain_bytes) over_ = true;
  }
  void consume() {
    const auto ids = present();
    if (ids.empty()) return;
    const ConsumerId id = ids[random_.below(ids.size())];
    if (id % 4 == 0 && random_.below(8) != 0) return;  // every fourth is slow
    const std::uint64_t waiting = loop_.client(id).received - loop_.client(id).consumed;
    loop_.consume(id, random_.below(waiting + 1));
  }
  void tick() {
    now_ += Duration{static_cast<std::int64_t>(random_.below(40))};
    loop_.tick(now_);
    if (draining_ && now_ >= drain_until_) over_ = true;
  }

  void check() {
    const auto ids = present();
    Flight& flight = loop_.flight();
    EXPECT_EQ(flight.upstream_over(), over_);
    EXPECT_EQ(loop_.settled().has_value(), over_);
    EXPECT_EQ(flight.consumers(), ids.size());
    EXPECT_EQ(flight.finished(), over_ && ids.empty());
    if (!ids.empty()) {
      EXPECT_EQ(flight.leader(), ids.front()) << "the oldest leads";
      if (!over_ && loop_.told_leader() != ids.front())
        ADD_FAILURE() << "the loop was not told of the leader";
    }
    if (over_ || !begun_) return;
    const bool wanted = draining_ || (!ids.empty() && received() - fastest() < settings_.credit_bytes);
    EXPECT_EQ(loop_.reading(), wanted);
    for (const ConsumerId id : ids) {
      const auto& client = loop_.client(id);
      EXPECT_EQ(client.received, std::min(received(), client.consumed + settings_.credit_bytes));
    }
  }

  // Ends the call, lets everybody read to the end, and counts.
  void wind_up() {
    if (begun_ && !over_) loop_.end();
    for (const ConsumerId id : present()) loop_.consume_all(id);
    if (!begun_) return;
    ASSERT_TRUE(loop_.settled().has_value());
    EXPECT_TRUE(loop_.flight().finished());
    ++seen_.settles[static_cast<std::size_t>(loop_.settled()->reason)];
    const bool cut = loop_.settled()->reason == SettleReason::cancelled ||
                     loop_.settled()->reason == SettleReason::drain_exceeded;
    EXPECT_EQ(loop_.cancelled(), cut ? 1 : 0);
    for (const auto& [id, client] : loop_.clients()) {
      EXPECT_NE(client.left, client.finish.has_value());
      if (!client.finish) continue;
      ++seen_.finishes[static_cast<std::size_t>(*client.finish)];
      if (*client.finish == FinishReason::slow_reader) continue;
      EXPECT_EQ(client.received, received());
    }
    if (loop_.told_leader() != loop_.clients().begin()->first) ++seen_.hand_overs;
    loop_.tick(now_);
    EXPECT_EQ(loop_.flight().held_bytes(), 0U) << "nothing is held for nobody";
  }

  Random random_;
  FlightSettings settings_;
  FlightForm form_;
  FlightLoop loop_;
  Seen& seen_;
  bool begun_ = false;
  bool over_ = false;
  bool draining_ = false;
  std::uint64_t drained_ = 0;
  Duration drain_until_{0};
  Duration now_{0};
};

TEST(FlightProperty, S27EveryRemainingConsumerSeesEveryByteAndOneFinishAndTheCallSettlesOnce) {
  Seen seen;
  for (std::uint64_t seed = 1; seed <= 4000 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Life(seed, seen).run();
  }
  for (const std::uint64_t count : seen.finishes) EXPECT_GT(count, 100U) << "every way to end must be met";
  for (const std::uint64_t count : seen.settles) EXPECT_GT(count, 50U);
  EXPECT_GT(seen.hand_overs, 100U);
  EXPECT_GT(seen.refused_joins, 100U);
  EXPECT_GT(seen.revivals, 50U);
}

}  // namespace
}  // namespace sentinel::resilience
