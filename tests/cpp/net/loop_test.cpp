#include "sentinel/net/loop.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <thread>
#include <vector>

#include "sentinel/net/gate.hpp"

namespace sentinel::net {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

void count(void* context) { ++*static_cast<int*>(context); }

TEST(Loop, OnAManualClockTimeStandsStillUntilTicked) {
  ManualClock clock;
  Loop loop(clock);
  int fired = 0;
  Timer timer(&count, &fired);
  timer.set(loop.timers(), milliseconds{5});
  loop.context().poll();
  EXPECT_EQ(fired, 0);
  clock.advance(milliseconds{5});
  loop.context().poll();
  EXPECT_EQ(fired, 0);
  loop.tick_now();
  loop.context().poll();
  EXPECT_EQ(fired, 1);
}

TEST(Loop, OnTheSystemClockItTicksItselfAndEndsWhenNothingIsLeft) {
  SystemClock clock;
  Loop loop(clock);
  int fired = 0;
  Timer far(&count, &fired);
  Timer near(&count, &fired);
  struct Both {
    Loop& loop;
    Timer& far;
    Timer near;
  };
  far.set(loop.timers(), loop.now() + hours{1});  // the real timer must be brought forward for the near one
  near.set(loop.timers(), loop.now() + milliseconds{1});
  struct Stop {
    static void now(void* context) { static_cast<Loop*>(context)->stop(); }
  };
  Timer stop(&Stop::now, &loop);
  stop.set(loop.timers(), loop.now() + milliseconds{20});
  loop.run();
  EXPECT_EQ(fired, 1);
}

// Sets itself far away whenever it fires, as a deadline does that has moved in the meantime.
struct Postponed {
  static void fire(void* context) {
    Postponed& self = *static_cast<Postponed*>(context);
    self.timer.set(self.loop.timers(), self.loop.now() + hours{1});
  }
  Loop& loop;
  Timer timer{&Postponed::fire, this};
};

TEST(Loop, ATimerSetAgainInATickHidesNoNearerOne) {
  SystemClock clock;
  Loop loop(clock);
  Postponed postponed{loop};
  struct Stop {
    static void now(void* context) { static_cast<Loop*>(context)->stop(); }
  };
  Timer stop(&Stop::now, &loop);
  postponed.timer.set(loop.timers(), loop.now() + milliseconds{2});
  stop.set(loop.timers(), loop.now() + milliseconds{20});
  loop.run();
  EXPECT_FALSE(stop.armed());
}

TEST(Loop, FinishReturnsOnceTheLastTimerIsGone) {
  SystemClock clock;
  Loop loop(clock);
  int fired = 0;
  Timer first(&count, &fired);
  Timer cancelled(&count, &fired);
  first.set(loop.timers(), loop.now() + milliseconds{1});
  cancelled.set(loop.timers(), loop.now() + hours{1});
  loop.post([&cancelled] { cancelled.cancel(); });
  loop.finish();
  loop.run();
  EXPECT_EQ(fired, 1);
}

TEST(Loop, PostsComeInFromAnyThreadAndSignalsStayOut) {
  SystemClock clock;
  Loop loop(clock);
  bool blocked = false;
  std::thread runner([&loop] { loop.run(); });
  loop.post([&blocked] {
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    blocked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGPIPE) == 1;
  });
  loop.finish();
  runner.join();
  EXPECT_TRUE(blocked);
}

struct Visitor {
  std::vector<int> seen;
};

Awaitable<void> visit(Gate& gate, Visitor& visitor, int id) {
  co_await gate.wait();
  visitor.seen.push_back(id);
}

TEST(Gate, HoldsTheWaiterUntilOpened) {
  ManualClock clock;
  Loop loop(clock);
  Gate gate(loop.executor());
  Visitor visitor;
  loop.spawn(visit(gate, visitor, 1));
  loop.context().poll();
  EXPECT_TRUE(gate.has_waiter());
  EXPECT_TRUE(visitor.seen.empty());
  gate.open();
  EXPECT_TRUE(visitor.seen.empty()) << "open() resumes nobody before it returns";
  loop.context().poll();
  EXPECT_EQ(visitor.seen, (std::vector<int>{1}));
}

TEST(Gate, StaysOpenUntilReset) {
  ManualClock clock;
  Loop loop(clock);
  Gate gate(loop.executor());
  Visitor visitor;
  gate.open();
  loop.spawn(visit(gate, visitor, 1));
  loop.context().poll();
  loop.spawn(visit(gate, visitor, 2));
  loop.context().poll();
  EXPECT_EQ(visitor.seen, (std::vector<int>{1, 2}));
  gate.reset();
  loop.spawn(visit(gate, visitor, 3));
  loop.context().poll();
  EXPECT_EQ(visitor.seen.size(), 2U);
  gate.open_here();
  EXPECT_EQ(visitor.seen.size(), 3U) << "open_here() resumes at once";
}

TEST(Gate, OpeningTwiceResumesOnce) {
  ManualClock clock;
  Loop loop(clock);
  Gate gate(loop.executor());
  Visitor visitor;
  loop.spawn(visit(gate, visitor, 1));
  loop.context().poll();
  gate.open();
  gate.open();
  loop.context().poll();
  EXPECT_EQ(visitor.seen.size(), 1U);
}

TEST(Gate, AWaiterKeepsAFinishingLoopRunning) {
  SystemClock clock;
  Loop loop(clock);
  Gate gate(loop.executor());
  Visitor visitor;
  loop.spawn(visit(gate, visitor, 1));
  loop.finish();
  struct Open {
    static void now(void* context) { static_cast<Gate*>(context)->open(); }
  };
  Timer timer(&Open::now, &gate);
  timer.set(loop.timers(), loop.now() + milliseconds{1});
  loop.run();
  EXPECT_EQ(visitor.seen.size(), 1U);
}

}  // namespace
}  // namespace sentinel::net
