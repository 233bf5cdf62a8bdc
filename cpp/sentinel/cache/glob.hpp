// A shell pattern over whole texts: * any run, ? any one, [abc] [a-z] [!abc] one of (or none of) a class; all else itself.
//
// A class that is not closed is an ordinary '['; ']' first in a class belongs to it; so [*] is a star as such.
// The pattern is taken apart once. A text is an array of code points of any width, as Python's strings are.
// Cost: no recursion. On failure only the last star is tried again, one place on, so a match takes at most
// text x pattern steps, and one pass when the pattern has one star. Thread rule: immutable. Failure rule: every pattern is valid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace sentinel::cache {

class Glob {
 public:
  explicit Glob(std::u32string_view pattern) {
    for (std::size_t at = 0; at < pattern.size();) at = take_piece(pattern, at);
  }

  template <class Char>
  bool matches(const Char* text, std::size_t size) const {
    std::size_t at = 0;
    std::size_t piece = 0;
    std::size_t last_star = kNone;
    std::size_t tried_from = 0;
    while (at < size) {
      if (piece < pieces_.size() && pieces_[piece].kind == Kind::star) {
        last_star = piece++;
        tried_from = at;
      } else if (piece < pieces_.size() && agrees(pieces_[piece], static_cast<char32_t>(text[at]))) {
        ++piece;
        ++at;
      } else if (last_star != kNone) {
        piece = last_star + 1;
        at = ++tried_from;
      } else {
        return false;
      }
    }
    while (piece < pieces_.size() && pieces_[piece].kind == Kind::star) ++piece;
    return piece == pieces_.size();
  }

 private:
  enum class Kind : std::uint8_t { star, any, one, in_class, not_in_class };
  static constexpr std::size_t kNone = ~std::size_t{0};
  using Range = std::pair<char32_t, char32_t>;

  struct Piece {
    Kind kind;
    char32_t character = 0;
    std::vector<Range> ranges;
  };

  static bool agrees(const Piece& piece, char32_t character) {
    if (piece.kind == Kind::any) return true;
    if (piece.kind == Kind::one) return piece.character == character;
    bool held = false;
    for (const auto& [first, last] : piece.ranges) held = held || (first <= character && character <= last);
    return held == (piece.kind == Kind::in_class);
  }

  std::size_t take_piece(std::u32string_view pattern, std::size_t at) {
    const char32_t character = pattern[at];
    if (character == U'*') {
      const bool after_star = !pieces_.empty() && pieces_.back().kind == Kind::star;
      if (!after_star) pieces_.push_back({Kind::star, 0, {}});
    } else if (character == U'?') {
      pieces_.push_back({Kind::any, 0, {}});
    } else if (const std::size_t end = end_of_class(pattern, at); end != kNone) {
      take_class(pattern.substr(at + 1, end - at - 1));
      return end + 1;
    } else {
      pieces_.push_back({Kind::one, character, {}});
    }
    return at + 1;
  }

  // Where the class that begins at `at` is closed.
  static std::size_t end_of_class(std::u32string_view pattern, std::size_t at) {
    if (pattern[at] != U'[') return kNone;
    std::size_t first = at + 1;
    if (first < pattern.size() && pattern[first] == U'!') ++first;
    const std::size_t end = pattern.find(U']', first + 1);  // one that comes first belongs to the class
    return end == std::u32string_view::npos ? kNone : end;
  }

  void take_class(std::u32string_view members) {
    Piece piece{Kind::in_class, 0, {}};
    if (members.front() == U'!') {
      piece.kind = Kind::not_in_class;
      members.remove_prefix(1);
    }
    while (!members.empty()) {
      const bool is_range = members.size() >= 3 && members[1] == U'-';
      piece.ranges.emplace_back(members[0], is_range ? members[2] : members[0]);
      members.remove_prefix(is_range ? 3 : 1);
    }
    pieces_.push_back(std::move(piece));
  }

  std::vector<Piece> pieces_;
};

}  // namespace sentinel::cache
