#include "sentinel/limit/rate.hpp"

#include <string>

#include "sentinel/base/utf8.hpp"

namespace sentinel::limit {
namespace {

constexpr std::int64_t kUsdDigits = 6;  // decimals of a USD amount: micro-USD

Error fault(std::string_view text, std::string_view why) {
  return {ErrorCode::invalid_request,
          "limit \"" + std::string(utf8::truncate(text, 80)) + "\": " + std::string(why)};
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Reads one limit from left to right; each `take_` removes what it read from the front.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) { skip_spaces(); }

  bool at_end() const { return rest_.empty(); }

  bool take(char wanted) {
    if (rest_.empty() || rest_.front() != wanted) return false;
    rest_.remove_prefix(1);
    skip_spaces();
    return true;
  }

  std::string_view take_word() {
    std::size_t size = 0;
    while (size < rest_.size() && is_letter(rest_[size])) ++size;
    const std::string_view word = rest_.substr(0, size);
    rest_.remove_prefix(size);
    skip_spaces();
    return word;
  }

  // Digits as they are written, with a fraction if there is one; read once the unit is known.
  std::string_view take_digits() {
    std::size_t size = 0;
    while (size < rest_.size() && (is_digit(rest_[size]) || rest_[size] == '.')) ++size;
    const std::string_view digits = rest_.substr(0, size);
    rest_.remove_prefix(size);
    skip_spaces();
    return digits;
  }

 private:
  void skip_spaces() {
    while (!rest_.empty() && rest_.front() == ' ') rest_.remove_prefix(1);
  }
  std::string_view rest_;
};

// Digits with at most `decimals` after the point, as an integer of 10^-decimals; nothing if they are no such number
// or pass kMaxAmount.
std::optional<std::int64_t> number_of(std::string_view digits, std::int64_t decimals) {
  std::int64_t value = 0;
  std::int64_t after_point = -1;
  bool any = false;
  for (const char c : digits) {
    if (c == '.') {
      if (after_point >= 0 || decimals == 0) return std::nullopt;
      after_point = 0;
      continue;
    }
    if (after_point >= 0 && ++after_point > decimals) return std::nullopt;
    any = true;
    value = value * 10 + (c - '0');
    if (value > kMaxAmount) return std::nullopt;
  }
  if (!any || after_point == 0) return std::nullopt;
  for (std::int64_t i = after_point < 0 ? 0 : after_point; i < decimals; ++i) {
    value *= 10;
    if (value > kMaxAmount) return std::nullopt;
  }
  return value;
}

std::optional<Kind> kind_of(std::string_view unit) {
  if (unit.empty() || unit == "request" || unit == "requests") return Kind::requests;
  if (unit == "token" || unit == "tokens") return Kind::tokens;
  if (unit == "usd" || unit == "USD") return Kind::money;
  return std::nullopt;
}

std::optional<Duration> period_of(std::string_view unit) {
  using namespace std::chrono;
  if (unit == "s" || unit == "sec" || unit == "second") return Duration{seconds{1}};
  if (unit == "min" || unit == "minute") return Duration{minutes{1}};
  if (unit == "h" || unit == "hour") return Duration{hours{1}};
  if (unit == "d" || unit == "day") return Duration{hours{24}};
  return std::nullopt;
}

}  // namespace

Result<Rate> Rate::parse(std::string_view text) {
  Reader reader(text);
  const std::string_view amount_digits = reader.take_digits();
  const auto kind = kind_of(reader.take_word());
  if (!kind) return fault(text, "the unit must be requests, tokens or usd");
  if (!reader.take('/'))
    return fault(text, "must be written like \"100/min\" or \"20000 tokens/min burst 5000\"");
  const std::string_view count_digits = reader.take_digits();
  const auto unit = period_of(reader.take_word());
  if (!unit) return fault(text, "the period must be s, min, hour or day");
  const std::int64_t decimals = *kind == Kind::money ? kUsdDigits : 0;
  const auto amount = number_of(amount_digits, decimals);
  if (!amount) return fault(text, "the amount is no number, or above 10^15");
  const auto count = count_digits.empty() ? 1 : number_of(count_digits, 0);
  if (!count || *count < 1 || *count > kMaxPeriod / *unit)
    return fault(text, "the period must be at most 366 days");
  std::optional<std::int64_t> burst;
  if (!reader.at_end()) {
    if (reader.take_word() != "burst") return fault(text, "only \"burst <number>\" may follow the period");
    burst = number_of(reader.take_digits(), decimals);
    if (!burst) return fault(text, "the burst is no number, or above 10^15");
    if (!reader.at_end()) return fault(text, "something follows the burst");
  }
  if (*amount < 1) return fault(text, "the amount must be above 0");
  if (burst && *burst < 1) return fault(text, "the burst must be above 0");
  return make(*kind, *amount, *unit * *count, burst);
}

Result<Rate> Rate::make(Kind kind, std::int64_t amount, Duration period, std::optional<std::int64_t> burst) {
  if (kind == Kind::concurrency) return fault("concurrency", "has no rate, only a number of slots");
  const std::int64_t size = burst.value_or(amount);
  const auto refuse = [](std::string_view what, std::int64_t value, std::string_view bounds) {
    return fault(std::to_string(value), "the " + std::string(what) + " must be " + std::string(bounds));
  };
  if (amount < 1 || amount > kMaxAmount) return refuse("amount", amount, "1 to 10^15");
  if (size < 1 || size > kMaxAmount) return refuse("burst", size, "1 to 10^15");
  if (period.count() < 1 || period > kMaxPeriod) return refuse("period", period.count(), "1 us to 366 days");
  return Rate(kind, amount, period, size);
}

}  // namespace sentinel::limit
