#include "sentinel/tokens/vocabulary.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <optional>

namespace sentinel::tokens {
namespace {

constexpr std::string_view kMagic = "sntlvoc1";
constexpr std::size_t kHeadBytes = 16;
constexpr std::size_t kMaxTokens = std::size_t{1} << 20U;
constexpr std::size_t kMaxTokenBytes = 255;
constexpr unsigned kLong = 15;

std::uint64_t word_at(const char* bytes) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

std::uint64_t mixed(std::uint64_t hash, std::uint64_t word) {
  hash = (hash ^ word) * 0x9E3779B97F4A7C15U;
  return hash ^ hash >> 32U;
}

// Of more than 15 bytes.
std::uint64_t hash_of(std::string_view token) {
  std::uint64_t hash = token.size();
  for (std::size_t at = 0; at + 8 < token.size(); at += 8) hash = mixed(hash, word_at(token.data() + at));
  return mixed(hash, word_at(token.data() + token.size() - 8));
}

std::uint32_t number_at(std::string_view bytes, std::size_t place) {
  std::uint32_t number = 0;
  for (std::size_t at = 4; at-- > 0;) number = number << 8U | static_cast<std::uint8_t>(bytes[place + at]);
  return number;
}

}  // namespace

// Reads the two sections of the packed form token by token.
class Vocabulary::Reader {
 public:
  Reader(std::string_view section, std::string_view ids, std::size_t count)
      : section_(section), ids_(ids), width_(static_cast<unsigned>(std::bit_width(count - 1))) {}

  // The next token, which stays valid until the one after; nothing if the section does not hold one that is greater
  // than the one before.
  std::optional<std::string_view> next_token() {
    const std::optional<unsigned> lengths = next_byte();
    if (!lengths) return std::nullopt;
    const std::optional<std::size_t> shared = length_of(*lengths >> 4U);
    const std::optional<std::size_t> rest = length_of(*lengths & kLong);
    if (!shared || !rest || *shared > token_.size() || *rest == 0 || *rest > section_.size() - at_ ||
        *shared + *rest > kMaxTokenBytes) {
      return std::nullopt;
    }
    const std::string_view tail = section_.substr(at_, *rest);
    at_ += *rest;
    if (std::string_view(token_).substr(*shared) >= tail) return std::nullopt;
    token_.resize(*shared);
    token_.append(tail);
    return token_;
  }
  TokenId next_id() {
    while (filled_ < width_) {
      bits_ |= std::uint64_t{static_cast<std::uint8_t>(ids_[id_at_++])} << filled_;
      filled_ += 8;
    }
    const auto id = static_cast<TokenId>(bits_ & ((std::uint64_t{1} << width_) - 1));
    bits_ >>= width_;
    filled_ -= width_;
    return id;
  }
  bool at_end() const { return at_ == section_.size(); }

 private:
  std::optional<unsigned> next_byte() {
    if (at_ == section_.size()) return std::nullopt;
    return static_cast<std::uint8_t>(section_[at_++]);
  }
  std::optional<std::size_t> length_of(unsigned half) {
    if (half < kLong) return half;
    const std::optional<unsigned> excess = next_byte();
    if (!excess) return std::nullopt;
    return kLong + *excess;
  }

