#include "sentinel/cache/storable.hpp"

#include <algorithm>
#include <array>
#include <cassert>

#include "sentinel/cache/embeddings.hpp"
#include "sentinel/cache/forms_json.hpp"
#include "sentinel/stream/json_dom.hpp"
#include "sentinel/stream/sse_parser.hpp"

namespace sentinel::cache {
namespace {

using stream::as_array;
using stream::as_object;
using stream::as_string;
using stream::JsonArray;
using stream::JsonElement;
using stream::JsonObject;
using stream::Protocol;

// Endings that leave an answer whole: OpenAI's, and what others call the same.
constexpr std::array<std::string_view, 9> kGoodEndings = {"stop",          "length",     "tool_calls",
                                                          "function_call", "eos",        "end_turn",
                                                          "stop_sequence", "max_tokens", "model_length"};

// What a provider attaches when it has itself searched or run something for the answer.
constexpr std::array<std::string_view, 4> kProviderTools = {"annotations", "executed_tools", "citations",
                                                            "search_results"};

constexpr std::size_t kMaxChoices = 256;

bool contains(std::span<const std::string_view> list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool is_textual(Protocol protocol) { return protocol == Protocol::chat || protocol == Protocol::completions; }

bool is_null(const JsonElement& value) { return value.type() == simdjson::dom::element_type::NULL_VALUE; }

// Null, "", [] and {} say nothing.
bool says_something(const JsonElement& value) {
  if (is_null(value)) return false;
  if (const auto array = as_array(value)) return array->size() > 0;
  if (const auto object = as_object(value)) return object->size() > 0;
  const auto text = as_string(value);
  return !text || !text->empty();
}

bool is_error(std::string_view key, const JsonElement& value) {
  if (key == "error") return as_object(value).has_value() || !as_string(value).value_or("").empty();
  return (key == "object" || key == "type") && as_string(value) == "error";
}

// Reads one answer: its body, or its events one after the other. The first reason against it stays.
class Judge {
 public:
  explicit Judge(Protocol protocol) : protocol_(protocol) {}

  void refuse(const char* reason) {
    if (verdict_.reason[0] == '\0') verdict_.reason = reason;
  }

  // True when the object holds usage and nothing else of the answer.
  bool read(const JsonObject& root) {
    std::optional<std::size_t> choices;
    bool has_usage = false;
    for (const auto [key, value] : root) {
      if (key == "choices") {
        if (const auto array = as_array(value)) choices = read_choices(*array);
      } else if (key == "usage") {
        has_usage = read_usage(value);
      } else {
        read_common(key, value);
      }
    }
    return choices == std::size_t{0} && has_usage;
  }

  void keep_range(ByteRange range) { verdict_.usage_ranges.push_back(range); }

  Storable verdict() && {
    if (finished_.empty()) refuse("the answer has no choice");
    if (!std::all_of(finished_.begin(), finished_.end(), [](char ended) { return ended != 0; })) {
      refuse("a choice has not ended");
    }
    verdict_.store = verdict_.reason[0] == '\0';
    return std::move(verdict_);
  }

 private:
  // Members that mean the same wherever they stand: root, choice, message and delta.
  void read_common(std::string_view key, const JsonElement& value) {
    if (is_error(key, value)) refuse("the answer tells of an error");
    if (contains(kProviderTools, key) && says_something(value))
      refuse("the provider ran a tool for the answer");
    if (key == "content_filter_results") read_filter(value);
  }

  // Azure: {"hate": {"filtered": false, ...}, ...}.
  void read_filter(const JsonElement& value) {
    const auto results = as_object(value);
    if (!results) return;
    for (const auto [name, element] : *results) {
      const auto result = as_object(element);
      if (result && stream::member_as<bool>(*result, "filtered") == true) refuse("the answer was filtered");
    }
  }

  bool read_usage(const JsonElement& value) {
    const auto object = as_object(value);
    if (!object) return false;
    if (const auto usage = to_usage(protocol_, stream::read_counts(protocol_, *object)))
      verdict_.usage = usage;
    return true;
  }

  std::size_t read_choices(const JsonArray& choices) {
    std::size_t position = 0;
    for (const JsonElement element : choices) {
      const auto choice = as_object(element);
      if (choice) {
        read_choice(*choice, position);
      } else {
        refuse("a choice is no object");
      }
      ++position;
    }
    return position;
  }

  void read_choice(const JsonObject& choice, std::size_t position) {
    char* const ended = find_choice(choice, position);
    if (ended == nullptr) return refuse("the answer has too many choices");
    for (const auto [key, value] : choice) {
      if (key == "finish_reason") {
        read_ending(*ended, value);
      } else if (key == "message" || key == "delta") {
        if (const auto message = as_object(value)) read_message(*message);
      } else {
        read_common(key, value);
      }
    }
  }

  // A choice that never comes stays unfinished: its place opens with the first of a higher index.
  char* find_choice(const JsonObject& choice, std::size_t position) {
    const auto element = stream::member(choice, "index");
    const auto count = element ? stream::as_count(*element) : std::nullopt;
    const std::size_t index = count ? static_cast<std::size_t>(*count) : position;
    if (index >= kMaxChoices) return nullptr;
    if (index >= finished_.size()) finished_.resize(index + 1, 0);
    return &finished_[index];
  }

  void read_ending(char& ended, const JsonElement& value) {
    if (is_null(value)) return;
    const auto ending = as_string(value);
    if (ending == "content_filter") return refuse("the answer was filtered");
    if (!ending || !contains(kGoodEndings, *ending))
      return refuse("a choice ended for a reason we do not know as good");
    ended = 1;
  }

  void read_message(const JsonObject& message) {
    for (const auto [key, value] : message) {
      if (key == "tool_calls") {
        if (const auto calls = as_array(value)) read_tool_calls(*calls);
      } else if (key == "function_call") {
        verdict_.has_tool_calls = verdict_.has_tool_calls || says_something(value);
      } else {
        read_common(key, value);
      }
    }
  }

  void read_tool_calls(const JsonArray& calls) {
    for (const JsonElement element : calls) {
      verdict_.has_tool_calls = true;
      const auto call = as_object(element);
      if (!call || !is_clients(*call)) refuse("the provider ran a tool for the answer");
    }
  }

  // Later pieces of a streamed call name no type.
  static bool is_clients(const JsonObject& call) {
    for (const auto [key, value] : call) {
      if (key != "type" || is_null(value)) continue;
      const auto type = as_string(value);
      if (type != "function" && type != "custom" && type != "") return false;
    }
    return true;
  }

  Protocol protocol_;
  std::vector<char> finished_;  // by index of the choice
  Storable verdict_;
};

Storable refused(const char* reason) {
  Storable verdict;
  verdict.reason = reason;
  return verdict;
}

// Feeds the events of one stream to a judge.
class StreamReader {
 public:
  StreamReader(Judge& judge, std::string_view bytes, stream::JsonParser& json)
      : judge_(judge), bytes_(bytes), json_(json) {}

  void read() {
    stream::SseParser events(bytes_.size());
    const auto take = [this](const stream::SseEvent& event) { read_event(event); };
    if (!events.feed(bytes_, take)) judge_.refuse("the stream cannot be read");
    if (!done_) judge_.refuse("the stream has no terminal event");
  }

 private:
  void read_event(const stream::SseEvent& event) {
    const std::string_view data = raw::trim(event.data);
    if (data.empty()) return;
    if (done_) return judge_.refuse("an event follows the terminal one");
    if (data == "[DONE]") {
      done_ = true;
      return;
    }
    if (event.event == "error") return judge_.refuse("the answer tells of an error");
    const stream::JsonDocument document(json_, data);
    const auto root = document.valid() ? as_object(document.root()) : std::nullopt;
    if (!root) return judge_.refuse("an event cannot be read");
    if (judge_.read(*root)) judge_.keep_range(range_of(event.raw));
  }

  // All bytes are fed at once, so every block is reported where it lies.
  ByteRange range_of(std::string_view block) const {
    const auto begin = static_cast<std::size_t>(block.data() - bytes_.data());
    assert(begin + block.size() <= bytes_.size());
    return {begin, begin + block.size()};
  }

  Judge& judge_;
  std::string_view bytes_;
  stream::JsonParser& json_;
  bool done_ = false;
};

}  // namespace

Storable storable_plain(Protocol protocol, std::string_view body, stream::JsonParser& json) {
  if (!is_textual(protocol)) return refused("answers of this protocol are not kept");
  const stream::JsonDocument document(json, body);
  const auto root = document.valid() ? as_object(document.root()) : std::nullopt;
  if (!root) return refused("the answer is not a JSON object");
  Judge judge(protocol);
  judge.read(*root);
  return std::move(judge).verdict();
}

Storable storable_stream(Protocol protocol, std::string_view bytes, stream::JsonParser& json) {
  if (!is_textual(protocol)) return refused("answers of this protocol are not kept");
  Judge judge(protocol);
  StreamReader(judge, bytes, json).read();
  return std::move(judge).verdict();
}

Storable storable_embeddings(std::string_view body, std::size_t asked_items, stream::JsonParser& json) {
  const auto reply = split_reply(body, asked_items, json);
  if (!reply) return refused("the answer is not one vector for each item");
  Storable verdict;
  verdict.store = true;
  if (reply->usage) verdict.usage = stream::Usage{.prompt = reply->usage->prompt_tokens};
  return verdict;
}

std::string without_ranges(std::string_view bytes, std::span<const ByteRange> ranges) {
  std::string kept;
  kept.reserve(bytes.size());
  std::size_t at = 0;
  for (const ByteRange& range : ranges) {
    assert(at <= range.begin && range.begin <= range.end && range.end <= bytes.size());
    kept.append(bytes.substr(at, range.begin - at));
    at = range.end;
  }
  kept.append(bytes.substr(at));
  return kept;
}

}  // namespace sentinel::cache
