#include "sentinel/metrics/registry.hpp"

#include <algorithm>
#include <cassert>
#include <limits>
#include <span>
#include <string_view>
#include <utility>

#include <prometheus/text_serializer.h>

namespace sentinel::metrics {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

// Microseconds to seconds, micro-USD to USD. Divided, not multiplied: 0.1 s must not read 0.09999999999999999.
double whole(std::int64_t micro) { return static_cast<double>(micro) / 1e6; }

// One family under construction. Nothing is looked up: every series is written once, from merged counts.
class FamilyBuilder {
 public:
  FamilyBuilder(std::string_view name, std::string_view help, MetricType type) {
    family_.name = "sentinel_" + std::string{name};
    family_.help = help;
    family_.type = type;
  }

  void counter(Labels labels, double value) { slot(std::move(labels)).counter.value = value; }
  void counter(Labels labels, std::uint64_t value) { counter(std::move(labels), static_cast<double>(value)); }
  void gauge(double value) { gauge({}, value); }
  void gauge(Labels labels, double value) { slot(std::move(labels)).gauge.value = value; }

  template <const auto& kBounds>
  void histogram(Labels labels, const Histogram<kBounds>& counts) {
    ClientMetric::Histogram& out = slot(std::move(labels)).histogram;
    for (std::size_t i = 0; i < counts.buckets.size(); ++i) {
      out.sample_count += counts.buckets[i];
      const double bound = i < kBounds.size() ? whole(kBounds[i]) : std::numeric_limits<double>::infinity();
      out.bucket.push_back({out.sample_count, bound});
    }
    out.sample_sum = whole(counts.sum_us);
  }

  MetricFamily finish() && { return std::move(family_); }