  std::string_view section_;
  std::string_view ids_;
  unsigned width_;
  std::size_t at_ = 0;
  std::size_t id_at_ = 0;
  std::uint64_t bits_ = 0;
  unsigned filled_ = 0;
  std::string token_;
};

Result<Vocabulary> Vocabulary::load(std::string_view packed) {
  const Error bad(ErrorCode::internal_error, "not a packed vocabulary, or damaged");
  if (packed.size() < kHeadBytes || !packed.starts_with(kMagic)) return bad;
  const std::size_t count = number_at(packed, 8);
  const std::size_t section_bytes = number_at(packed, 12);
  packed.remove_prefix(kHeadBytes);
  if (count < 256 || count > kMaxTokens || section_bytes > packed.size()) return bad;
  const std::size_t id_bits = count * static_cast<std::size_t>(std::bit_width(count - 1));
  if (packed.size() - section_bytes != (id_bits + 7) / 8) return bad;

  Vocabulary vocabulary;
  vocabulary.tokens_.resize(count);
  vocabulary.bytes_.reserve(section_bytes * 3);
  Reader reader(packed.substr(0, section_bytes), packed.substr(section_bytes), count);
  for (std::size_t read = 0; read < count; ++read) {
    const std::optional<std::string_view> token = reader.next_token();
    if (!token || !vocabulary.add(reader.next_id(), *token)) return bad;
  }
  if (!reader.at_end() || !vocabulary.index()) return bad;
  return vocabulary;
}

bool Vocabulary::add(TokenId id, std::string_view token) {
  if (id >= tokens_.size() || tokens_[id].length != 0) return false;
  tokens_[id] = {static_cast<std::uint32_t>(bytes_.size()), static_cast<std::uint32_t>(token.size())};
  bytes_.append(token);
  longest_ = std::max(longest_, token.size());
  return true;
}

// Fills the tables from the tokens; false if a single byte is none.
bool Vocabulary::index() {
  bytes_.shrink_to_fit();
  std::size_t long_tokens = 0;
  for (const Place& place : tokens_) long_tokens += place.length > PieceKey::kMostBytes ? 1 : 0;
  keys_.assign(std::bit_ceil((tokens_.size() - long_tokens) * 2), PieceKey{});
  ids_.assign(keys_.size(), kNoToken);
  long_slots_.resize(std::bit_ceil(long_tokens * 2 + 1));
  of_byte_.fill(kNoToken);
  of_pair_.assign(std::size_t{1} << 16U, kNoToken);
  for (TokenId id = 0; id < tokens_.size(); ++id) {
    const std::string_view token = bytes_of(id);
    if (token.size() > PieceKey::kMostBytes) {
      enter_long(id, token);
      continue;
    }
    enter(id, key_of(token));
    const auto byte = [&](std::size_t place) { return static_cast<std::uint8_t>(token[place]); };
    if (token.size() == 1) of_byte_[byte(0)] = id;
    if (token.size() == 2) of_pair_[static_cast<std::size_t>(byte(0)) << 8U | byte(1)] = id;
  }
  if (std::find(of_byte_.begin(), of_byte_.end(), kNoToken) != of_byte_.end()) return false;
  characters_ = Characters3(*this);
  return true;
}

void Vocabulary::enter(TokenId id, const PieceKey& key) {
  std::size_t at = key.hash() & (keys_.size() - 1);
  while (!keys_[at].empty()) at = (at + 1) & (keys_.size() - 1);
  keys_[at] = key;
  ids_[at] = id;
}

void Vocabulary::enter_long(TokenId id, std::string_view token) {
  const std::uint64_t hash = hash_of(token);
  std::size_t at = hash & (long_slots_.size() - 1);
  while (long_slots_[at].id != kNoToken) at = (at + 1) & (long_slots_.size() - 1);
  long_slots_[at] = {hash, id};
}

TokenId Vocabulary::find(std::string_view bytes) const {
  if (bytes.empty() || bytes.size() > longest_) return kNoToken;
  return bytes.size() <= PieceKey::kMostBytes ? find(key_of(bytes)) : find_long(bytes);
}

TokenId Vocabulary::find_long(std::string_view bytes) const {
  const std::uint64_t hash = hash_of(bytes);
  for (std::size_t at = hash;; ++at) {
    const LongSlot& slot = long_slots_[at & (long_slots_.size() - 1)];
    if (slot.id == kNoToken) return kNoToken;
    if (slot.hash == hash && bytes_of(slot.id) == bytes) return slot.id;
  }
}

std::string_view Vocabulary::bytes_of(TokenId id) const {
  assert(id < tokens_.size());
  return std::string_view(bytes_).substr(tokens_[id].offset, tokens_[id].length);
}

}  // namespace sentinel::tokens
