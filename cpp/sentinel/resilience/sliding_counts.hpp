// A few counters over the last N seconds: a ring of equal buckets and their running totals.
//
// Contract: a total holds every count of the current bucket and of the (buckets - 1) before it; what is older
// is gone. The window is thus exact to one bucket's width. Time that goes back counts as standing still.
// Cost: add and totals O(1), O(buckets) after a pause; one allocation when made. Thread rule: one owner.
// Failure rule: none can fail; a window shorter than its buckets' count in microseconds is an assert.
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sentinel/base/clock.hpp"

namespace sentinel::resilience {

template <std::size_t Counters>
class SlidingCounts {
 public:
  using Counts = std::array<std::uint64_t, Counters>;

  SlidingCounts(Duration window, std::uint32_t buckets) : width_(window.count() / buckets), ring_(buckets) {
    assert(buckets > 0 && width_ > 0);
  }

  void add(std::size_t counter, Instant now) {
    advance(now);
    ++ring_[slot(reached_)][counter];
    ++totals_[counter];
  }

  const Counts& totals(Instant now) {
    advance(now);
    return totals_;
  }

  void clear() {
    ring_.assign(ring_.size(), Counts{});
    totals_ = Counts{};
  }

 private:
  std::size_t slot(std::int64_t bucket) const { return static_cast<std::size_t>(bucket) % ring_.size(); }

  void advance(Instant now) {
    const std::int64_t bucket = now.monotonic.count() / width_;
    if (bucket <= reached_) return;
    if (bucket - reached_ >= static_cast<std::int64_t>(ring_.size())) {
      clear();
    } else {
      for (std::int64_t passed = reached_ + 1; passed <= bucket; ++passed) forget(ring_[slot(passed)]);
    }
    reached_ = bucket;
  }

  void forget(Counts& old) {
    for (std::size_t i = 0; i < Counters; ++i) totals_[i] -= old[i];
    old = Counts{};
  }

  std::int64_t width_;  // of one bucket, in microseconds
  std::int64_t reached_ = 0;
  std::vector<Counts> ring_;
  Counts totals_{};
};

}  // namespace sentinel::resilience
