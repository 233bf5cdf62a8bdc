#include "sentinel/engine/engine.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sentinel::engine {
namespace {

// Counts the forks this process has come through: threads do not survive them, so neither does an engine.
std::atomic<std::uint32_t> forks{0};

std::uint32_t watch_forks() {
  static const int kRegistered = pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1); });
  (void)kRegistered;
  return forks.load();
}

Error system_error(const std::string& what) {
  return Error(ErrorCode::internal_error, what + ": " + std::strerror(errno));
}

// An exchange may use every attempt for as long as the upstream's deadlines let it.
Duration longest_exchange(const Snapshot& snapshot) {
  Duration longest = std::chrono::hours{1};
  for (const auto& upstream : snapshot.upstreams)
    longest = std::max(longest, 2 * upstream->timeouts.total * upstream->retry.attempts);
  return longest;
}

}  // namespace

// One engine per data directory, for as long as this lives.
class Engine::DirectoryLock {
 public:
  static Result<std::unique_ptr<DirectoryLock>> take(const std::string& directory) {
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
      return system_error("cannot make " + directory);
    const std::string path = directory + "/lock";
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0) return system_error("cannot open " + path);
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
      ::close(descriptor);
      return Error(
          ErrorCode::internal_error,
          "another Sentinel engine uses the data directory " + directory +
              ": run one process (its loops use all cores), give each its own data_dir, or start no workers");
    }
    return std::unique_ptr<DirectoryLock>(new DirectoryLock(descriptor));
  }
  ~DirectoryLock() { ::close(descriptor_); }

 private:
  explicit DirectoryLock(int descriptor) : descriptor_(descriptor) {}
  const int descriptor_;
};

Result<std::unique_ptr<Engine>> Engine::start(EngineOptions options) {
  std::unique_ptr<Engine> engine(new Engine(std::move(options)));
  Status opened = engine->open();
  if (!opened) return std::move(opened.error());
  return engine;
}

Engine::Engine(EngineOptions options)
    : options_(std::move(options)), seed_(options_.seed | 1U), forks_at_start_(watch_forks()) {}

Engine::~Engine() { close(); }

Status Engine::open() {
  clock_ = options_.manual_clock;
  if (!clock_) clock_ = std::make_shared<SystemClock>();
  auto lock = DirectoryLock::take(options_.data_dir);
  if (!lock) return std::move(lock.error());
  lock_ = std::move(*lock);
  log_ = std::make_unique<log::JsonLog>(options_.log_descriptor, options_.log);

  journal::SqliteSinkOptions ledger;
  ledger.path = options_.usage_database.empty() ? options_.data_dir + "/usage.db" : options_.usage_database;
  ledger.observer = [this](std::span<const journal::UsageRecord> records) { log_->exchanges(records); };
  ledger.warning = [this](std::string_view text) {
    log_event(log::Level::warning, "ledger", {{"message", text}});
  };
  auto sink = journal::SqliteSink::open(std::move(ledger));
  if (!sink) return std::move(sink.error());
  sink_ = std::move(*sink);

  registry_ = std::make_unique<metrics::MetricRegistry>(labels_, [this] { return health(); });
  keys_ = std::make_unique<KeyTable>(options_.pepper);
  Status configured = configure(options_.snapshot);
  if (!configured) return configured;
  const auto snapshot = snapshots_.get();
  quotas_ = std::make_unique<Quotas>(longest_exchange(*snapshot), next_seed());
  cache::ExactCacheBounds bounds;
  bounds.max_bytes = snapshot->cache_bytes;
  cache_ = std::make_unique<cache::ExactCache>(bounds, next_seed());
  answers_ = std::make_unique<Answers>(*cache_, *quotas_);
  encodings_ = std::make_unique<Encodings>(options_.vocabulary_directory);
  if (snapshot->limits_use()) encodings_->load_all();  // before traffic, not in its way
  pipeline_ = std::make_unique<Pipeline>(
      PipelineParts{*keys_, snapshots_, *sink_, labels_, *quotas_, *answers_, *encodings_});
  state_file_ = std::make_unique<StateFile>(options_.data_dir + "/state");
  restore_state();

  for (std::uint64_t i = 0; i < std::max<std::size_t>(options_.loops, 1); ++i) {
    runners_.push_back(std::make_unique<Runner>(*pipeline_, *clock_, *registry_, next_seed(),
                                                (i << kCallIdBits) + 1, [this] { note_end(); }));
  }
  drain_ = std::make_unique<Drain>(options_.drain_delay, options_.drain_timeout);
  drain_timer_ =
      std::make_unique<Timer>([](void* self) { static_cast<Engine*>(self)->advance_drain(); }, this);
  housekeeper_ = std::make_unique<Timer>([](void* self) { static_cast<Engine*>(self)->housekeep(); }, this);
  for (auto& runner : runners_) runner->start();
  runners_.front()->loop().post([this] { housekeep(); });
  return Done{};
}

// What is to be done about every second, in bounded pieces: expired things go, what is owed is written down.
void Engine::housekeep() {
  if (closed_.load()) return;
  const Instant now = clock_->now();
  quotas_->tick(now);
  cache_->tick(now);
  save_state();
  net::Loop& loop = runners_.front()->loop();
  housekeeper_->set(loop.timers(), loop.now() + std::chrono::seconds{1});
}

