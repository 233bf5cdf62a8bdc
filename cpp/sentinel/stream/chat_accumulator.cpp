#include "sentinel/stream/chat_accumulator.hpp"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "sentinel/base/utf8.hpp"
#include "sentinel/stream/json_dom.hpp"
#include "sentinel/stream/json_text.hpp"

namespace sentinel::stream {
namespace {

using Array = JsonValue::Array;
using Object = JsonValue::Object;
using simdjson::dom::element_type;

constexpr std::size_t kMaxErrorBytes = 1024;
// Of choices, of tool calls, of members in an object that deltas are merged into: so that every search stays short.
constexpr std::size_t kMost = 1024;
constexpr std::string_view kPadding = "obfuscation";

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

JsonValue copy_of(const JsonElement& element) {
  JsonValue copy;
  switch (element.type()) {
    case element_type::NULL_VALUE: break;
    case element_type::BOOL: copy.held = *as<bool>(element); break;
    case element_type::INT64: copy.held = *as<std::int64_t>(element); break;
    case element_type::UINT64: copy.held = *as<std::uint64_t>(element); break;
    case element_type::DOUBLE: copy.held = *as<double>(element); break;
    case element_type::STRING: copy.held = std::string(*as_string(element)); break;
    case element_type::ARRAY: {
      Array& items = copy.held.emplace<Array>();
      const JsonArray list = *as_array(element);
      for (const JsonElement item : list) items.push_back(copy_of(item));
      break;
    }
    case element_type::OBJECT: {
      Object& members = copy.held.emplace<Object>();
      const JsonObject object = *as_object(element);
      std::unordered_map<std::string_view, std::size_t> places;  // a member's last value counts
      for (const auto [key, value] : object) {
        const auto [place, is_new] = places.emplace(key, members.size());
        if (is_new) members.push_back({std::string(key), {}});
        members[place->second].value = copy_of(value);
      }
      break;
    }
  }
  return copy;
}

bool is_scalar(const JsonValue& value) {
  return value.as<Array>() == nullptr && value.as<Object>() == nullptr && !value.is_null();
}

std::optional<std::int64_t> index_of(const JsonElement& element) {
  const auto object = as_object(element);
  return object ? member_as<std::int64_t>(*object, "index") : std::nullopt;
}

bool has_indexed_entries(const JsonArray& list) {
  return std::any_of(list.begin(), list.end(),
                     [](const JsonElement& entry) { return bool(index_of(entry)); });
}

std::optional<double> as_real(const JsonValue& value) {
  if (const auto* whole = value.as<std::int64_t>()) return static_cast<double>(*whole);
  if (const auto* large = value.as<std::uint64_t>()) return static_cast<double>(*large);
  if (const auto* real = value.as<double>()) return *real;
  return std::nullopt;
}

// Whether both are numbers; then `sum` has both added.
bool add(JsonValue& sum, const JsonValue& more) {
  const auto left = as_real(sum);
  const auto right = as_real(more);
  if (!left || !right) return false;
  std::int64_t whole = 0;
  auto* const first = sum.as<std::int64_t>();
  const auto* const second = more.as<std::int64_t>();
  if (first != nullptr && second != nullptr && !__builtin_add_overflow(*first, *second, &whole)) {
    sum.held = whole;
  } else {
    sum.held = *left + *right;
  }
  return true;
}

// Said once: some providers repeat them in every chunk.
bool is_said_once(std::string_view key) { return key == "role" || key == "id" || key == "name"; }

struct Hole {
  std::size_t begin = 0;
  std::size_t end = 0;
};

// Where the one text of a JSON object stands that is the value of a member `key`, at any depth; and where the top-level
// member `obfuscation` does. The object has been parsed before: only what it means is looked for.
struct Holes {
  std::optional<Hole> text;
  std::optional<Hole> padding;
};

class HoleFinder {
 public:
  HoleFinder(std::string_view data, std::string_view key) : data_(data), key_(key) {}

