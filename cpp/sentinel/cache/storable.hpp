// May this answer be kept? The one reader that says so (S26).
//
// What: an answer is kept when it is whole and is the model's own: every choice has ended for a reason of the
// model, a stream has its [DONE], nothing in it is an error, nothing was filtered, and no tool was run by the
// provider. Calls of tools that the client runs are kept (`has_tool_calls` tells, for who may not use those).
// How: by a closed list of good endings (stop, length, tool_calls, function_call and the few other names for
// them), so that an ending nobody knew of ("abort", "error", "insufficient_system_resource") is never kept.
// Not here: whether the caller, the route or the request forbid it.
//
// Contract: chat and completions; other protocols are not storable, embeddings have their own call. A stream
// is given whole, its terminal event included. `reason` says why not, in words fit for a log; it is a
// literal, empty when stored. `usage_ranges` are the blocks that hold only usage (no choices, a usage
// object); cutting them leaves a valid stream whatever its line ends. What follows [DONE] must not be an
// event.
// Cost: one JSON parse of every event or of the body; allocates only for the ranges and one byte per choice.
// Thread rule: that of its JsonParser. Failure rule: what cannot be read is not storable.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/cache/byte_range.hpp"
#include "sentinel/stream/json.hpp"
#include "sentinel/stream/protocol.hpp"
#include "sentinel/stream/usage.hpp"

namespace sentinel::cache {

struct Storable {
  bool store = false;
  bool has_tool_calls = false;
  const char* reason = "";
  std::vector<ByteRange> usage_ranges;  // ascending, apart from one another; streams only
  std::optional<stream::Usage> usage;
};

Storable storable_plain(stream::Protocol protocol, std::string_view body, stream::JsonParser& json);
Storable storable_stream(stream::Protocol protocol, std::string_view bytes, stream::JsonParser& json);

// Embeddings: a list with exactly one vector for each of the asked items.
Storable storable_embeddings(std::string_view body, std::size_t asked_items, stream::JsonParser& json);

// The bytes without the ranges, which are ascending and lie inside.
std::string without_ranges(std::string_view bytes, std::span<const ByteRange> ranges);

}  // namespace sentinel::cache
