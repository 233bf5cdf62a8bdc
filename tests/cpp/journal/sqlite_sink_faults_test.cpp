// The ledger when the database does not take records: nothing is lost, one warning per episode, everything
// counted.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <mutex>
#include <optional>
#include <semaphore>

#include "journal/ledger_file.hpp"

namespace sentinel::journal {
namespace {

using namespace testing;

// Keeps what the sink warned about, and lets a test wait for the next warning.
class Warnings {
 public:
  WarningHandler handler() {
    return [this](std::string_view text) {
      {
        const std::lock_guard lock{mutex_};
        texts_.emplace_back(text);
      }
      arrived_.release();
    };
  }
  bool wait() { return arrived_.try_acquire_for(kLong); }
  std::size_t containing(std::string_view what) {
    const std::lock_guard lock{mutex_};
    std::size_t count = 0;
    for (const std::string& text : texts_) count += text.find(what) != std::string::npos ? 1U : 0U;
    return count;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> texts_;
  std::counting_semaphore<> arrived_{0};
};

// The disk is full for every file of this process that would grow beyond `bytes`.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : before_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limited{.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limited);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, before_handler_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_{};
  void (*before_handler_)(int);
};

TEST(SqliteSinkFaults, a_locked_database_delays_records_and_loses_none) {
  const LedgerFile file;
  Warnings warnings;
  auto sink = file.open({.path = {}, .warning = warnings.handler()});
  LedgerFile::Connection other{file};
  other.run("BEGIN IMMEDIATE");
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(sink->push(record_named("req-" + std::to_string(i))));
  ASSERT_TRUE(warnings.wait());
  EXPECT_FALSE(sink->flush(1ms));
  EXPECT_TRUE(sink->stats().failing);
  EXPECT_EQ(sink->stats().pending, 100U);
  other.run("ROLLBACK");
  ASSERT_TRUE(sink->flush(kLong));
  EXPECT_FALSE(sink->stats().failing);
  EXPECT_GE(sink->stats().failures, 1U);
  EXPECT_EQ(warnings.containing("wait in memory"), 1U);
  EXPECT_EQ(warnings.containing("stored again"), 1U);
  EXPECT_EQ(file.one("SELECT count(*) FROM usage"), "100");
}

TEST(SqliteSinkFaults, each_episode_warns_once) {
  const LedgerFile file;
  Warnings warnings;
  auto sink = file.open({.path = {}, .warning = warnings.handler()});
  LedgerFile::Connection other{file};
  for (int episode = 0; episode < 2; ++episode) {
    other.run("BEGIN IMMEDIATE");
    sink->push(record_named("req-" + std::to_string(episode)));
    ASSERT_TRUE(warnings.wait());
    other.run("ROLLBACK");
    ASSERT_TRUE(sink->flush(kLong));
    ASSERT_TRUE(warnings.wait());
  }
  EXPECT_EQ(warnings.containing("wait in memory"), 2U);
  EXPECT_EQ(warnings.containing("stored again"), 2U);
}

TEST(SqliteSinkFaults, a_full_queue_rejects_at_once_and_counts) {
  const LedgerFile file;
  auto sink = file.open({.path = {}, .capacity = 10});
  LedgerFile::Connection other{file};
  other.run("BEGIN IMMEDIATE");
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(sink->push(record_named("req-" + std::to_string(i))));
  EXPECT_FALSE(sink->push(record_named("one too many")));
  EXPECT_EQ(sink->stats().rejected, 1U);
  other.run("ROLLBACK");
  ASSERT_TRUE(sink->flush(kLong));
  EXPECT_TRUE(sink->push(record_named("room again")));
  ASSERT_TRUE(sink->close());
  EXPECT_EQ(file.one("SELECT count(*) FROM usage"), "11");
}

TEST(SqliteSinkFaults, a_full_disk_delays_records_and_loses_none) {
  const LedgerFile file;
  Warnings warnings;
  auto sink = file.open({.path = {}, .warning = warnings.handler()});
  constexpr int kRecords = 3000;
  {
    const FullDisk full{256 * 1024};
    for (int i = 0; i < kRecords; ++i) ASSERT_TRUE(sink->push(record_named("req-" + std::to_string(i))));
    ASSERT_TRUE(warnings.wait());
    EXPECT_FALSE(sink->flush(1ms));
  }
  ASSERT_TRUE(sink->flush(kLong));
  EXPECT_EQ(warnings.containing("wait in memory"), 1U);
  EXPECT_EQ(file.one("SELECT count(DISTINCT request_id) FROM usage"), std::to_string(kRecords));
  EXPECT_EQ(file.one("PRAGMA integrity_check"), "ok");
  EXPECT_EQ(sink->stats().rejected + sink->stats().lost, 0U);
}

TEST(SqliteSinkFaults, close_gives_up_in_bounded_time_counts_and_shows_what_is_lost) {
  const LedgerFile file;
  Warnings warnings;
  std::vector<std::string> seen;
  SqliteSinkOptions options;
  options.warning = warnings.handler();
  options.observer = [&](std::span<const UsageRecord> batch) {
    for (const UsageRecord& record : batch) seen.push_back(record.request_id);
  };
  auto sink = file.open(std::move(options));
  LedgerFile::Connection other{file};
  other.run("BEGIN IMMEDIATE");
  sink->push(record_named("req-1"));
  sink->push(record_named("req-2"));
  EXPECT_FALSE(sink->close(0ms));
  EXPECT_EQ(sink->stats().lost, 2U);
  EXPECT_EQ(sink->stats().pending, 0U);
  EXPECT_EQ(warnings.containing("2 usage records are lost"), 1U);
  EXPECT_EQ(seen, (std::vector<std::string>{"req-1", "req-2"}));
}

TEST(SqliteSinkFaults, close_during_a_pause_tries_once_more) {
  const LedgerFile file;
  Warnings warnings;
  auto sink = file.open({.path = {}, .warning = warnings.handler()});
  {
    LedgerFile::Connection other{file};
    other.run("BEGIN IMMEDIATE");
    sink->push(record_named("req-1"));
    ASSERT_TRUE(warnings.wait());
  }
  EXPECT_TRUE(sink->close(kLong));
  EXPECT_EQ(file.one("SELECT count(*) FROM usage"), "1");
}

}  // namespace
}  // namespace sentinel::journal
