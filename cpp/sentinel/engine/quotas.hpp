// All limits of the process as the pipeline asks them: by address, on entry, before sending; and their end.
//
// Contract: the path of an exchange is its accounts from the root, its end user where its account limits those, its key,
// its route. take_entry charges requests and takes the slots of concurrent calls of the whole path in one step;
// reserve_use does the same with tokens and money for what goes upstream, reserve_hit for what a kept or running answer
// serves, by the rules that count hits. Whatever was taken is in the exchange and ends in settle(), once: what was used
// replaces what was reserved, or nothing was (not billable) and it comes back. The tightest limits go into the exchange's
// headroom, for the reply's headers.
// State: owed amounts survive a restart as snapshot() text. Addresses have a table of their own, so that a flood of them
// costs no account its bucket, and are not kept. End users are known by a digest of their name, which is personal.
// Cost: nothing where no rule stands. Thread rule: any thread. Failure rule: a refusal is an Error with its Retry-After.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sentinel/engine/exchange.hpp"
#include "sentinel/limit/limit_table.hpp"

namespace sentinel::engine {

class Quotas {
 public:
  // `longest_exchange`: reservations that nobody ended come back after it.
  Quotas(Duration longest_exchange, std::uint64_t seed);

  Status take_address(const Snapshot& snapshot, std::string_view peer, std::string_view forwarded_for,
                      Instant now);
  Status take_entry(Exchange& exchange, Instant now);
  // Whether any rule asks for tokens or money: only then they must be counted.
  static bool limits_use(const Exchange& exchange);
  static bool counts_hits(const Exchange& exchange);
  // As much as the exchange's `most` says; what it holds already comes back before.
  Status reserve_use(Exchange& exchange, Instant now);
  Status reserve_hit(Exchange& exchange, Instant now);
  // Of the credential for the next attempt; what an earlier attempt held of another ends. Nothing, or how long to wait.
  std::optional<Duration> take_credential(Exchange& exchange, const RuleSet& credential, Instant now);
  void settle(Exchange& exchange, Instant now);

  void tick(Instant now);
  std::string snapshot(Instant now) const { return limits_.snapshot(now); }
  Status restore(std::string_view bytes, Instant now) { return limits_.restore(bytes, now); }
  limit::TableStats stats() const { return limits_.stats(); }

 private:
  void give_back_use(Exchange& exchange, Instant now);

  limit::LimitTable limits_;
  limit::LimitTable addresses_;
};

}  // namespace sentinel::engine
