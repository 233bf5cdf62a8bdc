// One request and its reply, from decide to settle: the value that walks through the pipeline.
//
// Contract: owned by exactly one thread at a time: the door's while deciding, then its loop's. It keeps the snapshot and
// the principal it began with. Whatever ends it, `Pipeline::finish` runs once (asserted by `settled`).
// The client's side is a `ClientSide`: replies leave as one Reply, or as head, data..., end.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sentinel/base/clock.hpp"
#include "sentinel/base/error.hpp"
#include "sentinel/cache/directives.hpp"
#include "sentinel/cache/exact_cache.hpp"
#include "sentinel/engine/endpoint.hpp"
#include "sentinel/engine/principal.hpp"
#include "sentinel/engine/request.hpp"
#include "sentinel/engine/snapshot.hpp"
#include "sentinel/engine/trace.hpp"
#include "sentinel/journal/record.hpp"
#include "sentinel/limit/limit_table.hpp"
#include "sentinel/metrics/tally.hpp"
#include "sentinel/net/whole_request.hpp"

namespace sentinel::engine {

using HeaderView = net::RequestHeader;

// What a door knows of a request; borrowed for the time of the call.
struct RequestHead {
  Endpoint endpoint = Endpoint::chat;
  std::string_view path;
  std::string_view query;
  std::span<const HeaderView> headers;
  std::string_view peer;  // the address the connection comes from; empty where a door has none
};

// The client's headers that go upstream with its request; absent ones are empty.
struct ForwardedHeaders {
  std::string anthropic_version;
  std::string anthropic_beta;
  std::string openai_beta;
  std::string idempotency_key;
  std::string tracestate;
};

inline const ForwardedHeaders kNothingForwarded;

using HeaderList = std::vector<std::pair<std::string, std::string>>;

struct Reply {
  int status = 0;
  HeaderList headers;
  std::string body;
};

// Why an exchange must end before its upstream does.
enum class StopReason : std::uint8_t { none, client_gone, slow_reader, key_revoked, shutdown };

// Counts an exchange as in flight for as long as it lives; the count goes down exactly once, whatever happens.
class InFlight {
 public:
  InFlight() = default;
  explicit InFlight(std::atomic<std::int64_t>& count) : count_(&count) { count_->fetch_add(1); }
  InFlight(InFlight&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
  InFlight& operator=(InFlight&& other) noexcept {
    if (this != &other) {
      release();
      count_ = std::exchange(other.count_, nullptr);
    }
    return *this;
  }
  ~InFlight() { release(); }
  void release() {
    if (count_ != nullptr) std::exchange(count_, nullptr)->fetch_sub(1, std::memory_order_acq_rel);
  }

 private:
  std::atomic<std::int64_t>* count_ = nullptr;
};

// The items of an embeddings request that are kept one by one.
struct EmbeddingPlan {
  std::vector<cache::EntryKey> keys;     // of every item, in order
  std::vector<cache::EntryPtr> found;    // null: asked upstream
  std::vector<std::size_t> asked_as;     // which of the asked items, where nothing was found
  std::vector<std::string> asked_items;  // JSON text of those, each once
};

// What an exchange may take from the kept and running answers, and leave there.
struct CachePlan {
  cache::EntryKey key;  // partition and identity
  cache::Form form = cache::Form::plain;
  bool keep = false;    // what comes is stored
  bool follow = false;  // it shares a call with the same question, as leader or follower
  std::unique_ptr<EmbeddingPlan> embeddings;
};

// The leaf of the account path that an end user is.
struct EndUser {
  const RuleSet& rules;
  std::string id;  // of its buckets
};

// What a call may need at most.
struct Prediction {
  std::int64_t tokens = 0;
  std::int64_t micro_usd = 0;
};

struct Exchange {
  // what came in
  Endpoint endpoint = Endpoint::chat;
  bool wants_overhead = false;
  std::string request_id;
  TraceContext trace;
  std::shared_ptr<const Snapshot> snapshot;
  std::shared_ptr<const Principal> principal;  // null: insecure mode, or refused before it was known
  RequestFacts facts;
  Instant started;
  InFlight in_flight;

