// A vocabulary: the byte strings that are tokens, and their ids, which are also the order in which pairs merge.
//
// Contract: `load` reads the packed form that tools/vocabularies.py writes and describes; the bytes are not kept. Ids
// are 0 .. size() - 1, every single byte is a token, no two tokens are equal. Then nothing changes any more.
// Cost: loading 200,000 tokens takes a few tens of milliseconds and 11 MiB: a flat table with open addressing, less than
// half full, whose slots of 16 bytes hold the first eight bytes of a token, so that a short token is found with one
// cache line; pairs of bytes, asked most, have a table of their own. `find` reads at most `longest()` bytes and
// allocates nothing.
// Thread rule: immutable, any thread. Failure rule: `load` refuses bytes that are not a whole, consistent vocabulary.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/base/result.hpp"

namespace sentinel::tokens {

using TokenId = std::uint32_t;
inline constexpr TokenId kNoToken = 0xFFFFFFFF;

class Vocabulary {
 public:
  static Result<Vocabulary> load(std::string_view packed);

  TokenId find(std::string_view bytes) const;  // kNoToken if it is none
  TokenId find_byte(char byte) const { return of_byte_[static_cast<std::uint8_t>(byte)]; }
  TokenId find_pair(char first, char second) const {
    return of_pair_[static_cast<std::size_t>(static_cast<std::uint8_t>(first)) << 8U |
                    static_cast<std::uint8_t>(second)];
  }
  std::string_view bytes_of(TokenId id) const;  // id < size()
  std::size_t size() const { return tokens_.size(); }
  std::size_t longest() const { return longest_; }

 private:
  struct Place {
    std::uint32_t offset = 0;
    std::uint32_t length = 0;  // 0: no token yet
  };
  struct Slot {
    std::uint64_t head = 0;  // the token's first eight bytes
    TokenId id = kNoToken;
    std::uint32_t length = 0;
  };
  class Reader;

  Vocabulary() = default;
  bool add(TokenId id, std::string_view token);
  bool index();

  std::string bytes_;
  std::vector<Place> tokens_;  // by id
  std::vector<Slot> slots_;
  std::array<TokenId, 256> of_byte_{};
  std::vector<TokenId> of_pair_;
  std::size_t longest_ = 0;
};

}  // namespace sentinel::tokens
