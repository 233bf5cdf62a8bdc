// How rare words are among the prompts seen: inverse document frequencies, learned from the stream.
//
// Contract: `rarity` is log((n + 2) / (df + 1)) / log(n + 2): 1 for a word nobody has used, near 0 for one in every
// prompt; function words count as common from the start. Frequencies are counted in kBuckets buckets of hashes, so two
// words may share one; that makes a word seem less rare, never more. Counts are halved when kMostPrompts is reached.
// Cost: O(words); memory fixed at 256 KB. Thread rule: one owner. Failure rule: none.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "sentinel/semantic/facts.hpp"

namespace sentinel::semantic {

class Vocabulary {
 public:
  static constexpr std::size_t kBuckets = 65'536;
  static constexpr std::uint32_t kMostPrompts = 1'000'000;

  void learn(const Facts& facts) {
    for (const Word& word : facts.words) ++counts_[bucket(word.stem)];
    if (++prompts_ == kMostPrompts) halve();
    scale_ = 1.0F / std::log(static_cast<float>(prompts_) + 2.0F);
  }

  float rarity(const Word& word) const {
    constexpr float kOfFunctionWords = 0.15F;
    const float seen = static_cast<float>(counts_[bucket(word.stem)]) + 1.0F;
    const float rare = std::max(0.0F, 1.0F - std::log(seen) * scale_);
    return word.function ? std::min(rare, kOfFunctionWords) : rare;
  }

 private:
  static std::size_t bucket(std::uint32_t hash) { return (hash * 0x9e3779b1U) >> 16U; }
  void halve() {
    for (auto& count : counts_) count /= 2;
    prompts_ /= 2;
  }

  std::vector<std::uint32_t> counts_ = std::vector<std::uint32_t>(kBuckets, 0);
  std::uint32_t prompts_ = 0;
  float scale_ = 1.0F / std::log(2.0F);
};

}  // namespace sentinel::semantic
