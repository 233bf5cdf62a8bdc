// How many calls run at once: a counter with the same reserve and release as a rate has.
//
// Contract: never more than `slots.count` are held; nothing flows back with time, only by release. Cost: a comparison.
// Thread rule: none here, the owner locks. Failure rule: more than all slots at once is `never`.
#pragma once

#include <algorithm>
#include <cstdint>

#include "sentinel/limit/gcra.hpp"

namespace sentinel::limit {

struct Slots {
  std::int64_t count = 1;
  friend bool operator==(const Slots&, const Slots&) = default;
};

// When a call will end nobody knows; a refused one is asked to come back after this.
inline constexpr Duration kBusyRetry = std::chrono::seconds{1};

struct Concurrency {
  std::int64_t held = 0;
};

inline Decision decide(const Concurrency& calls, Slots slots, std::int64_t cost) {
  cost = std::max<std::int64_t>(0, cost);
  const std::int64_t left = std::max<std::int64_t>(0, slots.count - calls.held);
  if (cost > slots.count) return {Verdict::never, left, Duration{0}, Duration{0}};
  if (cost > left) return {Verdict::wait, left, kBusyRetry, Duration{0}};
  return {Verdict::allowed, left - cost, Duration{0}, Duration{0}};
}

inline Decision try_reserve(Concurrency& calls, Slots slots, std::int64_t cost) {
  const Decision decision = decide(calls, slots, cost);
  if (decision.allowed()) calls.held += std::max<std::int64_t>(0, cost);
  return decision;
}

inline void release(Concurrency& calls, std::int64_t cost) {
  calls.held = std::max<std::int64_t>(0, calls.held - std::max<std::int64_t>(0, cost));
}

}  // namespace sentinel::limit
