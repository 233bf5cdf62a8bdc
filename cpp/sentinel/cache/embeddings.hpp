// Embeddings one item at a time: what a request asks for, what a reply holds, and a reply put together again.
//
// What: `input` is a string, a list of strings, a list of token ids (one item) or a list of such lists. Items
// and vectors are handled as JSON text, so numbers stay digit for digit and base64 vectors need nothing of
// their own.
// Not here: keys, and what was kept; the caller owns both.
//
// Contract: request bodies are JSON already (the door has parsed them); replies are checked here. Strict: an
// `input` of another shape or given twice, a reply that has a member we would lose, a missing, double or
// foreign index, a vector that is neither numbers nor a string: std::nullopt, and then nothing is kept per
// item. Of a reply's root, `id` and `created` are let go: they name the call, and an assembled reply is no
// call. Views point into the body they were read from.
// Cost: one scan of the request; one parse and one scan of a reply, one copy of its vectors without white
// space.
// Thread rule: pure but for the JsonParser. Failure rule: as above; any bytes may be given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/stream/json.hpp"

namespace sentinel::cache {

struct EmbeddingItems {
  std::vector<std::string_view> raw;  // JSON text of each item, in order; at least one
  bool tokens = false;                // items are lists of token ids, not strings

  static std::optional<EmbeddingItems> read(std::string_view body);
  std::size_t count() const { return raw.size(); }
};

// The body with `input` a list of only these items, every other byte as it was; std::nullopt when `read`
// would give it.
std::optional<std::string> request_with_items(std::string_view body,
                                              std::span<const std::string_view> raw_items);

struct EmbeddingUsage {
  std::int64_t prompt_tokens = 0;
  std::int64_t total_tokens = 0;

  friend bool operator==(const EmbeddingUsage&, const EmbeddingUsage&) = default;
};

struct EmbeddingReply {
  std::string raw_model;                // JSON text, with its quotes
  std::vector<std::string> embeddings;  // JSON text of each vector, by index
  std::optional<EmbeddingUsage> usage;
};

std::optional<EmbeddingReply> split_reply(std::string_view body, std::size_t expected_items,
                                          stream::JsonParser& json);

// `raw_embeddings` in the order of the request's items; `raw_model` is JSON text.
std::string assemble_reply(std::span<const std::string_view> raw_embeddings, std::string_view raw_model,
                           EmbeddingUsage usage);

// Tokens of each item when only their sum is known: in proportion to the items' bytes, by largest remainder
// (ties to the earlier item), so that they sum exactly to `prompt_tokens`. Items of up to 2 GiB together.
std::vector<std::int64_t> share_of_usage(std::int64_t prompt_tokens,
                                         std::span<const std::string_view> raw_items);

}  // namespace sentinel::cache
