#include "sentinel/semantic/opinions.hpp"

#include <cstdlib>

namespace sentinel::semantic {

std::optional<EntryId> Inquiry::question() const {
  if (at_ >= suspects_.size()) return std::nullopt;
  const double worth = found_ ? kWorthMerging : kWorthAsking;
  if (at_ > 0 && suspects_[at_].chance < worth) return std::nullopt;
  return suspects_[at_].entry;
}

bool Inquiry::hear(Verdict verdict) {
  if (at_ >= suspects_.size() || !settles(verdict)) return false;
  Suspect& suspect = suspects_[at_++];
  const bool unsure = verdict == Verdict::unsure || same_ == different_;
  suspect.verdict = unsure ? Verdict::unsure : (same_ > different_ ? Verdict::same : Verdict::different);
  found_ = found_ || suspect.verdict == Verdict::same;
  same_ = different_ = 0;
  return true;
}

bool Inquiry::settles(Verdict verdict) {
  if (verdict == Verdict::unsure) return true;
  if (same_ + different_ == 0) first_ = verdict;
  (verdict == Verdict::same ? same_ : different_) += 1;
  return std::abs(same_ - different_) >= lead_needed() || same_ + different_ >= kMostOpinions;
}

// How far one side must lead, by how surprising the first verdict was.
int Inquiry::lead_needed() const {
  const double chance = suspects_[at_].chance;
  const double likely = first_ == Verdict::same ? chance : 1 - chance;
  if (likely < kGreat) return 3;
  return likely < (first_ == Verdict::same ? kUnlikely : kSurprising) ? 2 : 1;
}

}  // namespace sentinel::semantic