// A state that cannot be read is no reason not to start: limits begin full, breakers closed.
void Engine::restore_state() {
  const auto warn = [this](const Error& error) {
    log_event(log::Level::warning, "state", {{"message", error.message}});
  };
  auto kept = state_file_->load();
  if (!kept) return warn(kept.error());
  if (!*kept) return;
  Status limits = quotas_->restore((*kept)->limits, clock_->now());
  if (!limits) warn(limits.error());
  Status breakers = health_.restore((*kept)->breakers, clock_->now());
  if (!breakers) warn(breakers.error());
}

void Engine::save_state() {
  const Instant now = clock_->now();
  Status saved = state_file_->save({quotas_->snapshot(now), health_.snapshot(now)});
  if (!saved && !state_failing_) log_event(log::Level::error, "state", {{"message", saved.error().message}});
  state_failing_ = !saved;
}

metrics::EngineHealth Engine::health() const {
  const journal::SinkStats stats = sink_->stats();
  metrics::EngineHealth health;
  health.records = stats.committed;
  health.rejected = stats.rejected;
  health.retries = stats.failures;
  health.lost = stats.lost;
  health.pending = stats.pending;
  health.log_lines_dropped = log_->dropped();
  health.in_flight = pipeline_->in_flight();
  const cache::ExactCacheStats kept = cache_->stats();
  health.cache_bytes = kept.bytes;
  health.cache_evictions = kept.evicted;
  for (const auto& [target, state] : health_.states())
    health.breakers.emplace_back(target, static_cast<int>(state));
  return health;
}

Status Engine::configure(std::string_view document) {
  auto snapshot = Snapshot::from_json(document);
  if (!snapshot) return std::move(snapshot.error());
  (*snapshot)->intern_labels(labels_);
  health_.adopt(**snapshot);
  snapshots_.set(std::move(*snapshot));
  return Done{};
}

Status Engine::put_keys(std::string_view document) {
  Status put = keys_->put(document);
  if (put) stop_revoked();
  return put;
}

Status Engine::replace_keys(std::string_view document) {
  auto removed = keys_->replace_all(document);
  if (!removed) return std::move(removed.error());
  stop_revoked();
  return Done{};
}

bool Engine::remove_key(std::string_view key_id) {
  const bool known = keys_->remove(key_id);
  stop_revoked();
  return known;
}

void Engine::stop_revoked() {
  if (!alive()) return;
  for (auto& runner : runners_) runner->stop_revoked();
}

void Engine::log_event(log::Level level, std::string_view event, const std::vector<log::Field>& fields) {
  log_->event(clock_->now().unix_time, level, event, fields);
}

Runner& Engine::runner_for(const Exchange& exchange) {
  std::size_t place = 0;
  if (exchange.plan && exchange.plan->follow) {
    std::memcpy(&place, exchange.plan->key.identity.data(), sizeof place);
  } else {
    place = turn_.fetch_add(1, std::memory_order_relaxed);
  }
  return *runners_[place % runners_.size()];
}

bool Engine::alive() const { return !closed_.load() && forks.load() == forks_at_start_; }

void Engine::begin_drain(bool with_delay) {
  if (!alive()) return;
  runners_.front()->loop().post([this, with_delay] {
    drain_->begin(with_delay ? clock_->now().monotonic : clock_->now().monotonic - options_.drain_delay);
    advance_drain();
  });
}

// On the first loop's thread. Once close() has begun, the state is its own: an exchange that ends then must neither
// reopen the engine nor arm a timer that would keep the loop from ending.
void Engine::advance_drain() {
  if (closed_.load()) return;
  net::Loop& loop = runners_.front()->loop();
  DrainState state = drain_->state();
  for (DrainState before = DrainState::serving; state != before;) {
    before = state;
    state = drain_->advance(loop.now(), pipeline_->in_flight() == 0);
    pipeline_->set_drain_state(state);
    if (state == before || state != DrainState::aborting) continue;
    for (auto& runner : runners_) runner->stop_all(StopReason::shutdown);
  }
  if (state == DrainState::stopped) {
    drain_timer_->cancel();
  } else {
    drain_timer_->set(loop.timers(), drain_->next(loop.now()));
  }
}

void Engine::note_end() {
  if (!alive() || pipeline_->drain_state() < DrainState::refusing || pipeline_->in_flight() > 0) return;
  runners_.front()->loop().post([this] { advance_drain(); });
}

void Engine::tick() {
  if (!alive()) return;
  for (auto& runner : runners_) runner->loop().tick_now();
}

void Engine::close() {
  if (closed_.exchange(true)) return;
  if (forks.load() != forks_at_start_) {
    // In a forked child nothing can be joined or flushed: the threads are the parent's. Leave all of it untouched.
    for (auto& runner : runners_) runner.release();
    sink_.release();
    return;
  }
  if (pipeline_) pipeline_->set_drain_state(DrainState::stopped);
  for (auto& runner : runners_) runner->stop_all(StopReason::shutdown);
  if (!runners_.empty()) {
    runners_.front()->loop().post([this] {
      drain_timer_->cancel();
      housekeeper_->cancel();
    });
  }
  for (auto& runner : runners_) runner->join();
  if (state_file_) save_state();
  if (sink_) sink_->close();
  lock_.reset();
}

}  // namespace sentinel::engine
