// Time as a value: microseconds on a monotonic axis, and microseconds since 1970 for records.
//
// Contract: nothing in core reads a clock; the runtime hands `Instant`s in. ManualClock is the one test clock (shared
// by C++ tests and sentinel.testing); SystemClock is the one place that asks the operating system.
// Thread rule: both clocks may be read from any thread; ManualClock may be advanced from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace sentinel {

using Duration = std::chrono::microseconds;

struct Instant {
  Duration monotonic{0};  // deadlines, latencies; never goes back
  Duration unix_time{0};  // records, logs; may jump

  friend Duration operator-(const Instant& later, const Instant& earlier) {
    return later.monotonic - earlier.monotonic;
  }
};

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant now() const = 0;
};

class SystemClock final : public Clock {
 public:
  Instant now() const override {
    using std::chrono::duration_cast;
    return {duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()),
            duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch())};
  }
};

class ManualClock final : public Clock {
 public:
  explicit ManualClock(Duration unix_start = Duration{1'700'000'000'000'000}) : unix_start_(unix_start) {}
  Instant now() const override {
    const Duration elapsed{elapsed_us_.load(std::memory_order_acquire)};
    return {elapsed, unix_start_ + elapsed};
  }
  void advance(Duration by) { elapsed_us_.fetch_add(by.count(), std::memory_order_acq_rel); }

 private:
  const Duration unix_start_;
  std::atomic<std::int64_t> elapsed_us_{0};
};

}  // namespace sentinel
