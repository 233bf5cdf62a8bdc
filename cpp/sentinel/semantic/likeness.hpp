// How much two prompts share in letters: what an embedding cannot be talked out of.
//
// Words are weighed by their rarity (vocabulary.hpp). A word of one side that is a slip of the pen of one of the other
// (edit distance 1, or 2 from eight letters on) counts as shared.
// Cost: merges of sorted lists, a few microseconds for long prompts. Thread rule: pure.
#pragma once

#include "sentinel/semantic/facts.hpp"
#include "sentinel/semantic/vocabulary.hpp"

namespace sentinel::semantic {

struct Likeness {
  float words = 0;        // weighted Jaccard, 0 to 1
  float trigrams = 0;     // Jaccard, 0 to 1
  float rarest_left = 0;  // rarity of the rarest word that only this side has
  float rarest_right = 0;
  float length_ratio = 0;  // words of the shorter by those of the longer
  bool same_first = false;
};

Likeness likeness(const Facts& left, const Facts& right, const Vocabulary& vocabulary);

}  // namespace sentinel::semantic
