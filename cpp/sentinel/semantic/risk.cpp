#include "sentinel/semantic/risk.hpp"

#include <algorithm>

namespace sentinel::semantic {
namespace {

constexpr int kSteps = 2;
constexpr float kMostWeight = 4;  // of an outcome in a fit: a rare audit must not turn the model alone

std::size_t fold_of(std::size_t place) { return place % kFolds; }

void sort_by_score(std::span<Scored> outcomes) {
  std::sort(outcomes.begin(), outcomes.end(),
            [](const Scored& left, const Scored& right) { return left.score > right.score; });
}

}  // namespace

void even_out(std::span<Scored> outcomes) {
  sort_by_score(outcomes);
  for (std::size_t begin = 0; begin < outcomes.size(); begin += kStratum) {
    const auto stratum = outcomes.subspan(begin, std::min(kStratum, outcomes.size() - begin));
    float sum = 0;
    for (const Scored& each : stratum) sum += each.weight;
    for (Scored& each : stratum) each.weight = sum / static_cast<float>(stratum.size());
  }
}

float conformal_threshold(std::span<Scored> outcomes, double requests, Bound bound) {
  sort_by_score(outcomes);
  constexpr double kOneMore = 1;  // the correction: the next outcome counts as a wrong serve
  double served = kOneMore;
  double wrong = kOneMore;
  float threshold = kNever;
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    const double weight = static_cast<double>(outcomes[i].weight);
    served += weight;
    wrong += outcomes[i].same ? 0.0 : weight;
    const bool tied = i + 1 < outcomes.size() && outcomes[i + 1].score == outcomes[i].score;
    const double of = bound.of == Of::hits ? served : requests + kOneMore;
    if (!tied && wrong <= bound.max_error * of) threshold = outcomes[i].score;
  }
  return threshold;
}

void RiskWindow::add(const Outcome& outcome) {
  if (outcomes_.size() < kWindow) {
    outcomes_.push_back(outcome);
    return;
  }
  outcomes_[next_] = outcome;
  next_ = (next_ + 1) % kWindow;
}

void RiskWindow::refit() {
  std::vector<Sample> samples;
  samples.reserve(outcomes_.size());
  const auto sample = [](const Outcome& outcome) {
    return Sample{&outcome.features, std::min(outcome.weight, kMostWeight), outcome.offset, outcome.same};
  };
  for (std::size_t fold = 0; fold <= kFolds; ++fold) {
    samples.clear();
    for (std::size_t i = 0; i < outcomes_.size(); ++i) {
      if (fold_of(i) != fold) samples.push_back(sample(outcomes_[i]));
    }
    (fold == kFolds ? model_ : without_[fold]).fit(samples, kSteps);
  }
}

float RiskWindow::threshold(Bound bound, std::uint64_t now, double tightening) const {
  if (outcomes_.empty()) return kNever;
  std::vector<Scored> scored;
  scored.reserve(outcomes_.size());
  for (std::size_t i = 0; i < outcomes_.size(); ++i) {
    const Outcome& outcome = outcomes_[i];
    scored.push_back(
        {without_[fold_of(i)].logit(outcome.features) + outcome.offset, outcome.weight, outcome.same});
  }
  even_out(scored);
  const Outcome& oldest = outcomes_[outcomes_.size() < kWindow ? 0 : next_];
  const double requests = static_cast<double>(now - oldest.request) + 1;
  return conformal_threshold(scored, requests, {bound.max_error * kShare * tightening, bound.of});
}

}  // namespace sentinel::semantic
