#include "sentinel/resilience/backoff.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <limits>

namespace sentinel::resilience {
namespace {

using Names = std::array<std::string_view, 12>;
constexpr Names kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr std::array<std::string_view, 7> kDays = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
constexpr std::array<std::string_view, 7> kLongDays = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                                       "Friday", "Saturday", "Sunday"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Reads a text from its front; after the first mismatch everything fails.
class Reader {
 public:
  explicit Reader(std::string_view text) : left_(text) {}

  bool ok() const { return ok_ && left_.empty(); }

  void literal(std::string_view expected) {
    ok_ = ok_ && left_.substr(0, expected.size()) == expected;
    if (ok_) left_.remove_prefix(expected.size());
  }

  unsigned digits(std::size_t count) {
    ok_ = ok_ && left_.size() >= count;
    unsigned value = 0;
    for (std::size_t i = 0; ok_ && i < count; ++i) {
      ok_ = is_digit(left_[i]);
      value = value * 10 + static_cast<unsigned>(left_[i] - '0');
    }
    if (ok_) left_.remove_prefix(count);
    return value;
  }

  unsigned padded_digits() {  // asctime's day: " 6" or "16"
    if (left_.empty() || left_.front() != ' ') return digits(2);
    left_.remove_prefix(1);
    return digits(1);
  }

  template <std::size_t Size>
  unsigned name(const std::array<std::string_view, Size>& names) {
    for (std::size_t i = 0; ok_ && i < Size; ++i) {
      if (left_.substr(0, names[i].size()) != names[i]) continue;
      left_.remove_prefix(names[i].size());
      return static_cast<unsigned>(i);
    }
    ok_ = false;
    return 0;
  }

 private:
  std::string_view left_;
  bool ok_ = true;
};

struct Date {
  unsigned year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
};

void read_time(Reader& reader, Date& date) {
  date.hour = reader.digits(2);
  reader.literal(":");
  date.minute = reader.digits(2);
  reader.literal(":");
  date.second = reader.digits(2);
}

std::optional<Duration> to_unix(const Date& date) {
  using namespace std::chrono;
  const year_month_day day{year{static_cast<int>(date.year)}, month{date.month}, std::chrono::day{date.day}};
  if (!day.ok() || date.hour > 23 || date.minute > 59 || date.second > 60) return std::nullopt;
  return sys_days{day}.time_since_epoch() + hours{date.hour} + minutes{date.minute} + seconds{date.second};
}

std::optional<Duration> read_fixdate(std::string_view text) {  // Sun, 06 Nov 1994 08:49:37 GMT
  Reader reader(text);
  Date date;
  reader.name(kDays);
  reader.literal(", ");
  date.day = reader.digits(2);
  reader.literal(" ");
  date.month = reader.name(kMonths) + 1;
  reader.literal(" ");
  date.year = reader.digits(4);
  reader.literal(" ");
  read_time(reader, date);
  reader.literal(" GMT");
  return reader.ok() ? to_unix(date) : std::nullopt;
}

// A two-digit year that seems more than 50 years ahead is the last one that ended so (RFC 9110, 5.6.7).
unsigned full_year(unsigned two_digits, Instant now) {
  using namespace std::chrono;
  const year_month_day today{floor<days>(sys_time<Duration>{now.unix_time})};
  const auto this_year = static_cast<unsigned>(static_cast<int>(today.year()));
  const unsigned guess = this_year / 100 * 100 + two_digits;
  return guess > this_year + 50 ? guess - 100 : guess;
}

std::optional<Duration> read_rfc850(std::string_view text, Instant now) {  // Sunday, 06-Nov-94 08:49:37 GMT
  Reader reader(text);
  Date date;
  reader.name(kLongDays);
  reader.literal(", ");
  date.day = reader.digits(2);
  reader.literal("-");
  date.month = reader.name(kMonths) + 1;
  reader.literal("-");
  date.year = full_year(reader.digits(2), now);
  reader.literal(" ");
  read_time(reader, date);
  reader.literal(" GMT");
  return reader.ok() ? to_unix(date) : std::nullopt;
}

std::optional<Duration> read_asctime(std::string_view text) {  // Sun Nov  6 08:49:37 1994
  Reader reader(text);
  Date date;
  reader.name(kDays);
  reader.literal(" ");
  date.month = reader.name(kMonths) + 1;
  reader.literal(" ");
  date.day = reader.padded_digits();
  reader.literal(" ");
  read_time(reader, date);
  reader.literal(" ");
  date.year = reader.digits(4);
  return reader.ok() ? to_unix(date) : std::nullopt;
}

std::optional<Duration> read_seconds(std::string_view text) {
  constexpr std::int64_t kMost = 4'000'000'000;  // seconds; more is as long as for ever
  std::int64_t value = 0;
  for (const char c : text) {
    if (!is_digit(c)) return std::nullopt;
    value = std::min(value * 10 + (c - '0'), kMost);
  }
  return std::chrono::seconds{value};
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

}  // namespace

std::optional<Duration> retry_delay(const BackoffSettings& settings, std::uint32_t attempt,
                                    std::optional<Duration> retry_after, Random& random) {
  assert(settings.cap <= std::chrono::hours{1} && settings.base > Duration{0});
  if (retry_after && *retry_after > settings.longest_retry_after) return std::nullopt;
  Duration ceiling = std::min(settings.base, settings.cap);
  for (std::uint32_t i = 0; i < attempt && ceiling < settings.cap; ++i) {
    ceiling = std::min(ceiling * 2, settings.cap);
  }
  const std::uint64_t jitter = random.below(static_cast<std::uint64_t>(ceiling.count()) + 1);
  return retry_after.value_or(Duration{0}) + Duration{static_cast<std::int64_t>(jitter)};
}

std::optional<Duration> parse_retry_after(std::string_view value, Instant now) {
  const std::string_view text = trim(value);
  if (text.empty()) return std::nullopt;
  if (is_digit(text.front())) return read_seconds(text);
  std::optional<Duration> date = read_fixdate(text);
  if (!date) date = read_rfc850(text, now);
  if (!date) date = read_asctime(text);
  if (!date) return std::nullopt;
  return std::max(*date - now.unix_time, Duration{0});
}

}  // namespace sentinel::resilience
