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

#include "sentinel/base/result.hpp"
#include "sentinel/engine/endpoint.hpp"

namespace sentinel::engine {

struct RequestFacts {
  std::string model;
  bool stream = false;
  bool has_stream_options = false;
  std::optional<bool> include_usage;  // as the client wrote it
  std::int64_t text_bytes = 0;  // of all strings below messages, prompt or input: the prompt estimate's basis
};

// Bytes of readable memory behind a body that is handed to the reader (a std::string's reserved capacity will do).
inline constexpr std::size_t kBodyPadding = 64;

// The strict parser of a thread; its memory goes back after a body above 1 MiB.
class RequestReader {
 public:
  RequestReader();
  ~RequestReader();
  Result<RequestFacts> read(Endpoint endpoint, std::string_view padded_body);

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

// The body with the top-level `model` replaced. Requires a body that a RequestReader accepted.
std::string with_model(std::string_view body, std::string_view model);

// The body asking for usage in the stream. Requires a body that a RequestReader accepted.
std::string with_usage_requested(std::string_view body, const RequestFacts& facts);

}  // namespace sentinel::engine
