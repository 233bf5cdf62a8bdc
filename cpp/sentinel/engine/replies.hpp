// Replies and their headers: what a client sees of an exchange, whoever answered it.
//
// Contract: upstream headers pass by an allow-list and only if they are visible ASCII; ours are listed in the docs.
#pragma once

#include <string>
#include <string_view>

#include "sentinel/engine/exchange.hpp"
#include "sentinel/net/response_parser.hpp"

namespace sentinel::engine {

// The headers of a reply that has an upstream's answer.
HeaderList reply_headers(const Exchange& exchange, const net::ResponseHead& upstream);

// Headers that are known only at the end of a plain exchange: its cost, and on request the time spent in Sentinel.
void append_settled_headers(HeaderList& headers, const Exchange& exchange, Instant now);

// A kept answer.
Reply hit_reply(const Exchange& exchange, std::string_view content_type, std::string body);

Reply json_reply(const Exchange& exchange, int status, std::string body);
Reply error_reply(const Exchange& exchange, const Error& error);

}  // namespace sentinel::engine
