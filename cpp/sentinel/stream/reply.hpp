// What a plain (not streamed) provider answer says about itself: usage, size, error, wholeness.
//
// Contract: the body must be one JSON object in UTF-8, else `upstream_error`; nothing of it is kept. Cost:
// one parse, O(body), about 14 bytes of working memory per byte, given back above 1 MiB. Thread rule: that of
// its JsonParser.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "sentinel/base/result.hpp"
#include "sentinel/stream/json.hpp"
#include "sentinel/stream/protocol.hpp"
#include "sentinel/stream/usage.hpp"

namespace sentinel::stream {

struct ReplyFacts {
  std::optional<Usage> usage;
  std::int64_t content_bytes = 0;  // generated text, tool arguments, refusals, reasoning; 0 for embeddings
  bool is_error = false;           // an error in a body that came with status 200
  bool complete = false;           // whole: every choice finished, a final status, a stop reason, all vectors
};

Result<ReplyFacts> read_reply(Protocol protocol, std::string_view body, JsonParser& json);

}  // namespace sentinel::stream
