// Text to token ids and back, as tiktoken's `encode_ordinary` of o200k_base and cl100k_base does it.
//
// Contract: the ids are tiktoken's on every text. What looks like a special token ("<|endoftext|>") is ordinary text,
// as a user's text must be. Text that is not UTF-8 is taken as `utf8::sanitize` makes it: every maximal ill-formed part
// is U+FFFD, so an encoder never fails and never counts less than the provider would. `count(text)` is
// `encode(text).size()`; `count_till_limit` is that count, or nothing if it is above `limit`, which it knows without
// reading much more than `limit` tokens. `decode` gives the tokens' bytes; only the ids of a whole text are sure to be
// UTF-8 together, and an id that is no ordinary token is refused.
// Cost: one pass to check UTF-8 and one to cut and look up: linear, but for pieces longer than a token, of which bpe.hpp
// says the cost. Counting allocates only for ill-formed text and for pieces above 64 bytes that are no token; a caller
// bounds the text (D11).
// Thread rule: immutable after `load` but for a cache without locks (piece_cache.hpp), any thread. Failure rule: `load` refuses what Vocabulary::load refuses.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/base/result.hpp"
#include "sentinel/tokens/piece_cache.hpp"
#include "sentinel/tokens/pretokenize.hpp"
#include "sentinel/tokens/vocabulary.hpp"

namespace sentinel::tokens {

std::string_view to_string(EncodingName name);

class Encoding {
 public:
  static Result<Encoding> load(EncodingName name, std::string_view packed_vocabulary);

  std::size_t count(std::string_view text) const;
  std::optional<std::size_t> count_till_limit(std::string_view text, std::size_t limit) const;
  std::vector<TokenId> encode(std::string_view text) const;
  // The same for a text that is known to be UTF-8 (not checked).
  std::size_t count_utf8(std::string_view text) const;
  std::optional<std::size_t> count_utf8_till_limit(std::string_view text, std::size_t limit) const;
  std::vector<TokenId> encode_utf8(std::string_view text) const;

  Result<std::string> decode(std::span<const TokenId> ids) const;

  EncodingName name() const { return name_; }
  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  Encoding(EncodingName name, Vocabulary vocabulary);

  EncodingName name_;
  Vocabulary vocabulary_;
  std::unique_ptr<PieceCache> cache_;
};

}  // namespace sentinel::tokens
