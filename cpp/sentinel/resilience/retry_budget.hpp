// Retry budget: retries may be at most a share of the calls of the last seconds, so that a failing upstream
// does not get more load than a sound one (Google SRE book, chapter 21, "Handling Overload").
//
// Contract: a retry is granted only if, with it, the window holds retries <= calls * percent / 100 +
// per_second * window in seconds. The second term lets a quiet gateway retry at all. Each first attempt is
// told by record_call; each retry asks try_retry first, which takes it from the budget when it says yes.
// Cost: O(1), integers only. Thread rule: one owner, or the caller's lock. Failure rule: no is an answer.
#pragma once

#include <cstdint>

#include "sentinel/resilience/sliding_counts.hpp"

namespace sentinel::resilience {

struct RetryBudgetSettings {
  std::uint32_t percent = 20;
  std::uint32_t per_second = 1;
  std::uint32_t window_seconds = 10;  // at least 1

  friend bool operator==(const RetryBudgetSettings&, const RetryBudgetSettings&) = default;
};

class RetryBudget {
 public:
  explicit RetryBudget(const RetryBudgetSettings& settings)
      : settings_(settings),
        counts_(std::chrono::seconds{settings.window_seconds}, settings.window_seconds) {}

  void record_call(Instant now) { counts_.add(kCalls, now); }

  bool try_retry(Instant now) {
    if (left(now) == 0) return false;
    counts_.add(kRetries, now);
    return true;
  }

  std::uint64_t left(Instant now) {
    const auto& totals = counts_.totals(now);
    const std::uint64_t least = std::uint64_t{settings_.per_second} * settings_.window_seconds;
    const std::uint64_t allowed = totals[kCalls] * settings_.percent / 100 + least;
    return allowed > totals[kRetries] ? allowed - totals[kRetries] : 0;
  }

 private:
  static constexpr std::size_t kCalls = 0;
  static constexpr std::size_t kRetries = 1;

  RetryBudgetSettings settings_;
  SlidingCounts<2> counts_;
};

}  // namespace sentinel::resilience
