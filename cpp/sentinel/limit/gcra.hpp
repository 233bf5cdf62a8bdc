// One bucket of a rate limit: the generic cell rate algorithm (ITU-T I.371), on integers that are exact for any
// rational rate.
//
// Layout: debt is what was used and has not yet flowed back, in ticks of 1/period of a unit, so that it falls by
// exactly `amount` ticks per microsecond and a cost of c is c x period ticks. The theoretical arrival time of GCRA is
// as_of + debt / amount. `held` is what is reserved and not yet known; it does not flow back until it is settled.
//
// Contract: a cost passes if debt + held + cost <= burst. From that follows, for what passed at instants in any window
// of length W and was settled at no more than was reserved: its sum is at most burst + rate x W. Costs charged at once
// obey the same. An overrun (settled above the reservation) is owed: it may push the bucket past its burst, and nothing
// passes until it has flowed back. Why reservations do not flow back while held: if they did, a refund would have to
// return what has flowed back already, and a caller that reserves, waits and refunds would pass above the bound.
// A bucket's time is the latest instant that changed it; an earlier one counts as that, so a clock that goes back never
// refills anything twice. Costs below 0 count as 0.
// Cost: a few 128-bit operations, one division for a decision. Thread rule: none here, the owner locks.
// Failure rule: nothing fails; a cost above the burst is `never`, whatever the state.
#pragma once

#include <algorithm>
#include <cstdint>

#include "sentinel/base/clock.hpp"
#include "sentinel/limit/rate.hpp"

namespace sentinel::limit {

enum class Verdict : std::uint8_t {
  allowed,
  wait,   // passes after retry_after if nothing else comes
  never,  // the cost is above the burst: no waiting helps
};

struct Decision {
  Verdict verdict = Verdict::allowed;
  std::int64_t remaining = 0;  // what could pass right after this decision; 0 if the bucket is overdrawn
  Duration retry_after{0};     // for `wait`; counted as if all that is held were used in full
  Duration reset_after{0};     // until the bucket is full again, counted in the same way

  bool allowed() const { return verdict == Verdict::allowed; }
};

struct Gcra {
  Int128 debt = 0;  // ticks of 1/period unit
  std::int64_t held = 0;
  Duration as_of{0};
};

// What is used at `now`, in ticks: debt and what is held. What it means for a caller is computed from it when asked for,
// since that takes divisions which a decision does not.
Int128 used_at(const Gcra& bucket, const Rate& rate, Duration now);
std::int64_t remaining_after(Int128 used, const Rate& rate);  // 0 if the bucket is overdrawn
Duration reset_after(Int128 used, const Rate& rate);          // until the bucket is full again

// What would happen; changes nothing.
Decision decide(const Gcra& bucket, const Rate& rate, Duration now, std::int64_t cost);

// Whether decide() would allow it.
bool admits(const Gcra& bucket, const Rate& rate, Duration now, std::int64_t cost);

// Decide and, if allowed, take: as debt at once, or held until settle or refund.
Decision try_charge(Gcra& bucket, const Rate& rate, Duration now, std::int64_t cost);
Decision try_reserve(Gcra& bucket, const Rate& rate, Duration now, std::int64_t cost);

// Take what decide() or admits() has allowed.
void charge(Gcra& bucket, const Rate& rate, Duration now, std::int64_t cost);
void hold(Gcra& bucket, const Rate& rate, Duration now, std::int64_t cost);

// The end of what try_reserve took: `actual` becomes debt, more or less than was reserved.
void settle(Gcra& bucket, const Rate& rate, Duration now, std::int64_t reserved, std::int64_t actual);
void refund(Gcra& bucket, const Rate& rate, Duration now, std::int64_t reserved);

// Gives back what try_charge took at bucket time `charged_at` (its as_of after the charge), less what may have flowed
// back since; so the bound above holds for what remains charged.
void uncharge(Gcra& bucket, const Rate& rate, Duration now, std::int64_t cost, Duration charged_at);

// Lets the debt flow back up to `now`. Needed alone only before the rate changes: ticks depend on the period alone, so
// a new amount or burst over the same period takes the bucket over as it is.
void advance(Gcra& bucket, const Rate& rate, Duration now);

// When the debt will have flowed back, what is held aside.
Duration paid_at(const Gcra& bucket, const Rate& rate);

// Debt stops growing here (10^18 units), so that no overrun overflows.
Int128 max_debt(const Rate& rate);

// What a decision is made of, inline: callers make many of them.

// Bounds that keep every product below 2^127: units up to 2^60 times a period below 2^45; microseconds up to 2^63
// times an amount up to 2^50.
inline constexpr std::int64_t kMaxDebtUnits = 1'000'000'000'000'000'000;

inline Int128 ticks(std::int64_t units, const Rate& rate) { return Int128{units} * rate.period().count(); }

inline std::int64_t sane(std::int64_t cost) { return std::clamp<std::int64_t>(cost, 0, kMaxAmount); }

inline Int128 max_debt(const Rate& rate) { return ticks(kMaxDebtUnits, rate); }

inline Int128 debt_at(const Gcra& bucket, const Rate& rate, Duration now) {
  if (bucket.debt == 0 || now <= bucket.as_of) return bucket.debt;
  const Int128 flowed = Int128{(now - bucket.as_of).count()} * rate.amount();
  return bucket.debt > flowed ? bucket.debt - flowed : 0;
}

inline void add_debt(Gcra& bucket, const Rate& rate, std::int64_t units) {
  bucket.debt = std::min(bucket.debt + ticks(units, rate), max_debt(rate));
}

inline Int128 used_at(const Gcra& bucket, const Rate& rate, Duration now) {
  return debt_at(bucket, rate, now) + ticks(bucket.held, rate);
}

inline bool admits(const Gcra& bucket, const Rate& rate, Duration now, std::int64_t cost) {
  return cost <= rate.burst() &&
         used_at(bucket, rate, now) + ticks(sane(cost), rate) <= ticks(rate.burst(), rate);
}

inline void advance(Gcra& bucket, const Rate& rate, Duration now) {
  if (now <= bucket.as_of) return;
  bucket.debt = debt_at(bucket, rate, now);
  bucket.as_of = now;
}

inline void charge(Gcra& bucket, const Rate& rate, Duration now, std::int64_t cost) {
  advance(bucket, rate, now);
  add_debt(bucket, rate, sane(cost));
}

inline void hold(Gcra& bucket, const Rate& rate, Duration now, std::int64_t cost) {
  advance(bucket, rate, now);
  bucket.held += sane(cost);
}

}  // namespace sentinel::limit
