#include "sentinel/semantic/candidates.hpp"

#include <algorithm>
#include <cmath>

#include "sentinel/semantic/likeness.hpp"

namespace sentinel::semantic {
namespace {

constexpr float kSharpness = 20;  // of the votes: e^(20 x cosine)

// A candidate while its neighbours are read.
struct Tally {
  Candidate candidate;
  float nearest = 0;
  float votes = 0;
  float centre = 0;
  bool found = false;  // a member that may serve
};

void read(Tally& tally, const Entry& entry, float cosine, const Facts& asked) {
  if (tally.found) return;
  const VetoSet vetoes = vetoes_between(asked, entry.facts);
  tally.found = vetoes.empty() && !entry.quarantined;
  if (!tally.found && tally.candidate.entry != 0) return;
  tally.candidate.entry = entry.id;
  tally.candidate.similarity = cosine;
  tally.candidate.vetoes = vetoes;
  tally.candidate.quarantined = entry.quarantined;
}

Tally* tally_of(std::vector<Tally>& tallies, GroupId group, float cosine) {
  const auto at = std::find_if(tallies.begin(), tallies.end(),
                               [&](const Tally& tally) { return tally.candidate.group == group; });
  if (at != tallies.end()) return &*at;
  if (tallies.size() == kCandidates) return nullptr;
  Tally& fresh = tallies.emplace_back();
  fresh.candidate.group = group;
  fresh.nearest = cosine;
  return &fresh;
}

// The best of the others' values.
template <class Value>
float best_other(const std::vector<Tally>& tallies, const Tally& self, Value value) {
  float best = 0;
  for (const Tally& other : tallies) {
    if (&other != &self) best = std::max(best, value(other));
  }
  return best;
}

Features features_of(const Tally& tally, const std::vector<Tally>& tallies, const Asked& asked,
                     const Groups& groups, const Vocabulary& vocabulary, float all_votes) {
  const Entry& entry = *groups.entry(tally.candidate.entry);
  const Group& group = *groups.group(tally.candidate.group);
  const Likeness like = likeness(asked.facts, entry.facts, vocabulary);
  const float cosine = tally.candidate.similarity;
  const float alone = group.members.size() == 1 ? 1.0F : 0.0F;
  Features x{};
  x[kBias] = 1;
  x[kCosine] = cosine;
  x[kCosineCubed] = cosine * cosine * cosine;
  x[kVotes] = all_votes > 0 ? tally.votes / all_votes : 0;
  x[kMargin] = cosine - best_other(tallies, tally, [](const Tally& other) { return other.nearest; });
  x[kGroupSize] = std::log1p(static_cast<float>(group.members.size()));
  x[kAccuracy] =
      (static_cast<float>(entry.confirmed) + 1) / (static_cast<float>(entry.confirmed + entry.refuted) + 2);
  x[kWords] = like.words;
  x[kRarestAsked] = like.rarest_left;
  x[kRarestStored] = like.rarest_right;
  x[kTrigrams] = like.trigrams;
  x[kMismatches] = static_cast<float>(mismatches_between(asked.facts, entry.facts));
  x[kLengthRatio] = like.length_ratio;
  x[kSameFirst] = like.same_first ? 1 : 0;
  x[kCentre] = tally.centre;
  x[kCentreMargin] =
      tally.centre - best_other(tallies, tally, [](const Tally& other) { return other.centre; });
  x[kSwap] = std::min(like.rarest_left, like.rarest_right);
  x[kAlone] = alone;
  x[kAloneWords] = alone;
  x[kAloneCosine] = alone;
  standardise(x);
  x[kAloneWords] = alone * x[kWords];
  x[kAloneCosine] = alone * x[kCosine];
  return x;
}

}  // namespace

std::vector<Candidate> candidates_of(const Asked& asked, std::span<const vector::Match> neighbours,
                                     const Groups& groups, const Vocabulary& vocabulary) {
  std::vector<Tally> tallies;
  tallies.reserve(kCandidates);
  float all_votes = 0;
  for (const vector::Match& match : neighbours) {
    const Entry* entry = groups.entry(match.id);
    if (entry == nullptr) continue;
    const float vote = std::exp(kSharpness * (match.score - neighbours.front().score));
    all_votes += vote;
    Tally* tally = tally_of(tallies, entry->group, match.score);
    if (tally == nullptr) continue;
    tally->votes += vote;
    read(*tally, *entry, match.score, asked.facts);
  }
  for (Tally& tally : tallies) tally.centre = cosine_to(*groups.group(tally.candidate.group), asked.vector);
  std::vector<Candidate> candidates;
  candidates.reserve(tallies.size());
  for (Tally& tally : tallies) {
    tally.candidate.features = features_of(tally, tallies, asked, groups, vocabulary, all_votes);
    candidates.push_back(tally.candidate);
  }
  return candidates;
}

}  // namespace sentinel::semantic
