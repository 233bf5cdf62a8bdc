#include "sentinel/tokens/characters.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "sentinel/tokens/vocabulary.hpp"

namespace sentinel::tokens {
namespace {

constexpr std::size_t kNumbers = std::size_t{1} << 16U;
constexpr std::size_t kFirst = 0x800;

std::array<char, 3> bytes_of(std::size_t number) {
  return {static_cast<char>(0xE0U | number >> 12U), static_cast<char>(0x80U | (number >> 6U & 0x3FU)),
          static_cast<char>(0x80U | (number & 0x3FU))};
}

// A character by itself: how many tokens it is, and the highest id of the joins that make it so.
struct Alone {
  std::uint8_t tokens = 3;
  TokenId highest = 0;
};

Alone join_alone(const Vocabulary& vocabulary, std::size_t number) {
  const std::array<char, 3> bytes = bytes_of(number);
  const TokenId front = vocabulary.find_pair(bytes[0], bytes[1]);
  const TokenId back = vocabulary.find_pair(bytes[1], bytes[2]);
  if (front == kNoToken && back == kNoToken) return {};
  const TokenId whole = vocabulary.find({bytes.data(), bytes.size()});
  if (whole == kNoToken) return {2, std::min(front, back)};
  return {1, std::max(std::min(front, back), whole)};
}

bool is_inner(char byte) { return (static_cast<std::uint8_t>(byte) & 0xC0U) == 0x80U; }
bool is_lead(char byte) { return (static_cast<std::uint8_t>(byte) & 0xF0U) == 0xE0U; }

// A token that may be in a text of three-byte characters: the end of one, whole ones, the beginning of one.
struct Shape {
  std::string_view end, whole, beginning;

  bool aligned() const { return end.empty() && beginning.empty(); }
  bool several() const { return whole.size() / 3 + (end.empty() ? 0 : 1) + (beginning.empty() ? 0 : 1) > 1; }
};

// False if the token cannot be in such a text.
bool read_shape(std::string_view token, Shape& shape) {
  std::size_t at = 0;
  while (at < token.size() && is_inner(token[at])) ++at;
  shape.end = token.substr(0, at);
  const std::size_t first = at;
  while (at + 3 <= token.size() && is_lead(token[at]) && is_inner(token[at + 1]) && is_inner(token[at + 2]))
    at += 3;
  shape.whole = token.substr(first, at - first);
  shape.beginning = token.substr(at);
  if (shape.end.size() > 2 || shape.beginning.size() > 2) return false;
  return shape.beginning.empty() ||
         (is_lead(shape.beginning[0]) && (shape.beginning.size() == 1 || is_inner(shape.beginning[1])));
}

}  // namespace

// The facts, while they are made.
class Characters3::Maker {
 public:
  Maker(const Vocabulary& vocabulary, Characters3& made)
      : vocabulary_(vocabulary), made_(made), alone_(kNumbers) {
    made_.facts_.assign(kNumbers, 0);
    made_.neighbours_.assign((std::size_t{1} << kFilterBitsLog2) / 64, 0);
    for (std::size_t number = kFirst; number < kNumbers; ++number) {
      alone_[number] = join_alone(vocabulary, number);
      made_.facts_[number] = alone_[number].tokens;
    }
  }

  void read(TokenId id) {
    Shape shape;
    if (!read_shape(vocabulary_.bytes_of(id), shape) || !shape.several()) return;
    const std::string_view whole = shape.whole;
    for (std::size_t at = kBytes; at < whole.size(); at += kBytes)
      enter(number(whole.data() + at - kBytes), number(whole.data() + at));
    if (shape.aligned()) {
      if (!made_whole_before(id, whole)) mark(whole.substr(0, kBytes), whole.substr(kBytes, kBytes));
    } else if (whole.empty()) {
      mark(shape.end, shape.beginning);
    } else {
      if (!shape.end.empty()) mark(shape.end, whole.substr(0, kBytes));
      if (!shape.beginning.empty()) mark(whole.substr(whole.size() - kBytes), shape.beginning);
    }
  }

 private:
  // (b) of the header.
  bool made_whole_before(TokenId id, std::string_view characters) const {
    for (std::size_t at = 0; at < characters.size(); at += 3) {
      const Alone& alone = alone_[number(characters.data() + at)];
      if (alone.tokens != 1 || alone.highest >= id) return false;
    }
    return true;
  }

  void enter(std::size_t left, std::size_t right) {
    const std::size_t bit = bit_of(left, right);
    made_.neighbours_[bit / 64] |= std::uint64_t{1} << (bit % 64);
  }

  // Marks the characters that end with `left` and those that begin with `right`: six bits of the number are a byte.
  void mark(std::string_view left, std::string_view right) {
    std::size_t last = 0;
    for (const char byte : left) last = last << 6U | (static_cast<std::uint8_t>(byte) & 0x3FU);
    const std::size_t step = std::size_t{1} << 6U * left.size();
    for (std::size_t one = last % kNumbers; one < kNumbers; one += step) made_.facts_[one] |= kBreaksBefore;

    std::array<char, kBytes> first{'\xE0', '\x80', '\x80'};
    std::copy(right.begin(), right.end(), first.begin());
    const std::size_t count = std::size_t{1} << 6U * (kBytes - right.size());
    for (std::size_t more = 0; more < count; ++more)
      made_.facts_[number(first.data()) + more] |= kBreaksAfter;
  }

  const Vocabulary& vocabulary_;
  Characters3& made_;
  std::vector<Alone> alone_;
};

Characters3::Characters3(const Vocabulary& vocabulary) {
  Maker maker(vocabulary, *this);
  for (TokenId id = 0; id < vocabulary.size(); ++id) maker.read(id);
}

}  // namespace sentinel::tokens
