// Hashed timing wheel: every deadline of a loop in one place, moved forward only by tick(now).
//
// Scheme 6 of Varghese & Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987): a ring of slots, each
// `granularity` wide; a timer hangs in slot (deadline / granularity) mod slots, whatever lap it belongs to.
//
// Contract: tick(now) fires every timer whose deadline is <= now, earliest first (equal deadlines: in the
// order they were set); never one that is not due. A timer is disarmed before its callback runs, so a
// callback may set, cancel or destroy any timer, its own included. A timer set during a tick is looked at by
// the next tick, never by this one, so that a callback which re-arms itself in the past cannot hold the
// loop.
// Cost: set and cancel O(1), no allocation; tick O(slots passed + timers in them); next() O(slots / 64).
// Thread rule: one thread. Failure rule: none can fail; ticking from inside a callback is a broken promise
// (assert).
// It deliberately knows no clock and makes no real timer: the owner asks next() when to come back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "sentinel/base/clock.hpp"

namespace sentinel {

class TimerWheel;

namespace detail {
struct TimerLink {  // a node of a circular list; a lone node points to itself
  TimerLink* previous = this;
  TimerLink* next = this;
};
}  // namespace detail

// One deadline. Lives inside the object it guards; unlinks itself when destroyed.
class Timer : private detail::TimerLink {
 public:
  using Callback = void (*)(void* context);

  Timer(Callback callback, void* context) : callback_(callback), context_(context) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { cancel(); }

  void set(TimerWheel& wheel, Duration deadline);  // on the wheel's monotonic axis; moves it if already armed
  void cancel();
  bool armed() const { return wheel_ != nullptr; }
  Duration deadline() const { return deadline_; }  // of the last set()

 private:
  friend class TimerWheel;
  Callback callback_;
  void* context_;
  TimerWheel* wheel_ = nullptr;
  Duration deadline_{0};
  std::uint64_t order_ = 0;  // breaks ties between equal deadlines
  std::size_t slot_ = 0;
};

class TimerWheel {
 public:
  using SetHook = void (*)(void* context, Duration deadline);

  explicit TimerWheel(Duration granularity = std::chrono::milliseconds{8}, std::size_t slots = 2048);
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;
  ~TimerWheel();  // timers still armed are disarmed, not fired

  void tick(Duration now);

  // When tick should next be called so that no timer is more than one granularity late; nothing when no timer
  // is armed. It may be early by whole laps (a far deadline shares its slot with near ones); that tick fires
  // nothing.
  std::optional<Duration> next() const;

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  Duration granularity() const { return granularity_; }

  // Called on every set(), so that the owner of the one real timer can bring it forward.
  void on_set(SetHook hook, void* context) {
    set_hook_ = hook;
    set_hook_context_ = context;
  }

 private:
  friend class Timer;
  static constexpr std::size_t kDue = ~std::size_t{0};  // slot_ of a timer that waits in due_

  void insert(Timer& timer);
  void remove(Timer& timer);
  void collect(std::size_t slot, Duration now);
  void fire_due();
  std::uint64_t lap_tick(Duration at) const;

  const Duration granularity_;
  std::vector<detail::TimerLink> slots_;
  std::vector<std::uint64_t> occupied_;  // one bit per slot
  detail::TimerLink due_;                // what this tick fires, sorted
  std::vector<Timer*> collected_;        // scratch of tick
  std::uint64_t cursor_ = 0;             // the tick (time / granularity) reached so far
  std::uint64_t sets_ = 0;
  std::size_t size_ = 0;
  bool ticking_ = false;
  SetHook set_hook_ = nullptr;
  void* set_hook_context_ = nullptr;
};

}  // namespace sentinel
