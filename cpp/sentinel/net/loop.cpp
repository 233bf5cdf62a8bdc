#include "sentinel/net/loop.hpp"

#include <pthread.h>

#include <algorithm>
#include <csignal>

namespace sentinel::net {
namespace {

// Signals belong to the process's main thread (Python's); a write to a closed socket must not raise one
// either.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

[[noreturn]] void terminate_on(const std::exception_ptr& thrown) {
  std::rethrow_exception(thrown);  // out of a noexcept frame: names the exception, then terminates
}

}  // namespace

Loop::Loop(const Clock& clock)
    : clock_(clock),
      self_ticking_(dynamic_cast<const ManualClock*>(&clock) == nullptr),
      keep_running_(context_.get_executor()),
      real_timer_(context_.get_executor()) {
  wheel_.tick(now());  // start the wheel at the clock's now
  if (!self_ticking_) return;
  wheel_.on_set(
      [](void* self, Duration deadline) {
        Loop& loop = *static_cast<Loop*>(self);
        if (!loop.armed_for_ || deadline + loop.wheel_.granularity() < *loop.armed_for_) {
          loop.arm(deadline + loop.wheel_.granularity());
        }
      },
      this);
}

Loop::~Loop() = default;

void Loop::run() {
  const SignalsBlocked signals_blocked;
  context_.run();
}

void Loop::stop() { context_.stop(); }

void Loop::finish() {
  post([this] {
    finishing_ = true;
    keep_running_.reset();
    if (armed_for_) arm_for_next();
  });
}

void Loop::tick_now() {
  post([this] { wheel_.tick(now()); });
}

void Loop::spawn(Awaitable<void> work) {
  asio::co_spawn(context_, std::move(work), [](std::exception_ptr thrown) noexcept {
    if (thrown) terminate_on(thrown);
  });
}

void Loop::tick() {
  // What callbacks set is not armed one by one: the earliest of all may be a timer that nobody touches now.
  armed_for_ = Duration::min();
  wheel_.tick(now());
  arm_for_next();
}

void Loop::arm_for_next() {
  const std::optional<Duration> next = wheel_.next();
  if (!next) {
    real_timer_.cancel();
    armed_for_.reset();
    return;
  }
  // While the loop is ending, the last timers may be cancelled any moment, and nobody should wait for
  // nothing.
  const Duration soon = now() + wheel_.granularity();
  arm(finishing_ ? std::min(*next, soon) : *next);
}

void Loop::arm(Duration wake_at) {
  armed_for_ = wake_at;
  real_timer_.expires_after(std::max(wake_at - now(), Duration{0}));  // cancels the wait that was pending
  real_timer_.async_wait([this](const SocketError& error) {
    if (!error) tick();
  });
}

}  // namespace sentinel::net
