// A gate one coroutine can wait at until somebody opens it; it stays open until reset().
//
// Contract: at most one waiter at a time (assert). open() resumes the waiter from the loop, after the caller
// returned; open_here() resumes it before returning, and is only for code that is the last thing a handler
// does: the waiter may destroy the gate and whatever holds it. Waiting at an open gate goes on in the loop's
// next turn.
// Cost: no timer, no allocation of its own (the waiting coroutine is kept in place).
// Thread rule: the loop's thread only. Failure rule: none; destroying a gate that is waited at unwinds the
// waiter.
#pragma once

#include <cassert>
#include <optional>
#include <utility>

#include "sentinel/net/asio.hpp"

namespace sentinel::net {

class Gate {
 public:
  explicit Gate(Executor executor) : executor_(executor) {}
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  ~Gate();

  bool is_open() const { return open_; }
  bool has_waiter() const { return waiter_.has_value(); }
  void reset() { open_ = false; }

  void open();
  void open_here();

  Awaitable<void> wait() {
    return asio::async_initiate<const UseAwaitable, void()>(Start{}, use_awaitable, this);
  }

 private:
  using Resume = asio::async_result<UseAwaitable, void()>::handler_type;

  struct Waiter {
    Resume resume;
    asio::executor_work_guard<Executor> keeps_loop_running;
  };

  struct Start {
    void operator()(Resume&& resume, Gate* gate) const {
      assert(!gate->waiter_);
      if (gate->open_) {
        asio::post(gate->executor_, std::move(resume));
        return;
      }
      asio::executor_work_guard<Executor> work(gate->executor_);
      gate->waiter_.emplace(Waiter{std::move(resume), std::move(work)});
    }
  };

  Resume take();

  Executor executor_;
  std::optional<Waiter> waiter_;
  bool open_ = false;
};

}  // namespace sentinel::net
