// The inside of JsonParser, for the sources of this folder only: bytes to a simdjson document, and safe
// look-ups.
//
// Contract: a Document's elements and strings live as long as it does, and only one Document of a parser at a
// time. JSON that the grammar allows but simdjson refuses (numbers out of any range, lone surrogate escapes)
// is read too: such a number reads as null, such an escape as U+FFFD. Cost: one copy into padded memory and
// one parse; the second look only after a refusal.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "sentinel/stream/json.hpp"
#include "sentinel/stream/protocol.hpp"
#include "sentinel/stream/token_counts.hpp"

namespace sentinel::stream {

using JsonElement = simdjson::dom::element;
using JsonObject = simdjson::dom::object;
using JsonArray = simdjson::dom::array;

class JsonDocument {
 public:
  JsonDocument(JsonParser& parser, std::string_view text);
  ~JsonDocument();
  JsonDocument(const JsonDocument&) = delete;
  JsonDocument& operator=(const JsonDocument&) = delete;

  bool valid() const { return valid_; }
  const JsonElement& root() const { return root_; }

 private:
  JsonParser& parser_;
  JsonElement root_;
  bool valid_ = false;
};

// Absent, of another type and null are all empty. Inline: a handful of them runs for every event of every
// stream.
template <class T>
std::optional<T> as(const JsonElement& element) {
  T value;
  if (element.get<T>().get(value) != simdjson::SUCCESS) return std::nullopt;
  return value;
}

inline std::optional<JsonObject> as_object(const JsonElement& element) { return as<JsonObject>(element); }
inline std::optional<JsonArray> as_array(const JsonElement& element) { return as<JsonArray>(element); }
inline std::optional<std::string_view> as_string(const JsonElement& element) {
  return as<std::string_view>(element);
}
std::optional<std::int64_t> as_count(const JsonElement& element);  // 0 to 2^53, whole

inline std::optional<JsonElement> member(const JsonObject& object, std::string_view key) {
  JsonElement value;
  if (object.at_key(key).get(value) != simdjson::SUCCESS) return std::nullopt;
  return value;
}

template <class T>
std::optional<T> member_as(const JsonObject& object, std::string_view key) {
  const auto found = member(object, key);
  return found ? as<T>(*found) : std::nullopt;
}

inline std::optional<std::string_view> string_member(const JsonObject& object, std::string_view key) {
  return member_as<std::string_view>(object, key);
}
inline std::optional<JsonObject> object_member(const JsonObject& object, std::string_view key) {
  return member_as<JsonObject>(object, key);
}
inline std::optional<JsonArray> array_member(const JsonObject& object, std::string_view key) {
  return member_as<JsonArray>(object, key);
}

TokenCounts read_counts(Protocol protocol, const JsonObject& usage);

// The text of an `error` member, whatever shape a provider gives it; empty when there is none.
std::string_view error_text(const JsonElement& error);

}  // namespace sentinel::stream
