// The threshold against a search of all thresholds, the window against a plain list, and the promise on streams whose
// error is known.
#include "sentinel/semantic/risk.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <vector>

#include "sentinel/base/random.hpp"

namespace sentinel::semantic {
namespace {

double uniform(Random& random) { return static_cast<double>(random.next() >> 11U) * 0x1.0p-53; }

// Every threshold tried, the risk of each summed anew.
float brute_force(const std::vector<Scored>& outcomes, double requests, Bound bound) {
  float best = kNever;
  for (const Scored& candidate : outcomes) {
    double served = 1;
    double wrong = 1;
    for (const Scored& each : outcomes) {
      if (each.score < candidate.score) continue;
      served += static_cast<double>(each.weight);
      wrong += each.same ? 0.0 : static_cast<double>(each.weight);
    }
    const double of = bound.of == Of::hits ? served : requests + 1;
    if (wrong <= bound.max_error * of) best = std::min(best, candidate.score);
  }
  return best;
}

TEST(ConformalThreshold, IsTheSmallestThatBruteForceFinds) {
  Random random(1);
  for (int round = 0; round < 300; ++round) {
    std::vector<Scored> outcomes;
    for (std::uint64_t i = random.below(120); i > 0; --i) {
      const float score = static_cast<float>(random.below(30));
      const float weight = static_cast<float>(1 + random.below(4));
      outcomes.push_back({score, weight, uniform(random) * 30 < static_cast<double>(score) + 10});
    }
    for (const Of of : {Of::hits, Of::requests}) {
      const Bound bound{0.02 + 0.2 * uniform(random), of};
      auto sorted = outcomes;
      EXPECT_EQ(conformal_threshold(sorted, 200, bound), brute_force(outcomes, 200, bound));
    }
  }
}

TEST(ConformalThreshold, TooLittleEvidenceServesNothing) {
  std::vector<Scored> outcomes(98, Scored{1, 1, true});
  EXPECT_EQ(conformal_threshold(outcomes, 98, {0.01, Of::hits}), kNever);
  outcomes.resize(99, Scored{1, 1, true});
  EXPECT_EQ(conformal_threshold(outcomes, 99, {0.01, Of::hits}), 1.0F);
}

Outcome outcome_of(double signal, bool same, std::uint64_t request) {
  Outcome outcome;
  outcome.features.fill(0);
  outcome.features[kBias] = 1;
  outcome.features[kCosine] = static_cast<float>(signal);
  outcome.same = same;
  outcome.request = request;
  return outcome;
}

TEST(RiskWindow, ForgetsTheOldestFirst) {
  RiskWindow window;
  for (std::uint64_t i = 0; i < kWindow; ++i) window.add(outcome_of(1, false, i));
  window.refit();
  EXPECT_EQ(window.threshold({0.05, Of::hits}, kWindow, 1), kNever);
  for (std::uint64_t i = 0; i < kWindow; ++i) window.add(outcome_of(1, true, kWindow + i));
  window.refit();
  EXPECT_EQ(window.size(), kWindow);
  EXPECT_NE(window.threshold({0.05, Of::hits}, 2 * kWindow, 1), kNever);
}

// Coverage: outcomes are right with probability 1/(1+exp(-3 signal)); the policy serves by threshold, what it serves is
// judged one time in five. The promise is about the mean: one stream may miss it by a little, not by a fifth.
class Coverage : public testing::TestWithParam<std::uint64_t> {};

TEST_P(Coverage, TheRealisedErrorStaysWithinTheBound) {
  Random random(GetParam());
  const Bound bound{0.05, Of::hits};
  RiskWindow window;
  float threshold = kNever;
  double hits = 0;
  double wrong = 0;
  for (std::uint64_t request = 1; request <= 12'000; ++request) {
    const double signal = 4 * uniform(random) - 2;
    const bool same = uniform(random) < 1 / (1 + std::exp(-3 * signal));
    Outcome outcome = outcome_of(signal, same, request);
    const bool served = window.logit(outcome) >= threshold;
    hits += served ? 1 : 0;
    wrong += served && !same ? 1 : 0;
    if (served) outcome.weight = 5;
    if (!served || random.below(5) == 0) window.add(outcome);
    if (request % kRefitEvery != 0) continue;
    window.refit();
    threshold = window.threshold(bound, request, 1);
  }
  EXPECT_GT(hits, 2'000);
  EXPECT_LE(wrong / hits, 1.2 * bound.max_error);
  EXPECT_GE(wrong / hits, 0.5 * bound.max_error);
}

INSTANTIATE_TEST_SUITE_P(Seeds, Coverage, testing::Range<std::uint64_t>(1, 5));

TEST(LogisticModel, FindsTheWeightsThatMadeTheData) {
  Random random(5);
  std::vector<Outcome> outcomes;
  for (int i = 0; i < 20'000; ++i) {
    const double signal = 4 * uniform(random) - 2;
    outcomes.push_back(outcome_of(signal, uniform(random) < 1 / (1 + std::exp(-(2 * signal - 1))), 0));
  }
  std::vector<Sample> samples;
  for (const Outcome& outcome : outcomes) samples.push_back({&outcome.features, 1, 0, outcome.same});
  LogisticModel model;
  model.fit(samples, 20);
  EXPECT_NEAR(model.weights()[kCosine], 2, 0.15);
  EXPECT_NEAR(model.weights()[kBias], -1, 0.15);
}

TEST(LogisticModel, WithoutDataKeepsThePrior) {
  LogisticModel model;
  const auto before = model.weights();
  model.fit({}, 5);
  for (std::size_t i = 0; i < kFeatures; ++i) EXPECT_NEAR(model.weights()[i], before[i], 1e-9);
}

}  // namespace
}  // namespace sentinel::semantic
