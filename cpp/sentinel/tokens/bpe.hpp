// Byte pair encoding of one piece: of all neighbours whose bytes together are a token, those with the lowest id are
// joined, the leftmost first, until no neighbours are a token.
//
// Contract: `split` gives the same parts as that definition, for any bytes, and a piece that is a token as that token.
// `count` is the number of parts. `count_parts` and `split_parts` are for a piece that is known to be no token.
// Cost: a piece of up to 64 bytes is joined in place on the stack, by looking for the lowest pair each time. One of
// characters of three bytes is cut where it falls apart (characters.hpp). What is longer is joined with a heap of
// the pairs that go before their neighbours: O(n log n) whatever the bytes are, and some 40 bytes of memory per byte of
// the piece, which are kept for the next long piece and freed with the Splitter. Nothing else is allocated.
// Thread rule: one Splitter per thread; it is cheap to make, so one per text. Failure rule: none; a piece is shorter
// than 4 GiB (asserted).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/tokens/vocabulary.hpp"

namespace sentinel::tokens {

class Splitter {
 public:
  explicit Splitter(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  std::size_t count(std::string_view piece) { return split_into(piece, nullptr); }
  void split(std::string_view piece, std::vector<TokenId>& ids) { split_into(piece, &ids); }

  std::size_t count_parts(std::string_view piece) { return split_parts_into(piece, nullptr); }
  void split_parts(std::string_view piece, std::vector<TokenId>& ids) { split_parts_into(piece, &ids); }

 private:
  struct Part {  // by the place of its first byte; one that was joined to the part before it has no length
    std::uint32_t length;
    std::uint32_t before;  // the length of the part before it
    TokenId id;
    TokenId with_next;  // the token that this part and the next are together
  };

  std::size_t split_into(std::string_view piece, std::vector<TokenId>* ids);
  std::size_t split_parts_into(std::string_view piece, std::vector<TokenId>* ids);
  std::size_t split_where_it_falls_apart(std::string_view piece, std::vector<TokenId>* ids);
  std::size_t split_apart(std::string_view part, Characters3::Character last, bool may_break,
                          std::vector<TokenId>* ids);
  std::size_t split_long(std::string_view piece, std::vector<TokenId>* ids);
  void lay_out(std::string_view piece);
  void join(std::string_view piece, std::uint32_t place);
  void pair_up(std::string_view piece, std::uint32_t place);
  bool goes_first(std::uint32_t place) const;
  void propose(std::uint32_t place);

  const Vocabulary& vocabulary_;
  std::vector<Part> parts_;
  std::vector<std::uint64_t>
      heap_;  // id of the pair, place of its first part; out of date if the part says otherwise
};

}  // namespace sentinel::tokens
