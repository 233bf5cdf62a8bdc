#include "sentinel/limit/gcra.hpp"

#include <algorithm>

namespace sentinel::limit {
namespace {

// The time in which `amount` flows back, rounded up: never too early.
Duration time_for(Int128 amount, const Rate& rate) {
  const Int128 microseconds = (amount + rate.amount() - 1) / rate.amount();
  return microseconds < kForever.count() ? Duration{static_cast<std::int64_t>(microseconds)} : kForever;
}

}  // namespace

std::int64_t remaining_after(Int128 used, const Rate& rate) {
  const Int128 burst = ticks(rate.burst(), rate);
  return used < burst ? static_cast<std::int64_t>((burst - used) / rate.period().count()) : 0;
}

Duration reset_after(Int128 used, const Rate& rate) { return time_for(used, rate); }

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

Duration paid_at(const Gcra& bucket, const Rate& rate) {
  return bucket.debt == 0 ? bucket.as_of : bucket.as_of + time_for(bucket.debt, rate);
}

}  // namespace sentinel::limit
