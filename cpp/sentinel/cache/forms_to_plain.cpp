#include <algorithm>

#include "sentinel/cache/forms.hpp"
#include "sentinel/cache/forms_shape.hpp"
#include "sentinel/stream/json_dom.hpp"
#include "sentinel/stream/sse_parser.hpp"

namespace sentinel::cache {
namespace {

using shape::ObjectText;
using stream::Protocol;

// A value that is given once, or again and again in the same words. Null gives way to a value.
bool agree(std::string& kept, std::string_view value) {
  if (value.empty()) return true;
  if (kept.empty() || raw::is_null(kept)) {
    kept = value;
    return true;
  }
  return raw::is_null(value) || kept == value;
}

// Text that comes in pieces: was there a member at all, did it ever hold a string, and what came of it.
struct Text {
  bool member = false;
  bool sent = false;
  std::string inside;

  bool append(std::string_view value) {
    if (value.empty()) return true;
    member = true;
    if (raw::is_null(value)) return true;
    const auto piece = raw::inside(value);
    if (!piece) return false;
    sent = true;
    inside += *piece;
    return true;
  }

  std::string json() const { return sent ? '"' + inside + '"' : std::string(raw::kNull); }
};

// A tool call, or the old `function_call`, which has neither id nor type.
struct Call {
  bool open = false;
  std::string id;
  std::string type;
  std::string name;
  std::string arguments;

  bool read_function(std::string_view function) {
    std::array<std::string_view, shape::kFunction.size()> values;
    if (!raw::read_closed(function, shape::kFunction, values)) return false;
    const auto [name_value, arguments_value] = values;
    open = true;
    return take_name(name_value) && take_arguments(arguments_value);
  }

  // A second name could be a repetition or the rest of the first: not understood.
  bool take_name(std::string_view value) {
    if (!shape::is_text_or_null(value)) return false;
    const std::string_view text = raw::inside(value).value_or("");
    if (text.empty()) return true;
    if (!name.empty()) return false;
    name = text;
    return true;
  }

  bool take_arguments(std::string_view value) {
    if (!shape::is_text_or_null(value)) return false;
    arguments += raw::inside(value).value_or("");
    return true;
  }

  std::string function_json() const {
    std::string json;
    ObjectText object(json);
    object.add_string("name", name);
    object.add_string("arguments", arguments);
    object.close();
    return json;
  }
};

// Log probabilities: parallel lists that grow with the stream.
struct Logprobs {
  struct List {
    bool member = false;
    bool array = false;
    std::string items;
  };

  std::string value;  // "null" until an object came; empty when there was no member
  std::array<List, shape::kTextLogprobs.size()> lists;

  template <std::size_t N>
  bool append(std::string_view logprobs, const std::array<std::string_view, N>& names) {
    if (logprobs.empty()) return true;
    if (raw::is_null(logprobs)) return agree(value, logprobs);
    std::array<std::string_view, N> values;
    if (!raw::read_closed(logprobs, names, values)) return false;
    value = "object";
    for (std::size_t i = 0; i < N; ++i) {
      if (!append_list(lists[i], values[i])) return false;
    }
    return true;
  }

  static bool append_list(List& list, std::string_view array) {
    if (array.empty()) return true;
    list.member = true;
    if (raw::is_null(array)) return true;
    const auto items = raw::items_of(array);
    if (!items) return false;
    list.array = true;
    for (const std::string_view item : *items) {
      if (!list.items.empty()) list.items += ',';
      raw::append_compact(list.items, item);
    }
    return true;
  }

  template <std::size_t N>
  std::string json(const std::array<std::string_view, N>& names) const {
    if (value != "object") return value;
    std::string json;
    ObjectText object(json);
    for (std::size_t i = 0; i < N; ++i) {
      if (lists[i].member) object.add(names[i], lists[i].array ? '[' + lists[i].items + ']' : "null");
    }
    object.close();
    return json;
  }
};

struct Choice {
  std::string role;
  Text content;  // of completions: the text
  Text refusal;
  std::vector<Call> calls;
  Call function;
  Logprobs logprobs;
  std::string finish;
};

// Takes the chunks of one stream and writes the body they amount to.
class PlainAnswer {
 public:
  explicit PlainAnswer(Protocol protocol) : chat_(protocol == Protocol::chat) {}

