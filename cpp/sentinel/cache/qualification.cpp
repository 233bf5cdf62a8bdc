#include "sentinel/cache/qualification.hpp"

#include <string_view>

namespace sentinel::cache {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;
using stream::Protocol;

bool is_text(element value, std::string_view wanted) {
  std::string_view text;
  return value.get_string().get(text) == simdjson::SUCCESS && text == wanted;
}

bool is_set(element value) {
  bool flag = true;  // anything but false and null is taken for a yes
  return !value.is_null() && (value.get_bool().get(flag) != simdjson::SUCCESS || flag);
}

bool exceeds(element value, double most) {
  double number = 0;
  if (value.is_null()) return false;
  return value.get_double().get(number) != simdjson::SUCCESS || number > most;
}

// Run by the application itself, which sends the result back as a message.
bool runs_at_client(element tool) {
  object members;
  element type;
  if (tool.get_object().get(members) != simdjson::SUCCESS) return false;
  if (members["type"].get(type) != simdjson::SUCCESS) return false;
  return is_text(type, "function") || is_text(type, "custom");
}

bool all_run_at_client(element value) {
  array tools;
  if (value.is_null()) return true;
  if (value.get_array().get(tools) != simdjson::SUCCESS) return false;
  for (const element tool : tools) {
    if (!runs_at_client(tool)) return false;
  }
  return true;
}

const char* obstacle(std::string_view name, element value) {
  if (name == "store") return is_set(value) ? "store" : nullptr;
  if (name == "background") return is_set(value) ? "background" : nullptr;
  if (name == "previous_response_id") return value.is_null() ? nullptr : "previous_response_id";
  if (name == "web_search_options") return value.is_null() ? nullptr : "web_search_options";
  if (name == "tools") return all_run_at_client(value) ? nullptr : "provider_tools";
  return nullptr;
}

bool asks_for_variety(Protocol protocol, std::string_view name, element value) {
  if (name == "temperature") return exceeds(value, 0);
  if (name == "n") return exceeds(value, 1);
  return name == "best_of" && protocol == Protocol::completions && exceeds(value, 1);
}

}  // namespace

Qualification qualify(Protocol protocol, object root) {
  if (protocol == Protocol::embeddings) return {};
  if (protocol != Protocol::chat && protocol != Protocol::completions) return {false, false, "protocol"};
  Qualification said;
  for (const auto member : root) {
    said.sampled = said.sampled || asks_for_variety(protocol, member.key, member.value);
    const char* const cause = said.cacheable ? obstacle(member.key, member.value) : nullptr;
    if (cause == nullptr) continue;
    said.cacheable = false;
    said.reason = cause;
  }
  return said;
}

}  // namespace sentinel::cache
