// What forbids answering one prompt with the answer to another, however near their vectors are.
//
// A veto is a rule, not a weight: no score, no judge's verdict and no operator's threshold overrides it. Some lie in the
// prompt alone (it asks about this moment, it is longer than the embedder reads), the others between two prompts: both
// name numbers, and not the same ones; one denies what the other says; both name things, and not the same ones. What one
// prompt has and the other merely lacks is no veto but a mismatch, which the score weighs.
//
// Contract: symmetric in its two texts. Cost: merges of short sorted lists, about a microsecond. Thread rule: pure.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "sentinel/semantic/facts.hpp"

namespace sentinel::semantic {

enum class Veto : std::uint8_t {
  numbers,
  dates,
  units,
  identifiers,
  code,
  negation,
  names,
  time_sensitive,
  beyond_window,
  language,
  history,
  unreadable,
  wording,  // the same sentence with another word, or one more, that says something
};
inline constexpr std::size_t kVetoes = 13;
std::string_view name_of(Veto veto);

class VetoSet {
 public:
  void add(Veto veto) { bits_ |= std::uint32_t{1} << static_cast<unsigned>(veto); }
  bool has(Veto veto) const { return (bits_ >> static_cast<unsigned>(veto) & 1U) != 0; }
  bool empty() const { return bits_ == 0; }
  std::uint32_t bits() const { return bits_; }

 private:
  std::uint32_t bits_ = 0;
};

// What the door knows of a prompt and its text does not show.
struct Circumstances {
  std::uint32_t user_turns = 1;
  bool beyond_window = false;  // the embedder did not read all of it
  bool multilingual = false;   // the embedder's
};

VetoSet vetoes_of(const Facts& facts, const Circumstances& circumstances);
VetoSet vetoes_between(const Facts& left, const Facts& right);

// How many kinds of things one prompt names and the other does not, vetoes apart.
std::uint32_t mismatches_between(const Facts& left, const Facts& right);

}  // namespace sentinel::semantic
