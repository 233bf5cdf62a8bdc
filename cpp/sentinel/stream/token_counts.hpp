// A usage object's figures as they stand in the JSON, before they are brought to one meaning.
//
// Contract: an absent member and one that cannot be true are the same: no value. `merge` keeps the larger of
// each, for messages, whose figures are cumulative and come in two parts. `to_usage` is empty unless the
// figures that the protocol must give are there. Cost: a few integers. Reading them from JSON is in
// json_dom.hpp.
#pragma once

#include <cstdint>
#include <optional>

#include "sentinel/stream/protocol.hpp"
#include "sentinel/stream/usage.hpp"

namespace sentinel::stream {

struct TokenCounts {
  std::optional<std::int64_t> prompt;  // messages: without cache reads and writes
  std::optional<std::int64_t> completion;
  std::optional<std::int64_t> cached;
  std::optional<std::int64_t> cache_write;
  std::optional<std::int64_t> reasoning;

  void merge(const TokenCounts& later);
};

std::optional<Usage> to_usage(Protocol protocol, const TokenCounts& counts);

}  // namespace sentinel::stream
