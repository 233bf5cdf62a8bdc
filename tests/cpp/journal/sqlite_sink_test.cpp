// The ledger's promises: every accepted record once, whatever its text, its id or its neighbours.
#include "sentinel/journal/sqlite_sink.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <fstream>
#include <thread>

#include "journal/ledger_file.hpp"
#include "sentinel/base/utf8.hpp"

namespace sentinel::journal {
namespace {

using namespace testing;

int mode_of(const std::string& path) {
  struct stat about{};
  return ::stat(path.c_str(), &about) == 0 ? static_cast<int>(about.st_mode & 0777U) : -1;
}

TEST(SqliteSink, stores_every_column_of_the_contract) {
  const LedgerFile file;
  auto sink = file.open();
  UsageRecord record = record_named("req-1");
  record.key_id = "ci";
  record.endpoint = "/v1/chat/completions";
  record.target = "openai/gpt-4o-mini";
  record.prompt_tokens = 11;
  record.completion_tokens = 12;
  record.cached_tokens = 13;
  record.reasoning_tokens = 14;
  record.estimated = true;
  record.cost_micro_usd = 15;
  record.saved_micro_usd = 16;
  record.price_version = "2026-11-01";
  record.outcome = Outcome::upstream_cut;
  record.cache = CacheVerdict::hit_exact;
  record.status = 502;
  record.latency_us = 17;
  record.ttft_us = 18;
  ASSERT_TRUE(sink->push(std::move(record)));
  ASSERT_TRUE(sink->flush(kLong));
  const Rows expected{{"req-1",
                       sink->instance(),
                       "1",
                       "1700000000000000",
                       "ci",
                       "acme/search",
                       "/v1/chat/completions",
                       "gpt-4o-mini",
                       "openai/gpt-4o-mini",
                       "11",
                       "12",
                       "13",
                       "14",
                       "1",
                       "15",
                       "16",
                       "2026-11-01",
                       "upstream_cut",
                       "hit-exact",
                       "502",
                       "17",
                       "18"}};
  EXPECT_EQ(
      file.rows(
          "SELECT request_id, instance, sequence, ts_us, key_id, account_id, endpoint, model, target,"
          " prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, estimated, cost_micro_usd,"
          " saved_micro_usd, price_version, outcome, cache, status, latency_us, ttft_us FROM usage"),
      std::vector{expected});
  EXPECT_EQ(file.one("PRAGMA user_version"), "1");
  EXPECT_EQ(file.one("PRAGMA journal_mode"), "wal");
}

TEST(SqliteSink, an_absent_first_token_is_null) {
  const LedgerFile file;
  auto sink = file.open();
  sink->push(record_named("req-1"));
  ASSERT_TRUE(sink->close());
  EXPECT_EQ(file.one("SELECT ttft_us FROM usage"), "NULL");
}

TEST(SqliteSink, only_the_owner_may_read_the_database) {
  const LedgerFile file;
  std::ofstream{file.path()}.close();
  ::chmod(file.path().c_str(), 0644);
  auto sink = file.open();
  sink->push(record_named("req-1"));
  ASSERT_TRUE(sink->flush(kLong));
  for (const auto& entry : std::filesystem::directory_iterator(file.directory())) {
    EXPECT_EQ(mode_of(entry.path()), 0600) << entry.path();
  }
}

TEST(SqliteSink, sequences_follow_the_order_of_acceptance) {
  const LedgerFile file;
  auto sink = file.open();
  for (int i = 1; i <= 1500; ++i) sink->push(record_named("req-" + std::to_string(i)));
  ASSERT_TRUE(sink->close());
  EXPECT_EQ(file.one("SELECT count(*) FROM usage WHERE request_id = 'req-' || sequence"), "1500");
  EXPECT_EQ(sink->stats().committed, 1500U);
  EXPECT_EQ(sink->stats().pending, 0U);
}

TEST(SqliteSink, a_replayed_record_is_stored_once) {
  const LedgerFile file;
  auto sink = file.open();
  for (int i = 0; i < 3; ++i) {
    UsageRecord record = record_named("req-1");
    record.instance = "journal-7";
    record.sequence = 42;
    sink->push(std::move(record));
    sink->flush(kLong);
  }
  EXPECT_EQ(file.one("SELECT count(*) FROM usage"), "1");
  EXPECT_EQ(sink->stats().committed, 1U);
  EXPECT_EQ(sink->stats().replayed, 2U);
}

TEST(SqliteSink, a_reused_request_id_loses_no_record) {
  const LedgerFile file;
  auto sink = file.open();
  for (int i = 0; i < 3; ++i) sink->push(record_named("same"));
  ASSERT_TRUE(sink->flush(kLong));
  const std::string& id = sink->instance();
  const Rows expected{{"same"}, {"same~" + id + "-2"}, {"same~" + id + "-3"}};
  EXPECT_EQ(file.rows("SELECT request_id FROM usage ORDER BY sequence"), expected);
}

TEST(SqliteSink, a_replay_of_a_renamed_record_is_stored_once) {
  const LedgerFile file;
  auto sink = file.open();
  for (const std::int64_t sequence : {1, 2, 2, 1, 2}) {
    UsageRecord record = record_named("same");
    record.instance = "journal-7";
    record.sequence = sequence;
    sink->push(std::move(record));
  }
  ASSERT_TRUE(sink->flush(kLong));
  EXPECT_EQ(file.one("SELECT group_concat(request_id) FROM usage"), "same,same~journal-7-2");
}

TEST(SqliteSink, a_request_id_that_looks_renamed_loses_no_record) {
  const LedgerFile file;
  auto sink = file.open();
  sink->push(record_named("same~" + sink->instance() + "-3"));
  sink->push(record_named("same"));
  sink->push(record_named("same"));
  ASSERT_TRUE(sink->flush(kLong));
  EXPECT_EQ(file.one("SELECT count(*) FROM usage"), "3");
}

TEST(SqliteSink, s1_hostile_text_is_data_and_comes_back_as_it_was) {
  const LedgerFile file;
  auto sink = file.open();
  const std::vector<std::string> payloads{"'); DROP TABLE usage; --",
                                          "\" OR 1=1 --",
                                          "x'||(SELECT sql FROM sqlite_master)||'",
                                          "?1 :name @name $name",
                                          "*1\r\n$8\r\nFLUSHALL\r\n",
                                          "{\"$ne\": null}",
                                          std::string("nul\0byte", 8),
                                          "naïve ключ 鍵 🔑",
                                          "%s%n%x",
                                          "'; ATTACH DATABASE '/tmp/x' AS x; --"};
  for (std::size_t i = 0; i < payloads.size(); ++i) {
    UsageRecord record = record_named(payloads[i]);
    record.key_id = record.account_id = record.model = record.target = payloads[i];
    record.endpoint = payloads[i];
    sink->push(std::move(record));
  }
  ASSERT_TRUE(sink->flush(kLong));
  const auto rows = file.rows(
      "SELECT request_id, key_id, account_id, endpoint, model, target FROM usage ORDER BY sequence");
  ASSERT_EQ(rows.size(), payloads.size());
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i], std::vector(6, payloads[i]));
}

