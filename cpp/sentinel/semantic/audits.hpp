// Which hits are also sent upstream and judged, and what that says about the promise.
//
// Every would-be hit is audited at first; then a share that decays to kLeastShare. Within the share, doubtful hits are
// audited more often than sure ones: in proportion to the square root of their expected error (Neyman's allocation), and
// each audited outcome weighs 1/p. So a mistake seldom hides, and rarely counts twenty-fold.
//
// The running error is the model's expectation, corrected by the audits (the augmented inverse probability estimator):
// sum of e over hits + sum of (wrong - e)/p over audited hits, both decaying over kMemory requests. As it nears the bound,
// `tightening` falls below 1 and the threshold rises (risk.hpp); it never loosens the bound.
//
// Contract: probabilities are in (0, 1]; randomness is the caller's. Cost: O(1). Thread rule: one owner.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "sentinel/semantic/risk.hpp"

namespace sentinel::semantic {

class Audits {
 public:
  static constexpr double kFirst = 300;  // hits of which all are audited
  static constexpr double kFirstOfPartition = 5;
  static constexpr double kLeastShare = 0.05;
  static constexpr double kLeast = 0.05;    // of any one hit
  static constexpr double kMemory = 2'500;  // requests
  static constexpr double kDoubt = 800;     // hits' worth of belief that all is well
  static constexpr double kGain = 1;
  static constexpr double kTightest = 0.75;

  // With what probability to audit a hit that is expected to be wrong with probability `error`, the partition having had
  // `of_partition` hits.
  double chance(double error, std::uint64_t of_partition) const {
    if (static_cast<double>(of_partition) < kFirstOfPartition) return 1;
    const double share = std::max(kLeastShare, std::sqrt(kFirst / (static_cast<double>(hits_) + 1)));
    const double typical = root_sum_ / std::max(weight_, 1.0);
    const double relative = typical > 0 ? 0.5 + 0.5 * std::sqrt(error) / typical : 1.0;
    return std::clamp(share * relative, kLeast, 1.0);
  }

  void served(double error) {
    ++hits_;
    weight_ += 1;
    root_sum_ += std::sqrt(error);
    expected_ += error;
  }
  // Every request, served or not: so that what was learned fades while nothing is served, too.
  void requested() {
    constexpr double kKeep = 1 - 1 / kMemory;
    for (double* sum : {&weight_, &requests_, &root_sum_, &expected_, &corrected_}) *sum *= kKeep;
    requests_ += 1;
  }
  void audited(double error, double chance, bool wrong) {
    ++audits_;
    wrong_ += wrong ? 1U : 0U;
    corrected_ += ((wrong ? 1.0 : 0.0) - error) / chance;
  }

  // Wrong hits by hits or by requests, over the last kMemory requests or so.
  double running_error(Of of) const {
    const double by = of == Of::hits ? weight_ : requests_;
    return by > 0 ? std::max(0.0, expected_ + corrected_) / by : 0.0;
  }
  double tightening(Bound bound) const {
    const double by = bound.of == Of::hits ? weight_ : requests_;
    const double aim = kShare * bound.max_error;
    const double error = (running_error(bound.of) * by + aim * kDoubt) / (by + kDoubt);
    return std::clamp(1 - kGain * (error / bound.max_error - kShare), kTightest, 1.0);
  }

  std::uint64_t hits() const { return hits_; }
  std::uint64_t audits() const { return audits_; }
  std::uint64_t wrong() const { return wrong_; }

 private:
  std::uint64_t hits_ = 0;
  std::uint64_t audits_ = 0;
  std::uint64_t wrong_ = 0;
  double weight_ = 0;  // decayed hits
  double requests_ = 0;
  double root_sum_ = 0;
  double expected_ = 0;
  double corrected_ = 0;
};

}  // namespace sentinel::semantic
