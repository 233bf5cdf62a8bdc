#include "sentinel/stream/accumulator.hpp"

#include <algorithm>
#include <cassert>

#include "sentinel/base/utf8.hpp"
#include "sentinel/stream/json_dom.hpp"

namespace sentinel::stream {
namespace {

using Kind = StreamEvent::Kind;

// So that a search by index stays short whatever indexes a stream makes up.
constexpr std::size_t kMaxChoices = 256;
constexpr std::size_t kMaxToolCalls = 256;
constexpr std::size_t kMaxErrorBytes = 1024;
constexpr std::int64_t kLegacyFunctionCall = -1;

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::int64_t index_or(const std::optional<JsonElement>& element, std::int64_t otherwise) {
  if (!element) return otherwise;
  return as_count(*element).value_or(otherwise);
}

std::int64_t length(const std::optional<JsonArray>& array) {
  return array ? static_cast<std::int64_t>(array->size()) : 0;
}

}  // namespace

// Takes one JSON event into the accumulator. Lives for one event.
class EventReader {
 public:
  EventReader(StreamAccumulator& to, std::string_view event_name) : to_(to), event_name_(event_name) {}

  Kind read(const JsonObject& root) {
    const Kind kind = read_by_protocol(root);
    if (generated_) ++to_.content_deltas_;
    return kind;
  }

  Kind fail(std::string_view message) {
    if (message.empty()) message = "the provider reported an error";
    to_.error_message_.assign(utf8::truncate(message, kMaxErrorBytes));
    to_.failed_ = true;
    return Kind::error;
  }

 private:
  Kind read_by_protocol(const JsonObject& root) {
    if (event_name_ == "error") return read_error(root);
    switch (to_.protocol_) {
      case Protocol::responses: return read_responses(root);
      case Protocol::messages: return read_messages(root);
      case Protocol::chat:
      case Protocol::completions:
      case Protocol::embeddings: return read_chat(root);
    }
    return Kind::other;
  }

  // {"error": {...}}, {"error": "text"} or the message beside the type.
  Kind read_error(const JsonObject& root) {
    const auto error = member(root, "error");
    const std::string_view nested = error ? error_text(*error) : std::string_view{};
    return fail(nested.empty() ? string_member(root, "message").value_or("") : nested);
  }

  Kind kind_so_far() const { return generated_ ? Kind::content : Kind::other; }

  // chat and completions

  Kind read_chat(const JsonObject& root) {
    std::optional<JsonArray> choices;
    bool has_usage = false;
    bool has_error = false;
    for (const auto [key, value] : root) {
      if (key == "choices") {
        choices = as_array(value);
      } else if (key == "usage") {
        has_usage = take_usage(value);
      } else if (key == "error") {
        has_error = as_object(value).has_value() || !as_string(value).value_or("").empty();
      } else if (key == "object") {
        has_error = has_error || as_string(value) == "error";
      }
    }
    std::int64_t position = 0;
    if (choices) {
      for (const JsonElement choice : *choices) read_choice(choice, position++);
    }
    if (has_error) return read_error(root);
    if (choices && position == 0 && has_usage) return Kind::usage_only;
    return kind_so_far();
  }

  bool take_usage(const JsonElement& value) {
    const auto object = as_object(value);
    if (!object) return false;
    set_usage(read_counts(to_.protocol_, *object), false);
    return true;
  }

  void set_usage(const TokenCounts& counts, bool estimated) {
    const auto usage = to_usage(to_.protocol_, counts);
    if (!usage) return;
    to_.usage_ = *usage;
    to_.usage_known_ = true;
    to_.usage_estimated_ = estimated;
  }

  void read_choice(const JsonElement& element, std::int64_t position) {
    const auto object = as_object(element);
    if (!object) return;
    Choice* const choice = find_choice(index_or(member(*object, "index"), position));
    for (const auto [key, value] : *object) {
      if (key == "delta") {
        if (const auto delta = as_object(value)) read_delta(choice, *delta);
      } else if (key == "text") {
        generate(choice ? &choice->content : nullptr, as_string(value));
      } else if (key == "finish_reason") {
        set_once(choice ? &choice->finish_reason : nullptr, as_string(value));
      } else if (key == "logprobs" && choice) {
        if (const auto logprobs = as_object(value)) choice->logprob_tokens += count_logprobs(*logprobs);
      }
    }
  }

