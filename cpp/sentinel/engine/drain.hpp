// Stopping in order, as a state machine: (state, event, now) -> state; the runtime carries it out.
//
//   serving --begin--> announced (not ready, still serving, Connection: close) --delay--> refusing (503, in-flight ones
//   finish) --timeout--> aborting (an error event for the rest) --idle--> stopped; idle ends refusing and aborting.
//
// Contract: states only move forward; a second `begin` changes nothing. Thread rule: one owner.
#pragma once

#include <cstdint>

#include "sentinel/base/clock.hpp"

namespace sentinel::engine {

enum class DrainState : std::uint8_t { serving, announced, refusing, aborting, stopped };

class Drain {
 public:
  Drain(Duration delay, Duration timeout) : delay_(delay), timeout_(timeout) {}

  DrainState state() const { return state_; }

  void begin(Duration now) {
    if (state_ != DrainState::serving) return;
    state_ = DrainState::announced;
    next_ = now + delay_;
  }

  // When to call advance next if nothing else happens.
  Duration next(Duration now) const { return next_ > now ? next_ : now + std::chrono::seconds{1}; }

  // Call when time passes or the number in flight changes, and again until nothing changes: each call takes one step,
  // so that `idle` can be looked at after the step before it is in force.
  DrainState advance(Duration now, bool idle) {
    if (state_ == DrainState::announced && now >= next_) {
      state_ = DrainState::refusing;
      next_ += timeout_;
    } else if (state_ >= DrainState::refusing && idle) {
      state_ = DrainState::stopped;
    } else if (state_ == DrainState::refusing && now >= next_) {
      state_ = DrainState::aborting;
    }
    return state_;
  }

 private:
  const Duration delay_;
  const Duration timeout_;
  DrainState state_ = DrainState::serving;
  Duration next_{0};
};

}  // namespace sentinel::engine
