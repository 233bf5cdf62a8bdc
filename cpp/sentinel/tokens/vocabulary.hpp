// A vocabulary: the byte strings that are tokens, and their ids, which are also the order in which pairs merge.
//
// Contract: `load` reads the packed form that tools/vocabularies.py writes and describes; the bytes are not kept. Ids
// are 0 .. size() - 1, every single byte is a token, no two tokens are equal. Then nothing changes any more.
// Cost: loading 200,000 tokens takes a few tens of milliseconds and 14 MiB. A token of up to 15 bytes is found in a flat
// table with open addressing, less than half full, by a key that holds all of its bytes (piece_key.hpp): one cache line,
// no other memory. The ids lie beside it in an array of their own, which counting does not read. Tokens are entered by
// id, so that the frequent ones lie where they are looked for first. The few longer ones have a table of their own, pairs
// of bytes too. `find` reads at most `longest()` bytes and allocates nothing.
// Thread rule: immutable, any thread. Failure rule: `load` refuses bytes that are not a whole, consistent vocabulary.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/base/aligned.hpp"
#include "sentinel/base/result.hpp"
#include "sentinel/tokens/characters.hpp"
#include "sentinel/tokens/piece_key.hpp"

namespace sentinel::tokens {

using TokenId = std::uint32_t;
inline constexpr TokenId kNoToken = 0xFFFFFFFF;

class Vocabulary {
 public:
  static Result<Vocabulary> load(std::string_view packed);

  TokenId find(std::string_view bytes) const;  // kNoToken if it is none
  TokenId find(const PieceKey& key) const { return find(key, key.hash()); }
  TokenId find(const PieceKey& key, std::uint64_t hash) const {
    const std::size_t slot = slot_of(key, hash);
    return slot == kNoSlot ? kNoToken : ids_[slot];
  }
  bool contains(const PieceKey& key, std::uint64_t hash) const { return slot_of(key, hash) != kNoSlot; }
  // Asks for the memory that a look-up of this hash will read, so that several can be waited for at once.
  void prefetch(std::uint64_t hash) const { __builtin_prefetch(keys_.data() + (hash & (keys_.size() - 1))); }
  TokenId find_byte(char byte) const { return of_byte_[static_cast<std::uint8_t>(byte)]; }
  TokenId find_pair(char first, char second) const {
    return of_pair_[static_cast<std::size_t>(static_cast<std::uint8_t>(first)) << 8U |
                    static_cast<std::uint8_t>(second)];
  }
  std::string_view bytes_of(TokenId id) const;  // id < size()
  std::size_t size() const { return tokens_.size(); }
  std::size_t longest() const { return longest_; }

  const Characters3& characters() const { return characters_; }

 private:
  struct Place {
    std::uint32_t offset = 0;
    std::uint32_t length = 0;  // 0: no token yet
  };
  struct LongSlot {
    std::uint64_t hash = 0;
    TokenId id = kNoToken;
  };
  class Reader;

  static constexpr std::size_t kNoSlot = ~std::size_t{0};

  Vocabulary() = default;
  bool add(TokenId id, std::string_view token);
  bool index();
  void enter(TokenId id, const PieceKey& key);
  void enter_long(TokenId id, std::string_view token);
  TokenId find_long(std::string_view bytes) const;

  std::size_t slot_of(const PieceKey& key, std::uint64_t hash) const {
    const std::size_t mask = keys_.size() - 1;
    for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
      if (keys_[at] == key) return at;
      if (keys_[at].empty()) return kNoSlot;
    }
  }

  std::string bytes_;
  std::vector<Place> tokens_;     // by id
  AlignedVector<PieceKey> keys_;  // of the tokens of up to 15 bytes
  AlignedVector<TokenId> ids_;    // of the token in the same slot of keys_
  std::vector<LongSlot> long_slots_;
  std::array<TokenId, 256> of_byte_{};
  std::vector<TokenId> of_pair_;
  Characters3 characters_;
  std::size_t longest_ = 0;
};

}  // namespace sentinel::tokens
