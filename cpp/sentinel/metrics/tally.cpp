#include "sentinel/metrics/tally.hpp"

namespace sentinel::metrics {
namespace {

template <class T>
T& grown_at(std::vector<T>& values, std::size_t index) {
  if (index >= values.size()) values.resize(index + 1);
  return values[index];
}

void sum(TokenCounts& total, const TokenCounts& more) {
  total.prompt += more.prompt;
  total.completion += more.completion;
  total.cached += more.cached;
  total.cache_write += more.cache_write;
  total.reasoning += more.reasoning;
}

template <class Number, std::size_t N>
void sum(std::array<Number, N>& total, const std::array<Number, N>& more) {
  for (std::size_t i = 0; i < N; ++i) total[i] += more[i];
}

}  // namespace

void ServedSeries::count_status(int status, std::uint64_t by) {
  for (auto& [known, count] : statuses) {
    if (known != status) continue;
    count += by;
    return;
  }
  statuses.emplace_back(status, by);
}

void Tally::add(const ExchangeSample& sample) {
  ServedSeries& served = served_at(sample.endpoint, sample.model);
  served.count_status(sample.status, 1);
  served.duration.add(sample.duration);
  served.cost_micro_usd += sample.cost_micro_usd;
  sum(grown_at(tokens_, sample.model), sample.tokens);
  overhead_.add(sample.overhead);
  ++verdicts_[static_cast<std::size_t>(sample.cache)];
  saved_[static_cast<std::size_t>(sample.cache)] += sample.saved_micro_usd;
  if (sample.refused_by) ++refusals_[static_cast<std::size_t>(*sample.refused_by)];
  if (!sample.upstream) return;
  TargetSeries& target = grown_at(targets_, sample.upstream->target);
  ++target.outcomes[static_cast<std::size_t>(sample.outcome)];
  target.duration.add(sample.upstream->duration);
  if (sample.upstream->first_token) target.first_token.add(*sample.upstream->first_token);
}

void Tally::add_retried(const UpstreamSample& failed) {
  TargetSeries& target = grown_at(targets_, failed.target);
  ++target.outcomes[static_cast<std::size_t>(journal::Outcome::upstream_error)];
  ++target.retries;
  target.duration.add(failed.duration);
}

void Tally::merge(const Tally& other) {
  for (const ServedSeries& more : other.served_) {
    ServedSeries& served = served_at(more.endpoint, more.model);
    for (const auto& [status, count] : more.statuses) served.count_status(status, count);
    served.duration.merge(more.duration);
    served.cost_micro_usd += more.cost_micro_usd;
  }
  for (std::size_t i = 0; i < other.tokens_.size(); ++i) sum(grown_at(tokens_, i), other.tokens_[i]);
  for (std::size_t i = 0; i < other.targets_.size(); ++i) {
    TargetSeries& target = grown_at(targets_, i);
    sum(target.outcomes, other.targets_[i].outcomes);
    target.retries += other.targets_[i].retries;
    target.duration.merge(other.targets_[i].duration);
    target.first_token.merge(other.targets_[i].first_token);
  }
  overhead_.merge(other.overhead_);
  sum(verdicts_, other.verdicts_);
  sum(saved_, other.saved_);
  sum(refusals_, other.refusals_);
}

ServedSeries& Tally::served_at(LabelId endpoint, LabelId model) {
  std::uint32_t& place = grown_at(grown_at(place_, endpoint), model);
  if (place != 0) return served_[place - 1];
  served_.push_back(
      {.endpoint = endpoint, .model = model, .statuses = {}, .duration = {}, .cost_micro_usd = 0});
  place = static_cast<std::uint32_t>(served_.size());
  return served_.back();
}

}  // namespace sentinel::metrics
