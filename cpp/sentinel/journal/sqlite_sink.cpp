#include "sentinel/journal/sqlite_sink.hpp"

#include <pthread.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "sentinel/journal/usage_table.hpp"

namespace sentinel::journal {
namespace {

using Steady = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kBatch = 512;
constexpr milliseconds kLinger{20};
constexpr milliseconds kFirstRetry{50};
constexpr milliseconds kLastRetry{1000};

Result<std::string> random_instance() {
  std::array<unsigned char, 8> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return Error{ErrorCode::not_started, "the system gave no random bytes for the ledger's instance"};
  }
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kHex[byte >> 4U];
    text += kHex[byte & 15U];
  }
  return text;
}

// While it lives, threads made by this one start with the process's signals blocked: they belong to other
// threads. Faults stay open, or a sanitizer could not report them.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) sigdelset(&all, fault);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

class SqliteSink::Writer {
 public:
  Writer(UsageTable table, std::string instance, SqliteSinkOptions options)
      : options_(std::move(options)), instance_(std::move(instance)), table_(std::move(table)) {
    waiting_.reserve(options_.capacity);  // address space only: pages are touched as the queue grows
    batch_.reserve(options_.capacity);
    const SignalsBlocked blocked;
    thread_ = std::thread{[this] { run(); }};
  }

  bool push(UsageRecord&& record) {
    bool wake = false;
    {
      const std::lock_guard lock{mutex_};
      if (closing_ || pending() >= options_.capacity) {
        ++stats_.rejected;
        return false;
      }
      waiting_.push_back(std::move(record));
      ++stats_.accepted;
      wake = waiting_.size() == 1 || waiting_.size() == kBatch;
    }
    if (wake) wake_.notify_one();
    return true;
  }

  bool flush(milliseconds patience) {
    std::unique_lock lock{mutex_};
    const std::uint64_t goal = stats_.accepted;
    hurry_to_ = goal;
    wake_.notify_one();
    stored_.wait_for(lock, patience, [&] { return settled_ >= goal; });
    return settled_ >= goal;
  }

  bool close(milliseconds patience) {
    {
      const std::lock_guard lock{mutex_};
      if (!closing_) give_up_at_ = Steady::now() + patience;
      closing_ = true;
    }
    wake_.notify_one();
    std::call_once(joined_, [this] { thread_.join(); });
    const std::lock_guard lock{mutex_};
    return stats_.lost == 0;
  }

  SinkStats stats() const {
    const std::lock_guard lock{mutex_};
    SinkStats now = stats_;
    now.pending = pending();
    return now;
  }

  const std::string& instance() const { return instance_; }

 private:
  std::uint64_t pending() const { return stats_.accepted - settled_; }

  void run() {
    pthread_setname_np(pthread_self(), "sntl-ledger");
    while (take_batch()) {
      stamp();
      const std::span<const UsageRecord> all{batch_};
      for (std::size_t at = 0; at < all.size(); at += kBatch) {
        store(all.subspan(at, std::min(kBatch, all.size() - at)));
      }
      batch_.clear();
    }
  }

  // Sleeps until there is a batch; false when the sink is closed and drained.
  bool take_batch() {
    std::unique_lock lock{mutex_};
    wake_.wait(lock, [this] { return !waiting_.empty() || closing_; });
    wake_.wait_for(lock, kLinger,
                   [this] { return waiting_.size() >= kBatch || closing_ || hurry_to_ > settled_; });
    waiting_.swap(batch_);
    return !batch_.empty();
  }

  // Acceptance order is the order in the queue, so the counter can live here and push() need not touch the
  // strings.
  void stamp() {
    for (UsageRecord& record : batch_) {
      if (!record.instance.empty()) continue;
      record.instance = instance_;
      record.sequence = next_sequence_++;
    }
  }

