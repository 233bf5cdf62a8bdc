#include "sentinel/journal/usage_table.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include <sqlite3.h>

#include "sentinel/base/utf8.hpp"

namespace sentinel::journal {
namespace {

constexpr std::size_t kMaxText = 512;  // bytes of one text column
constexpr int kBusyTimeoutMs = 250;    // the sink tries again; close() must not hang in here
constexpr std::string_view kVersionMark = "1";

constexpr const char* kSchema = R"(
  CREATE TABLE usage (
    request_id TEXT PRIMARY KEY NOT NULL,
    instance TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    ts_us INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    model TEXT NOT NULL,
    target TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    cost_micro_usd INTEGER NOT NULL,
    saved_micro_usd INTEGER NOT NULL,
    price_version TEXT NOT NULL,
    outcome TEXT NOT NULL,
    cache TEXT NOT NULL,
    status INTEGER NOT NULL,
    latency_us INTEGER NOT NULL,
    ttft_us INTEGER,
    UNIQUE (instance, sequence)
  );
  CREATE INDEX usage_by_time ON usage (ts_us);
  CREATE INDEX usage_by_account ON usage (account_id, ts_us);
  PRAGMA user_version = 1;
)";

// A commit is durable against the death of the process without a sync. Checkpoints sync and write each
// changed page once, so rarer ones are cheaper: every 16 MB of log; the cache holds the ends of the indices.
constexpr const char* kTuning = R"(
  PRAGMA synchronous = NORMAL;
  PRAGMA wal_autocheckpoint = 4000;
  PRAGMA cache_size = -8000;
)";

// No conflict is an error here: store() finds out which of the two identities was taken.
constexpr const char* kInsert = R"(
  INSERT INTO usage (request_id, instance, sequence, ts_us, key_id, account_id, endpoint, model, target,
                     prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, estimated,
                     cost_micro_usd, saved_micro_usd, price_version, outcome, cache, status, latency_us,
                     ttft_us)
  VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
  ON CONFLICT DO NOTHING
)";
constexpr const char* kFind = "SELECT 1 FROM usage WHERE instance = ? AND sequence = ?";

// Binds one row's values in column order. The text must live until the statement has run.
class Binder {
 public:
  explicit Binder(sqlite3_stmt* statement) : statement_(statement) {}

  Binder& text(std::string_view value) {
    return keep(sqlite3_bind_text64(statement_, ++column_, value.data() == nullptr ? "" : value.data(),
                                    value.size(), SQLITE_STATIC, SQLITE_UTF8));
  }
  Binder& cleaned(std::string_view value) {
    if (value.size() <= kMaxText && utf8::valid(value)) return text(value);
    const std::string clean = utf8::sanitize(utf8::truncate(value, kMaxText));
    return keep(sqlite3_bind_text64(statement_, ++column_, clean.data(), clean.size(), SQLITE_TRANSIENT,
                                    SQLITE_UTF8));
  }
  Binder& integer(std::int64_t value) { return keep(sqlite3_bind_int64(statement_, ++column_, value)); }
  Binder& integer(std::optional<std::int64_t> value) {
    return value ? integer(*value) : keep(sqlite3_bind_null(statement_, ++column_));
  }
  bool good() const { return code_ == SQLITE_OK; }

 private:
  Binder& keep(int code) {
    if (code_ == SQLITE_OK) code_ = code;
    return *this;
  }
  sqlite3_stmt* statement_;
  int column_ = 0;
  int code_ = SQLITE_OK;
};

// Shorter than kMaxText whatever the record holds, so that two attempts never give the same id.
std::string renamed(const UsageRecord& record, int attempt) {
  std::string id{utf8::truncate(record.request_id, kMaxText / 2)};
  id += '~';
  id += utf8::truncate(record.instance, kMaxText / 4);
  id += '-' + std::to_string(record.sequence);
  return attempt == 1 ? id : id + '.' + std::to_string(attempt);
}

// A new file is ours alone from its first moment; SQLite gives its -wal and -shm files the same mode.
Status make_private(const std::string& path) {
  const int made = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (made >= 0) {
    ::close(made);
    return Done{};
  }
  if (errno == EEXIST && ::chmod(path.c_str(), S_IRUSR | S_IWUSR) == 0) return Done{};
  return Error{ErrorCode::not_started, "usage database " + path + ": " + std::strerror(errno)};
}

}  // namespace

void UsageTable::CloseDatabase::operator()(sqlite3* database) const { sqlite3_close(database); }
void UsageTable::FinalizeStatement::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Result<UsageTable> UsageTable::open(const std::string& path) {
  if (Status ready = make_private(path); !ready) return std::move(ready.error());
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  UsageTable table{Database{raw}};
  if (code != SQLITE_OK) return table.failure(("cannot open " + path).c_str());
  sqlite3_busy_timeout(raw, kBusyTimeoutMs);
  if (Status ready = table.prepare_schema(); !ready) return std::move(ready.error());
  if (Status ready = table.prepare_statements(); !ready) return std::move(ready.error());
  return table;
}

