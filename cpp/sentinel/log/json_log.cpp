#include "sentinel/log/json_log.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include "sentinel/log/descriptor.hpp"
#include "sentinel/log/json_text.hpp"

namespace sentinel::log {
namespace {

using journal::Outcome;
using journal::UsageRecord;

constexpr std::chrono::milliseconds kPatience{100};

void append_digits(std::string& out, std::int64_t value, std::size_t width) {
  const std::size_t begin = out.size();
  out.append(width, '0');
  for (std::size_t at = begin + width; at > begin && value > 0; value /= 10) {
    out[--at] = static_cast<char>('0' + value % 10);
  }
}

// "2026-11-21T09:30:00.123456Z", for the years 0 to 9999
void append_time(std::string& out, Duration unix_time) {
  using namespace std::chrono;
  const auto day = floor<days>(unix_time);
  const year_month_day date{sys_days{day}};
  const hh_mm_ss time{unix_time - day};
  append_digits(out, static_cast<int>(date.year()), 4);
  out += '-';
  append_digits(out, static_cast<unsigned>(date.month()), 2);
  out += '-';
  append_digits(out, static_cast<unsigned>(date.day()), 2);
  out += 'T';
  append_digits(out, time.hours().count(), 2);
  out += ':';
  append_digits(out, time.minutes().count(), 2);
  out += ':';
  append_digits(out, time.seconds().count(), 2);
  out += '.';
  append_digits(out, time.subseconds().count(), 6);
  out += 'Z';
}

// Writes one object, member by member; names are ours and need no escape.
class LineBuilder {
 public:
  LineBuilder(std::string& out, Duration unix_time, Level level, std::string_view event) : out_(out) {
    out_ += "{\"ts\":\"";
    append_time(out_, unix_time);
    out_ += "\",\"level\":\"";
    out_ += name(level);
    out_ += "\",\"event\":";
    append_text(out_, event);
  }

  LineBuilder& text(std::string_view member, std::string_view value) {
    key(member);
    append_text(out_, value);
    return *this;
  }
  LineBuilder& text(std::string_view member, std::string_view value, TextMemory& memory) {
    key(member);
    memory.append(out_, value);
    return *this;
  }
  LineBuilder& null(std::string_view member) {
    key(member);
    out_ += "null";
    return *this;
  }
  LineBuilder& number(std::string_view member, std::int64_t value) {
    key(member);
    std::array<char, 24> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    out_.append(digits.data(), end);
    return *this;
  }
  LineBuilder& number(std::string_view member, std::optional<std::int64_t> value) {
    return value ? number(member, *value) : null(member);
  }
  LineBuilder& flag(std::string_view member, bool value) {
    key(member);
    out_ += value ? "true" : "false";
    return *this;
  }
  LineBuilder& open(std::string_view member) {
    key(member);
    out_ += '{';
    first_ = true;
    return *this;
  }
  LineBuilder& close() {
    out_ += '}';
    first_ = false;
    return *this;
  }
  void end() { out_ += "}\n"; }