TEST(SqliteSink, text_in_the_table_is_short_valid_utf8) {
  const LedgerFile file;
  auto sink = file.open();
  UsageRecord record = record_named("req\xff\xfe");
  record.model = std::string(511, 'a') + "é";  // the cut must not split it
  sink->push(std::move(record));
  ASSERT_TRUE(sink->flush(kLong));
  EXPECT_TRUE(utf8::valid(file.one("SELECT request_id FROM usage")));
  EXPECT_EQ(file.one("SELECT model FROM usage"), std::string(511, 'a'));
}

TEST(SqliteSink, flush_means_that_the_observer_has_seen_every_record_once) {
  const LedgerFile file;
  std::vector<std::string> seen;  // written on the writer thread, read after flush
  SqliteSinkOptions options;
  options.observer = [&](std::span<const UsageRecord> batch) {
    for (const UsageRecord& record : batch) seen.push_back(record.request_id);
  };
  auto sink = file.open(std::move(options));
  std::vector<std::string> pushed;
  for (int i = 0; i < 1200; ++i) {
    pushed.push_back("req-" + std::to_string(i));
    sink->push(record_named(pushed.back()));
  }
  ASSERT_TRUE(sink->flush(kLong));
  EXPECT_EQ(seen, pushed);
}

TEST(SqliteSink, records_of_many_threads_are_all_there_exactly_once) {
  const LedgerFile file;
  auto sink = file.open();
  constexpr int kThreads = 4;
  constexpr int kEach = 2000;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&sink, t] {
        for (int i = 0; i < kEach; ++i) {
          EXPECT_TRUE(sink->push(record_named(std::to_string(t) + "-" + std::to_string(i))));
          EXPECT_TRUE(i % 500 != 0 || sink->flush(kLong));
        }
      });
    }
  }
  ASSERT_TRUE(sink->close());
  EXPECT_EQ(file.one("SELECT count(*) FROM usage"), std::to_string(kThreads * kEach));
  EXPECT_EQ(file.one("SELECT max(sequence) FROM usage"), std::to_string(kThreads * kEach));
  EXPECT_EQ(sink->stats().rejected, 0U);
}

