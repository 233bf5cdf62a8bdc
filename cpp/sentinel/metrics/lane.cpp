#include "sentinel/metrics/lane.hpp"

#include "sentinel/metrics/registry.hpp"

namespace sentinel::metrics {

MetricLane::MetricLane(MetricRegistry& registry) : registry_(registry) { registry_.add(*this); }
MetricLane::~MetricLane() { registry_.retire(*this); }

void MetricLane::observe_retried(const UpstreamSample& failed) {
  const std::lock_guard lock{mutex_};
  tally_.add_retried(failed);
}

void MetricLane::observe(const ExchangeSample& sample) {
  const std::lock_guard lock{mutex_};
  tally_.add(sample);
}

Tally MetricLane::copy() const {
  const std::lock_guard lock{mutex_};
  return tally_;
}

}  // namespace sentinel::metrics