 private:
  ClientMetric& slot(Labels labels) {
    ClientMetric& metric = family_.metric.emplace_back();
    metric.label = std::move(labels);
    return metric;
  }
  MetricFamily family_;
};

// The names at scrape time. Taken after the counts, so that every id that was counted has its name.
struct Names {
  explicit Names(const LabelNames& labels)
      : endpoints(labels.endpoints.names()), models(labels.models.names()), targets(labels.targets.names()) {}
  std::vector<std::string> endpoints, models, targets;
};

// Only interned ids are counted: another one is a fault of the caller.
const std::string& name_of(const std::vector<std::string>& names, std::size_t id) {
  assert(id < names.size());
  return names[id];
}

void add_served(std::vector<MetricFamily>& out, const Tally& tally, const Names& names) {
  FamilyBuilder requests{"http_requests_total", "Exchanges answered.", MetricType::Counter};
  FamilyBuilder durations{"http_request_duration_seconds", "From the request's head to its last byte.",
                          MetricType::Histogram};
  FamilyBuilder costs{"cost_usd_total", "What exchanges cost.", MetricType::Counter};
  for (const ServedSeries& served : tally.served()) {
    const ClientMetric::Label endpoint{"endpoint", name_of(names.endpoints, served.endpoint)};
    const ClientMetric::Label model{"model", name_of(names.models, served.model)};
    for (const auto& [status, count] : served.statuses) {
      requests.counter({endpoint, model, {"status", std::to_string(status)}}, count);
    }
    durations.histogram({endpoint, model}, served.duration);
    costs.counter({model, endpoint}, whole(served.cost_micro_usd));
  }
  out.push_back(std::move(requests).finish());
  out.push_back(std::move(durations).finish());
  out.push_back(std::move(costs).finish());
}

void add_targets(std::vector<MetricFamily>& out, const Tally& tally, const Names& names) {
  FamilyBuilder requests{"upstream_requests_total", "Calls sent to a target, by how the exchange ended.",
                         MetricType::Counter};
  FamilyBuilder durations{"upstream_duration_seconds", "From send to the end of the upstream's answer.",
                          MetricType::Histogram};
  FamilyBuilder first{"time_to_first_token_seconds", "From send to the first token.", MetricType::Histogram};
  FamilyBuilder retries{"upstream_retries_total",
                        "Calls of a target that failed and were followed by another.", MetricType::Counter};
  for (std::size_t id = 0; id < tally.by_target().size(); ++id) {
    const TargetSeries& series = tally.by_target()[id];
    if (std::all_of(series.outcomes.begin(), series.outcomes.end(), [](auto count) { return count == 0; }))
      continue;
    const ClientMetric::Label target{"target", name_of(names.targets, id)};
    for (std::size_t i = 0; i < series.outcomes.size(); ++i) {
      if (series.outcomes[i] == 0) continue;
      const std::string outcome{journal::name(static_cast<journal::Outcome>(i))};
      requests.counter({target, {"outcome", outcome}}, series.outcomes[i]);
    }
    durations.histogram({target}, series.duration);
    first.histogram({target}, series.first_token);
    retries.counter({target}, series.retries);
  }
  out.push_back(std::move(requests).finish());
  out.push_back(std::move(durations).finish());
  out.push_back(std::move(first).finish());
  out.push_back(std::move(retries).finish());
}

void add_tokens(std::vector<MetricFamily>& out, const Tally& tally, const Names& names) {
  FamilyBuilder tokens{"tokens_total",
                       "Tokens by kind; prompt includes cached, completion includes reasoning.",
                       MetricType::Counter};
  for (std::size_t id = 0; id < tally.tokens_by_model().size(); ++id) {
    const TokenCounts& counts = tally.tokens_by_model()[id];
    const std::pair<const char*, std::int64_t> kinds[] = {{"prompt", counts.prompt},
                                                          {"completion", counts.completion},
                                                          {"cached", counts.cached},
                                                          {"cache_write", counts.cache_write},
                                                          {"reasoning", counts.reasoning}};
    for (const auto& [kind, count] : kinds) {
      if (count == 0) continue;
      tokens.counter({{"model", name_of(names.models, id)}, {"kind", kind}}, static_cast<double>(count));
    }
  }
  out.push_back(std::move(tokens).finish());
}

void add_cache(std::vector<MetricFamily>& out, const Tally& tally) {
  FamilyBuilder verdicts{"cache_requests_total", "Exchanges by what the cache had to say.",
                         MetricType::Counter};
  for (std::size_t i = 0; i < tally.verdicts().size(); ++i) {
    const std::string verdict{journal::name(static_cast<journal::CacheVerdict>(i))};
    verdicts.counter({{"verdict", verdict}}, tally.verdicts()[i]);
  }
  out.push_back(std::move(verdicts).finish());
  FamilyBuilder saved{"saved_usd_total", "What answers would have cost that nobody had to ask for.",
                      MetricType::Counter};
  for (const auto verdict : {journal::CacheVerdict::hit_exact, journal::CacheVerdict::hit_semantic,
                             journal::CacheVerdict::follow}) {
    const std::int64_t micro = tally.saved_micro_usd()[static_cast<std::size_t>(verdict)];
    saved.counter({{"verdict", std::string{journal::name(verdict)}}}, whole(micro));
  }
  out.push_back(std::move(saved).finish());
}

void add_refusals(std::vector<MetricFamily>& out, const Tally& tally) {
  FamilyBuilder refusals{"limit_refusals_total", "Exchanges refused by a limit, by what was limited.",
                         MetricType::Counter};
  for (std::size_t i = 0; i < kLimitNames.size(); ++i)
    refusals.counter({{"limit", kLimitNames[i]}}, tally.refusals()[i]);
  out.push_back(std::move(refusals).finish());
}

void add_overhead(std::vector<MetricFamily>& out, const Tally& tally) {
  FamilyBuilder overhead{"overhead_seconds", "Time spent in Sentinel, upstream wait taken off.",
                         MetricType::Histogram};
  overhead.histogram({}, tally.overhead());
  out.push_back(std::move(overhead).finish());
}

void add_health(std::vector<MetricFamily>& out, const EngineHealth& health) {
  const auto counter = [&out](std::string_view name, std::string_view help, std::uint64_t value) {
    FamilyBuilder family{name, help, MetricType::Counter};
    family.counter({}, value);
    out.push_back(std::move(family).finish());
  };
  counter("usage_records_total", "Usage records stored.", health.records);
  counter("usage_rejected_total", "Usage records refused because the queue was full.", health.rejected);
  counter("usage_retries_total", "Batches of usage records that had to be stored again.", health.retries);
  counter("usage_lost_total", "Usage records given up at shutdown.", health.lost);
  counter("log_lines_dropped_total", "Log lines that nobody took in time.", health.log_lines_dropped);
  counter("cache_evictions_total", "Kept answers that went to make room.", health.cache_evictions);
  FamilyBuilder breakers{"breaker_state", "0 closed, 1 half-open, 2 open.", MetricType::Gauge};
  for (const auto& [target, state] : health.breakers) breakers.gauge({{"target", target}}, state);
  out.push_back(std::move(breakers).finish());
  const auto gauge = [&out](std::string_view name, std::string_view help, std::int64_t value) {
    FamilyBuilder family{name, help, MetricType::Gauge};
    family.gauge(static_cast<double>(value));
    out.push_back(std::move(family).finish());
  };
  gauge("usage_pending", "Usage records accepted and not yet stored.",
        static_cast<std::int64_t>(health.pending));
  gauge("cache_bytes", "Memory that kept answers take.", static_cast<std::int64_t>(health.cache_bytes));
  gauge("in_flight", "Exchanges begun and not settled.", health.in_flight);
}

}  // namespace

MetricRegistry::MetricRegistry(const LabelNames& names, HealthProbe health)
    : names_(names), health_(std::move(health)) {}

std::vector<MetricFamily> MetricRegistry::Collect() const {
  const Tally tally = merged();
  const Names names{names_};
  std::vector<MetricFamily> out;
  add_served(out, tally, names);
  add_targets(out, tally, names);
  add_tokens(out, tally, names);
  add_cache(out, tally);
  add_refusals(out, tally);
  add_overhead(out, tally);
  if (health_) add_health(out, health_());
  return out;
}

std::string MetricRegistry::expose() const { return prometheus::TextSerializer{}.Serialize(Collect()); }

void MetricRegistry::add(MetricLane& lane) {
  const std::lock_guard lock{mutex_};
  lanes_.push_back(&lane);
}

void MetricRegistry::retire(MetricLane& lane) {
  const std::lock_guard lock{mutex_};
  std::erase(lanes_, &lane);
  retired_.merge(lane.copy());
}

Tally MetricRegistry::merged() const {
  const std::lock_guard lock{mutex_};
  Tally total = retired_;
  for (const MetricLane* lane : lanes_) total.merge(lane->copy());
  return total;
}

}  // namespace sentinel::metrics