  static std::int64_t count_logprobs(const JsonObject& logprobs) {
    return length(array_member(logprobs, "content")) + length(array_member(logprobs, "refusal")) +
           length(array_member(logprobs, "tokens"));
  }

  void read_delta(Choice* choice, const JsonObject& delta) {
    bool has_reasoning = false;  // some send it under both names
    for (const auto [key, value] : delta) {
      if (key == "content") {
        read_content(choice, value);
      } else if (key == "role") {
        set_once(choice ? &choice->role : nullptr, as_string(value));
      } else if (key == "tool_calls") {
        if (const auto calls = as_array(value)) read_tool_calls(choice, *calls);
      } else if (key == "refusal") {
        generate(choice ? &choice->refusal : nullptr, as_string(value));
      } else if (key == "reasoning_content" || key == "reasoning") {
        const auto text = as_string(value);
        if (!has_reasoning) generate(choice ? &choice->reasoning : nullptr, text);
        has_reasoning = has_reasoning || text.has_value();
      } else if (key == "function_call") {
        const auto call = as_object(value);
        ToolCall* const tool = call ? find_tool(choice, kLegacyFunctionCall) : nullptr;
        set_once(tool ? &tool->type : nullptr, "function_call");
        if (call) read_function(tool, *call);
      }
    }
  }

  void read_content(Choice* choice, const JsonElement& value) {
    if (const auto parts = as_array(value)) {  // Mistral: typed parts
      for (const JsonElement element : *parts) {
        const auto part = as_object(element);
        if (part) generate(choice ? &choice->content : nullptr, string_member(*part, "text"));
      }
      return;
    }
    generate(choice ? &choice->content : nullptr, as_string(value));
  }

  void read_tool_calls(Choice* choice, const JsonArray& calls) {
    std::int64_t position = 0;
    for (const JsonElement element : calls) {
      const auto call = as_object(element);
      if (!call) continue;
      ToolCall* const tool = find_tool(choice, index_or(member(*call, "index"), position));
      ++position;
      set_once(tool ? &tool->id : nullptr, string_member(*call, "id"));
      set_once(tool ? &tool->type : nullptr, string_member(*call, "type"));
      if (const auto function = object_member(*call, "function")) read_function(tool, *function);
    }
  }

  void read_function(ToolCall* tool, const JsonObject& function) {
    set_once(tool ? &tool->name : nullptr, string_member(function, "name"));
    generate(tool ? &tool->arguments : nullptr, string_member(function, "arguments"));
  }

  // responses

  Kind read_responses(const JsonObject& root) {
    const std::string_view type = string_member(root, "type").value_or(event_name_);
    if (type.ends_with(".delta")) return read_response_delta(type, root);
    if (type == "response.output_item.added") return read_response_item(root);
    if (type == "error") return read_error(root);
    const bool failed = type == "response.failed";
    if (!failed && type != "response.completed" && type != "response.incomplete") return untyped_error(root);
    if (const auto response = object_member(root, "response")) read_response_end(*response);
    if (failed && to_.error_message_.empty()) fail({});
    to_.failed_ = to_.failed_ || failed;
    to_.finished_ = true;
    return Kind::terminal;
  }

  // An error in chat's shape, as gateways in between write it whatever the protocol.
  Kind untyped_error(const JsonObject& root) {
    if (string_member(root, "type").value_or("").empty() && object_member(root, "error"))
      return read_error(root);
    return Kind::other;
  }

  void read_response_end(const JsonObject& response) {
    if (const auto usage = member(response, "usage")) take_usage(*usage);
    if (Choice* const choice = find_choice(0)) {
      set_once(&choice->finish_reason, string_member(response, "status"));
    }
    const auto error = object_member(response, "error");
    if (error) fail(string_member(*error, "message").value_or(""));
  }

