// The counters themselves: a plain value that counts exchanges and can be added to another.
//
// Contract: add(sample) counts one settled exchange; merge(other) sums; both only ever grow the counts.
//   Durations are microseconds, money micro-USD. Token kinds follow the records: prompt includes cached,
//   completion includes reasoning. Histogram bounds are fixed arrays (Prometheus `le`: a value on a bound
//   belongs below it).
// Cost: add is two indexed look-ups and three binary searches over at most 19 bounds; memory about 260 bytes
//   per (endpoint, model) seen and 400 per target. Thread rule: none, a value.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "sentinel/base/clock.hpp"
#include "sentinel/journal/record.hpp"
#include "sentinel/metrics/labels.hpp"

namespace sentinel::metrics {

inline constexpr std::array<std::int64_t, 19> kDurationBoundsUs{
    500,        1'000,      2'500,       5'000,       10'000,     25'000,    50'000,
    100'000,    250'000,    500'000,     1'000'000,   2'500'000,  5'000'000, 10'000'000,
    30'000'000, 60'000'000, 120'000'000, 300'000'000, 600'000'000};
inline constexpr std::array<std::int64_t, 18> kOverheadBoundsUs{
    5, 10, 15, 20, 30, 50, 75, 100, 150, 250, 500, 1'000, 2'500, 5'000, 10'000, 25'000, 50'000, 100'000};

// What refused an exchange for going too fast.
enum class LimitName : std::uint8_t { requests, tokens, money, concurrency, address };
inline constexpr std::array<const char*, 5> kLimitNames{"requests", "tokens", "money", "concurrency",
                                                        "address"};

struct TokenCounts {
  std::int64_t prompt = 0;
  std::int64_t completion = 0;
  std::int64_t cached = 0;
  std::int64_t cache_write = 0;
  std::int64_t reasoning = 0;
};

struct UpstreamSample {
  LabelId target = kUnknown;
  Duration duration{0};                      // from send to the end of the upstream's answer
  std::optional<Duration> first_token = {};  // from send to the first token; absent when none came
};

// One settled exchange. `upstream` is absent when nothing was sent.
struct ExchangeSample {
  LabelId endpoint = kUnknown;
  LabelId model = kUnknown;
  int status = 0;
  Duration duration{0};  // from the head to the last byte
  Duration overhead{0};  // the part of it spent in Sentinel, upstream wait taken off
  std::optional<UpstreamSample> upstream = {};
  TokenCounts tokens = {};
  std::int64_t cost_micro_usd = 0;
  std::int64_t saved_micro_usd = 0;
  journal::Outcome outcome = journal::Outcome::done;
  journal::CacheVerdict cache = journal::CacheVerdict::bypass;
  std::optional<LimitName> refused_by = {};
};

template <const auto& kBounds>
struct Histogram {
  std::array<std::uint64_t, kBounds.size() + 1> buckets{};  // not cumulative; the last is +Inf
  std::int64_t sum_us = 0;

  void add(Duration value) {
    const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), value.count());
    ++buckets[static_cast<std::size_t>(bound - kBounds.begin())];
    sum_us += value.count();
  }
  void merge(const Histogram& other) {
    for (std::size_t i = 0; i < buckets.size(); ++i) buckets[i] += other.buckets[i];
    sum_us += other.sum_us;
  }
};
using DurationHistogram = Histogram<kDurationBoundsUs>;
using OverheadHistogram = Histogram<kOverheadBoundsUs>;

struct ServedSeries {  // one (endpoint, model)
  LabelId endpoint = kUnknown;
  LabelId model = kUnknown;
  std::vector<std::pair<int, std::uint64_t>> statuses;  // a handful: searched in order
  DurationHistogram duration;
  std::int64_t cost_micro_usd = 0;

  void count_status(int status, std::uint64_t by);
};

struct TargetSeries {
  std::array<std::uint64_t, journal::kOutcomes> outcomes{};
  std::uint64_t retries = 0;  // calls that another one followed
  DurationHistogram duration;
  DurationHistogram first_token;
};

class Tally {
 public:
  void add(const ExchangeSample& sample);
  void add_retried(const UpstreamSample& failed);  // a call that failed and was tried again
  void merge(const Tally& other);

  const std::vector<ServedSeries>& served() const { return served_; }
  const std::vector<TokenCounts>& tokens_by_model() const { return tokens_; }  // index = model id
  const std::vector<TargetSeries>& by_target() const { return targets_; }      // index = target id
  const OverheadHistogram& overhead() const { return overhead_; }
  const std::array<std::uint64_t, journal::kCacheVerdicts>& verdicts() const { return verdicts_; }
  const std::array<std::int64_t, journal::kCacheVerdicts>& saved_micro_usd() const { return saved_; }
  const std::array<std::uint64_t, kLimitNames.size()>& refusals() const { return refusals_; }

 private:
  ServedSeries& served_at(LabelId endpoint, LabelId model);

  std::vector<std::vector<std::uint32_t>> place_;  // [endpoint][model] -> 1 + index in served_, 0 = none yet
  std::vector<ServedSeries> served_;
  std::vector<TokenCounts> tokens_;
  std::vector<TargetSeries> targets_;
  OverheadHistogram overhead_;
  std::array<std::uint64_t, journal::kCacheVerdicts> verdicts_{};
  std::array<std::int64_t, journal::kCacheVerdicts> saved_{};
  std::array<std::uint64_t, kLimitNames.size()> refusals_{};
};

}  // namespace sentinel::metrics
