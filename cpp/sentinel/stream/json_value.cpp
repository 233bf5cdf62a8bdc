#include "sentinel/stream/json_value.hpp"

#include <algorithm>

namespace sentinel::stream {

const JsonValue* find_member(const JsonValue::Object& object, std::string_view key) {
  const auto found = std::find_if(object.begin(), object.end(),
                                  [key](const JsonMember& member) { return member.key == key; });
  return found == object.end() ? nullptr : &found->value;
}

JsonValue* find_member(JsonValue::Object& object, std::string_view key) {
  return const_cast<JsonValue*>(find_member(static_cast<const JsonValue::Object&>(object), key));
}

JsonValue& member_of(JsonValue::Object& object, std::string_view key) {
  if (JsonValue* const found = find_member(object, key)) return *found;
  return object.emplace_back(JsonMember{std::string(key), {}}).value;
}

std::size_t size_of(const JsonValue& value) {
  std::size_t bytes = sizeof(JsonValue);
  if (const auto* text = value.as<std::string>()) bytes += text->size();
  if (const auto* items = value.as<JsonValue::Array>()) {
    for (const JsonValue& item : *items) bytes += size_of(item);
  }
  if (const auto* members = value.as<JsonValue::Object>()) {
    for (const JsonMember& member : *members)
      bytes += sizeof(std::string) + member.key.size() + size_of(member.value);
  }
  return bytes;
}

}  // namespace sentinel::stream
