// The governed endpoints: one table that says everything the pipeline must know about each of them.
//
// Contract: a route that is not in this table does not exist for the engine (S30: every governed path goes through the
// same steps, because there is no other way in). Labels in metrics and records are `name`.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "sentinel/stream/protocol.hpp"

namespace sentinel::engine {

enum class Endpoint : std::uint8_t { chat, completions, embeddings, responses, messages, query, models };
inline constexpr std::size_t kEndpoints = 7;

enum class Scope : std::uint8_t { none = 0, chat = 1, embeddings = 2 };

enum class ErrorShape : std::uint8_t { openai, anthropic };

struct EndpointInfo {
  std::string_view name;           // public path; label in metrics, records and logs
  std::string_view upstream_path;  // below the upstream's base path
  Scope scope;
  ErrorShape errors;
  stream::Protocol protocol;  // of the upstream's replies
};

inline constexpr std::array<EndpointInfo, kEndpoints> kEndpointTable{{
    {"/v1/chat/completions", "chat/completions", Scope::chat, ErrorShape::openai, stream::Protocol::chat},
    {"/v1/completions", "completions", Scope::chat, ErrorShape::openai, stream::Protocol::completions},
    {"/v1/embeddings", "embeddings", Scope::embeddings, ErrorShape::openai, stream::Protocol::embeddings},
    {"/v1/responses", "responses", Scope::chat, ErrorShape::openai, stream::Protocol::responses},
    {"/v1/messages", "messages", Scope::chat, ErrorShape::anthropic, stream::Protocol::messages},
    {"/v1/query", "chat/completions", Scope::chat, ErrorShape::openai, stream::Protocol::chat},
    {"/v1/models", "", Scope::none, ErrorShape::openai, stream::Protocol::chat},
}};

constexpr const EndpointInfo& info(Endpoint endpoint) {
  return kEndpointTable[static_cast<std::size_t>(endpoint)];
}

}  // namespace sentinel::engine
