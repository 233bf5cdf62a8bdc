// JSON log lines: one per exchange, rendered from usage records off the hot path, and one per named event.
//
// Contract
//   Every text value goes through json_text.hpp: redacted (keys, e-mail, card, SSN, phone), cut at 256 bytes,
//   escaped; one record is one line whatever it holds.
//   Level of an exchange: error for upstream_error, upstream_cut, crash and 5xx; warning for refused,
//   shutdown and 4xx; else info. `sample` keeps that share of info lines, chosen by a hash of the request id;
//   lines above info are never sampled away.
//   Writing never blocks for long: lines that the descriptor does not take within 100 ms in all are dropped
//   and counted, at once while it stays stuck; when it takes lines again, one `log_lines_dropped` line tells
//   how many.
// Cost: about 3 us per exchange line, a third of it to redact the two ids; one write() per batch to a file,
// one per 4 KiB of whole lines to a pipe or socket.
// Thread rule: any thread; calls are serialised by a mutex. Failure rule: never throws, drops and counts.
// Not here: the descriptor is the caller's; it is neither opened nor closed, and its flags stay as they are.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "sentinel/base/clock.hpp"
#include "sentinel/journal/record.hpp"
#include "sentinel/log/json_text.hpp"

namespace sentinel::log {

enum class Level : std::uint8_t { debug, info, warning, error };

constexpr std::string_view name(Level level) {
  switch (level) {
    case Level::debug: return "debug";
    case Level::info: return "info";
    case Level::warning: return "warning";
    case Level::error: return "error";
  }
  return "error";
}

std::optional<Level> level_named(std::string_view text);  // nullopt: no such level

struct LogOptions {
  Level level = Level::info;  // lines below it are not written
  double sample = 1.0;        // share of info exchange lines, 0..1
};

using Field = std::pair<std::string_view, std::string_view>;  // name (ours, trusted), value (anybody's)

// {"ts","level","event", then the fields as strings} and a line end.
std::string json_line(Duration unix_time, Level level, std::string_view event, std::span<const Field> fields);
std::string exchange_line(const journal::UsageRecord& record);
Level level_of(const journal::UsageRecord& record);

class JsonLog {
 public:
  JsonLog(int descriptor, LogOptions options) : descriptor_(descriptor), options_(options) {}

  void exchanges(std::span<const journal::UsageRecord> records);  // fits SqliteSinkOptions::observer
  void event(Duration unix_time, Level level, std::string_view event, std::span<const Field> fields);
  std::uint64_t dropped() const;  // lines

 private:
  bool wants(const journal::UsageRecord& record) const;
  void write(Duration unix_time, std::string_view lines);

  const int descriptor_;
  const LogOptions options_;
  mutable std::mutex mutex_;
  TextMemory memory_;
  std::uint64_t dropped_ = 0;  // in all
  std::uint64_t untold_ = 0;   // dropped since the last line that told of it
  bool stuck_ = false;         // the last write did not go through: do not wait for the next one
  bool torn_ = false;          // the last line that went out has no end
};

}  // namespace sentinel::log
