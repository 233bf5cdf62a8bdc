// JSON as text: the members of an object and the items of an array as the slices of source they are.
//
// What: what a DOM cannot give back, the exact spelling of numbers and strings. A scan, not a parser: it
// finds where values begin and end and checks no grammar.
// Contract: the text has passed a JSON parser. On any other text the answers are meaningless but safe (no
// read outside the text, no recursion, an end). Keys are compared as spelled: a key written with an escape
// fails the whole object, because what is not read as what it means could be mistaken. Slices point into the
// text.
// Cost: O(text) per level walked, nothing allocated. Thread rule: pure. Failure rule: false, empty.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sentinel::cache::raw {

constexpr std::string_view kNull = "null";

bool is_object(std::string_view value);
bool is_array(std::string_view value);
bool is_number(std::string_view value);
inline bool is_null(std::string_view value) { return value == kNull; }
inline bool is_string(std::string_view value) { return value.starts_with('"'); }

// What stands between a string's quotes, escapes as they are; empty for anything else.
std::optional<std::string_view> inside(std::string_view value);

// A whole number from 0, of at most nine digits.
std::optional<std::size_t> small_count(std::string_view value);

std::string_view trim(std::string_view text);

// Appends the value without the white space between its tokens.
void append_compact(std::string& out, std::string_view value);

// The end of the character or escape (or pair of escapes for one character) that begins at `at` inside a
// string.
std::size_t character_end(std::string_view inside, std::size_t at);

struct Member {
  std::string_view key;  // as spelled, without quotes
  std::string_view value;
};

// Steps over the members of one object or the items of one array.
class Walk {
 public:
  explicit Walk(std::string_view value);

  std::optional<Member> next_member();
  std::optional<std::string_view> next_item();
  bool done() const { return done_; }  // the closing bracket was reached: nothing was left unread

 private:
  void skip_space();
  bool begin_element(char closing);
  std::optional<std::string_view> take_value();

  std::string_view text_;
  std::size_t at_ = 0;
  bool first_ = true;
  bool done_ = false;
};

// All items, or nothing when the value is no array.
std::optional<std::vector<std::string_view>> items_of(std::string_view value);

// Reads an object that may have only these members, each at most once: their values by position, empty when
// absent. False for anything else.
template <std::size_t N>
bool read_closed(std::string_view object, const std::array<std::string_view, N>& names,
                 std::array<std::string_view, N>& values) {
  values.fill({});
  if (!is_object(object)) return false;
  Walk walk(object);
  while (const auto member = walk.next_member()) {
    std::size_t place = 0;
    while (place < N && names[place] != member->key) ++place;
    if (place == N || !values[place].empty()) return false;
    values[place] = member->value;
  }
  return walk.done();
}

}  // namespace sentinel::cache::raw
