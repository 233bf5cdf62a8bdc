#include "sentinel/tokens/bpe.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <functional>
#include <limits>

namespace sentinel::tokens {
namespace {

constexpr std::size_t kMostParts = 64;

// A piece with enough behind it that a window may be taken anywhere in it.
template <std::size_t kMostBytes>
class Padded {
 public:
  explicit Padded(std::string_view piece) : size_(piece.size()) {
    assert(size_ <= kMostBytes);
    std::memcpy(bytes_.data(), piece.data(), size_);
    std::memset(bytes_.data() + size_, 0, Window::kBytes);
  }
  const char* data() const { return bytes_.data(); }
  std::size_t size() const { return size_; }
  PieceKey key(std::size_t start, std::size_t length) const {
    return Window({bytes_.data(), size_ + Window::kBytes}, start).key(length);
  }
  std::string_view part(std::size_t start, std::size_t length) const {
    return {bytes_.data() + start, length};
  }

 private:
  std::array<char, kMostBytes + Window::kBytes> bytes_;  // NOLINT: filled as far as it is used
  std::size_t size_;
};

// Parts in a row, closed up after every join.
struct Row {
  struct Part {
    TokenId with_next;
    TokenId id;
    std::uint32_t start;
  };

  std::size_t lowest() const {
    std::size_t found = 0;
    for (std::size_t at = 1; at < count; ++at) {
      if (parts[at].with_next < parts[found].with_next) found = at;
    }
    return found;
  }
  // Joins while there is something to join; `find(start, length)` gives the token that these bytes are.
  template <class Find>
  void join(Find find) {
    const auto pair_at = [&](std::size_t at) {
      if (at + 2 > count) return kNoToken;
      return find(parts[at].start, parts[at + 2].start - parts[at].start);
    };
    for (std::size_t at = lowest(); parts[at].with_next != kNoToken; at = lowest()) {
      parts[at].id = parts[at].with_next;
      std::copy(parts.data() + at + 2, parts.data() + count + 1, parts.data() + at + 1);
      --count;
      parts[at].with_next = pair_at(at);
      if (at > 0) parts[at - 1].with_next = pair_at(at - 1);
    }
  }

  std::array<Part, kMostParts + 1> parts;  // NOLINT: filled as far as it is used, and one that ends the last
  std::size_t count;
};

std::size_t split_bytes(const Vocabulary& vocabulary, std::string_view piece, std::vector<TokenId>* ids) {
  const Padded<kMostParts> text(piece);
  Row row;  // NOLINT: filled below
  row.count = piece.size();
  for (std::size_t at = 0; at < row.count; ++at) {
    const TokenId pair = at + 1 < row.count ? vocabulary.find_pair(piece[at], piece[at + 1]) : kNoToken;
    row.parts[at] = {pair, vocabulary.find_byte(piece[at]), static_cast<std::uint32_t>(at)};
  }
  row.parts[row.count] = {kNoToken, kNoToken, static_cast<std::uint32_t>(row.count)};
  row.join([&](std::size_t start, std::size_t length) {
    return length <= PieceKey::kMostBytes ? vocabulary.find(text.key(start, length))
                                          : vocabulary.find(text.part(start, length));
  });
  if (ids != nullptr) {
    for (std::size_t at = 0; at < row.count; ++at) ids->push_back(row.parts[at].id);
  }
  return row.count;
}

bool three_bytes_each(std::string_view piece) {
  if (piece.size() % Characters3::kBytes != 0) return false;
  bool each = true;
  for (std::size_t at = 0; at < piece.size(); at += Characters3::kBytes)
    each &= (static_cast<std::uint8_t>(piece[at]) & 0xF0U) == 0xE0U;
  return each;
}

// Several characters of three bytes, up to kMostParts, in which no token breaks the rules of characters.hpp.
std::size_t split_characters(const Vocabulary& vocabulary, std::string_view piece,
                             std::vector<TokenId>* ids) {
  constexpr std::size_t kBytes = Characters3::kBytes;
  const Characters3& characters = vocabulary.characters();
  const Padded<kMostParts * kBytes> text(piece);
  const auto find = [&](std::size_t start, std::size_t length) {
    return length <= PieceKey::kMostBytes ? vocabulary.find(text.key(start, length))
                                          : vocabulary.find(text.part(start, length));
  };
  Row row;  // NOLINT: filled below
  row.count = piece.size() / kBytes;
  std::size_t extra = 0;  // tokens beyond the first, of characters that are several
  for (std::size_t at = 0; at < row.count; ++at) {
    const TokenId pair = at + 1 < row.count ? find(at * kBytes, 2 * kBytes) : kNoToken;
    row.parts[at] = {pair, kNoToken, static_cast<std::uint32_t>(at * kBytes)};
    extra += characters.at(text.data() + at * kBytes).tokens() - 1;
  }
  row.parts[row.count] = {kNoToken, kNoToken, static_cast<std::uint32_t>(piece.size())};
  row.join(find);
  if (ids == nullptr) return row.count + extra;
  for (std::size_t at = 0; at < row.count; ++at) {
    const Row::Part& part = row.parts[at];
    if (part.id != kNoToken) {
      ids->push_back(part.id);
    } else {
      split_bytes(vocabulary, piece.substr(part.start, kBytes), ids);
    }
  }
  return row.count + extra;
}

}  // namespace

std::size_t Splitter::split_into(std::string_view piece, std::vector<TokenId>* ids) {
  if (piece.empty()) return 0;
  const TokenId whole = vocabulary_.find(piece);
  if (whole == kNoToken) return split_parts_into(piece, ids);
  if (ids != nullptr) ids->push_back(whole);
  return 1;
}

std::size_t Splitter::split_parts_into(std::string_view piece, std::vector<TokenId>* ids) {
  if (three_bytes_each(piece)) return split_where_it_falls_apart(piece, ids);
  return piece.size() <= kMostParts ? split_bytes(vocabulary_, piece, ids) : split_long(piece, ids);
}

// A piece of characters of three bytes.
std::size_t Splitter::split_where_it_falls_apart(std::string_view piece, std::vector<TokenId>* ids) {
  constexpr std::size_t kBytes = Characters3::kBytes;
  const Characters3& characters = vocabulary_.characters();
  std::size_t count = 0;
  std::size_t start = 0;
  bool may_break = false;
  Characters3::Character last = characters.at(piece.data());
  for (std::size_t end = kBytes; end < piece.size(); end += kBytes) {
    const Characters3::Character next = characters.at(piece.data() + end);
    if (characters.may_join(last, next)) {
      may_break |= Characters3::may_break(last, next);
    } else {
      count += split_apart(piece.substr(start, end - start), last, may_break, ids);
      start = end;
      may_break = false;
    }
    last = next;
  }
  return count + split_apart(piece.substr(start), last, may_break, ids);
}

// Characters that no token reaches out of; `last` is the last of them.
std::size_t Splitter::split_apart(std::string_view part, Characters3::Character last, bool may_break,
                                  std::vector<TokenId>* ids) {
  if (part.size() == Characters3::kBytes)
    return ids == nullptr ? last.tokens() : split_bytes(vocabulary_, part, ids);
  if (ids == nullptr && !may_break && part.size() == 2 * Characters3::kBytes) {
    const PieceKey key = key_of(part);
    if (vocabulary_.contains(key, key.hash())) return 1;
    return vocabulary_.characters().at(part.data()).tokens() + last.tokens();
  }
  if (!may_break && part.size() <= kMostParts * Characters3::kBytes)
    return split_characters(vocabulary_, part, ids);
  return part.size() <= kMostParts ? split_bytes(vocabulary_, part, ids) : split_long(part, ids);
}

std::size_t Splitter::split_long(std::string_view piece, std::vector<TokenId>* ids) {
  assert(piece.size() <= std::numeric_limits<std::uint32_t>::max());
  lay_out(piece);
  std::size_t count = piece.size();
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    const auto place = static_cast<std::uint32_t>(heap_.back());
    const auto pair = static_cast<TokenId>(heap_.back() >> 32U);
    heap_.pop_back();
    if (parts_[place].length == 0 || parts_[place].with_next != pair) continue;
    join(piece, place);
    --count;
  }
  if (ids != nullptr) {
    for (std::size_t at = 0; at < piece.size(); at += parts_[at].length) ids->push_back(parts_[at].id);
  }
  return count;
}

