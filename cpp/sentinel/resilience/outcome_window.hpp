// What the last calls of a target came to: how many, how many failed, how many were slow.
//
// Contract: by count, exactly the last `calls` outcomes; by time, those of the last `length`, to one bucket's
// width. A call may be both failed and slow.
// Cost: add and counts O(1) (by time O(buckets) after a pause); memory one byte per call, or 24 bytes per
// bucket. Thread rule: one owner. Failure rule: none can fail.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "sentinel/resilience/sliding_counts.hpp"

namespace sentinel::resilience {

struct OutcomeCounts {
  std::uint64_t calls = 0;
  std::uint64_t failed = 0;
  std::uint64_t slow = 0;

  friend bool operator==(const OutcomeCounts&, const OutcomeCounts&) = default;
};

struct Outcome {
  bool failed = false;
  bool slow = false;
};

class CountWindow {
 public:
  explicit CountWindow(std::uint32_t calls) : ring_(calls) {}

  void add(Outcome outcome, Instant) {
    if (counts_.calls == ring_.size()) {
      counts_.failed -= ring_[next_].failed ? 1U : 0U;
      counts_.slow -= ring_[next_].slow ? 1U : 0U;
    } else {
      ++counts_.calls;
    }
    counts_.failed += outcome.failed ? 1U : 0U;
    counts_.slow += outcome.slow ? 1U : 0U;
    ring_[next_] = outcome;
    next_ = next_ + 1 == ring_.size() ? 0 : next_ + 1;
  }
  OutcomeCounts counts(Instant) const { return counts_; }
  const OutcomeCounts& counts() const { return counts_; }
  void clear() {
    counts_ = {};
    next_ = 0;
  }

 private:
  std::vector<Outcome> ring_;
  std::size_t next_ = 0;
  OutcomeCounts counts_;
};

class TimeWindow {
 public:
  TimeWindow(Duration length, std::uint32_t buckets) : counts_(length, buckets) {}

  void add(Outcome outcome, Instant now) {
    counts_.add(0, now);
    if (outcome.failed) counts_.add(1, now);
    if (outcome.slow) counts_.add(2, now);
  }
  OutcomeCounts counts(Instant now) {
    const auto& totals = counts_.totals(now);
    return {totals[0], totals[1], totals[2]};
  }
  void clear() { counts_.clear(); }

 private:
  SlidingCounts<3> counts_;
};

class OutcomeWindow {
 public:
  explicit OutcomeWindow(CountWindow window) : window_(std::move(window)) {}
  explicit OutcomeWindow(TimeWindow window) : window_(std::move(window)) {}

  void add(Outcome outcome, Instant now) {
    std::visit([&](auto& window) { window.add(outcome, now); }, window_);
  }
  OutcomeCounts counts(Instant now) {
    return std::visit([&](auto& window) { return window.counts(now); }, window_);
  }
  // Nothing if it is by time.
  CountWindow* by_count() { return std::get_if<CountWindow>(&window_); }
  void clear() {
    std::visit([](auto& window) { window.clear(); }, window_);
  }

 private:
  std::variant<CountWindow, TimeWindow> window_;
};

}  // namespace sentinel::resilience