Status UsageTable::prepare_schema() {
  Result<std::string> version = value_of("PRAGMA user_version");
  if (!version) return std::move(version.error());
  if (*version != "0" && *version != kVersionMark) {
    return Error{ErrorCode::not_started, "usage database has schema version " + *version +
                                             ", this build knows " + std::string{kVersionMark} +
                                             "; use the newer build or another usage.database"};
  }
  Result<std::string> mode = value_of("PRAGMA journal_mode = WAL");
  if (!mode) return std::move(mode.error());
  if (*mode != "wal") {
    return Error{ErrorCode::not_started, "usage database cannot use a write-ahead log on this file system"};
  }
  if (Status done = run(kTuning); !done) return done;
  if (*version == kVersionMark) return Done{};
  if (Status done = run("BEGIN IMMEDIATE"); !done) return done;
  if (Status done = run(kSchema); !done) return done;
  return run("COMMIT");
}

Status UsageTable::prepare_statements() {
  Result<Statement> insert = compile(kInsert);
  if (!insert) return std::move(insert.error());
  Result<Statement> find = compile(kFind);
  if (!find) return std::move(find.error());
  insert_ = *std::move(insert);
  find_ = *std::move(find);
  return Done{};
}

Result<StoredCounts> UsageTable::store(std::span<const UsageRecord> batch) {
  if (Status begun = run("BEGIN IMMEDIATE"); !begun) return std::move(begun.error());
  StoredCounts counts;
  for (const UsageRecord& record : batch) {
    Result<Placed> placed = place(record);
    if (!placed) {
      roll_back();
      return std::move(placed.error());
    }
    ++(*placed == Placed::stored ? counts.committed : counts.replayed);
  }
  if (Status done = run("COMMIT"); !done) {
    roll_back();
    return std::move(done.error());
  }
  return counts;
}

// A request id already taken by another record gets the record's own identity as its suffix. That is free for
// any id a client can send ('~' is not allowed in them); the loop is for whatever else ends up in the table.
Result<UsageTable::Placed> UsageTable::place(const UsageRecord& record) {
  std::string request_id = record.request_id;
  for (int attempt = 1;; ++attempt) {
    Result<bool> inserted = insert(record, request_id);
    if (!inserted) return std::move(inserted.error());
    if (*inserted) return Placed::stored;
    Result<bool> known = holds(record);
    if (!known) return std::move(known.error());
    if (*known) return Placed::replayed;
    request_id = renamed(record, attempt);
  }
}

Result<bool> UsageTable::insert(const UsageRecord& record, const std::string& request_id) {
  const bool bound = Binder{insert_.get()}
                         .cleaned(request_id)
                         .cleaned(record.instance)
                         .integer(record.sequence)
                         .integer(record.ts_us)
                         .cleaned(record.key_id)
                         .cleaned(record.account_id)
                         .cleaned(record.endpoint)
                         .cleaned(record.model)
                         .cleaned(record.target)
                         .integer(record.prompt_tokens)
                         .integer(record.completion_tokens)
                         .integer(record.cached_tokens)
                         .integer(record.reasoning_tokens)
                         .integer(std::int64_t{record.estimated})
                         .integer(record.cost_micro_usd)
                         .integer(record.saved_micro_usd)
                         .cleaned(record.price_version)
                         .text(name(record.outcome))
                         .text(name(record.cache))
                         .integer(std::int64_t{record.status})
                         .integer(record.latency_us)
                         .integer(record.ttft_us)
                         .good();
  if (!bound) return failure("cannot bind a record");
  const int code = sqlite3_step(insert_.get());
  Result<bool> stored = code == SQLITE_DONE ? Result<bool>{sqlite3_changes(database_.get()) == 1}
                                            : Result<bool>{failure("cannot store a record")};
  sqlite3_reset(insert_.get());
  return stored;
}

Result<bool> UsageTable::holds(const UsageRecord& record) {
  if (!Binder{find_.get()}.cleaned(record.instance).integer(record.sequence).good()) {
    return failure("cannot bind a record's identity");
  }
  const int code = sqlite3_step(find_.get());
  Result<bool> found = code == SQLITE_ROW || code == SQLITE_DONE
                           ? Result<bool>{code == SQLITE_ROW}
                           : Result<bool>{failure("cannot look for a record")};
  sqlite3_reset(find_.get());
  return found;
}

Status UsageTable::run(const char* sql) {
  if (sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK) return Done{};
  return failure("cannot write");
}

Result<std::string> UsageTable::value_of(const char* sql) {
  Result<Statement> statement = compile(sql);
  if (!statement) return std::move(statement.error());
  if (sqlite3_step(statement->get()) != SQLITE_ROW) return failure("cannot read");
  const unsigned char* text = sqlite3_column_text(statement->get(), 0);
  return text == nullptr ? std::string{} : std::string{reinterpret_cast<const char*>(text)};
}

Result<UsageTable::Statement> UsageTable::compile(const char* sql) {
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v3(database_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr) != SQLITE_OK) {
    return failure("cannot prepare");
  }
  return Statement{raw};
}

Error UsageTable::failure(const char* doing) const {
  return Error{ErrorCode::not_started, std::string{"usage database: "} + doing + ": " +
                                           sqlite3_errmsg(database_.get()) + " (code " +
                                           std::to_string(sqlite3_extended_errcode(database_.get())) + ")"};
}

// Some errors end the transaction by themselves; a second ROLLBACK would only fail.
void UsageTable::roll_back() {
  if (sqlite3_get_autocommit(database_.get()) == 0) {
    sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
  }
}

}  // namespace sentinel::journal
