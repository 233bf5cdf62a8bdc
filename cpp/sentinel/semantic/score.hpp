// The probability that a group's answer is the right one: a logistic regression, pooled and refitted as verdicts come.
//
// The weights begin with a prior that ships with the library and stay near it until there is evidence: the fit is the
// maximum a posteriori under independent normal priors around the shipped weights (ridge regression towards them).
// Features are brought to mean 0 and scale 1 by fixed constants, so that one prior strength suits all.
//
// Contract: deterministic. `fit` starts from the present weights and takes at most `steps` Newton steps.
// Cost: logit O(kFeatures); a Newton step O(rows x kFeatures^2). Thread rule: one owner. Failure rule: a step that the
// numbers do not allow leaves the weights as they are.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sentinel::semantic {

enum Feature : std::size_t {
  kBias,
  kCosine,  // to the candidate entry
  kCosineCubed,
  kVotes,         // the group's share of the neighbours' votes
  kMargin,        // over the nearest entry of another group
  kGroupSize,     // log(1 + members)
  kAccuracy,      // of the entry: (confirmed + 1) / (judged + 2)
  kWords,         // idf-weighted Jaccard
  kRarestAsked,   // rarity of the rarest word that only the query has
  kRarestStored,  // that only the entry has
  kTrigrams,      // Jaccard
  kMismatches,    // kinds of marks on one side only
  kLengthRatio,
  kSameFirst,
  kCentre,        // cosine to the group's centre
  kCentreMargin,  // over the best centre of another group
  kSwap,          // the lesser of the two rarest words: one thing in another's place
  kAlone,         // the group has one member
  kAloneWords,    // kAlone x kWords
  kAloneCosine,   // kAlone x kCosine
  kFeatures
};
std::string_view name_of(Feature feature);

using Features = std::array<float, kFeatures>;

// Brings raw features to mean 0 and scale 1, in place.
void standardise(Features& features);

struct Sample {
  const Features* features;
  float weight;
  float offset;  // added to the logit as it is
  bool same;
};

class LogisticModel {
 public:
  LogisticModel();
  float logit(const Features& features) const;
  void fit(std::span<const Sample> samples, int steps);
  const std::array<double, kFeatures>& weights() const { return weights_; }

 private:
  std::array<double, kFeatures> weights_;
};

double probability(double logit);

}  // namespace sentinel::semantic
