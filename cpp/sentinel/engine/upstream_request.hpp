// Pipeline step 8 without I/O: which target serves an exchange, and the bytes it is sent.
//
// Contract: what goes upstream is our own head with a short list of the client's headers (design: privacy); the client's
// credential, organisation and cookies never do. The body is the client's, byte for byte, unless the target's model name
// differs or usage must be asked for.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "sentinel/engine/exchange.hpp"

namespace sentinel::engine {

// Whether the upstream must be asked for the usage of a stream, because the client did not.
bool must_ask_for_usage(Endpoint endpoint, const RequestFacts& facts);

// Writes the head, and the body where it differs, of a call of `target` with a credential (by index; none: nullopt).
void aim(Exchange& exchange, const Target& target, std::optional<std::size_t> credential);

// What is sent: the exchange's own body, or the one written for this target.
std::string_view body_to_send(const Exchange& exchange);

// "upstream/model" as sent.
std::string target_label(const Exchange& exchange);

}  // namespace sentinel::engine
