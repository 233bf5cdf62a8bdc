#include "sentinel/semantic/vetoes.hpp"

#include <algorithm>

#include "sentinel/semantic/lexicon.hpp"
#include "sentinel/semantic/spelling.hpp"

namespace sentinel::semantic {
namespace {

constexpr std::array<std::string_view, kVetoes> kNames{
    "numbers",        "dates",         "units",    "identifiers", "code",       "negation", "names",
    "time_sensitive", "beyond_window", "language", "history",     "unreadable", "wording"};

using Marks = std::vector<std::uint32_t>;

// Both name some, and not the same ones.
bool differ(const Marks& left, const Marks& right) {
  return !left.empty() && !right.empty() && left != right;
}

bool one_sided(const Marks& left, const Marks& right) { return left.empty() != right.empty(); }

bool says(const Facts& facts, std::uint32_t stem) { return facts.find(stem) != nullptr; }

// A name that the other text has in no case.
bool misses_name(const Facts& named, const Facts& other) {
  const Marks& names = named.of(Kind::name);
  return std::any_of(names.begin(), names.end(), [&](std::uint32_t stem) { return !says(other, stem); });
}

struct Spelled {
  std::string_view letters;
  bool function;
};

std::vector<Spelled> only_in(const Facts& facts, const Facts& other) {
  std::vector<Spelled> words;
  words.reserve(facts.words.size());
  auto theirs = other.words.begin();
  for (const Word& word : facts.words) {
    while (theirs != other.words.end() && theirs->stem < word.stem) ++theirs;
    if (theirs == other.words.end() || theirs->stem != word.stem)
      words.push_back({facts.spelling(word), word.function});
  }
  return words;
}

// Most words are shared, so that a small word or a negation on one side alone turns the whole.
bool mostly_shared(const Facts& left, const Facts& right) {
  const auto shared = static_cast<std::size_t>(std::count_if(
      left.words.begin(), left.words.end(), [&](const Word& word) { return says(right, word.stem); }));
  return 3 * shared >= 2 * std::max(left.words.size(), right.words.size());
}

bool opposed(const Facts& left, const Facts& right, bool shared) {
  const auto ours = only_in(left, right);
  const auto theirs = only_in(right, left);
  return std::any_of(ours.begin(), ours.end(), [&](const Spelled& our) {
    const lexicon::Opposites opposites = lexicon::opposites_of(our.letters);
    return std::any_of(theirs.begin(), theirs.end(), [&](const Spelled& their) {
      if (!shared && (our.function || their.function)) return false;
      const auto is_their = [&](const auto& pair) { return pair.second == their.letters; };
      return std::any_of(opposites.begin(), opposites.end(), is_their) ||
             lexicon::denies(our.letters, their.letters);
    });
  });
}

bool has_other_content(const Facts& facts, const Facts& other) {
  return std::any_of(facts.words.begin(), facts.words.end(), [&](const Word& word) {
    if (word.function || word.number || says(other, word.stem)) return false;
    const std::string_view spelling = facts.spelling(word);
    return std::none_of(other.words.begin(), other.words.end(),
                        [&](const Word& theirs) { return is_slip(spelling, other.spelling(theirs)); });
  });
}

// The same sentence with another word, or one more, that says something: "rice" in the place of "quinoa", "extended"
// before "warranty".
bool reworded(const Facts& left, const Facts& right, bool shared) {
  return shared && (has_other_content(left, right) || has_other_content(right, left));
}

// One says of a thing what the other denies of it.
bool contradicts(const Facts& denying, const Facts& other) {
  return std::any_of(denying.denied.begin(), denying.denied.end(), [&](std::uint32_t stem) {
    return says(other, stem) && !std::binary_search(other.denied.begin(), other.denied.end(), stem);
  });
}

// What one comes from, the other goes to.
bool turned_round(const Facts& left, const Facts& right) {
  const auto crosses = [](const Marks& ours, const Marks& theirs, const Marks& ours_too) {
    return std::any_of(ours.begin(), ours.end(), [&](std::uint32_t stem) {
      return std::binary_search(theirs.begin(), theirs.end(), stem) &&
             !std::binary_search(ours_too.begin(), ours_too.end(), stem);
    });
  };
  const auto changes = [](const Facts& ours, const Facts& theirs) {
    return std::any_of(ours.targets.begin(), ours.targets.end(), [&](std::uint32_t stem) {
      return says(theirs, stem) && !std::binary_search(theirs.targets.begin(), theirs.targets.end(), stem);
    });
  };
  if (changes(left, right) && changes(right, left)) return true;
  return crosses(left.sources, right.targets, left.targets) ||
         crosses(right.sources, left.targets, right.targets);
}

bool negated_otherwise(const Facts& left, const Facts& right, bool shared) {
  if (contradicts(left, right) || contradicts(right, left)) return true;
  if (turned_round(left, right)) return true;
  return (left.negated != right.negated && shared) || opposed(left, right, shared);
}

// The same units of the same dimension where both name one of it.
bool units_differ(const Marks& left, const Marks& right) {
  const auto clashes = [](const Marks& ours, const Marks& theirs) {
    return std::any_of(ours.begin(), ours.end(), [&](std::uint32_t our) {
      const bool shared = std::binary_search(theirs.begin(), theirs.end(), our);
      return !shared && std::any_of(theirs.begin(), theirs.end(),
                                    [&](std::uint32_t their) { return their / 100 == our / 100; });
    });
  };
  return clashes(left, right) || clashes(right, left);
}

}  // namespace

std::string_view name_of(Veto veto) { return kNames[static_cast<std::size_t>(veto)]; }

VetoSet vetoes_of(const Facts& facts, const Circumstances& circumstances) {
  VetoSet vetoes;
  if (facts.time_sensitive) vetoes.add(Veto::time_sensitive);
  if (circumstances.beyond_window) vetoes.add(Veto::beyond_window);
  if (circumstances.user_turns > 1) vetoes.add(Veto::history);
  if (!facts.english && !circumstances.multilingual) vetoes.add(Veto::language);
  if (facts.cut || facts.word_count == 0) vetoes.add(Veto::unreadable);
  return vetoes;
}

VetoSet vetoes_between(const Facts& left, const Facts& right) {
  const bool shared = mostly_shared(left, right);
  VetoSet vetoes;
  if (differ(left.of(Kind::number), right.of(Kind::number))) vetoes.add(Veto::numbers);
  if (differ(left.of(Kind::date), right.of(Kind::date))) vetoes.add(Veto::dates);
  if (units_differ(left.of(Kind::unit), right.of(Kind::unit))) vetoes.add(Veto::units);
  if (left.of(Kind::identifier) != right.of(Kind::identifier)) vetoes.add(Veto::identifiers);
  if (left.of(Kind::code) != right.of(Kind::code)) vetoes.add(Veto::code);
  if (misses_name(left, right) && misses_name(right, left)) vetoes.add(Veto::names);
  if (reworded(left, right, shared)) vetoes.add(Veto::wording);
  if (negated_otherwise(left, right, shared)) vetoes.add(Veto::negation);
  return vetoes;
}

std::uint32_t mismatches_between(const Facts& left, const Facts& right) {
  std::uint32_t count = 0;
  for (const Kind kind : {Kind::number, Kind::date, Kind::unit})
    count += one_sided(left.of(kind), right.of(kind)) ? 1U : 0U;
  return count + (misses_name(left, right) || misses_name(right, left) ? 1U : 0U);
}

}  // namespace sentinel::semantic
