// Merged lanes against the plainest model there is: a map from series name to number.
#include "sentinel/metrics/tally.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "sentinel/base/random.hpp"

namespace sentinel::metrics {
namespace {

using Model = std::map<std::string, std::int64_t>;

template <class Bounds>
std::string bucket_of(const Bounds& bounds, std::int64_t us) {
  for (const std::int64_t bound : bounds) {
    if (us <= bound) return std::to_string(bound);
  }
  return "inf";
}

std::string key(std::initializer_list<std::string> parts) {
  std::string joined;
  for (const std::string& part : parts) joined += part + "|";
  return joined;
}

void count(Model& model, const ExchangeSample& s) {
  const std::string served = key({std::to_string(s.endpoint), std::to_string(s.model)});
  const std::string id = std::to_string(s.model);
  model["status" + served + std::to_string(s.status)] += 1;
  model["duration" + served + bucket_of(kDurationBoundsUs, s.duration.count())] += 1;
  model["duration_sum" + served] += s.duration.count();
  model["cost" + served] += s.cost_micro_usd;
  model["prompt" + id] += s.tokens.prompt;
  model["completion" + id] += s.tokens.completion;
  model["cached" + id] += s.tokens.cached;
  model["cache_write" + id] += s.tokens.cache_write;
  model["reasoning" + id] += s.tokens.reasoning;
  model["overhead" + bucket_of(kOverheadBoundsUs, s.overhead.count())] += 1;
  model["overhead_sum"] += s.overhead.count();
  model["verdict" + std::string{journal::name(s.cache)}] += 1;
  model["saved" + std::string{journal::name(s.cache)}] += s.saved_micro_usd;
  if (s.refused_by) model["refused" + std::to_string(static_cast<int>(*s.refused_by))] += 1;
  if (!s.upstream) return;
  const std::string target = std::to_string(s.upstream->target);
  model["outcome" + target + std::string{journal::name(s.outcome)}] += 1;
  model["upstream" + target + bucket_of(kDurationBoundsUs, s.upstream->duration.count())] += 1;
  model["upstream_sum" + target] += s.upstream->duration.count();
  if (!s.upstream->first_token) return;
  model["first" + target + bucket_of(kDurationBoundsUs, s.upstream->first_token->count())] += 1;
  model["first_sum" + target] += s.upstream->first_token->count();
}

void count_retried(Model& model, const UpstreamSample& failed) {
  const std::string target = std::to_string(failed.target);
  model["retries" + target] += 1;
  model["outcome" + target + "upstream_error"] += 1;
  model["upstream" + target + bucket_of(kDurationBoundsUs, failed.duration.count())] += 1;
  model["upstream_sum" + target] += failed.duration.count();
}

template <const auto& kBounds>
void read(Model& model, const std::string& name, const std::string& labels,
          const Histogram<kBounds>& histogram) {
  for (std::size_t i = 0; i < histogram.buckets.size(); ++i) {
    const std::string bound = i < kBounds.size() ? std::to_string(kBounds[i]) : "inf";
    model[name + labels + bound] = static_cast<std::int64_t>(histogram.buckets[i]);
  }
  model[name + "_sum" + labels] = histogram.sum_us;
}

Model read(const Tally& tally) {
  Model model;
  for (const ServedSeries& series : tally.served()) {
    const std::string served = key({std::to_string(series.endpoint), std::to_string(series.model)});
    for (const auto& [status, number] : series.statuses) {
      model["status" + served + std::to_string(status)] = static_cast<std::int64_t>(number);
    }
    read(model, "duration", served, series.duration);
    model["cost" + served] = series.cost_micro_usd;
  }
  for (std::size_t id = 0; id < tally.tokens_by_model().size(); ++id) {
    const TokenCounts& tokens = tally.tokens_by_model()[id];
    model["prompt" + std::to_string(id)] = tokens.prompt;
    model["completion" + std::to_string(id)] = tokens.completion;
    model["cached" + std::to_string(id)] = tokens.cached;
    model["cache_write" + std::to_string(id)] = tokens.cache_write;
    model["reasoning" + std::to_string(id)] = tokens.reasoning;
  }
  for (std::size_t id = 0; id < tally.by_target().size(); ++id) {
    const TargetSeries& series = tally.by_target()[id];
    for (std::size_t i = 0; i < journal::kOutcomes; ++i) {
      const std::string outcome{journal::name(static_cast<journal::Outcome>(i))};
      model["outcome" + std::to_string(id) + outcome] = static_cast<std::int64_t>(series.outcomes[i]);
    }
    model["retries" + std::to_string(id)] = static_cast<std::int64_t>(series.retries);
    read(model, "upstream", std::to_string(id), series.duration);
    read(model, "first", std::to_string(id), series.first_token);
  }
  read(model, "overhead", "", tally.overhead());
  for (std::size_t i = 0; i < journal::kCacheVerdicts; ++i) {
    const std::string verdict{journal::name(static_cast<journal::CacheVerdict>(i))};
    model["verdict" + verdict] = static_cast<std::int64_t>(tally.verdicts()[i]);
    model["saved" + verdict] = tally.saved_micro_usd()[i];
  }
  for (std::size_t i = 0; i < kLimitNames.size(); ++i)
    model["refused" + std::to_string(i)] = static_cast<std::int64_t>(tally.refusals()[i]);
  return model;
}

ExchangeSample random_sample(Random& random) {
  const auto below = [&](std::uint64_t bound) { return static_cast<std::int64_t>(random.below(bound)); };
  const auto some_time = [&] { return Duration{below(1ULL << (1 + random.below(30)))}; };
  constexpr int kStatuses[] = {200, 400, 401, 404, 429, 500, 502, 503, 504};
  ExchangeSample sample;
  sample.endpoint = static_cast<LabelId>(below(6));
  sample.model = static_cast<LabelId>(below(40));
  sample.status = kStatuses[random.below(std::size(kStatuses))];
  sample.duration = some_time();
  sample.overhead = some_time();
  sample.tokens = {below(5000), below(500), below(100), below(10), below(100)};
  sample.cost_micro_usd = below(100'000);
  sample.saved_micro_usd = below(100'000);
  if (below(5) == 0) sample.refused_by = static_cast<LimitName>(below(kLimitNames.size()));
  sample.outcome = static_cast<journal::Outcome>(below(journal::kOutcomes));
  sample.cache = static_cast<journal::CacheVerdict>(below(journal::kCacheVerdicts));
  if (below(4) == 0) return sample;
  sample.upstream =
      UpstreamSample{.target = static_cast<LabelId>(below(12)), .duration = some_time(), .first_token = {}};
  if (below(2) == 0) sample.upstream->first_token = some_time();
  return sample;
}

// Zeros are how an array says that nothing was there.
Model without_zeros(Model model) {
  std::erase_if(model, [](const auto& entry) { return entry.second == 0; });
  return model;
}

class TallyProperty : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(TallyProperty, merged_lanes_equal_a_plain_map) {
  Random random{GetParam()};
  std::vector<Tally> lanes(1 + random.below(5));
  Model model;
  for (int i = 0; i < 3000; ++i) {
    const ExchangeSample sample = random_sample(random);
    lanes[random.below(lanes.size())].add(sample);
    count(model, sample);
    if (!sample.upstream || random.below(4) > 0) continue;
    lanes[random.below(lanes.size())].add_retried(*sample.upstream);
    count_retried(model, *sample.upstream);
  }
  Tally total;
  for (const Tally& lane : lanes) total.merge(lane);
  EXPECT_EQ(without_zeros(read(total)), without_zeros(model));
}

INSTANTIATE_TEST_SUITE_P(Seeds, TallyProperty, ::testing::Range<std::uint64_t>(1, 21));

}  // namespace
}  // namespace sentinel::metrics