  Kind read_response_delta(std::string_view type, const JsonObject& root) {
    const auto text = string_member(root, "delta");
    Choice* const choice = find_choice(0);
    if (type == "response.output_text.delta") {
      generate(choice ? &choice->content : nullptr, text);
    } else if (type == "response.refusal.delta") {
      generate(choice ? &choice->refusal : nullptr, text);
    } else if (type == "response.function_call_arguments.delta" ||
               type == "response.custom_tool_call_input.delta") {
      ToolCall* const tool = find_tool(choice, index_or(member(root, "output_index"), 0));
      generate(tool ? &tool->arguments : nullptr, text);
    } else if (type.starts_with("response.reasoning")) {
      generate(choice ? &choice->reasoning : nullptr, text);
    } else {
      generate(nullptr, text);  // code, transcripts, what comes next: counted, not kept
    }
    return kind_so_far();
  }

  Kind read_response_item(const JsonObject& root) {
    const auto item = object_member(root, "item");
    if (!item) return Kind::other;
    Choice* const choice = find_choice(0);
    set_once(choice ? &choice->role : nullptr, string_member(*item, "role"));
    const std::string_view type = string_member(*item, "type").value_or("");
    if (type != "function_call" && type != "custom_tool_call") return Kind::other;
    ToolCall* const tool = find_tool(choice, index_or(member(root, "output_index"), 0));
    set_once(tool ? &tool->id : nullptr, string_member(*item, "call_id"));
    set_once(tool ? &tool->type : nullptr, type);
    set_once(tool ? &tool->name : nullptr, string_member(*item, "name"));
    return Kind::other;
  }

  // messages

  Kind read_messages(const JsonObject& root) {
    const std::string_view type = string_member(root, "type").value_or(event_name_);
    if (type == "content_block_delta") return read_block_delta(root);
    if (type == "content_block_start") return read_block_start(root);
    if (type == "message_start") return read_message_start(root);
    if (type == "message_delta") return read_message_delta(root);
    if (type == "error") return read_error(root);
    if (type != "message_stop") return untyped_error(root);
    to_.finished_ = true;
    return Kind::terminal;
  }

  Kind read_message_start(const JsonObject& root) {
    const auto message = object_member(root, "message");
    if (!message) return Kind::other;
    if (Choice* const choice = find_choice(0)) set_once(&choice->role, string_member(*message, "role"));
    merge_usage(*message, true);
    return Kind::other;
  }

  Kind read_message_delta(const JsonObject& root) {
    const auto delta = object_member(root, "delta");
    Choice* const choice = find_choice(0);
    if (delta) set_once(choice ? &choice->finish_reason : nullptr, string_member(*delta, "stop_reason"));
    merge_usage(root, false);
    return Kind::other;
  }

  void merge_usage(const JsonObject& holder, bool estimated) {
    const auto object = object_member(holder, "usage");
    if (!object) return;
    const TokenCounts counts = read_counts(Protocol::messages, *object);
    to_.counts_.merge(counts);
    set_usage(to_.counts_, estimated || (to_.usage_estimated_ && !counts.completion));
  }

  Kind read_block_start(const JsonObject& root) {
    const auto block = object_member(root, "content_block");
    if (!block) return Kind::other;
    Choice* const choice = find_choice(0);
    const std::string_view type = string_member(*block, "type").value_or("");
    generate(choice ? &choice->content : nullptr, string_member(*block, "text"));
    if (!type.ends_with("tool_use")) return kind_so_far();
    ToolCall* const tool = find_tool(choice, index_or(member(root, "index"), 0));
    set_once(tool ? &tool->id : nullptr, string_member(*block, "id"));
    set_once(tool ? &tool->type : nullptr, type);
    set_once(tool ? &tool->name : nullptr, string_member(*block, "name"));
    return kind_so_far();
  }

