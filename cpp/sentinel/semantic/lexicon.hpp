// Closed classes of English words that change what a question asks: negations, numbers, dates, units, opposites.
//
// They are lists of general English, no list is made from a data set. Contract: words come in lower case, apostrophes as
// ' or left out. Cost: a binary search. Thread rule: pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace sentinel::semantic::lexicon {

bool is_negation(std::string_view word);
// A word between others that says little of what is asked.
bool is_function_word(std::string_view word);
// The value of a number word ("seven", "third"), apart from "one", which is mostly a pronoun.
std::optional<std::uint32_t> number_value(std::string_view word);
// Months and weekdays, by their full names or usual abbreviations; a number of its own for each.
std::optional<std::uint32_t> calendar_name(std::string_view word);
// Words that are calendar names only when a capital or a number says so ("may", "march", "sun").
bool is_ambiguous_calendar(std::string_view word);

struct Unit {
  std::uint32_t dimension;  // money, time, length, mass, temperature, data, volume
  std::uint32_t which;
};
std::optional<Unit> unit(std::string_view word);
inline constexpr std::uint32_t kMoney = 1;

// A word whose presence makes the answer one of this moment ("today", "latest").
bool is_time_sensitive(std::string_view word);
// A period that is time-sensitive after "this", "last" or "next" ("week").
bool is_period(std::string_view word);
// The opposites of a word ("on": "off"), as pairs whose second it is.
using Opposites = std::span<const std::pair<std::string_view, std::string_view>>;
Opposites opposites_of(std::string_view word);
// Whether one is the other with a prefix that denies it ("lock", "unlock").
bool denies(std::string_view left, std::string_view right);
// What turns the word after a hyphen into another one ("non", "self").
bool is_prefix(std::string_view word);
// Function words of another language that English has not.
bool is_foreign(std::string_view word);

}  // namespace sentinel::semantic::lexicon
