// How the targets and credentials of all upstreams are doing: what outlives a snapshot and is shared by all loops.
//
// Contract: health is known by stable names ("upstream/model", the upstream's name), so a reload keeps it as long as its
// settings are the same; a snapshot holds what it uses. A Permit is reported once; one that is dropped is given back
// without an outcome (the client left, the call was never made).
// Cost: one uncontended mutex per step of a call. Thread rule: any thread. Failure rule: refusals are values.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sentinel/base/clock.hpp"
#include "sentinel/base/result.hpp"
#include "sentinel/resilience/adaptive_concurrency.hpp"
#include "sentinel/resilience/backoff.hpp"
#include "sentinel/resilience/circuit_breaker.hpp"
#include "sentinel/resilience/credential_pool.hpp"
#include "sentinel/resilience/retry_budget.hpp"

namespace sentinel::engine {

struct RetrySettings {
  std::uint32_t attempts = 1;  // calls in all
  resilience::BackoffSettings backoff;
  resilience::RetryBudgetSettings budget;

  friend bool operator==(const RetrySettings&, const RetrySettings&) = default;
};

struct TargetSettings {
  std::optional<resilience::BreakerSettings> breaker;  // none: calls always pass
  resilience::RetryBudgetSettings budget;
  std::optional<resilience::ConcurrencySettings> concurrency;

  friend bool operator==(const TargetSettings&, const TargetSettings&) = default;
};

class TargetHealth;

// The right to make one call of a target.
class Permit {
 public:
  Permit() = default;
  Permit(Permit&& other) noexcept;
  Permit& operator=(Permit&& other) noexcept;
  ~Permit();

  resilience::BreakerChange succeed(const resilience::CallTimes& times, Instant now);
  resilience::BreakerChange fail(Instant now);
  // The time to the first token is known, or the target said that it has too much to do.
  void sample(Duration latency, bool overloaded, Instant now);
  explicit operator bool() const { return health_ != nullptr; }

 private:
  friend class TargetHealth;
  void drop();
  TargetHealth* health_ = nullptr;
  std::optional<resilience::BreakerPermit> permit_;
  Instant taken_;
  bool sampled_ = false;
};

struct TargetStatus {
  std::string target;
  bool has_breaker = false;
  resilience::BreakerState state = resilience::BreakerState::closed;
  resilience::BreakerMode mode = resilience::BreakerMode::automatic;
  resilience::OutcomeCounts counts;
  std::uint64_t refused = 0;
  std::uint64_t concurrency_limit = 0;  // 0: none
  std::uint64_t in_flight = 0;
};

class TargetHealth {
 public:
  TargetHealth(std::string label, const TargetSettings& settings, std::uint64_t seed);

  struct Answer {
    std::optional<Permit> permit;
    std::optional<Duration> retry_after;  // of a refusal; nothing when the breaker is forced open
    resilience::BreakerChange change = resilience::BreakerChange::none;
    bool busy = false;  // refused by the concurrency limit
  };
  Answer allow(Instant now);

  void record_call(Instant now);  // a first attempt: what retries are measured against
  bool try_retry(Instant now);

  void force(resilience::BreakerMode mode);
  TargetStatus status(Instant now);
  resilience::BreakerState state() const;

  resilience::BreakerSnapshot snapshot(Instant now) const;
  void restore(const resilience::BreakerSnapshot& snapshot, Instant now);

  const std::string& label() const { return label_; }
  const TargetSettings& settings() const { return settings_; }

 private:
  friend class Permit;
  const std::string label_;
  const TargetSettings settings_;
  mutable std::mutex mutex_;
  std::optional<resilience::CircuitBreaker> breaker_;
  std::optional<resilience::AdaptiveConcurrency> concurrency_;
  resilience::RetryBudget budget_;
};

// The credentials of one upstream.
class CredentialHealth {
 public:
  CredentialHealth(std::size_t credentials, const resilience::CoolDownSettings& settings);

  resilience::CredentialChoice choose(Instant now);
  void record_refusal(std::size_t index, std::optional<Duration> retry_after, Instant now);
  void record_success(std::size_t index);

  const std::size_t credentials;
  const resilience::CoolDownSettings settings;

 private:
  std::mutex mutex_;
  std::optional<resilience::CredentialPool> pool_;  // none without credentials
};

class Snapshot;

// What is known of every target and upstream that a snapshot of this process has named.
class HealthTable {
 public:
  // Gives the snapshot the health that is known under the same names and settings, and remembers the rest of its own.
  void adopt(Snapshot& snapshot);

  std::vector<TargetStatus> statuses(Instant now) const;  // by label
  bool force(std::string_view target, resilience::BreakerMode mode);
  std::vector<std::pair<std::string, resilience::BreakerState>> states() const;

  // One line per target that is not simply closed; restore() refuses junk whole and keeps what it does not know yet.
  std::string snapshot(Instant now) const;
  Status restore(std::string_view text, Instant now);

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<TargetHealth>> targets_;
  std::unordered_map<std::string, std::shared_ptr<CredentialHealth>> credentials_;
};

}  // namespace sentinel::engine