  bool read(std::string_view chunk) {
    std::array<std::string_view, shape::kEnvelope.size()> values;
    if (!raw::read_closed(chunk, shape::kEnvelope, values)) return false;
    const auto [id, object, created, model, tier, fingerprint, choices, usage, padding, quiet_1, quiet_2] =
        values;
    if (!shape::all_quiet({quiet_1, quiet_2})) return false;
    if (!padding.empty() && !raw::is_string(padding)) return false;
    if (!object.empty() && object != (chat_ ? "\"chat.completion.chunk\"" : "\"text_completion\""))
      return false;
    return read_labels(id, created, model) && read_notes(tier, fingerprint) && read_usage(usage) &&
           read_choices(choices);
  }

  std::optional<std::string> json() const {
    const auto whole = [](const Choice& choice) { return is_whole(choice); };
    if (choices_.empty() || !std::all_of(choices_.begin(), choices_.end(), whole)) return std::nullopt;
    std::string json;
    ObjectText object(json);
    object.add("id", id_);
    object.add("object", chat_ ? "\"chat.completion\"" : "\"text_completion\"");
    object.add("created", created_);
    object.add("model", model_);
    object.add("choices", choices_json());
    object.add("usage", usage_);
    object.add("service_tier", tier_);
    object.add("system_fingerprint", fingerprint_);
    object.close();
    return json;
  }

 private:
  bool read_labels(std::string_view id, std::string_view created, std::string_view model) {
    if (!id.empty() && !raw::is_string(id)) return false;
    if (!model.empty() && !raw::is_string(model)) return false;
    if (!created.empty() && !raw::is_number(created)) return false;
    if (created_.empty()) created_ = created;  // some tell the time of every chunk
    return agree(id_, id) && agree(model_, model);
  }

  bool read_notes(std::string_view tier, std::string_view fingerprint) {
    if (!shape::is_text_or_null(tier) || !shape::is_text_or_null(fingerprint)) return false;
    return agree(tier_, tier) && agree(fingerprint_, fingerprint);
  }

  // Some report their figures so far with every chunk: the last ones are the answer's.
  bool read_usage(std::string_view usage) {
    if (usage.empty() || raw::is_null(usage)) return true;
    if (!raw::is_object(usage)) return false;
    usage_ = usage;
    return true;
  }

  bool read_choices(std::string_view choices) {
    const auto items = raw::items_of(choices);
    if (!items) return false;
    return std::all_of(items->begin(), items->end(),
                       [this](std::string_view item) { return read_choice(item); });
  }

  bool read_choice(std::string_view text) {
    const auto names = shape::choice_names(chat_ ? "delta" : "text");
    std::array<std::string_view, names.size()> values;
    if (!raw::read_closed(text, names, values)) return false;
    const auto [index, body, logprobs, finish, quiet_1, quiet_2, quiet_3] = values;
    if (!shape::all_quiet({quiet_1, quiet_2, quiet_3}) || !shape::is_text_or_null(finish)) return false;
    Choice* const choice = place(choices_, index, shape::kMaxChoices);
    if (choice == nullptr || !agree(choice->finish, finish)) return false;
    if (!chat_)
      return choice->content.append(body) && choice->logprobs.append(logprobs, shape::kTextLogprobs);
    return read_delta(*choice, body) && choice->logprobs.append(logprobs, shape::kChatLogprobs);
  }

  static bool read_delta(Choice& choice, std::string_view delta) {
    std::array<std::string_view, shape::kMessage.size()> values;
    if (!raw::read_closed(delta, shape::kMessage, values)) return false;
    const auto [role, content, refusal, calls, function, quiet_1, quiet_2, quiet_3, quiet_4] = values;
    if (!shape::all_quiet({quiet_1, quiet_2, quiet_3, quiet_4}) || !shape::is_text_or_null(role))
      return false;
    if (!agree(choice.role, role)) return false;
    if (!choice.content.append(content) || !choice.refusal.append(refusal)) return false;
    if (!read_calls(choice, calls)) return false;
    return function.empty() || raw::is_null(function) || choice.function.read_function(function);
  }

  static bool read_calls(Choice& choice, std::string_view calls) {
    if (calls.empty() || raw::is_null(calls)) return true;
    const auto items = raw::items_of(calls);
    if (!items) return false;
    return std::all_of(items->begin(), items->end(),
                       [&choice](std::string_view item) { return read_call(choice, item); });
  }

