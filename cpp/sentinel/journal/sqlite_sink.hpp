// The embedded usage ledger: records go in from any thread, one writer thread stores them in batches.
//
// Contract
//   push() accepts or rejects at once. An accepted record is stored exactly once, unless close() runs out of
//   patience with a disk that stays broken: then it is counted as `lost`, and warned about.
//   A batch is one transaction: 512 records, or what came within 20 ms of the first. A batch that fails
//   (database locked, disk full, I/O error) is kept and tried again; one warning per episode.
//   Identity is (instance, sequence): a replay of a stored record changes nothing. Clients choose request ids
//   and may choose one twice: the later record is kept as `request_id~instance-sequence`.
//   Text is bound as parameters, cut at 512 bytes on a character and made valid UTF-8.
//   WAL with synchronous=NORMAL: a committed record survives the death of the process, not a power cut.
// Cost: push is one mutex and one move, no allocation, no system call but the wake of an idle writer.
// Thread rule: every member may be called from any thread. Observer and warning run on the writer thread,
//   never with the sink's lock held; they must not call flush() or close().
// Failure rule: open() answers an Error; afterwards nothing throws.
// Not here: no reading. Another copy of SQLite in the same process (Python's sqlite3) must not open this file
//   while the sink has it: POSIX file locks belong to the process, and closing the second copy's file drops
//   the sink's.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "sentinel/base/result.hpp"
#include "sentinel/journal/record.hpp"

namespace sentinel::journal {

// Sees every record once: after its batch is committed, or when it is given up as lost.
using CommitObserver = std::function<void(std::span<const UsageRecord>)>;
// One call when storing begins to fail, one when it works again, one if records are lost.
using WarningHandler = std::function<void(std::string_view)>;

struct SqliteSinkOptions {
  std::string path;               // the database file; made with mode 0600 when it does not exist
  std::size_t capacity = 65'536;  // records accepted and not yet stored
  CommitObserver observer = {};
  WarningHandler warning = {};
};

struct SinkStats {
  std::uint64_t accepted = 0;   // push() answered true
  std::uint64_t committed = 0;  // stored in the database by this sink
  std::uint64_t replayed = 0;   // already there under the same (instance, sequence)
  std::uint64_t rejected = 0;   // push() answered false
  std::uint64_t failures = 0;   // batches that had to be tried again
  std::uint64_t lost = 0;       // given up by close()
  std::uint64_t pending = 0;    // accepted and not yet stored
  bool failing = false;         // inside an episode: the last try failed
};

class SqliteSink {
 public:
  static Result<std::unique_ptr<SqliteSink>> open(SqliteSinkOptions options);
  ~SqliteSink();  // close()
  SqliteSink(const SqliteSink&) = delete;
  SqliteSink& operator=(const SqliteSink&) = delete;

  // False when `capacity` records wait or the sink is closed; the record is then gone and counted.
  bool push(UsageRecord&& record);

  // Waits until every record accepted before the call is stored. False when `patience` ran out first.
  bool flush(std::chrono::milliseconds patience);

  // Stores what waits and joins the writer; later calls do nothing. True when nothing was lost.
  bool close(std::chrono::milliseconds patience = std::chrono::seconds{5});

  SinkStats stats() const;
  const std::string& instance() const;  // random hex, made at open()

 private:
  class Writer;
  explicit SqliteSink(std::unique_ptr<Writer> writer);
  std::unique_ptr<Writer> writer_;
};

}  // namespace sentinel::journal