TEST(SqliteSink, what_was_flushed_survives_the_death_of_the_process) {
  const LedgerFile file;
  const pid_t child = ::fork();
  if (child == 0) {
    auto sink = file.open();
    for (int i = 0; i < 700; ++i) sink->push(record_named("req-" + std::to_string(i)));
    ::_exit(sink->flush(kLong) ? 0 : 1);  // no close, no destructor: the log stays as it is on disk
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_EQ(file.one("SELECT count(*) FROM usage"), "700");
  EXPECT_EQ(file.one("PRAGMA integrity_check"), "ok");
}

TEST(SqliteSink, a_second_start_continues_the_same_ledger) {
  const LedgerFile file;
  for (int start = 0; start < 2; ++start) {
    auto sink = file.open();
    sink->push(record_named("same"));
    ASSERT_TRUE(sink->close());
  }
  EXPECT_EQ(file.one("SELECT count(DISTINCT instance) || ' ' || count(*) FROM usage"), "2 2");
}

TEST(SqliteSink, close_is_idempotent_from_any_thread_and_ends_acceptance) {
  const LedgerFile file;
  auto sink = file.open();
  sink->push(record_named("req-1"));
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 3; ++t) threads.emplace_back([&sink] { EXPECT_TRUE(sink->close()); });
  }
  EXPECT_TRUE(sink->close());
  EXPECT_FALSE(sink->push(record_named("req-2")));
  EXPECT_TRUE(sink->flush(kLong));
  EXPECT_EQ(sink->stats().rejected, 1U);
  EXPECT_EQ(file.one("SELECT count(*) FROM usage"), "1");
}

TEST(SqliteSinkOpen, refuses_a_newer_schema_and_leaves_it_alone) {
  const LedgerFile file;
  LedgerFile::Connection{file}.run("CREATE TABLE future (x); PRAGMA user_version = 2");
  const auto sink = SqliteSink::open({.path = file.path()});
  ASSERT_FALSE(sink);
  EXPECT_NE(sink.error().message.find("schema version 2"), std::string::npos) << sink.error().message;
  EXPECT_EQ(file.one("SELECT group_concat(name) FROM sqlite_master"), "future");
}

TEST(SqliteSinkOpen, refuses_what_is_no_database) {
  const LedgerFile file;
  std::ofstream{file.path()} << std::string(4096, 'x');
  EXPECT_FALSE(SqliteSink::open({.path = file.path()}));
}

TEST(SqliteSinkOpen, names_the_path_it_cannot_make) {
  const LedgerFile file;
  const std::string path = (file.directory() / "missing" / "usage.db").string();
  const auto sink = SqliteSink::open({.path = path});
  ASSERT_FALSE(sink);
  EXPECT_NE(sink.error().message.find(path), std::string::npos);
}

}  // namespace
}  // namespace sentinel::journal
