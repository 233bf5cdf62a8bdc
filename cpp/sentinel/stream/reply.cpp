#include "sentinel/stream/reply.hpp"

#include <string>

#include "sentinel/stream/json_dom.hpp"

namespace sentinel::stream {
namespace {

std::int64_t text_bytes(const JsonObject& object, std::string_view key) {
  const auto text = string_member(object, key);
  return text ? static_cast<std::int64_t>(text->size()) : 0;
}

// Sums `count` over the objects of an array member.
template <class F>
std::int64_t sum_members(const JsonObject& object, std::string_view key, F&& count) {
  std::int64_t sum = 0;
  if (const auto array = array_member(object, key)) {
    for (const JsonElement element : *array) {
      if (const auto item = as_object(element)) sum += count(*item);
    }
  }
  return sum;
}

// True when the array member is there, not empty, and every item is an object that passes.
template <class F>
bool all_members(const JsonObject& object, std::string_view key, F&& passes) {
  const auto array = array_member(object, key);
  if (!array || array->size() == 0) return false;
  for (const JsonElement element : *array) {
    const auto item = as_object(element);
    if (!item || !passes(*item)) return false;
  }
  return true;
}

std::int64_t function_bytes(const JsonObject& holder, std::string_view key) {
  const auto function = object_member(holder, key);
  return function ? text_bytes(*function, "arguments") : 0;
}

std::int64_t chat_message_bytes(const JsonObject& message) {
  const auto part = [](const JsonObject& item) { return text_bytes(item, "text"); };
  const auto call = [](const JsonObject& item) { return function_bytes(item, "function"); };
  const std::int64_t named = text_bytes(message, "reasoning_content");
  const std::int64_t reasoning = named > 0 ? named : text_bytes(message, "reasoning");
  return text_bytes(message, "content") + sum_members(message, "content", part) +
         text_bytes(message, "refusal") + sum_members(message, "tool_calls", call) +
         function_bytes(message, "function_call") + reasoning;
}

std::int64_t choice_bytes(const JsonObject& choice) {
  const auto message = object_member(choice, "message");
  return text_bytes(choice, "text") + (message ? chat_message_bytes(*message) : 0);
}

std::int64_t output_item_bytes(const JsonObject& item) {
  const auto part = [](const JsonObject& object) {
    return text_bytes(object, "text") + text_bytes(object, "refusal");
  };
  return sum_members(item, "content", part) + sum_members(item, "summary", part) +
         text_bytes(item, "arguments") + text_bytes(item, "input");
}

std::int64_t content_block_bytes(const JsonObject& block) {
  const auto input = member(block, "input");
  const auto arguments = input ? static_cast<std::int64_t>(simdjson::minify(*input).size()) : 0;
  return text_bytes(block, "text") + text_bytes(block, "thinking") + arguments;
}

std::int64_t generated_bytes(Protocol protocol, const JsonObject& root) {
  switch (protocol) {
    case Protocol::chat:
    case Protocol::completions: return sum_members(root, "choices", choice_bytes);
    case Protocol::responses: return sum_members(root, "output", output_item_bytes);
    case Protocol::messages: return sum_members(root, "content", content_block_bytes);
    case Protocol::embeddings: return 0;
  }
  return 0;
}

bool is_complete(Protocol protocol, const JsonObject& root) {
  const auto finished = [](const JsonObject& choice) {
    return string_member(choice, "finish_reason").has_value();
  };
  const auto embedded = [](const JsonObject& item) { return member(item, "embedding").has_value(); };
  const auto status = string_member(root, "status");
  switch (protocol) {
    case Protocol::chat:
    case Protocol::completions: return all_members(root, "choices", finished);
    case Protocol::responses: return status == "completed" || status == "incomplete";
    case Protocol::messages: return string_member(root, "stop_reason").has_value();
    case Protocol::embeddings: return all_members(root, "data", embedded);
  }
  return false;
}

bool is_error(Protocol protocol, const JsonObject& root) {
  const auto error = member(root, "error");
  if (error && (as_object(*error) || !as_string(*error).value_or("").empty())) return true;
  if (string_member(root, "object") == "error" || string_member(root, "type") == "error") return true;
  return protocol == Protocol::responses && string_member(root, "status") == "failed";
}

}  // namespace

Result<ReplyFacts> read_reply(Protocol protocol, std::string_view body, JsonParser& json) {
  const JsonDocument document(json, body);
  if (!document.valid()) return Error{ErrorCode::upstream_error, "the upstream's answer is not JSON"};
  const auto root = as_object(document.root());
  if (!root) return Error{ErrorCode::upstream_error, "the upstream's answer is not a JSON object"};
  ReplyFacts facts;
  if (const auto usage = object_member(*root, "usage")) {
    facts.usage = to_usage(protocol, read_counts(protocol, *usage));
  }
  facts.content_bytes = generated_bytes(protocol, *root);
  facts.is_error = is_error(protocol, *root);
  facts.complete = !facts.is_error && is_complete(protocol, *root);
  return facts;
}

}  // namespace sentinel::stream