  void store(std::span<const UsageRecord> chunk) {
    milliseconds pause = kFirstRetry;
    for (;;) {
      Result<StoredCounts> counts = table_.store(chunk);
      if (counts) return succeed(chunk, *counts);
      fail(counts.error());
      if (!wait_to_retry(pause)) return lose(chunk);
      pause = std::min(pause * 2, kLastRetry);
    }
  }

  void succeed(std::span<const UsageRecord> chunk, StoredCounts counts) {
    bool recovered = false;
    {
      const std::lock_guard lock{mutex_};
      stats_.committed += counts.committed;
      stats_.replayed += counts.replayed;
      recovered = std::exchange(stats_.failing, false);
    }
    if (recovered) warn("usage records are stored again");
    settle(chunk);
  }

  void fail(const Error& error) {
    bool first = false;
    {
      const std::lock_guard lock{mutex_};
      ++stats_.failures;
      first = !std::exchange(stats_.failing, true);
    }
    if (first) warn("usage records wait in memory: " + error.message);
  }

  void lose(std::span<const UsageRecord> chunk) {
    {
      const std::lock_guard lock{mutex_};
      stats_.lost += chunk.size();
    }
    warn(std::to_string(chunk.size()) +
         " usage records are lost: the database did not take them before the end");
    settle(chunk);
  }

  // The observer comes first, so that flush() also means that the log lines are written.
  void settle(std::span<const UsageRecord> chunk) {
    if (options_.observer) options_.observer(chunk);
    {
      const std::lock_guard lock{mutex_};
      settled_ += chunk.size();
    }
    stored_.notify_all();
  }

  // False when close() has run out of patience. A close() that comes in the middle of the pause ends it.
  bool wait_to_retry(milliseconds pause) {
    std::unique_lock lock{mutex_};
    const bool was_closing = closing_;
    wake_.wait_for(lock, was_closing ? kFirstRetry : pause, [&] { return closing_ && !was_closing; });
    return !closing_ || Steady::now() < give_up_at_;
  }

  void warn(std::string_view text) const {
    if (options_.warning) options_.warning(text);
  }

  const SqliteSinkOptions options_;
  const std::string instance_;

  mutable std::mutex mutex_;  // guards down to the blank line
  std::condition_variable wake_;
  std::condition_variable stored_;
  std::vector<UsageRecord> waiting_;
  SinkStats stats_;
  std::uint64_t settled_ = 0;   // stored, replayed or lost
  std::uint64_t hurry_to_ = 0;  // somebody waits for this many: do not linger
  bool closing_ = false;
  Steady::time_point give_up_at_;

  UsageTable table_;  // the writer thread's own, as are these
  std::vector<UsageRecord> batch_;
  std::int64_t next_sequence_ = 1;

  std::once_flag joined_;
  std::thread thread_;
};

SqliteSink::SqliteSink(std::unique_ptr<Writer> writer) : writer_(std::move(writer)) {}
SqliteSink::~SqliteSink() { close(); }

Result<std::unique_ptr<SqliteSink>> SqliteSink::open(SqliteSinkOptions options) {
  Result<std::string> instance = random_instance();
  if (!instance) return std::move(instance.error());
  Result<UsageTable> table = UsageTable::open(options.path);
  if (!table) return std::move(table.error());
  try {
    auto writer = std::make_unique<Writer>(*std::move(table), *std::move(instance), std::move(options));
    return std::unique_ptr<SqliteSink>{new SqliteSink{std::move(writer)}};
  } catch (const std::system_error& error) {
    return Error{ErrorCode::not_started, std::string{"no thread for the usage ledger: "} + error.what()};
  }
}

bool SqliteSink::push(UsageRecord&& record) { return writer_->push(std::move(record)); }
bool SqliteSink::flush(std::chrono::milliseconds patience) { return writer_->flush(patience); }
bool SqliteSink::close(std::chrono::milliseconds patience) { return writer_->close(patience); }
SinkStats SqliteSink::stats() const { return writer_->stats(); }
const std::string& SqliteSink::instance() const { return writer_->instance(); }

}  // namespace sentinel::journal