  std::unique_ptr<const ForwardedHeaders> forwarded;  // null: none
  std::string body;                                   // as it goes upstream, but for the model's name

  // what it may take
  std::unique_ptr<const EndUser> end_user;  // null: none is named, or none is limited
  std::optional<CachePlan> plan;
  std::optional<Duration> max_age;                      // the client's; an older answer is not taken
  std::optional<limit::Reservation> entry_reservation;  // requests and concurrency
  std::optional<limit::Reservation> use_reservation;    // tokens and money
  std::optional<limit::Reservation> credential_reservation;
  Prediction most;                            // what is reserved; counted only where a limit asks
  limit::Headroom headroom;                   // the tightest limits, for the reply
  std::optional<std::int64_t> prompt_tokens;  // as we count them, where a limit asked

  // where it goes
  const Route* route = nullptr;
  const Target* target = nullptr;
  std::string upstream_model;
  const std::string* credential = nullptr;
  std::string upstream_head;
  std::string upstream_body;  // empty: `body` goes as it is

  // how it went
  bool withholds_usage = false;  // the upstream is asked for a usage chunk that the client did not ask us for
  bool closing = false;          // draining: the reply says Connection: close
  bool billable = false;         // the upstream may have done work for it
  bool estimated = false;        // `usage` is our own count
  bool priced = false;
  bool settled = false;
  bool stored = false;
  int status = 0;
  journal::Outcome outcome = journal::Outcome::done;
  std::optional<ErrorCode> error;
  std::optional<metrics::LimitName> refused_by;
  journal::CacheVerdict verdict = journal::CacheVerdict::bypass;  // where the answer came from
  cache::CacheOutcome cache_outcome = cache::CacheOutcome::bypass;
  std::optional<stream::Usage> usage;  // the provider's own figures, or our estimate once settled
  std::int64_t relayed_deltas =
      0;  // pieces of generated text or arguments that passed: the estimate of a cut stream
  std::int64_t relayed_bytes = 0;  // bytes of generated text in a plain reply without usage
  std::string upstream_request_id;
  std::optional<Instant> sent_at;  // the last attempt
  Duration waited{0};              // for earlier attempts and between them
  std::optional<Instant> first_token_at;
  std::optional<Instant> upstream_ended_at;
  std::int64_t cost_micro_usd = 0;
  std::int64_t saved_micro_usd = 0;

  // of an answer that another's call gave
  std::optional<Duration> answer_ttl;  // of a hit
  std::optional<Duration> answer_age;
  std::string answer_target;

  const ForwardedHeaders& forwarded_headers() const { return forwarded ? *forwarded : kNothingForwarded; }

  // What others asked for, now or before, costs nothing.
  bool is_own_call() const {
    return verdict == journal::CacheVerdict::miss || verdict == journal::CacheVerdict::bypass;
  }

  // The reply that ends the exchange without an upstream call (a refusal, the model list).
  std::optional<Reply> reply;
};

// The path of accounts that pays, from the root.
inline std::span<const std::string> accounts_of(const Exchange& exchange) {
  static const std::string kDefault(kDefaultAccount);
  if (exchange.principal) return exchange.principal->accounts;
  return {&kDefault, 1};
}

// The client's side of an exchange: a bridge to asyncio, later a connection of the native door, a recorder in tests.
// All calls come from the exchange's loop thread, in order; `end` or `reply` is the last.
class ClientSide {
 public:
  virtual ~ClientSide() = default;
  virtual void reply(Reply reply) = 0;
  virtual void begin(int status, HeaderList headers) = 0;
  virtual void data(std::string bytes) = 0;
  virtual void end() = 0;
};

}  // namespace sentinel::engine