  Kind read_block_delta(const JsonObject& root) {
    const auto delta = object_member(root, "delta");
    if (!delta) return Kind::other;
    Choice* const choice = find_choice(0);
    const std::string_view type = string_member(*delta, "type").value_or("");
    if (type == "text_delta") {
      generate(choice ? &choice->content : nullptr, string_member(*delta, "text"));
    } else if (type == "thinking_delta") {
      generate(choice ? &choice->reasoning : nullptr, string_member(*delta, "thinking"));
    } else if (type == "input_json_delta") {
      ToolCall* const tool = find_tool(choice, index_or(member(root, "index"), 0));
      generate(tool ? &tool->arguments : nullptr, string_member(*delta, "partial_json"));
    }
    return kind_so_far();
  }

  // keeping within bounds; a null place is one that did not fit

  bool afford(std::size_t bytes) {
    if (to_.truncated_) return false;
    if (bytes <= to_.max_kept_bytes_ - to_.kept_bytes_) return true;
    to_.truncated_ = true;
    return false;
  }

  void keep(std::string* place, std::string_view text) {
    if (place == nullptr || !afford(text.size())) return;
    place->append(text);
    to_.kept_bytes_ += text.size();
  }

  void set_once(std::string* place, std::optional<std::string_view> text) {
    if (place != nullptr && place->empty() && text) keep(place, *text);
  }

  void generate(std::string* place, std::optional<std::string_view> text) {
    if (!text || text->empty()) return;
    generated_ = true;
    to_.content_bytes_ += static_cast<std::int64_t>(text->size());
    keep(place, *text);
  }

  Choice* find_choice(std::int64_t index) { return find(to_.choices_, index, kMaxChoices); }

  ToolCall* find_tool(Choice* choice, std::int64_t index) {
    return choice ? find(choice->tool_calls, index, kMaxToolCalls) : nullptr;
  }

  template <class T>
  T* find(std::vector<T>& list, std::int64_t index, std::size_t most) {
    const auto found =
        std::find_if(list.begin(), list.end(), [index](const T& t) { return t.index == index; });
    if (found != list.end()) return &*found;
    if (list.size() == most) to_.truncated_ = true;
    if (!afford(sizeof(T))) return nullptr;
    T& fresh = list.emplace_back();
    fresh.index = index;
    to_.kept_bytes_ += sizeof(T);
    return &fresh;
  }

  StreamAccumulator& to_;
  std::string_view event_name_;
  bool generated_ = false;
};

StreamAccumulator::StreamAccumulator(Protocol protocol, Bounds bounds, JsonParser& json)
    : protocol_(protocol),
      sse_(bounds.max_event_bytes),
      json_(&json),
      max_kept_bytes_(bounds.max_kept_bytes) {
  assert(protocol != Protocol::embeddings && "embeddings are not streamed");
}

const Usage* StreamAccumulator::usage() const { return usage_known_ ? &usage_ : nullptr; }

Status StreamAccumulator::read(const SseEvent& event, StreamEvent& out) {
  out.raw = event.raw;
  if (!event.has_data || finished_) return Done{};
  ++events_;
  const std::string_view data = trim(event.data);
  if (data.empty()) return Done{};
  if (data == "[DONE]") {
    finished_ = protocol_ == Protocol::chat || protocol_ == Protocol::completions;
    if (finished_) out.kind = Kind::terminal;
    return Done{};
  }
  EventReader reader(*this, event.event);
  const JsonDocument document(*json_, data);
  const auto root = document.valid() ? as_object(document.root()) : std::nullopt;
  if (root) {
    out.kind = reader.read(*root);
  } else if (event.event == "error") {
    out.kind = reader.fail(utf8::valid(data) ? data : std::string_view{});
  } else {
    return Error{ErrorCode::upstream_error, "event " + std::to_string(events_) + " is not a JSON object"};
  }
  if (out.kind == Kind::error || (out.kind == Kind::terminal && failed_)) out.error_message = error_message_;
  if (usage_estimated_) usage_.completion = std::max(usage_.completion, content_deltas_);
  return Done{};
}

}  // namespace sentinel::stream
