// A usage database in a directory of its own, read back the way a user would: with plain SQL.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sentinel/journal/sqlite_sink.hpp"

namespace sentinel::journal::testing {

using namespace std::chrono_literals;
using Rows = std::vector<std::vector<std::string>>;
inline constexpr auto kLong = 60s;  // a bound for what must happen at all, never a measurement

class LedgerFile {
 public:
  LedgerFile() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sentinel-ledger-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
  }
  ~LedgerFile() { std::filesystem::remove_all(directory_); }
  LedgerFile(const LedgerFile&) = delete;
  LedgerFile& operator=(const LedgerFile&) = delete;

  std::filesystem::path directory() const { return directory_; }
  std::string path() const { return (directory_ / "usage.db").string(); }

  std::unique_ptr<SqliteSink> open(SqliteSinkOptions options = {}) const {
    options.path = path();
    auto sink = SqliteSink::open(std::move(options));
    EXPECT_TRUE(sink) << sink.error().message;
    return *std::move(sink);
  }

  // Each row as its columns, NULL as "NULL".
  Rows rows(const std::string& sql) const {
    Rows out;
    Connection connection{*this};
    sqlite3_stmt* statement = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(connection.get(), sql.c_str(), -1, &statement, nullptr), SQLITE_OK) << sql;
    while (sqlite3_step(statement) == SQLITE_ROW) {
      auto& row = out.emplace_back();
      for (int i = 0; i < sqlite3_column_count(statement); ++i) {
        const void* text = sqlite3_column_text(statement, i);
        row.push_back(text == nullptr
                          ? "NULL"
                          : std::string(static_cast<const char*>(text),
                                        static_cast<std::size_t>(sqlite3_column_bytes(statement, i))));
      }
    }
    sqlite3_finalize(statement);
    return out;
  }
  std::string one(const std::string& sql) const {
    const auto found = rows(sql);
    return found.size() == 1 ? found[0].at(0) : "rows: " + std::to_string(found.size());
  }

  // Somebody else's connection, for example one that holds the write lock.
  class Connection {
   public:
    explicit Connection(const LedgerFile& file) {
      EXPECT_EQ(sqlite3_open(file.path().c_str(), &database_), SQLITE_OK);
      sqlite3_busy_timeout(database_, 10'000);
    }
    ~Connection() { sqlite3_close(database_); }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    void run(const char* sql) {
      char* message = nullptr;
      ASSERT_EQ(sqlite3_exec(database_, sql, nullptr, nullptr, &message), SQLITE_OK) << message;
    }
    sqlite3* get() { return database_; }

   private:
    sqlite3* database_ = nullptr;
  };

 private:
  std::filesystem::path directory_;
};

inline UsageRecord record_named(std::string request_id) {
  UsageRecord record;
  record.request_id = std::move(request_id);
  record.ts_us = 1'700'000'000'000'000;
  record.account_id = "acme/search";
  record.model = "gpt-4o-mini";
  record.status = 200;
  return record;
}

}  // namespace sentinel::journal::testing
