// What can be read off a prompt without a model: its words, numbers, dates, units, identifiers, names, negations.
//
// An embedding says how near two prompts are in meaning; it says little about "not", "2" against "3" or "Paris" against
// "London", and a suffix can be searched that moves it anywhere. These facts are the second signal: they are what the
// vetoes compare (vetoes.hpp) and what the score measures lexically (likeness.hpp).
//
// Contract: any bytes are a text; what is not UTF-8 is read byte by byte as letters. The same bytes give the same facts.
// At most kMaxWords words, kMaxTrigrams trigrams and kMaxMarks of each kind are kept, the first ones; `cut` tells that
// something was left out, and then two texts are never found alike. Words are compared by 32-bit hashes of their stems.
// Cost: one pass over at most kMaxTextBytes bytes and a sort; a few allocations. Thread rule: pure. Failure rule: none.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sentinel::semantic {

inline constexpr std::size_t kMaxTextBytes = 8'192;
inline constexpr std::size_t kMaxWords = 256;
inline constexpr std::size_t kMaxTrigrams = 1'024;
inline constexpr std::size_t kMaxMarks = 32;

std::uint32_t hash_of(std::string_view bytes);

// A distinct word: the hash of its stem, and where its lower-case form stands in `Facts::letters`.
struct Word {
  std::uint32_t stem = 0;
  std::uint16_t begin = 0;
  std::uint16_t size = 0;
  bool function = false;  // says little by itself
  bool number = false;
};

// Kinds of things that two prompts must agree in. A mark is the hash of such a thing in its normal form.
enum class Kind : std::uint8_t { number, date, unit, identifier, code, name };
inline constexpr std::size_t kKinds = 6;

struct Facts {
  std::string letters;                  // the distinct words in lower case, one after another
  std::vector<Word> words;              // distinct by stem, sorted by stem
  std::vector<std::uint32_t> trigrams;  // of characters, distinct, sorted
  std::array<std::vector<std::uint32_t>, kKinds> marks{};  // distinct, sorted
  std::uint32_t first_word = 0;
  std::uint32_t word_count = 0;
  std::vector<std::uint32_t> denied;   // stems of what a negating word stands before, distinct, sorted
  std::vector<std::uint32_t> sources;  // stems of what "from" stands before
  std::vector<std::uint32_t> targets;  // and "to" or "into"
  bool negated = false;                // an odd number of negating words
  bool time_sensitive = false;         // its answer is another one tomorrow
  bool english = true;                 // as far as script and function words tell
  bool cut = false;

  std::string_view spelling(const Word& word) const {
    return std::string_view(letters).substr(word.begin, word.size);
  }
  const Word* find(std::uint32_t stem) const;
  const std::vector<std::uint32_t>& of(Kind kind) const { return marks[static_cast<std::size_t>(kind)]; }
};

Facts read_facts(std::string_view text);

}  // namespace sentinel::semantic
