// What a request itself says about being answered from a cache.
//
// Contract: `cacheable` is false when the answer is stored at the provider, depends on what is stored there, or comes from
// tools that the provider runs; `reason` then names the cause and is empty otherwise. `sampled` is true when the caller
// asks for variety (temperature above 0, or more than one choice): then the route decides. An `Idempotency-Key` counts as
// sampled too, but is a header: the caller knows. Members of a type that the provider would refuse count against caching.
// Cost: one look-up per member asked for, one pass over the tools. Thread rule: pure. Failure rule: none.
#pragma once

#include <simdjson.h>

#include "sentinel/stream/protocol.hpp"

namespace sentinel::cache {

struct Qualification {
  bool cacheable = true;
  bool sampled = false;
  const char* reason = "";
};

Qualification qualify(stream::Protocol protocol, simdjson::dom::object root);

}  // namespace sentinel::cache