  static bool read_call(Choice& choice, std::string_view text) {
    std::array<std::string_view, shape::kToolCall.size()> values;
    if (!raw::read_closed(text, shape::kToolCall, values)) return false;
    const auto [index, id, type, function] = values;
    if (!shape::is_text_or_null(id) || !shape::is_text_or_null(type)) return false;
    Call* const call = place(choice.calls, index, shape::kMaxToolCalls);
    if (call == nullptr) return false;
    call->open = true;
    if (id != "\"\"" && !agree(call->id, id)) return false;
    if (type != "\"\"" && !agree(call->type, type)) return false;
    return function.empty() || raw::is_null(function) || call->read_function(function);
  }

  // The place with this index, made when it is new.
  template <class T>
  static T* place(std::vector<T>& list, std::string_view index, std::size_t most) {
    const auto number = raw::small_count(index);
    if (!number || *number >= most) return nullptr;
    if (*number >= list.size()) list.resize(*number + 1);
    return &list[*number];
  }

  static bool is_whole(const Choice& choice) {
    const auto whole = [](const Call& call) {
      return call.open && raw::is_string(call.id) && call.type == "\"function\"" && !call.name.empty();
    };
    if (!raw::is_string(choice.finish)) return false;
    if (choice.function.open && choice.function.name.empty()) return false;
    return std::all_of(choice.calls.begin(), choice.calls.end(), whole);
  }

  std::string choices_json() const {
    std::string json = "[";
    for (std::size_t i = 0; i < choices_.size(); ++i) {
      if (i > 0) json += ',';
      json += chat_ ? chat_choice_json(i) : text_choice_json(i);
    }
    return json + ']';
  }

  std::string chat_choice_json(std::size_t index) const {
    const Choice& choice = choices_[index];
    std::string json;
    ObjectText object(json);
    object.add("index", std::to_string(index));
    object.add("message", message_json(choice));
    object.add("logprobs", choice.logprobs.json(shape::kChatLogprobs));
    object.add("finish_reason", choice.finish);
    object.close();
    return json;
  }

  std::string text_choice_json(std::size_t index) const {
    const Choice& choice = choices_[index];
    std::string json;
    ObjectText object(json);
    object.add_string("text", choice.content.inside);
    object.add("index", std::to_string(index));
    object.add("logprobs", choice.logprobs.json(shape::kTextLogprobs));
    object.add("finish_reason", choice.finish);
    object.close();
    return json;
  }

  static std::string message_json(const Choice& choice) {
    std::string json;
    ObjectText object(json);
    object.add("role", raw::is_string(choice.role) ? std::string_view(choice.role) : "\"assistant\"");
    object.add("content", choice.content.json());
    if (choice.refusal.member) object.add("refusal", choice.refusal.json());
    if (!choice.calls.empty()) object.add("tool_calls", calls_json(choice.calls));
    if (choice.function.open) object.add("function_call", choice.function.function_json());
    object.close();
    return json;
  }

  static std::string calls_json(const std::vector<Call>& calls) {
    std::string json = "[";
    for (const Call& call : calls) {
      if (json.size() > 1) json += ',';
      ObjectText object(json);
      object.add("id", call.id);
      object.add("type", call.type);
      object.add("function", call.function_json());
      object.close();
    }
    return json + ']';
  }

  bool chat_;
  std::string id_;
  std::string created_;
  std::string model_;
  std::string tier_;
  std::string fingerprint_;
  std::string usage_;
  std::vector<Choice> choices_;
};

// The events of one stream, as long as they are understood.
class Events {
 public:
  Events(PlainAnswer& answer, stream::JsonParser& json) : answer_(answer), json_(json) {}

  void take(const stream::SseEvent& event) {
    const std::string_view data = raw::trim(event.data);
    if (data.empty() || !understood_) return;
    if (ended_ || event.event != "message") {
      understood_ = false;
    } else if (data == "[DONE]") {
      ended_ = true;
    } else {
      understood_ = stream::JsonDocument(json_, data).valid() && answer_.read(data);
    }
  }

  bool whole() const { return understood_ && ended_; }

 private:
  PlainAnswer& answer_;
  stream::JsonParser& json_;
  bool understood_ = true;
  bool ended_ = false;
};

}  // namespace

std::optional<std::string> stream_to_plain(Protocol protocol, std::string_view bytes,
                                           stream::JsonParser& json) {
  if (protocol != Protocol::chat && protocol != Protocol::completions) return std::nullopt;
  PlainAnswer answer(protocol);
  Events events(answer, json);
  stream::SseParser parser(bytes.size());
  const auto take = [&events](const stream::SseEvent& event) { events.take(event); };
  if (!parser.feed(bytes, take) || !events.whole()) return std::nullopt;
  return answer.json();
}

}  // namespace sentinel::cache
