// Counters of one thread, merged with those of the others only when somebody scrapes.
//
// Contract: a lane belongs to the thread that writes it; observe() is called once per exchange when it is settled. A
//   lane registers itself with its registry and leaves its counts there when it ends; the registry outlives every lane.
// Cost: one uncontended mutex, direct indexing by small ids, no hashing, no allocation once an id has been
// seen.
// Thread rule: any thread may call, but sharing a lane makes its mutex contended. Failure rule: none.
#pragma once

#include <cstdint>
#include <mutex>

#include "sentinel/metrics/tally.hpp"

namespace sentinel::metrics {

class MetricRegistry;

class MetricLane {
 public:
  explicit MetricLane(MetricRegistry& registry);
  ~MetricLane();
  MetricLane(const MetricLane&) = delete;
  MetricLane& operator=(const MetricLane&) = delete;

  void observe(const ExchangeSample& sample);
  void observe_retried(const UpstreamSample& failed);

 private:
  friend class MetricRegistry;
  Tally copy() const;

  MetricRegistry& registry_;
  mutable std::mutex mutex_;
  Tally tally_;
};

}  // namespace sentinel::metrics
