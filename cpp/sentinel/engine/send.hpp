// Pipeline step 8 without I/O: which target and credential serve the next attempt, and whether there is a next one.
//
// How: the targets of the lowest tier share the traffic by weight; one that failed this exchange, whose breaker is open,
// that is full, or whose credentials all rest or are used up, is passed over, and when a tier has none left the next tier serves. Another
// target is tried at once. When no other is left, the same one is tried again after a pause (backoff.hpp, Retry-After),
// if its retry budget allows. 429 rests the credential and is no failure of the target.
// Which outcome counts as what: the table of docs/resilience.md, in `report_*`.
//
// Contract: begin() prepares the exchange for one attempt, or says why nobody can serve it. After an attempt exactly one
// of the report functions; without one the attempt leaves no trace in the breaker (the client left). next() says whether
// to try again, and after how long. Attempts in all are bounded by the upstream's `attempts`
// and by the total time of the first one's upstream.
// Cost: O(targets), no allocation but the head. Thread rule: one owner. Failure rule: values.
#pragma once

#include <cstdint>
#include <optional>

#include "sentinel/base/random.hpp"
#include "sentinel/engine/exchange.hpp"
#include "sentinel/engine/health.hpp"
#include "sentinel/engine/quotas.hpp"

namespace sentinel::engine {

class Sending {
 public:
  Sending(Exchange& exchange, Quotas& quotas, Random& random)
      : exchange_(exchange), quotas_(quotas), random_(random) {}

  Status begin(Instant now);
  // Of the attempt that begins: the target's, cut where the time of the whole call ends.
  net::Timeouts timeouts(Instant now) const;

  // Of the attempt under way.
  void report_answer(Instant now);   // whole, or its fault is the client's
  void report_failure(Instant now);  // the target's fault
  void report_refusal(std::optional<Duration> retry_after, Instant now);  // 429
  void note_first_token(Instant now);
  void note_piece(Instant now);  // a sign of life, for the longest silence

  // May the attempt that failed be followed by another? The pause before it, or nothing.
  std::optional<Duration> next(std::optional<Duration> retry_after, Instant now);

 private:
  const Target* choose(Instant now);
  bool take(const Target& target, Instant now);
  bool take_credential(const Upstream& upstream, Instant now);
  void note_wait(std::optional<Duration> wait);
  Error unavailable() const;
  std::uint64_t bit(const Target& target) const;

  Exchange& exchange_;
  Quotas& quotas_;
  Random& random_;
  Permit permit_;
  const Target* target_ = nullptr;
  std::optional<std::size_t> credential_;
  std::uint64_t passed_over_ = 0;  // targets that failed this exchange
  std::uint32_t attempts_ = 0;
  Duration ends_{0};     // the first attempt's total time bounds them all
  bool chosen_ = false;  // next() has taken the permit for begin()
  bool another_credential_may_do_ = false;

  bool open_ = false;  // why nobody could serve: a breaker is open, all credentials rest, else all are full
  bool resting_ = false;
  std::optional<Duration> earliest_;

  Instant began_;
  Instant last_piece_;
  Duration first_token_{0};
  Duration longest_gap_{0};
};

}  // namespace sentinel::engine
