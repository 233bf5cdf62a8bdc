// How many calls a target may have under way, found from its latency: additive increase, multiplicative
// decrease (Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance in
// Computer Networks", 1989), with delay as the sign of congestion (Jain, "A Delay-Based Approach for
// Congestion Avoidance in Interconnected Heterogeneous Computer Networks", 1989).
//
// A sample is congested when the target said so (429, 503, time-out) or when it took longer than `tolerance`
// times the baseline, the best latency known. A smaller sample lowers the baseline at once. A larger one
// replaces it only when it is older than `baseline_window` and the call met no load: all the while less than
// half of the limit was in use, or the limit was at its least. A loaded target thus cannot talk its
// baseline up, and one that has become slower for good sinks to the least, is learned anew there, and
// climbs again.
// For language models the sample is the time to the first token: the whole duration depends on the answer.
//
// Contract: least <= limit() <= most, always. Each acquired call is released once; meanwhile it may give one
// sample, when its latency is known; one whose client left gives none. A congested sample takes a tenth, once
// per round: only calls that began after the last decrease can cause the next. Other samples together add one
// per round, but only when they met load, since an idle target proves nothing.
// Cost: O(1), integers only. Thread rule: one owner, or the caller's lock. Failure rule: no is an answer; a
// release without an acquire is an assert.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>

#include "sentinel/base/clock.hpp"

namespace sentinel::resilience {

struct ConcurrencySettings {
  std::uint32_t least = 1;  // at least 1
  std::uint32_t most = 1000;
  std::uint32_t initial = 20;
  std::uint32_t tolerance_percent = 200;  // of the baseline
  Duration baseline_window = std::chrono::minutes{1};

  friend bool operator==(const ConcurrencySettings&, const ConcurrencySettings&) = default;
};

class AdaptiveConcurrency {
 public:
  explicit AdaptiveConcurrency(const ConcurrencySettings& settings)
      : settings_(settings), limit_milli_(std::uint64_t{settings.initial} * kMilli) {
    assert(settings.least >= 1 && settings.least <= settings.initial && settings.initial <= settings.most);
    assert(settings.tolerance_percent > 100 && settings.baseline_window > Duration{0});
  }

  bool try_acquire(Instant now) {
    if (in_flight_ >= limit()) return false;
    ++in_flight_;
    note_load(now);
    return true;
  }

  // Told the moment the latency is known. overloaded: the target refused or timed out.
  void sample(Duration latency, bool overloaded, Instant now) {
    assert(in_flight_ > 0);
    note_load(now);
    const Duration began = now.monotonic - latency;
    const bool loaded = last_loaded_ >= began;
    if (overloaded || too_long(latency, loaded, now)) return decrease(began, now);
    if (loaded) increase();
  }

  void release(Instant now) {
    assert(in_flight_ > 0);
    note_load(now);
    --in_flight_;
  }

  std::uint64_t limit() const { return limit_milli_ / kMilli; }
  std::uint64_t in_flight() const { return in_flight_; }

 private:
  static constexpr std::uint64_t kMilli = 1000;

  void note_load(Instant now) {
    if (in_flight_ * 2 >= limit()) last_loaded_ = now.monotonic;
  }

  bool too_long(Duration latency, bool loaded, Instant now) {
    const bool unloaded = !loaded || limit() == settings_.least;
    const bool outdated = now.monotonic - learned_ >= settings_.baseline_window;
    if (latency <= baseline_ || (unloaded && outdated)) {
      baseline_ = latency;
      learned_ = now.monotonic;
    }
    return latency.count() / settings_.tolerance_percent > baseline_.count() / 100;
  }

  void decrease(Duration began, Instant now) {
    if (decreased_ && began < last_decrease_) return;
    decreased_ = true;
    last_decrease_ = now.monotonic;
    limit_milli_ = std::max(limit_milli_ * 9 / 10, std::uint64_t{settings_.least} * kMilli);
  }

  void increase() {
    const std::uint64_t step = std::max<std::uint64_t>(kMilli * kMilli / limit_milli_, 1);
    limit_milli_ = std::min(limit_milli_ + step, std::uint64_t{settings_.most} * kMilli);
  }

  ConcurrencySettings settings_;
  std::uint64_t limit_milli_;  // thousandths, so that increase adds fractions
  std::uint64_t in_flight_ = 0;
  Duration last_loaded_ = Duration::min();
  Duration baseline_ = Duration::max();
  Duration learned_{0};  // when the baseline was
  Duration last_decrease_{0};
  bool decreased_ = false;
};

}  // namespace sentinel::resilience
