// What the judge is asked about one fresh answer, and in which order.
//
// A fresh answer is compared with the answers of the likeliest candidates, one after another, until one says the same.
// A verdict that the score makes surprising is not believed at once: the judge is asked again until one side leads by two,
// or by three where the surprise is great (Wald's sequential test on the verdicts alone: the score decides whether to ask
// again, never what the answer is), at most kMostOpinions times. So a judge that errs once in twenty, each time anew, errs
// once in hundreds where it matters. After "same", a second likely group is asked too: if the answer says the same as
// both, they are one group.
//
// Contract: at most kMostCandidates x kMostOpinions questions. Thread rule: one owner. Failure rule: none.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sentinel/semantic/candidates.hpp"

namespace sentinel::semantic {

enum class Verdict : std::uint8_t { same, different, unsure };

class Inquiry {
 public:
  static constexpr std::size_t kMostCandidates = 3;
  static constexpr int kMostOpinions = 7;
  static constexpr double kWorthAsking = 0.03;   // of a further candidate
  static constexpr double kWorthMerging = 0.25;  // of a further group, after "same"
  static constexpr double kSurprising = 0.2;     // a verdict "different" with less probability is asked again
  static constexpr double kUnlikely = 0.5;       // and "same", which lets a prompt into a group
  static constexpr double kGreat = 0.05;         // a great surprise

  struct Suspect {
    EntryId entry;
    GroupId group;
    double chance;
    std::optional<Verdict> verdict;  // the settled one
  };

  Inquiry() = default;
  // Of the candidates that may serve, the likeliest first.
  explicit Inquiry(std::vector<Suspect> suspects) : suspects_(std::move(suspects)) {}

  // The entry to ask about next, if any.
  std::optional<EntryId> question() const;
  // True if this settled the present suspect's verdict.
  bool hear(Verdict verdict);
  std::span<const Suspect> suspects() const { return suspects_; }
  // The one that `hear` settled last.
  const Suspect& settled() const { return suspects_[at_ - 1]; }
  bool first_settled() const { return at_ == 1; }

 private:
  bool settles(Verdict verdict);
  int lead_needed() const;

  std::vector<Suspect> suspects_;
  std::size_t at_ = 0;
  int same_ = 0;
  int different_ = 0;
  Verdict first_ = Verdict::unsure;
  bool found_ = false;
};

}  // namespace sentinel::semantic
