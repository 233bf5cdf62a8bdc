#include "sentinel/engine/send.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "sentinel/engine/upstream_request.hpp"
#include "sentinel/limit/headroom.hpp"

namespace sentinel::engine {

std::uint64_t Sending::bit(const Target& target) const {
  return std::uint64_t{1} << static_cast<std::size_t>(&target - exchange_.route->targets.data());
}

// A target that may be called now, with its permit and a credential taken; null when there is none.
const Target* Sending::choose(Instant now) {
  const auto& targets = exchange_.route->targets;
  std::uint64_t left = 0;
  for (const Target& target : targets) left |= bit(target);
  left &= ~passed_over_;
  while (left != 0) {
    std::uint32_t tier = std::numeric_limits<std::uint32_t>::max();
    std::uint64_t weight = 0;
    for (const Target& target : targets) {
      if ((left & bit(target)) == 0 || target.tier > tier) continue;
      tier = target.tier;  // targets are in order of their tier
      weight += target.weight;
    }
    std::uint64_t ticket = random_.below(weight);
    for (const Target& target : targets) {
      if ((left & bit(target)) == 0 || target.tier != tier) continue;
      if (ticket >= target.weight) {
        ticket -= target.weight;
        continue;
      }
      if (take(target, now)) return &target;
      left &= ~bit(target);
      break;
    }
  }
  return nullptr;
}

bool Sending::take(const Target& target, Instant now) {
  auto answer = target.health->allow(now);
  if (!answer.permit) {
    open_ = open_ || !answer.busy;
    note_wait(answer.retry_after);
    return false;
  }
  if (!take_credential(*target.upstream, now)) {
    resting_ = true;
    return false;  // the permit comes back
  }
  permit_ = std::move(*answer.permit);
  return true;
}

// The next in turn that neither rests nor is used up.
bool Sending::take_credential(const Upstream& upstream, Instant now) {
  credential_.reset();
  if (upstream.credentials.empty()) quotas_.take_credential(exchange_, RuleSet{}, now);  // ends what is held
  for (std::size_t tried = 0; tried < upstream.credentials.size(); ++tried) {
    const auto choice = upstream.health->choose(now);
    if (!choice.credential) {
      note_wait(choice.retry_after);
      return false;
    }
    const auto wait = quotas_.take_credential(exchange_, upstream.credential_rules[*choice.credential], now);
    note_wait(wait);
    if (wait) continue;
    credential_ = choice.credential;
    return true;
  }
  return upstream.credentials.empty();
}

void Sending::note_wait(std::optional<Duration> wait) {
  if (wait) earliest_ = std::min(earliest_.value_or(*wait), *wait);
}

Error Sending::unavailable() const {
  Error error(ErrorCode::overloaded, "the targets of this model take no more calls for now");
  if (open_) error = {ErrorCode::circuit_open, "the targets of this model fail and are not called for now"};
  if (resting_)
    error = {ErrorCode::rate_limit_exceeded, "the provider's own rate limit is reached for this model"};
  if (earliest_) error.retry_after_seconds = limit::retry_after_seconds(*earliest_);
  return error;
}

Status Sending::begin(Instant now) {
  if (!std::exchange(chosen_, false)) target_ = choose(now);
  if (target_ == nullptr) return unavailable();
  if (attempts_ == 0) {
    target_->health->record_call(now);
    ends_ = now.monotonic + target_->upstream->timeouts.total;
  }
  ++attempts_;
  aim(exchange_, *target_, credential_);
  began_ = last_piece_ = now;
  first_token_ = longest_gap_ = Duration{0};
  return Done{};
}

net::Timeouts Sending::timeouts(Instant now) const {
  net::Timeouts timeouts = target_->upstream->timeouts;
  timeouts.total = std::min(timeouts.total, ends_ - now.monotonic);
  return timeouts;
}

void Sending::report_answer(Instant now) {
  permit_.succeed({now - began_, first_token_, longest_gap_}, now);
  permit_.sample(now - began_, false, now);
  permit_ = {};
  if (credential_) target_->upstream->health->record_success(*credential_);
}

void Sending::report_failure(Instant now) {
  permit_.fail(now);
  permit_.sample(now - began_, true, now);
  permit_ = {};
}

void Sending::report_refusal(std::optional<Duration> retry_after, Instant now) {
  permit_.sample(now - began_, true, now);
  permit_ = {};  // no outcome: it is the credential's matter
  if (!credential_) return;
  target_->upstream->health->record_refusal(*credential_, retry_after, now);
  another_credential_may_do_ = true;
}

void Sending::note_first_token(Instant now) {
  if (first_token_ > Duration{0}) return;
  first_token_ = now - began_;
  permit_.sample(first_token_, false, now);
}

void Sending::note_piece(Instant now) {
  if (first_token_ > Duration{0}) longest_gap_ = std::max(longest_gap_, now - last_piece_);
  last_piece_ = now;
}

std::optional<Duration> Sending::next(std::optional<Duration> retry_after, Instant now) {
  const Target& failed = *target_;
  const RetrySettings& retry = failed.upstream->retry;
  if (attempts_ >= retry.attempts || now.monotonic >= ends_) return std::nullopt;
  const bool refused = std::exchange(another_credential_may_do_, false);
  if (!refused) passed_over_ |= bit(failed);
  if (const Target* other = choose(now)) {
    target_ = other;
    chosen_ = true;
    return Duration{0};
  }
  if (failed.health->state() == resilience::BreakerState::open) return std::nullopt;
  if (refused && earliest_) retry_after = std::max(retry_after.value_or(Duration{0}), *earliest_);
  const auto pause = resilience::retry_delay(retry.backoff, attempts_ - 1, retry_after, random_);
  if (!pause || now.monotonic + *pause >= ends_ || !failed.health->try_retry(now)) return std::nullopt;
  passed_over_ = 0;
  return pause;
}

}  // namespace sentinel::engine
