// Errors as their endpoint's protocol writes them: a body, or an event inside a stream that has begun.
#pragma once

#include <string>
#include <string_view>

#include "sentinel/base/error.hpp"
#include "sentinel/engine/endpoint.hpp"

namespace sentinel::engine {

std::string error_body(const Error& error, Endpoint endpoint, std::string_view request_id);
std::string error_event(const Error& error, Endpoint endpoint, std::string_view request_id);

// Appends `text` as the inside of a JSON string; invalid UTF-8 becomes U+FFFD, control bytes are escaped.
void append_json_escaped(std::string& out, std::string_view text);

}  // namespace sentinel::engine
