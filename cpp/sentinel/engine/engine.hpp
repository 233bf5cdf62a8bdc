// The whole engine of one process: built once, closed once, in order.
//
// Contract: start() takes the data directory (flock: a second engine on it is refused), opens the ledger, reads the
// snapshot and starts the loops. configure() and the key calls take effect for the next request. Draining walks the
// states of drain.hpp. close() is idempotent: running exchanges end with an error event, records are stored, threads
// are joined. After a fork the child's engine is dead (alive() is false): its threads stayed with the parent.
// Thread rule: any thread. Failure rule: start and configure answer an Error that names what is wrong.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/base/clock.hpp"
#include "sentinel/cache/exact_cache.hpp"
#include "sentinel/engine/answers.hpp"
#include "sentinel/engine/drain.hpp"
#include "sentinel/engine/health.hpp"
#include "sentinel/engine/pipeline.hpp"
#include "sentinel/engine/prompt_tokens.hpp"
#include "sentinel/engine/quotas.hpp"
#include "sentinel/engine/runner.hpp"
#include "sentinel/engine/state_file.hpp"
#include "sentinel/journal/sqlite_sink.hpp"
#include "sentinel/log/json_log.hpp"
#include "sentinel/metrics/registry.hpp"

namespace sentinel::engine {

struct EngineOptions {
  std::string snapshot;  // JSON
  std::string pepper;
  std::string data_dir;
  std::string usage_database;        // empty: data_dir/usage.db
  std::string vocabulary_directory;  // where the token vocabularies are
  std::size_t loops = 1;
  std::uint64_t seed = 0;
  int log_descriptor = 2;
  log::LogOptions log;
  Duration drain_delay{0};
  Duration drain_timeout{0};
  std::shared_ptr<ManualClock> manual_clock;  // null: the system's
};

class Engine {
 public:
  static Result<std::unique_ptr<Engine>> start(EngineOptions options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  Status configure(std::string_view snapshot);
  Status put_keys(std::string_view document);
  Status replace_keys(std::string_view document);
  bool remove_key(std::string_view key_id);

  // For doors that look at keys themselves (the admin's): the same limit by address as before any other key.
  Status take_address(std::string_view peer, std::string_view forwarded_for) {
    return quotas_->take_address(*snapshots_.get(), peer, forwarded_for, clock_->now());
  }

  // The kept answers, and how the targets are doing: for operators.
  cache::ExactCache& cache() { return *cache_; }
  HealthTable& health_table() { return health_; }

  std::string metrics() const { return registry_->expose(); }
  std::int64_t in_flight() const { return pipeline_->in_flight(); }
  journal::SinkStats ledger() const { return sink_->stats(); }
  bool flush(std::chrono::milliseconds patience) { return sink_->flush(patience); }
  void log_event(log::Level level, std::string_view event, const std::vector<log::Field>& fields);

  void begin_drain(bool with_delay);
  DrainState drain_state() const { return pipeline_->drain_state(); }
  // To be called when an exchange has ended without a loop.
  void note_end();
  void close();
  bool alive() const;

  // The manual clock has moved: deadlines that are due fire on every loop.
  void tick();

  // For the doors.
  const Clock& clock() const { return *clock_; }
  Pipeline& pipeline() { return *pipeline_; }
  metrics::MetricRegistry& registry() { return *registry_; }
  std::shared_ptr<const Snapshot> snapshot() const { return snapshots_.get(); }
  // The loop that this exchange goes to: one question always to the same one, which knows what is being asked.
  Runner& runner_for(const Exchange& exchange);
  Runner& runner_of_call(std::uint64_t call_id) { return *runners_[call_id >> kCallIdBits]; }
  std::uint64_t next_seed() { return seed_.fetch_add(1) * 0x9e3779b97f4a7c15U; }

 private:
  static constexpr unsigned kCallIdBits = 48;
  class DirectoryLock;
  explicit Engine(EngineOptions options);
  Status open();
  metrics::EngineHealth health() const;
  void advance_drain();
  void stop_revoked();
  void restore_state();
  void save_state();
  void housekeep();

  const EngineOptions options_;
  std::shared_ptr<const Clock> clock_;
  std::unique_ptr<DirectoryLock> lock_;
  std::unique_ptr<log::JsonLog> log_;
  std::unique_ptr<journal::SqliteSink> sink_;
  metrics::LabelNames labels_;
  std::unique_ptr<metrics::MetricRegistry> registry_;
  std::unique_ptr<KeyTable> keys_;
  SnapshotHolder snapshots_;
  HealthTable health_;
  std::unique_ptr<Quotas> quotas_;
  std::unique_ptr<cache::ExactCache> cache_;
  std::unique_ptr<Answers> answers_;
  std::unique_ptr<Encodings> encodings_;
  std::unique_ptr<StateFile> state_file_;
  std::unique_ptr<Pipeline> pipeline_;
  std::vector<std::unique_ptr<Runner>> runners_;
  std::unique_ptr<Drain> drain_;        // on the first loop's thread
  std::unique_ptr<Timer> drain_timer_;  // on the first loop's thread
  std::unique_ptr<Timer> housekeeper_;  // on the first loop's thread
  bool state_failing_ = false;          // said once
  std::atomic<std::size_t> turn_{0};
  std::atomic<std::uint64_t> seed_{0};
  std::atomic<bool> closed_{false};
  const std::uint32_t forks_at_start_;
};

}  // namespace sentinel::engine
