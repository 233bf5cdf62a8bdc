#include "sentinel/semantic/likeness.hpp"

#include <algorithm>
#include <array>

#include "sentinel/semantic/spelling.hpp"

namespace sentinel::semantic {
namespace {

constexpr std::size_t kMostLoose = 24;  // words of one side that are compared letter by letter

struct Loose {
  std::array<const Word*, kMostLoose> words{};
  std::size_t count = 0;
  float others = 0;  // rarity of those beyond
  float rarest_other = 0;
};

void add(Loose& loose, const Word& word, const Vocabulary& vocabulary) {
  if (loose.count < kMostLoose) {
    loose.words[loose.count++] = &word;
    return;
  }
  const float rarity = vocabulary.rarity(word);
  loose.others += rarity;
  loose.rarest_other = std::max(loose.rarest_other, rarity);
}

// Takes pairs of slips out of both and returns their weight.
float pair_slips(const Facts& left, Loose& ours, const Facts& right, Loose& theirs,
                 const Vocabulary& vocabulary) {
  float shared = 0;
  for (std::size_t i = 0; i < ours.count; ++i) {
    for (std::size_t j = 0; j < theirs.count; ++j) {
      if (ours.words[i] == nullptr || theirs.words[j] == nullptr) continue;
      if (!is_slip(left.spelling(*ours.words[i]), right.spelling(*theirs.words[j]))) continue;
      shared += std::min(vocabulary.rarity(*ours.words[i]), vocabulary.rarity(*theirs.words[j]));
      ours.words[i] = nullptr;
      theirs.words[j] = nullptr;
    }
  }
  return shared;
}

float weigh(const Loose& loose, const Vocabulary& vocabulary, float& rarest) {
  float sum = loose.others;
  rarest = loose.rarest_other;
  for (std::size_t i = 0; i < loose.count; ++i) {
    if (loose.words[i] == nullptr) continue;
    const float rarity = vocabulary.rarity(*loose.words[i]);
    sum += rarity;
    rarest = std::max(rarest, rarity);
  }
  return sum;
}

float jaccard(const std::vector<std::uint32_t>& left, const std::vector<std::uint32_t>& right) {
  std::size_t shared = 0;
  auto ours = left.begin();
  auto theirs = right.begin();
  while (ours != left.end() && theirs != right.end()) {
    const std::uint32_t our = *ours;
    const std::uint32_t their = *theirs;
    shared += our == their ? 1U : 0U;
    ours += our <= their ? 1 : 0;
    theirs += their <= our ? 1 : 0;
  }
  const std::size_t all = left.size() + right.size() - shared;
  return all == 0 ? 0.0F : static_cast<float>(shared) / static_cast<float>(all);
}

}  // namespace

Likeness likeness(const Facts& left, const Facts& right, const Vocabulary& vocabulary) {
  float shared = 0;
  Loose ours;
  Loose theirs;
  auto our = left.words.begin();
  auto their = right.words.begin();
  while (our != left.words.end() || their != right.words.end()) {
    if (their == right.words.end() || (our != left.words.end() && our->stem < their->stem)) {
      add(ours, *our++, vocabulary);
    } else if (our == left.words.end() || their->stem < our->stem) {
      add(theirs, *their++, vocabulary);
    } else {
      shared += vocabulary.rarity(*our);
      ++our;
      ++their;
    }
  }
  shared += pair_slips(left, ours, right, theirs, vocabulary);
  Likeness found;
  const float only_ours = weigh(ours, vocabulary, found.rarest_left);
  const float only_theirs = weigh(theirs, vocabulary, found.rarest_right);
  const float all = shared + only_ours + only_theirs;
  found.words = all > 0 ? shared / all : 0.0F;
  found.trigrams = jaccard(left.trigrams, right.trigrams);
  const auto [shorter, longer] = std::minmax(left.word_count, right.word_count);
  found.length_ratio = longer == 0 ? 0.0F : static_cast<float>(shorter) / static_cast<float>(longer);
  found.same_first = left.first_word == right.first_word;
  return found;
}

}  // namespace sentinel::semantic
