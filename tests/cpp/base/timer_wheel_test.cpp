#include "sentinel/base/timer_wheel.hpp"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

namespace sentinel {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct Probe {
  explicit Probe(std::vector<int>& log_in, int id_in) : log(log_in), id(id_in) {}
  static void fired(void* self) {
    Probe& probe = *static_cast<Probe*>(self);
    probe.log.push_back(probe.id);
  }
  std::vector<int>& log;
  int id;
  Timer timer{&Probe::fired, this};
};

TEST(TimerWheel, FiresWhatIsDueAndNothingElse) {
  TimerWheel wheel;
  std::vector<int> log;
  Probe a(log, 1), b(log, 2), c(log, 3);
  a.timer.set(wheel, milliseconds{10});
  b.timer.set(wheel, milliseconds{11});
  c.timer.set(wheel, hours{1});
  wheel.tick(milliseconds{10} - Duration{1});
  EXPECT_TRUE(log.empty());
  wheel.tick(milliseconds{10});
  EXPECT_EQ(log, (std::vector<int>{1}));
  EXPECT_FALSE(a.timer.armed());
  EXPECT_TRUE(b.timer.armed());
  wheel.tick(hours{1});
  EXPECT_EQ(log, (std::vector<int>{1, 2, 3}));
  EXPECT_TRUE(wheel.empty());
}

TEST(TimerWheel, FiresInDeadlineOrderWithinOneTickAndTiesInSetOrder) {
  TimerWheel wheel(milliseconds{8}, 64);
  std::vector<int> log;
  Probe a(log, 1), b(log, 2), c(log, 3), d(log, 4);
  a.timer.set(wheel, seconds{9});
  b.timer.set(wheel, milliseconds{3});
  c.timer.set(wheel, milliseconds{2});
  d.timer.set(wheel, milliseconds{3});
  wheel.tick(seconds{10});
  EXPECT_EQ(log, (std::vector<int>{3, 2, 4, 1}));
}

TEST(TimerWheel, ATimerSetInThePastFiresAtTheNextTick) {
  TimerWheel wheel;
  wheel.tick(seconds{100});
  std::vector<int> log;
  Probe a(log, 1), b(log, 2);
  a.timer.set(wheel, seconds{1});
  b.timer.set(wheel, Duration{-5});
  wheel.tick(seconds{100});
  EXPECT_EQ(log, (std::vector<int>{2, 1}));
}

TEST(TimerWheel, SettingAgainMovesTheDeadline) {
  TimerWheel wheel;
  std::vector<int> log;
  Probe a(log, 1);
  a.timer.set(wheel, milliseconds{10});
  a.timer.set(wheel, milliseconds{500});
  EXPECT_EQ(wheel.size(), 1U);
  wheel.tick(milliseconds{499});
  EXPECT_TRUE(log.empty());
  wheel.tick(milliseconds{500});
  EXPECT_EQ(log.size(), 1U);
}

TEST(TimerWheel, ADestroyedTimerOrWheelLeavesNothingBehind) {
  std::vector<int> log;
  auto outlives = std::make_unique<Probe>(log, 1);
  {
    TimerWheel wheel;
    {
      Probe gone(log, 2);
      gone.timer.set(wheel, milliseconds{1});
    }
    EXPECT_TRUE(wheel.empty());
    EXPECT_FALSE(wheel.next().has_value());
    outlives->timer.set(wheel, milliseconds{1});
  }
  EXPECT_FALSE(outlives->timer.armed());
  EXPECT_TRUE(log.empty());
}

struct Rearming {
  explicit Rearming(TimerWheel& wheel_in) : wheel(wheel_in) {}
  static void fired(void* self) {
    Rearming& timer = *static_cast<Rearming*>(self);
    ++timer.count;
    timer.timer.set(timer.wheel, Duration{0});
  }
  TimerWheel& wheel;
  int count = 0;
  Timer timer{&Rearming::fired, this};
};

TEST(TimerWheel, ACallbackThatRearmsInThePastFiresOncePerTick) {
  TimerWheel wheel;
  Rearming timer(wheel);
  timer.timer.set(wheel, milliseconds{1});
  for (int i = 1; i <= 3; ++i) {
    wheel.tick(milliseconds{100});
    EXPECT_EQ(timer.count, i);
  }
}

struct Killer {  // destroys itself, and its victim too
  static void fired(void* self) {
    auto& owner = *static_cast<std::pair<std::unique_ptr<Killer>, std::unique_ptr<Probe>>*>(self);
    owner.second.reset();
    owner.first.reset();
  }
  explicit Killer(void* owner) : timer(&Killer::fired, owner) {}
  Timer timer;
};

TEST(TimerWheel, ACallbackMayDestroyItsOwnAndAnotherDueTimer) {
  TimerWheel wheel;
  std::vector<int> log;
  std::pair<std::unique_ptr<Killer>, std::unique_ptr<Probe>> owner;
  owner.first = std::make_unique<Killer>(&owner);
  owner.second = std::make_unique<Probe>(log, 1);
  owner.first->timer.set(wheel, milliseconds{1});
  owner.second->timer.set(wheel, milliseconds{2});
  wheel.tick(seconds{1});
  EXPECT_TRUE(log.empty());
  EXPECT_TRUE(wheel.empty());
}

TEST(TimerWheel, TickingAtNextIsNeverMoreThanOneGranularityLate) {
  const Duration granularity = milliseconds{8};
  TimerWheel wheel(granularity, 64);
  std::vector<int> log;
  for (const Duration deadline : {Duration{1}, Duration{7'999}, Duration{8'000}, Duration{511'999},
                                  Duration{512'000}, Duration{5'000'123}}) {
    log.clear();
    Probe probe(log, 1);
    const Duration start = *[&] {
      probe.timer.set(wheel, Duration{0});
      return wheel.next();
    }();
    wheel.tick(start);
    log.clear();
    probe.timer.set(wheel, start + deadline);
    Duration now = start;
    while (log.empty()) {
      ASSERT_TRUE(wheel.next().has_value());
      ASSERT_GT(*wheel.next(), now);
      now = *wheel.next();
      wheel.tick(now);
    }
    EXPECT_GE(now, start + deadline);
    EXPECT_LE(now, start + deadline + granularity);
  }
}

TEST(TimerWheel, ReportsEverySetToItsOwner) {
  TimerWheel wheel;
  Duration seen{0};
  wheel.on_set([](void* context, Duration deadline) { *static_cast<Duration*>(context) = deadline; }, &seen);
  std::vector<int> log;
  Probe a(log, 1);
  a.timer.set(wheel, seconds{3});
  EXPECT_EQ(seen, seconds{3});
}

// The property: the wheel behaves as a multimap ordered by deadline, whatever is set, moved, cancelled and
// ticked.
class TimerWheelModel : public ::testing::TestWithParam<unsigned> {};

TEST_P(TimerWheelModel, BehavesAsAnOrderedMultimap) {
  std::mt19937 random(GetParam());
  const auto below = [&random](unsigned n) { return static_cast<int>(random() % n); };
  TimerWheel wheel(milliseconds{1 + below(8)}, std::size_t{1} << (1 + below(8)));
  constexpr int kTimers = 40;
  std::vector<int> log;
  std::vector<std::unique_ptr<Probe>> probes;
  for (int id = 0; id < kTimers; ++id) probes.push_back(std::make_unique<Probe>(log, id));
  std::multimap<Duration, int> model;
  const auto forget = [&model](int id) {
    std::erase_if(model, [id](const auto& e) { return e.second == id; });
  };
  Duration now{below(1'000'000)};
  wheel.tick(now);
  for (int step = 0; step < 3'000; ++step) {
    const int id = below(kTimers);
    Probe& probe = *probes[static_cast<std::size_t>(id)];
    const int choice = below(10);
    if (choice < 5) {
      const Duration deadline = now + Duration{below(choice == 0 ? 20'000'000 : 200'000) - 5'000};
      forget(id);
      model.emplace(deadline, id);  // equal keys keep their order of insertion
      probe.timer.set(wheel, deadline);
    } else if (choice < 7) {
      forget(id);
      probe.timer.cancel();
    } else {
      now += Duration{below(choice == 9 ? 3'000'000 : 30'000)};
      std::vector<int> expected;
      while (!model.empty() && model.begin()->first <= now) {
        expected.push_back(model.begin()->second);
        model.erase(model.begin());
      }
      log.clear();
      wheel.tick(now);
      ASSERT_EQ(log, expected) << "step " << step;
    }
    ASSERT_EQ(wheel.size(), model.size());
    ASSERT_EQ(wheel.next().has_value(), !model.empty());
    if (!model.empty()) {
      const Duration earliest = std::max(model.begin()->first, now);
      ASSERT_LE(*wheel.next(), earliest + wheel.granularity());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, TimerWheelModel, ::testing::Range(1U, 25U));

}  // namespace
}  // namespace sentinel
