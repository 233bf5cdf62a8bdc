// Whether a partition's answers go wrong more often than its scores say: then it is halted, alone.
//
// A test by betting (an e-detector: Shin, Ramdas, Rinaldo 2022): against the claim "this outcome is wrong with
// probability at most e" a stake is bet on wrong; if the claim holds, wealth does not grow on average, whatever was
// judged and why. Wealth never falls below 1, so that a late change is seen as fast as an early one; past kAlarm the
// claim is refuted. While all is well an alarm comes once in kAlarm judged outcomes at most, on average.
//
// Cost: O(1), 24 bytes. Thread rule: one owner.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sentinel::semantic {

class Drift {
 public:
  static constexpr double kAlarm = 2'000;
  static constexpr double kTolerance = 3;  // times what the score says
  static constexpr double kMostStake = 4;
  static constexpr std::uint32_t kProbation =
      100;  // would-be hits judged before a halted partition may serve again

  // An outcome that was expected to be wrong with probability `error`; `bound` is what is promised.
  void judged(double error, double bound, bool wrong) {
    const double claim = kTolerance * std::max(error, bound);
    if (claim >= 0.5) return;  // nothing was claimed
    const double stake = std::min(kMostStake, 0.5 / claim);
    wealth_ = std::max(1.0, wealth_) * (1 + stake * ((wrong ? 1.0 : 0.0) - claim));
    if (wealth_ >= kAlarm) halted_ = true;
    if (halted_) probation(bound, wrong);
  }
  bool halted() const { return halted_; }
  double wealth() const { return wealth_; }

 private:
  void probation(double bound, bool wrong) {
    ++since_;
    wrong_since_ += wrong ? 1U : 0U;
    if (since_ < kProbation) return;
    const bool well =
        static_cast<double>(wrong_since_) <= std::max(2.0, 2 * bound * static_cast<double>(since_));
    if (well) *this = Drift{};
    since_ = 0;
    wrong_since_ = 0;
  }

  double wealth_ = 1;
  std::uint32_t since_ = 0;
  std::uint32_t wrong_since_ = 0;
  bool halted_ = false;
};

// How much a partition or a route differs from all of them: an intercept of its own, drawn to 0 until it has evidence.
// One step of Newton's method an outcome, with a normal prior of precision kPull and forgetting.
class Offset {
 public:
  explicit Offset(double pull) : pull_(pull) {}
  double value() const { return value_; }
  void learn(double chance, bool same) {
    constexpr double kMostInformation = 100;
    constexpr double kFurthest = 3;
    information_ = std::min(information_ + chance * (1 - chance), kMostInformation);
    value_ += ((same ? 1.0 : 0.0) - chance) / (information_ + pull_);
    value_ = std::clamp(value_, -kFurthest, kFurthest);
  }

 private:
  double pull_;
  double value_ = 0;
  double information_ = 0;
};

}  // namespace sentinel::semantic
