// A JSON value that owns itself, for what is kept of a stream after the document it came in is gone.
//
// Contract: an object's keys are unique and in the order of their first appearance. Numbers keep their kind
// (signed, unsigned beyond that, real). Cost: 40 bytes a value, 72 a member, and their texts; look-up in an
// object is linear, as the objects of a chat stream are small. Thread rule: none of its own. Failure rule: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace sentinel::stream {

struct JsonMember;

struct JsonValue {
  using Array = std::vector<JsonValue>;
  using Object = std::vector<JsonMember>;
  std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, Array, Object> held;

  bool is_null() const { return held.index() == 0; }
  template <class T>
  T* as() {
    return std::get_if<T>(&held);
  }
  template <class T>
  const T* as() const {
    return std::get_if<T>(&held);
  }

  friend bool operator==(const JsonValue& left, const JsonValue& right);
};

struct JsonMember {
  std::string key;
  JsonValue value;

  friend bool operator==(const JsonMember&, const JsonMember&) = default;
};

inline bool operator==(const JsonValue& left, const JsonValue& right) { return left.held == right.held; }

JsonValue* find_member(JsonValue::Object& object, std::string_view key);  // nullptr: there is none
const JsonValue* find_member(const JsonValue::Object& object, std::string_view key);

// The member's value, made as null if there is none.
JsonValue& member_of(JsonValue::Object& object, std::string_view key);

// About the memory that a value takes.
std::size_t size_of(const JsonValue& value);

}  // namespace sentinel::stream