 private:
  void key(std::string_view member) {
    if (!first_) out_ += ',';
    first_ = false;
    out_ += '"';
    out_ += member;
    out_ += "\":";
  }
  std::string& out_;
  bool first_ = false;
};

void append_exchange(std::string& out, TextMemory& memory, const UsageRecord& record) {
  LineBuilder line{out, Duration{record.ts_us}, level_of(record), "exchange"};
  const auto text_or_null = [&](std::string_view member, const std::string& value) {
    value.empty() ? line.null(member) : line.text(member, value, memory);
  };
  line.text("request_id", record.request_id);  // never seen again: not worth remembering
  record.trace_id.empty() ? line.null("trace_id") : line.text("trace_id", record.trace_id.text());
  line.text("key_id", record.key_id, memory);
  line.text("account", record.account_id, memory);
  line.text("endpoint", record.endpoint, memory);
  line.text("model", record.model, memory);
  text_or_null("target", record.target);
  line.number("status", record.status);
  line.text("outcome", journal::name(record.outcome), memory);
  line.text("cache", journal::name(record.cache), memory);
  text_or_null("error", record.error_code);
  line.open("tokens")
      .number("prompt", record.prompt_tokens)
      .number("completion", record.completion_tokens)
      .number("cached", record.cached_tokens)
      .number("reasoning", record.reasoning_tokens)
      .flag("estimated", record.estimated)
      .close();
  line.number("cost_micro_usd", record.cost_micro_usd);
  line.number("latency_us", record.latency_us);
  line.number("ttft_us", record.ttft_us);
  line.end();
}

void append_event(std::string& out, Duration unix_time, Level level, std::string_view event,
                  std::span<const Field> fields) {
  LineBuilder line{out, unix_time, level, event};
  for (const auto& [member, value] : fields) line.text(member, value);
  line.end();
}

// The same id gives the same answer in every process: FNV-1a, its bits spread, as a share of 1.
double share_of(std::string_view request_id) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char byte : request_id) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3U;
  hash = (hash ^ (hash >> 32U)) * 0x9e3779b97f4a7c15U;
  hash ^= hash >> 29U;
  return static_cast<double>(hash >> 11U) * 0x1p-53;
}

std::uint64_t lines_in(std::string_view text) {
  return static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

std::optional<Level> level_named(std::string_view text) {
  for (const Level level : {Level::debug, Level::info, Level::warning, Level::error}) {
    if (name(level) == text) return level;
  }
  return std::nullopt;
}

Level level_of(const UsageRecord& record) {
  switch (record.outcome) {
    case Outcome::upstream_cut:
    case Outcome::upstream_error:
    case Outcome::crash: return Level::error;
    case Outcome::refused:
    case Outcome::shutdown: return record.status >= 500 ? Level::error : Level::warning;
    case Outcome::done:
    case Outcome::client_gone: break;
  }
  if (record.status >= 500) return Level::error;
  return record.status >= 400 ? Level::warning : Level::info;
}

std::string json_line(Duration unix_time, Level level, std::string_view event,
                      std::span<const Field> fields) {
  std::string line;
  append_event(line, unix_time, level, event, fields);
  return line;
}

std::string exchange_line(const UsageRecord& record) {
  std::string line;
  TextMemory memory;
  append_exchange(line, memory, record);
  return line;
}

void JsonLog::exchanges(std::span<const UsageRecord> records) {
  const std::lock_guard lock{mutex_};
  std::string lines;
  for (const UsageRecord& record : records) {
    if (wants(record)) append_exchange(lines, memory_, record);
  }
  if (!lines.empty()) write(Duration{records.back().ts_us}, lines);
}

void JsonLog::event(Duration unix_time, Level level, std::string_view event, std::span<const Field> fields) {
  if (level < options_.level) return;
  const std::lock_guard lock{mutex_};
  write(unix_time, json_line(unix_time, level, event, fields));
}

std::uint64_t JsonLog::dropped() const {
  const std::lock_guard lock{mutex_};
  return dropped_;
}

bool JsonLog::wants(const UsageRecord& record) const {
  const Level level = level_of(record);
  if (level < options_.level) return false;
  return level > Level::info || share_of(record.request_id) < options_.sample;
}

// What comes before the new lines - the end of a torn one, the news of dropped ones - is delivered with them,
// and counts as done only when it has gone out itself.
void JsonLog::write(Duration unix_time, std::string_view lines) {
  std::string text{torn_ ? "\n" : ""};
  if (untold_ > 0) {
    const std::string count = std::to_string(untold_);
    const Field field{"lines", count};
    append_event(text, unix_time, Level::warning, "log_lines_dropped", {&field, 1});
  }
  const std::size_t before = text.size();
  text += lines;
  const std::size_t taken = deliver(descriptor_, text, kPatience, !stuck_);
  stuck_ = taken < text.size();
  if (taken > 0) torn_ = text[taken - 1] != '\n';
  const std::uint64_t dropped = lines_in(std::string_view{text}.substr(std::max(taken, before)));
  untold_ = dropped + (taken < before ? untold_ : 0);
  dropped_ += dropped;
}

}  // namespace sentinel::log
