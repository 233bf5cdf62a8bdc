// The threshold that keeps the promise: conformal risk control on a sliding window of judged outcomes.
//
// Source: Angelopoulos, Bates, Fisch, Lei, Schuster, "Conformal Risk Control" (2022): of all thresholds take the one that
// serves most while the empirical risk, with one more worst outcome added, stays within the bound. For `requests` the
// loss is a wrong serve, for `hits` a wrong serve less the bound for each serve. Every judged outcome weighs 1/p, p being
// the probability with which it was judged at all. The threshold aims at kShare of the bound, so that what the window
// cannot know yet (it lags behind) does not break it.
//
// Cross-fitting: the window is cut in kFolds; an outcome's score comes from a model that never saw its fold, so that the
// scores' own fitting does not flatter the error.
//
// Contract: `threshold` is infinity while the window cannot support the bound. Cost: add O(1); refit
// O(window x (kFolds + 1) x features^2), to be called every kRefitEvery requests; the window is fixed at kWindow
// outcomes. Thread rule: one owner. Failure rule: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "sentinel/semantic/score.hpp"

namespace sentinel::semantic {

inline constexpr std::size_t kWindow = 4'000;
inline constexpr std::size_t kFolds = 4;
inline constexpr std::uint64_t kRefitEvery = 250;
inline constexpr double kShare = 0.9;
inline constexpr float kNever = std::numeric_limits<float>::infinity();

enum class Of : std::uint8_t { hits, requests };

struct Bound {
  double max_error = 0.01;
  Of of = Of::hits;

  friend bool operator==(const Bound&, const Bound&) = default;
};

struct Outcome {
  Features features{};
  float offset = 0;  // of its partition and route, when it was decided
  float weight = 1;  // 1/p
  bool same = false;
  std::uint64_t request = 0;  // its number in the stream
};

struct Scored {
  float score;
  float weight;
  bool same;
};

// The smallest threshold whose risk stays within `max_error`; `requests` is the weight of all requests, served or not.
float conformal_threshold(std::span<Scored> outcomes, double requests, Bound bound);

// Gives every outcome the mean weight of its stratum, kStratum neighbours by score. With what probability an outcome was
// judged depends on its score alone, so within a stratum all are equal evidence, and this takes the chance out of which of
// them happened to be judged with a small one (post-stratification).
void even_out(std::span<Scored> outcomes);
inline constexpr std::size_t kStratum = 100;

class RiskWindow {
 public:
  void add(const Outcome& outcome);
  // Fits all models again.
  void refit();
  float logit(const Outcome& outcome) const { return model_.logit(outcome.features) + outcome.offset; }
  // For the requests up to number `now`. `tightening`, at most 1, multiplies what of the bound is aimed at.
  float threshold(Bound bound, std::uint64_t now, double tightening) const;

  std::size_t size() const { return outcomes_.size(); }
  const LogisticModel& model() const { return model_; }

 private:
  std::vector<Outcome> outcomes_;  // a ring once it is full
  std::size_t next_ = 0;
  LogisticModel model_;
  std::vector<LogisticModel> without_ = std::vector<LogisticModel>(kFolds);  // fold i's never saw fold i
};

}  // namespace sentinel::semantic
