// All lanes' counters as Prometheus families.
//
// Contract: Collect() merges the live lanes and what ended lanes left behind; a counter never goes back.
//   Every metric of the contract that has a producer is present from the first scrape; label values are the
//   names of LabelNames. Money is summed in integer micro-USD and becomes dollars only here.
// Cost: a scrape copies each lane under its lock (microseconds per hundred series) and formats outside of all
// locks.
// Thread rule: any thread. The registry and the LabelNames outlive every lane; health is called during a
// scrape.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include "sentinel/metrics/labels.hpp"
#include "sentinel/metrics/lane.hpp"
#include "sentinel/metrics/tally.hpp"

namespace sentinel::metrics {

// What the engine knows at scrape time: its ledger, its log, what is under way.
struct EngineHealth {
  std::uint64_t records = 0;   // stored
  std::uint64_t rejected = 0;  // refused because the queue was full
  std::uint64_t retries = 0;   // batches tried again
  std::uint64_t lost = 0;      // given up at shutdown
  std::uint64_t pending = 0;   // accepted, not yet stored
  std::uint64_t log_lines_dropped = 0;
  std::int64_t in_flight = 0;  // exchanges begun and not settled
  std::uint64_t cache_bytes = 0;
  std::uint64_t cache_evictions = 0;
  std::vector<std::pair<std::string, int>> breakers = {};  // target, state: 0 closed, 1 half-open, 2 open
};
using HealthProbe = std::function<EngineHealth()>;

class MetricRegistry final : public prometheus::Collectable {
 public:
  explicit MetricRegistry(const LabelNames& names, HealthProbe health = {});

  std::vector<prometheus::MetricFamily> Collect() const override;
  std::string expose() const;  // text format 0.0.4

 private:
  friend class MetricLane;
  void add(MetricLane& lane);
  void retire(MetricLane& lane);
  Tally merged() const;

  const LabelNames& names_;
  const HealthProbe health_;
  mutable std::mutex mutex_;
  std::vector<const MetricLane*> lanes_;
  Tally retired_;
};

}  // namespace sentinel::metrics
