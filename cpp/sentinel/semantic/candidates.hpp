// From the neighbours of a prompt to the groups that could answer it, with all that the score looks at.
//
// The nearest kNeighbours entries vote for their groups, nearer ones more; the kCandidates groups with the nearest
// members are candidates. A group is represented by its nearest member that no veto forbids and that is not quarantined;
// a group without one stays in the list, so that a decision can say what was vetoed.
//
// Cost: kNeighbours veto checks and at most kCandidates comparisons of two prompts. Thread rule: pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sentinel/semantic/groups.hpp"
#include "sentinel/semantic/score.hpp"
#include "sentinel/semantic/vetoes.hpp"
#include "sentinel/semantic/vocabulary.hpp"
#include "sentinel/vector/top_k.hpp"

namespace sentinel::semantic {

inline constexpr std::size_t kNeighbours = 24;
inline constexpr std::size_t kCandidates = 8;

struct Candidate {
  EntryId entry = 0;
  GroupId group = 0;
  float similarity = 0;
  VetoSet vetoes;  // of the nearest member, if every member near enough is vetoed
  bool quarantined = false;
  float score = 0;  // the logit
  Features features{};

  bool may_serve() const { return vetoes.empty() && !quarantined; }
};

// What is asked: its facts and its unit vector.
struct Asked {
  const Facts& facts;
  std::span<const float> vector;
};

// The nearest first; `score` is still to be filled in. `neighbours` are the best matches, the nearest first.
std::vector<Candidate> candidates_of(const Asked& asked, std::span<const vector::Match> neighbours,
                                     const Groups& groups, const Vocabulary& vocabulary);

}  // namespace sentinel::semantic