  // Nothing if the text cannot be told from another one.
  std::optional<Holes> find() {
    for (std::size_t at = 0; at < data_.size(); ++at) {
      const char c = data_[at];
      if (c == '{' || c == '[') ++depth_;
      if (c == '}' || c == ']') --depth_;
      if (c == ':') after_colon_ = true;
      if (c == ',' || c == '{' || c == '[') after_colon_ = false;
      if (c != '"') continue;
      const ScannedString string = scan_string(data_, at + 1);
      if (string.end == std::string_view::npos || !take({at + 1, string.end}, string.has_escapes))
        return std::nullopt;
      at = string.end;
    }
    if (!holes_.text) return std::nullopt;
    return holes_;
  }

 private:
  bool take(Hole string, bool has_escapes) {
    if (!after_colon_) {
      name_ = data_.substr(string.begin, string.end - string.begin);
      return !has_escapes;  // a name spelt with escapes could be the one looked for
    }
    if (name_ == key_) return put(holes_.text, string);
    if (depth_ == 1 && name_ == kPadding) return put(holes_.padding, string);
    return true;
  }

  static bool put(std::optional<Hole>& place, Hole string) {
    if (place) return false;
    place = string;
    return true;
  }

  std::string_view data_, key_;
  std::string_view name_;  // of the member being read
  int depth_ = 0;
  bool after_colon_ = false;
  Holes holes_;
};

}  // namespace

// Takes one chunk in by what it says. Lives for one event.
class ChunkReader {
 public:
  explicit ChunkReader(ChatAccumulator& to, std::string& text) : to_(to), text_(text) {}

  void read(const JsonObject& root) {
    if (string_member(root, "object") == "") return;  // what Azure's filters send beside the completion
    const bool first = !std::exchange(to_.begun_, true);
    for (const auto [key, value] : root) {
      if (key == "choices") continue;
      if (key != kPadding && key != "error") take_member(key, value, first);
    }
    if (first) begin();
    const auto choices = array_member(root, "choices");
    if (!choices) return;
    std::int64_t position = 0;
    for (const JsonElement choice : *choices) read_choice(choice, position++);
  }

  // Whether all that happened was that one text grew.
  bool only_appended() const { return appends_ == 1 && !changed_; }
  std::string* appended_to() const { return appended_to_; }
  std::string_view appended_key() const { return appended_key_; }
  bool too_many() const { return too_many_; }

 private:
  using ChatChoice = ChatAccumulator::ChatChoice;

  void begin() {
    member_of(to_.members_, "object").held = "chat.completion";
    member_of(to_.members_, "system_fingerprint");
  }

  // False, and the stream ends with a fault, if the object would get too many.
  bool has_room(const Object& members) {
    if (members.size() < kMost) return true;
    too_many_ = true;
    return false;
  }

  void take_member(std::string_view key, const JsonElement& value, bool first) {
    if (!has_room(to_.members_)) return;
    if (first) return keep(member_of(to_.members_, key), value);
    if (value.is_null()) return;
    const bool is_news = key == "usage" || key == "system_fingerprint" || key == "moderation";
    JsonValue* const known = find_member(to_.members_, key);
    if (is_news || known == nullptr || known->is_null()) renew(member_of(to_.members_, key), value);
  }

  void read_choice(const JsonElement& element, std::int64_t position) {
    const auto object = as_object(element);
    if (!object) return;
    ChatChoice* const choice = find_choice(member_as<std::int64_t>(*object, "index").value_or(position));
    if (choice == nullptr) return;
    for (const auto [key, value] : *object) {
      if (!has_room(choice->members)) return;
      if (key == "delta") {
        if (const auto delta = as_object(value)) read_delta(*choice, *delta);
      } else if (key == "logprobs") {
        read_logprobs(*choice, value);
      } else if (key == "finish_reason") {
        if (!as_string(value).value_or("").empty()) renew(member_of(choice->members, key), value);
      } else if (key != "index" && (!value.is_null() || find_member(choice->members, key) == nullptr)) {
        renew(member_of(choice->members, key), value);
      }
    }
  }

  ChatChoice* find_choice(std::int64_t index) {
    auto& choices = to_.choices_;
    const auto place =
        std::lower_bound(choices.begin(), choices.end(), index,
                         [](const ChatChoice& choice, std::int64_t wanted) { return choice.index < wanted; });
    if (place != choices.end() && place->index == index) return &*place;
    if (choices.size() == kMost) return refuse<ChatChoice>();
    changed_ = true;
    to_.kept_bytes_ += sizeof(ChatChoice);
    ChatChoice& fresh = *choices.insert(place, ChatChoice{index, {}, {}});
    member_of(fresh.members, "index").held = index;
    member_of(fresh.members, "finish_reason");
    return &fresh;
  }

