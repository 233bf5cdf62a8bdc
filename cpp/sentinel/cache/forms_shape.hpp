// The members that answers of chat and completions are known to have: what both directions of forms agree on.
//
// Contract: whatever is not named here is unknown, and an answer that has it is served in its own form only.
// Members that are read as `quiet_*` may be there only without saying anything (null, or an empty list).
// Cost: none. Thread rule: constants. Failure rule: none.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>

#include "sentinel/cache/forms_json.hpp"

namespace sentinel::cache::shape {

constexpr std::size_t kMaxChoices = 256;
constexpr std::size_t kMaxToolCalls = 256;

// A chunk or a body. `obfuscation` is padding of chunks.
constexpr std::array<std::string_view, 11> kEnvelope = {
    "id",      "object", "created",     "model",           "service_tier",      "system_fingerprint",
    "choices", "usage",  "obfuscation", "prompt_logprobs", "kv_transfer_params"};

// A choice; `body` is its delta, message or text.
constexpr std::array<std::string_view, 7> choice_names(std::string_view body) {
  return {"index", body, "logprobs", "finish_reason", "stop_reason", "matched_stop", "token_ids"};
}

// A message or a delta.
constexpr std::array<std::string_view, 9> kMessage = {"role",       "content",           "refusal",
                                                      "tool_calls", "function_call",     "annotations",
                                                      "audio",      "reasoning_content", "reasoning"};

constexpr std::array<std::string_view, 4> kToolCall = {"index", "id", "type", "function"};
constexpr std::array<std::string_view, 2> kFunction = {"name", "arguments"};

// The lists of a choice's log probabilities.
constexpr std::array<std::string_view, 2> kChatLogprobs = {"content", "refusal"};
constexpr std::array<std::string_view, 4> kTextLogprobs = {"tokens", "token_logprobs", "top_logprobs",
                                                           "text_offset"};

// Absent, null or an empty list.
inline bool is_quiet(std::string_view value) {
  if (value.empty() || raw::is_null(value)) return true;
  const auto items = raw::items_of(value);
  return items && items->empty();
}

inline bool all_quiet(std::initializer_list<std::string_view> values) {
  for (const std::string_view value : values) {
    if (!is_quiet(value)) return false;
  }
  return true;
}

inline bool is_text_or_null(std::string_view value) {
  return value.empty() || raw::is_null(value) || raw::is_string(value);
}

// Writes an object member by member; members without a value are left out.
class ObjectText {
 public:
  explicit ObjectText(std::string& out) : out_(out) { out_ += '{'; }
  ObjectText(const ObjectText&) = delete;
  ObjectText& operator=(const ObjectText&) = delete;

  void add(std::string_view name, std::string_view value) {
    if (value.empty()) return;
    out_ += first_ ? "\"" : ",\"";
    first_ = false;
    out_ += name;
    out_ += "\":";
    raw::append_compact(out_, value);
  }

  void add_string(std::string_view name, std::string_view inside) {
    std::string quoted = "\"";
    quoted += inside;
    quoted += '"';
    add(name, quoted);
  }

  void close() { out_ += '}'; }

 private:
  std::string& out_;
  bool first_ = true;
};

}  // namespace sentinel::cache::shape