// One part per byte, and a heap of the pairs that may be joined first.
void Splitter::lay_out(std::string_view piece) {
  parts_.resize(piece.size());
  heap_.clear();
  for (std::size_t at = 0; at < piece.size(); ++at) {
    const TokenId pair = at + 1 < piece.size() ? vocabulary_.find_pair(piece[at], piece[at + 1]) : kNoToken;
    parts_[at] = {1, at == 0 ? 0U : 1U, vocabulary_.find_byte(piece[at]), pair};
  }
  for (std::uint32_t at = 0; at < piece.size(); ++at)
    if (goes_first(at)) heap_.push_back(std::uint64_t{parts_[at].with_next} << 32U | at);
  std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
}

// Makes the part at `place` and the next one part, and proposes the pairs that it is in now and those beside them.
void Splitter::join(std::string_view piece, std::uint32_t place) {
  Part& part = parts_[place];
  Part& gone = parts_[place + part.length];
  part.id = part.with_next;
  part.length += gone.length;
  gone.length = 0;
  const std::uint32_t next = place + part.length;
  if (next < piece.size()) parts_[next].before = part.length;
  const std::uint32_t before = place - part.before;
  pair_up(piece, place);
  if (place > 0) pair_up(piece, before);
  propose(place);
  if (next < piece.size()) propose(next);
  if (place == 0) return;
  propose(before);
  if (before > 0) propose(before - parts_[before].before);
}

void Splitter::pair_up(std::string_view piece, std::uint32_t place) {
  Part& part = parts_[place];
  const std::size_t next = std::size_t{place} + part.length;
  part.with_next = kNoToken;
  if (next == piece.size()) return;
  const std::size_t length = std::size_t{part.length} + parts_[next].length;
  part.with_next = length <= PieceKey::kMostBytes ? vocabulary_.find(Window(piece, place).key(length))
                                                  : vocabulary_.find(piece.substr(place, length));
}

// Whether the part and its next are joined before the pairs that share a part with them. The lowest pair of all is such
// a one, so no other needs to be in the heap until a pair beside it changes.
bool Splitter::goes_first(std::uint32_t place) const {
  const Part& part = parts_[place];
  if (part.with_next == kNoToken) return false;
  if (place > 0 && parts_[place - part.before].with_next <= part.with_next) return false;
  return parts_[place + part.length].with_next >= part.with_next;
}

void Splitter::propose(std::uint32_t place) {
  if (!goes_first(place)) return;
  heap_.push_back(std::uint64_t{parts_[place].with_next} << 32U | place);
  std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
}

}  // namespace sentinel::tokens