  template <class T>
  T* refuse() {
    too_many_ = true;
    return nullptr;
  }

  void read_delta(ChatChoice& choice, const JsonObject& delta) {
    if (choice.index == 0) text_.append(string_member(delta, "content").value_or(""));
    merge(choice.message, delta);
  }

  // Lists of tokens grow; what else there is stays as it was said last.
  void read_logprobs(ChatChoice& choice, const JsonElement& value) {
    JsonValue& known = member_of(choice.members, "logprobs");
    const auto object = as_object(value);
    auto* const members = known.as<Object>();
    if (!object || members == nullptr) {
      if (!value.is_null()) keep(known, value);
      return;
    }
    for (const auto [key, part] : *object) {
      if (!has_room(*members)) return;
      JsonValue& place = member_of(*members, key);
      const auto more = as_array(part);
      if (more && place.as<Array>() != nullptr) {
        for (const JsonElement item : *more) push(*place.as<Array>(), item);
      } else if (!part.is_null()) {
        renew(place, part);
      }
    }
  }

  void merge(Object& into, const JsonObject& delta) {
    for (const auto [key, value] : delta) {
      if (!has_room(into)) return;
      JsonValue* place = find_member(into, key);
      if (place == nullptr) {
        changed_ = true;
        to_.kept_bytes_ += sizeof(JsonMember) + key.size();
        place = &member_of(into, key);
      }
      if (!value.is_null()) combine(key, *place, value);
    }
  }

  void combine(std::string_view key, JsonValue& place, const JsonElement& value) {
    const auto list = as_array(value);
    if (place.is_null()) {
      if (!list || !has_indexed_entries(*list)) return keep(place, value);
      changed_ = true;
      place.held.emplace<Array>();
    }
    if (list && place.as<Array>() != nullptr) return join(*place.as<Array>(), *list);
    if (key == "index" || key == "type") return renew(place, value);
    if (auto* const text = place.as<std::string>()) {
      const std::string_view more = as_string(value).value_or("");
      if (!is_said_once(key) || text->empty()) append(key, *text, more);
      return;
    }
    if (auto* const members = place.as<Object>()) {
      if (const auto object = as_object(value)) merge(*members, *object);
      return;
    }
    const JsonValue copy = copy_of(value);
    if (!add(place, copy) && place.as<bool>() != nullptr) place = copy;
    changed_ = true;
  }

  // Entries with an index are merged with the one that has it; any other is one more.
  void join(Array& into, const JsonArray& list) {
    const bool plain = std::all_of(into.begin(), into.end(), is_scalar);
    const bool indexed = has_indexed_entries(list) && (into.empty() || !plain);
    for (const JsonElement entry : list) {
      const auto index = indexed ? index_of(entry) : std::nullopt;
      if (too_many_) return;
      if (!index) {
        push(into, entry);
      } else if (Object* const known = find_entry(into, *index)) {
        merge(*known, *as_object(entry));
      }
    }
  }

  Object* find_entry(Array& list, std::int64_t wanted) {
    const auto index = [](const JsonValue& entry) -> const std::int64_t* {
      const auto* const members = entry.as<Object>();
      const JsonValue* const member = members ? find_member(*members, "index") : nullptr;
      return member ? member->as<std::int64_t>() : nullptr;
    };
    if (list.size() >= kMost) return refuse<Object>();
    auto place = list.begin();
    for (; place != list.end(); ++place) {
      const std::int64_t* const known = index(*place);
      if (known != nullptr && *known == wanted) return place->as<Object>();
      if (known != nullptr && *known > wanted) break;
    }
    changed_ = true;
    to_.kept_bytes_ += sizeof(JsonValue);
    return &list.insert(place, JsonValue{})->held.emplace<Object>();
  }

