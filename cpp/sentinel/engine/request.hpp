// Pipeline step 1: what a request says, read strictly and once.
//
// Contract: the body must be one JSON object in UTF-8 without duplicate keys at any depth and without lone surrogates,
// because we and the upstream must read the same request. What is read here is all that later steps know of it; the bytes
// themselves go on untouched, or spliced at the two places the gateway may change (`model`, `stream_options`).
// Cost: one simdjson pass plus one walk over the tree; a splice is one more scan of the top level.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/base/result.hpp"
#include "sentinel/cache/identity.hpp"
#include "sentinel/cache/qualification.hpp"
#include "sentinel/engine/endpoint.hpp"

namespace sentinel::engine {

struct RequestFacts {
  std::string model;
  std::string end_user;  // for whom the application asks, as it names them; empty: it does not say
  bool stream = false;
  bool has_stream_options = false;
  std::optional<bool> include_usage;              // as the client wrote it
  std::optional<std::int64_t> max_output_tokens;  // the smallest bound that the client gave
  std::int64_t choices = 1;                       // `n`
  std::int64_t text_bytes = 0;  // of all strings below messages, prompt or input: the prompt estimate's basis
};

// What of a request a model reads, for counting; views into the reader's memory, valid until its next call.
struct PromptTexts {
  std::vector<std::string_view> texts;
  std::int64_t messages = 0;
  std::int64_t names = 0;      // messages that carry a `name`
  std::int64_t token_ids = 0;  // text given as numbers
};

// Bytes of readable memory behind a body that is handed to the reader (a std::string's reserved capacity will do).
inline constexpr std::size_t kBodyPadding = 64;

// The strict parser of a thread; its memory goes back after a body above 1 MiB.
class RequestReader {
 public:
  RequestReader();
  ~RequestReader();
  Result<RequestFacts> read(Endpoint endpoint, std::string_view padded_body);

  // Of a body that read() accepted.
  const PromptTexts& prompt_texts(std::string_view padded_body);

  // Of the body read last, if it was accepted and nothing else was read since.
  cache::Qualification qualify(stream::Protocol protocol) const;
  Digest identity(const cache::IdentityHead& head);
  // The identities of the items of `input`; empty when it has another shape.
  std::vector<Digest> item_identities(const cache::IdentityHead& head);

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

// The body with the top-level `model` replaced. Requires a body that a RequestReader accepted.
std::string with_model(std::string_view body, std::string_view model);

// The body asking for usage in the stream. Requires a body that a RequestReader accepted.
std::string with_usage_requested(std::string_view body, const RequestFacts& facts);

}  // namespace sentinel::engine
