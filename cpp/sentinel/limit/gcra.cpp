#include "sentinel/limit/gcra.hpp"

#include <algorithm>

namespace sentinel::limit {
namespace {

// Bounds that keep every product below 2^127: units up to 2^60 times a period below 2^45; microseconds up to 2^63
// times an amount up to 2^50.
constexpr std::int64_t kMaxDebtUnits = 1'000'000'000'000'000'000;

Int128 ticks(std::int64_t units, const Rate& rate) { return Int128{units} * rate.period().count(); }

std::int64_t sane(std::int64_t cost) { return std::clamp<std::int64_t>(cost, 0, kMaxAmount); }

Int128 debt_at(const Gcra& bucket, const Rate& rate, Duration now) {
  if (bucket.debt == 0 || now <= bucket.as_of) return bucket.debt;
  const Int128 flowed = Int128{(now - bucket.as_of).count()} * rate.amount();
  return bucket.debt > flowed ? bucket.debt - flowed : 0;
}

// The time in which `amount` flows back, rounded up: never too early.
Duration time_for(Int128 amount, const Rate& rate) {
  const Int128 microseconds = (amount + rate.amount() - 1) / rate.amount();
  return microseconds < kForever.count() ? Duration{static_cast<std::int64_t>(microseconds)} : kForever;
}

void add_debt(Gcra& bucket, const Rate& rate, std::int64_t units) {
  bucket.debt = std::min(bucket.debt + ticks(units, rate), max_debt(rate));
}

}  // namespace

Int128 used_at(const Gcra& bucket, const Rate& rate, Duration now) {
  return debt_at(bucket, rate, now) + ticks(bucket.held, rate);
}

std::int64_t remaining_after(Int128 used, const Rate& rate) {
  const Int128 burst = ticks(rate.burst(), rate);
  return used < burst ? static_cast<std::int64_t>((burst - used) / rate.period().count()) : 0;
}

Duration reset_after(Int128 used, const Rate& rate) { return time_for(used, rate); }

bool admits(const Gcra& bucket, const Rate& rate, Duration now, std::int64_t cost) {
  return cost <= rate.burst() &&
         used_at(bucket, rate, now) + ticks(sane(cost), rate) <= ticks(rate.burst(), rate);
}

Decision decide(const Gcra& bucket, const Rate& rate, Duration now, std::int64_t cost) {
  const Int128 burst = ticks(rate.burst(), rate);
  const Int128 wanted = ticks(sane(cost), rate);
  Int128 used = used_at(bucket, rate, now);
  Decision decision;
  if (cost > rate.burst()) {
    decision.verdict = Verdict::never;
  } else if (used + wanted > burst) {
    decision.verdict = Verdict::wait;
    decision.retry_after = time_for(used + wanted - burst, rate);
  } else {
    used += wanted;
  }
  decision.remaining = remaining_after(used, rate);
  decision.reset_after = reset_after(used, rate);
  return decision;
}

Decision try_charge(Gcra& bucket, const Rate& rate, Duration now, std::int64_t cost) {
  const Decision decision = decide(bucket, rate, now, cost);
  if (decision.allowed()) charge(bucket, rate, now, cost);
  return decision;
}

Decision try_reserve(Gcra& bucket, const Rate& rate, Duration now, std::int64_t cost) {
  const Decision decision = decide(bucket, rate, now, cost);
  if (decision.allowed()) hold(bucket, rate, now, cost);
  return decision;
}

void charge(Gcra& bucket, const Rate& rate, Duration now, std::int64_t cost) {
  advance(bucket, rate, now);
  add_debt(bucket, rate, sane(cost));
}

void hold(Gcra& bucket, const Rate& rate, Duration now, std::int64_t cost) {
  advance(bucket, rate, now);
  bucket.held += sane(cost);
}

void settle(Gcra& bucket, const Rate& rate, Duration now, std::int64_t reserved, std::int64_t actual) {
  advance(bucket, rate, now);
  bucket.held = std::max<std::int64_t>(0, bucket.held - sane(reserved));
  add_debt(bucket, rate, sane(actual));
}

void refund(Gcra& bucket, const Rate& rate, Duration now, std::int64_t reserved) {
  settle(bucket, rate, now, reserved, 0);
}

void uncharge(Gcra& bucket, const Rate& rate, Duration now, std::int64_t cost, Duration charged_at) {
  advance(bucket, rate, now);
  const Duration since = std::max(Duration{0}, bucket.as_of - charged_at);
  const Int128 left = ticks(sane(cost), rate) - Int128{since.count()} * rate.amount();
  if (left > 0) bucket.debt = bucket.debt > left ? bucket.debt - left : 0;
}

void advance(Gcra& bucket, const Rate& rate, Duration now) {
  if (now <= bucket.as_of) return;
  bucket.debt = debt_at(bucket, rate, now);
  bucket.as_of = now;
}

Duration paid_at(const Gcra& bucket, const Rate& rate) {
  return bucket.debt == 0 ? bucket.as_of : bucket.as_of + time_for(bucket.debt, rate);
}

Int128 max_debt(const Rate& rate) { return ticks(kMaxDebtUnits, rate); }

}  // namespace sentinel::limit
