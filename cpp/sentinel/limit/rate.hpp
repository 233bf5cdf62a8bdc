// What a rule allows: an amount per period, with a burst of its own ("100/min burst 20", "5 usd/day").
//
// Contract: a Rate that exists is valid: amount and burst in [1, kMaxAmount], period in [1 us, kMaxPeriod]. Its emission
// interval is the rational period / amount; it is never rounded, so nothing drifts. Money is micro-USD.
// Cost: a value of 32 bytes. Thread rule: immutable.
// Failure rule: text or numbers that are no such rate are an Error that quotes what was given.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "sentinel/base/clock.hpp"
#include "sentinel/base/result.hpp"

namespace sentinel::limit {

__extension__ using Int128 = __int128;

enum class Kind : std::uint8_t { requests, tokens, money, concurrency };

constexpr std::string_view name_of(Kind kind) {
  switch (kind) {
    case Kind::requests: return "requests";
    case Kind::tokens: return "tokens";
    case Kind::money: return "money";
    case Kind::concurrency: return "concurrency";
  }
  return "requests";
}

inline constexpr std::int64_t kMaxAmount = 1'000'000'000'000'000;         // a billion USD in micro-USD
inline constexpr Duration kMaxPeriod = std::chrono::hours{24 * 366};      // a leap year
inline constexpr Duration kForever = std::chrono::hours{24 * 366 * 100};  // waits are never written longer
inline constexpr std::int64_t kMicroPerUsd = 1'000'000;

class Rate {
 public:
  // "100/min", "60/s burst 5", "20000 tokens/min", "5 usd/day", "0.25 usd/hour burst 1", "1000/10s".
  static Result<Rate> parse(std::string_view text);
  // The burst is the amount unless given. Concurrency has no rate: it is an Error here (see Slots).
  static Result<Rate> make(Kind kind, std::int64_t amount, Duration period,
                           std::optional<std::int64_t> burst = std::nullopt);

  Kind kind() const { return kind_; }
  std::int64_t amount() const { return amount_; }
  Duration period() const { return period_; }
  std::int64_t burst() const { return burst_; }

  friend bool operator==(const Rate&, const Rate&) = default;

 private:
  Rate(Kind kind, std::int64_t amount, Duration period, std::int64_t burst)
      : amount_(amount), period_(period), burst_(burst), kind_(kind) {}

  std::int64_t amount_;
  Duration period_;
  std::int64_t burst_;
  Kind kind_;
};

}  // namespace sentinel::limit