  void append(std::string_view key, std::string& text, std::string_view more) {
    if (more.empty()) return;
    text.append(more);
    to_.kept_bytes_ += more.size();
    ++appends_;
    appended_to_ = &text;
    appended_key_ = key;
    changed_ = changed_ || is_said_once(key);
  }

  void push(Array& list, const JsonElement& value) {
    list.push_back(copy_of(value));
    to_.kept_bytes_ += size_of(list.back());
    changed_ = true;
  }

  void keep(JsonValue& place, const JsonElement& value) {
    to_.kept_bytes_ -= std::min(to_.kept_bytes_, size_of(place));
    place = copy_of(value);
    to_.kept_bytes_ += size_of(place);
    changed_ = true;
  }

  // Like `keep`, but no change if the value is the one that stands there.
  void renew(JsonValue& place, const JsonElement& value) {
    if (!(copy_of(value) == place)) keep(place, value);
  }

  ChatAccumulator& to_;
  std::string& text_;
  int appends_ = 0;
  bool changed_ = false;  // anything but an appended text
  bool too_many_ = false;
  std::string* appended_to_ = nullptr;
  std::string_view appended_key_;
};

Status ChatAccumulator::feed(std::string_view chunk, JsonParser& json, std::string& text) {
  if (fault_ != StreamFault::none) return Error{ErrorCode::upstream_error, fault_message_};
  const auto on_event = [this, &json, &text](const SseEvent& event) { return take(event, json, text); };
  Status status = sse_.feed(chunk, on_event);
  if (!status && fault_ == StreamFault::none) return fail(StreamFault::too_large, status.error().message);
  return status;
}

Status ChatAccumulator::close() {
  if (fault_ != StreamFault::none) return Error{ErrorCode::upstream_error, fault_message_};
  if (complete_) return Done{};
  return fail(StreamFault::cut,
              "the stream ended before [DONE], after " + std::to_string(events_) + " events");
}

Status ChatAccumulator::fail(StreamFault fault, std::string message) {
  fault_ = fault;
  fault_message_ = std::move(message);
  return Error{ErrorCode::upstream_error, fault_message_};
}

Status ChatAccumulator::take(const SseEvent& event, JsonParser& json, std::string& text) {
  if (complete_ || !event.has_data) return Done{};
  ++events_;
  if (event.event != "error" && take_by_shape(event.data, text)) {
    ++events_by_shape_;
  } else {
    const std::string_view data = trim(event.data);
    if (data.empty()) return Done{};
    complete_ = data == "[DONE]";
    if (complete_) return Done{};
    Status status = read(data, event.event, json, text);
    if (!status) return status;
  }
  if (kept_bytes_ <= bounds_.max_kept_bytes) return Done{};
  return fail(StreamFault::too_large,
              "the answer is larger than " + std::to_string(bounds_.max_kept_bytes) + " bytes");
}

Status ChatAccumulator::read(std::string_view data, std::string_view event_name, JsonParser& json,
                             std::string& text) {
  const JsonDocument document(json, data);
  const auto root = document.valid() ? as_object(document.root()) : std::nullopt;
  if (!root && event_name != "error") {
    return fail(StreamFault::malformed, "event " + std::to_string(events_) + " is not a JSON object");
  }
  const auto error = root ? member(*root, "error") : std::nullopt;
  const bool has_error = error && (as_object(*error) || !as_string(*error).value_or("").empty());
  if (has_error || event_name == "error") {
    std::string_view message = error ? error_text(*error) : std::string_view{};
    if (message.empty() && root) message = string_member(*root, "message").value_or("");
    if (message.empty() && !root && utf8::valid(data)) message = data;
    if (message.empty()) message = "the provider reported an error";
    return fail(StreamFault::provider, std::string(utf8::truncate(message, kMaxErrorBytes)));
  }
  ChunkReader reader(*this, text);
  reader.read(*root);
  if (reader.too_many()) {
    return fail(StreamFault::too_large, "the answer has more than " + std::to_string(kMost) +
                                            " choices, tool calls or members of one object");
  }
  if (reader.only_appended()) {
    learn(data, reader.appended_key(), reader.appended_to());
  } else {
    forget_shapes();  // what they point to may have moved
  }
  return Done{};
}

void ChatAccumulator::forget_shapes() { known_shapes_ = 0; }

void ChatAccumulator::learn(std::string_view data, std::string_view key, std::string* text) {
  const auto holes = HoleFinder(data, key).find();
  if (!holes) return;
  Hole first = *holes->text;
  Hole second = holes->padding.value_or(first);
  const bool padding_first = second.begin < first.begin;
  if (padding_first) std::swap(first, second);
  last_shape_ = known_shapes_ < kShapes ? known_shapes_++ : (last_shape_ + 1) % kShapes;
  Shape& shape = shapes_[last_shape_];
  shape.has_padding = holes->padding.has_value();
  shape.padding_first = padding_first;
  shape.before.assign(data.substr(0, first.begin));
  shape.between.assign(shape.has_padding ? data.substr(first.end, second.begin - first.end)
                                         : std::string_view{});
  shape.after.assign(data.substr(second.end));
  shape.text = text;
  const JsonValue* content = nullptr;
  if (!choices_.empty() && choices_.front().index == 0)
    content = find_member(choices_.front().message, "content");
  shape.is_content = content != nullptr && content->as<std::string>() == text;
}

bool ChatAccumulator::take_by_shape(std::string_view data, std::string& text) {
  for (std::size_t i = 0; i < known_shapes_; ++i) {
    const std::size_t place = (last_shape_ + i) % known_shapes_;
    const Shape& shape = shapes_[place];
    if (!matches(shape, data)) continue;
    last_shape_ = place;
    shape.text->append(matched_);
    if (shape.is_content) text.append(matched_);
    kept_bytes_ += matched_.size();
    return true;
  }
  return false;
}

// Whether `data` is the shape around another text, which is then `matched_`.
bool ChatAccumulator::matches(const Shape& shape, std::string_view data) {
  if (!data.starts_with(shape.before)) return false;
  const std::size_t first_at = shape.before.size();
  ScannedString first = scan_string(data, first_at);
  if (first.end == std::string_view::npos) return false;
  std::string_view rest = data.substr(first.end);
  std::string_view meant = data.substr(first_at, first.end - first_at);
  if (shape.has_padding) {
    if (!rest.starts_with(shape.between)) return false;
    const std::size_t second_at = first.end + shape.between.size();
    ScannedString second = scan_string(data, second_at);
    if (second.end == std::string_view::npos) return false;
    std::string_view padding = data.substr(second_at, second.end - second_at);
    rest = data.substr(second.end);
    if (shape.padding_first) {
      std::swap(first, second);
      std::swap(meant, padding);
    }
    if (second.has_escapes || !second.is_ascii) return false;
  }
  if (rest != shape.after) return false;
  if (!first.is_ascii && !utf8::valid(meant)) return false;
  matched_ = meant;
  if (!first.has_escapes) return true;
  unescaped_.clear();
  if (!unescape(meant, unescaped_)) return false;
  matched_ = unescaped_;
  return true;
}

namespace {

void fill_in(Object& message) {
  JsonValue& role = member_of(message, "role");
  if (role.is_null()) role.held = "assistant";
  member_of(message, "content");
}

}  // namespace

JsonValue ChatAccumulator::message() const {
  JsonValue whole;
  Object& members = whole.held.emplace<Object>();
  if (!choices_.empty()) members = choices_.front().message;
  fill_in(members);
  return whole;
}

JsonValue ChatAccumulator::choices() const {
  JsonValue list;
  Array& whole = list.held.emplace<Array>();
  for (const ChatChoice& choice : choices_) {
    Object& members = whole.emplace_back().held.emplace<Object>(choice.members);
    Object& message = member_of(members, "message").held.emplace<Object>(choice.message);
    fill_in(message);
  }
  return list;
}

JsonValue ChatAccumulator::completion() const {
  JsonValue whole;
  Object& members = whole.held.emplace<Object>(members_);
  member_of(members, "object").held = "chat.completion";
  member_of(members, "choices") = choices();
  return whole;
}

const JsonValue* ChatAccumulator::usage() const { return find_member(members_, "usage"); }

const JsonValue* ChatAccumulator::finish_reason() const {
  return choices_.empty() ? nullptr : find_member(choices_.front().members, "finish_reason");
}

}  // namespace sentinel::stream
