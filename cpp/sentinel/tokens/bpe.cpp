#include "sentinel/tokens/bpe.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <functional>
#include <limits>

namespace sentinel::tokens {
namespace {

constexpr std::size_t kShort = 64;

}  // namespace

std::size_t Splitter::split_into(std::string_view piece, std::vector<TokenId>* ids) {
  if (piece.empty()) return 0;
  const TokenId whole = vocabulary_.find(piece);
  if (whole == kNoToken) return piece.size() <= kShort ? split_short(piece, ids) : split_long(piece, ids);
  if (ids != nullptr) ids->push_back(whole);
  return 1;
}

// Parts in a row, closed up after every join.
std::size_t Splitter::split_short(std::string_view piece, std::vector<TokenId>* ids) const {
  struct Short {
    TokenId with_next;
    TokenId id;
    std::uint32_t start;
  };
  std::array<Short, kShort + 1> row;  // NOLINT: filled as far as it is used
  std::size_t count = piece.size();
  for (std::size_t at = 0; at < count; ++at) {
    const TokenId pair = at + 1 < count ? vocabulary_.find_pair(piece[at], piece[at + 1]) : kNoToken;
    row[at] = {pair, vocabulary_.find_byte(piece[at]), static_cast<std::uint32_t>(at)};
  }
  row[count] = {kNoToken, kNoToken, static_cast<std::uint32_t>(count)};
  const auto pair_at = [&](std::size_t at) {
    if (at + 2 > count) return kNoToken;
    return vocabulary_.find(piece.substr(row[at].start, row[at + 2].start - row[at].start));
  };
  while (true) {
    std::size_t lowest = 0;
    for (std::size_t at = 1; at < count; ++at) {
      if (row[at].with_next < row[lowest].with_next) lowest = at;
    }
    if (row[lowest].with_next == kNoToken) break;
    row[lowest].id = row[lowest].with_next;
    std::copy(row.data() + lowest + 2, row.data() + count + 1, row.data() + lowest + 1);
    --count;
    row[lowest].with_next = pair_at(lowest);
    if (lowest > 0) row[lowest - 1].with_next = pair_at(lowest - 1);
  }
  if (ids != nullptr) {
    for (std::size_t at = 0; at < count; ++at) ids->push_back(row[at].id);
  }
  return count;
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

// One part per byte, and a heap of all pairs that are tokens.
void Splitter::lay_out(std::string_view piece) {
  parts_.resize(piece.size());
  heap_.clear();
  for (std::size_t at = 0; at < piece.size(); ++at) {
    const TokenId pair = at + 1 < piece.size() ? vocabulary_.find_pair(piece[at], piece[at + 1]) : kNoToken;
    parts_[at] = {1, at == 0 ? 0U : 1U, vocabulary_.find_byte(piece[at]), pair};
    if (pair != kNoToken) heap_.push_back(std::uint64_t{pair} << 32U | at);
  }
  std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
}

// Makes the part at `place` and the next one part, and proposes the pairs that it is in now.
void Splitter::join(std::string_view piece, std::uint32_t place) {
  Part& part = parts_[place];
  Part& gone = parts_[place + part.length];
  part.id = part.with_next;
  part.length += gone.length;
  gone.length = 0;
  const std::size_t next = std::size_t{place} + part.length;
  if (next < piece.size()) parts_[next].before = part.length;
  pair_up(piece, place);
  if (place > 0) pair_up(piece, place - part.before);
}

void Splitter::pair_up(std::string_view piece, std::uint32_t place) {
  Part& part = parts_[place];
  const std::size_t next = std::size_t{place} + part.length;
  part.with_next = next < piece.size()
                       ? vocabulary_.find(piece.substr(place, part.length + parts_[next].length))
                       : kNoToken;
  if (part.with_next == kNoToken) return;
  heap_.push_back(std::uint64_t{part.with_next} << 32U | place);
  std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
}

}  // namespace sentinel::tokens
