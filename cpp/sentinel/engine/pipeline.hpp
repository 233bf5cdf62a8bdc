// A request's way (docs/architecture.md, "Life of a request"): the three pure calls that govern it.
//
//   decide(head, body, now): 1 parse, 2 principal, 3 check, 4 exact look-up, the seat of 6 semantic look-up
//                            -> an exchange that is answered, or must be joined or sent
//   admit(exchange, now):    7 admit -> tokens counted, tokens and money reserved, for what goes upstream only
//   finish(exchange, now):   10 settle -> usage, cost, limits, record, metrics, once
//
// Between them the loop that owns the question's flight carries out 5 join, 8 send and 9 relay (runner.hpp).
// Contract: no I/O but the first load of a vocabulary, no clock, no Python. Cost: bench/cpp/pipeline_bench.cpp.
// Thread rule: any thread, each with its own Lane.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "sentinel/base/random.hpp"
#include "sentinel/engine/answers.hpp"
#include "sentinel/engine/drain.hpp"
#include "sentinel/engine/exchange.hpp"
#include "sentinel/engine/principal.hpp"
#include "sentinel/engine/prompt_tokens.hpp"
#include "sentinel/engine/quotas.hpp"
#include "sentinel/engine/snapshot.hpp"
#include "sentinel/journal/sqlite_sink.hpp"
#include "sentinel/metrics/labels.hpp"
#include "sentinel/metrics/lane.hpp"
#include "sentinel/stream/json.hpp"

namespace sentinel::engine {

// The immutable snapshot in force; readers keep the one they took. A thread that asks for every request brings what it
// was given last, and asks for the lock only after a change.
class SnapshotHolder {
 public:
  struct Seen {
    std::uint64_t generation = 0;
    std::shared_ptr<const Snapshot> snapshot;
  };

  std::shared_ptr<const Snapshot> get() const {
    const std::lock_guard lock(mutex_);
    return current_;
  }
  const std::shared_ptr<const Snapshot>& get(Seen& seen) const {
    if (generation_.load(std::memory_order_acquire) == seen.generation) return seen.snapshot;
    Seen now;  // takes what was seen before with it, after the lock
    {
      const std::lock_guard lock(mutex_);
      now = {generation_.load(std::memory_order_relaxed), current_};
    }
    std::swap(seen, now);
    return seen.snapshot;
  }
  void set(std::shared_ptr<const Snapshot> next) {
    const std::lock_guard lock(mutex_);
    current_.swap(next);
    generation_.fetch_add(1, std::memory_order_release);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Snapshot> current_;
  std::atomic<std::uint64_t> generation_{0};
};

// What one thread needs for itself to decide and finish.
struct Lane {
  Lane(std::uint64_t seed, metrics::MetricLane& lane) : random(seed), metrics(lane) {}
  Random random;
  metrics::MetricLane& metrics;
  RequestReader requests;
  stream::JsonParser answers;
  SnapshotHolder::Seen snapshot;
};

// What the pipeline works with; all of it outlives the pipeline.
struct PipelineParts {
  KeyTable& keys;
  SnapshotHolder& snapshots;
  journal::SqliteSink& sink;
  metrics::LabelNames& labels;
  Quotas& quotas;
  Answers& answers;
  Encodings& encodings;
};

struct KnownHeaders;

class Pipeline {
 public:
  explicit Pipeline(const PipelineParts& parts);

  // Never null. `body` needs kBodyPadding bytes of capacity behind its end.
  std::unique_ptr<Exchange> decide(Lane& lane, const RequestHead& head, std::string body, Instant now);

  // A request that the door itself had to refuse (too large, too slow): same reply and books as any refusal.
  std::unique_ptr<Exchange> refuse(Lane& lane, const RequestHead& head, Error error, Instant now);

  // Before the upstream call that the exchange pays for; an error ends it.
  Status admit(Lane& lane, Exchange& exchange, Instant now) const;
  // Before it shares another's call: what rules that count hits ask of it.
  Status admit_follower(Lane& lane, Exchange& exchange, Instant now) const;

  // Of what was relayed without usage, or as long as none is known.
  void estimate_usage(Exchange& exchange) const;
  // What an answer cost, once its usage is known; finish() does it if nobody has.
  void price(Exchange& exchange) const;

  // An answer that is whole, before the client has all of it (answers.hpp).
  const Answers& answers() const { return parts_.answers; }
  Quotas& quotas() { return parts_.quotas; }

  // Once per exchange, before the client hears of its end.
  void finish(Lane& lane, Exchange& exchange, Instant now);

  // Sequentially consistent with in_flight: a request is either counted before the state is looked at, or refused.
  void set_drain_state(DrainState state) { drain_.store(state); }
  DrainState drain_state() const { return drain_.load(); }
  std::int64_t in_flight() const { return in_flight_.load(); }

 private:
  std::unique_ptr<Exchange> begin(Lane& lane, Instant now);
  Status govern(Lane& lane, Exchange& exchange, const RequestHead& head, std::string& body, Instant now);
  Status parse_head(Lane& lane, Exchange& exchange, const RequestHead& head, KnownHeaders& known) const;
  Status welcome_address(Exchange& exchange, std::string_view peer, const KnownHeaders& known,
                         Instant now) const;
  static void keep_request(Exchange& exchange, const KnownHeaders& known, std::string body);
  Status identify(Exchange& exchange, const KnownHeaders& known) const;
  Status check(Exchange& exchange) const;
  Status enter(Exchange& exchange, Instant now) const;
  void name_end_user(Exchange& exchange) const;
  void predict(Lane& lane, Exchange& exchange) const;
  void count(Lane& lane, const Exchange& exchange, Instant now) const;
  void record(const Exchange& exchange, Instant now);

  const PipelineParts parts_;
  std::array<metrics::LabelId, kEndpoints> endpoint_labels_{};
  std::atomic<DrainState> drain_{DrainState::serving};
  std::atomic<std::int64_t> in_flight_{0};
};

}  // namespace sentinel::engine
