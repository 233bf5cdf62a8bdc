// One event loop: an io_context run by one thread, its timer wheel, and the clock both go by.
//
// Contract: everything that belongs to a loop is touched only on its thread; post() is the way in. On a
// ManualClock the loop makes no real timer at all: whoever advances the clock calls tick_now(). On any other
// clock one coarse real timer ticks the wheel; it is armed only while the wheel holds a timer.
// Ending: finish() lets run() return once no handler and no coroutine is left; stop() makes it return at
// once, and whatever is still suspended is destroyed with the loop, so objects those coroutines refer to
// must outlive the loop.
// Cost: now() reads the clock. A wheel set() re-arms the real timer only when it is due earlier than that.
// Thread rule: run() on the loop's thread, with every signal blocked; post, tick_now, stop, finish from any
// thread.
// Failure rule: an exception that leaves a posted function or a spawned coroutine is a broken promise
// (terminates).
#pragma once

#include <chrono>
#include <exception>
#include <optional>
#include <utility>

#include "sentinel/base/clock.hpp"
#include "sentinel/base/timer_wheel.hpp"
#include "sentinel/net/asio.hpp"

namespace sentinel::net {

class Loop {
 public:
  explicit Loop(const Clock& clock);
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop();

  Executor executor() { return context_.get_executor(); }
  asio::io_context& context() { return context_; }
  TimerWheel& timers() { return wheel_; }
  const Clock& clock() const { return clock_; }
  Duration now() const { return clock_.now().monotonic; }
  Instant instant() const { return clock_.now(); }

  void run();
  void stop();
  void finish();
  void tick_now();  // posts one tick of the wheel at the clock's now

  template <class Function>
  void post(Function&& function) {
    asio::post(context_, std::forward<Function>(function));
  }

  // Starts a coroutine on this loop; nobody waits for it.
  void spawn(Awaitable<void> work);

 private:
  using RealTimer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                               asio::wait_traits<std::chrono::steady_clock>, Executor>;

  void tick();
  void arm(Duration wake_at);
  void arm_for_next();

  const Clock& clock_;
  const bool self_ticking_;
  asio::io_context context_{1};
  asio::executor_work_guard<Executor> keep_running_;
  TimerWheel wheel_;
  RealTimer real_timer_;
  std::optional<Duration> armed_for_;
  bool finishing_ = false;
};

}  // namespace sentinel::net
