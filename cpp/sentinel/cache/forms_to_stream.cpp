#include <algorithm>

#include "sentinel/cache/forms.hpp"
#include "sentinel/cache/forms_shape.hpp"
#include "sentinel/stream/json_dom.hpp"

namespace sentinel::cache {
namespace {

using shape::ObjectText;
using stream::Protocol;

constexpr std::size_t kPieceBytes = 1024;

// A part of a text, with the range of log probabilities that belongs to it.
struct Piece {
  std::string_view text;
  std::size_t first = 0;
  std::size_t last = 0;
};

// Parts of at most kPieceBytes that cut neither a character nor an escape; none of an empty text.
std::vector<Piece> pieces_of(std::string_view text) {
  std::vector<Piece> pieces;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = raw::character_end(text, at);
    if (end - begin > kPieceBytes) {
      pieces.push_back({text.substr(begin, at - begin)});
      begin = at;
    }
    at = end;
  }
  if (begin < text.size()) pieces.push_back({text.substr(begin)});
  return pieces;
}

// One part for each token, or one for all of them when the tokens are not the text as it is spelled.
std::vector<Piece> pieces_of(std::string_view text, const std::vector<std::string_view>& tokens) {
  std::vector<Piece> pieces;
  std::size_t at = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto token = raw::inside(tokens[i]);
    if (!token || !text.substr(at).starts_with(*token)) return {{text, 0, tokens.size()}};
    pieces.push_back({text.substr(at, token->size()), i, i + 1});
    at += token->size();
  }
  if (at != text.size()) return {{text, 0, tokens.size()}};
  return pieces;
}

// The `token` of one log probability of chat; empty when it has none.
std::string_view token_of(std::string_view entry) {
  if (!raw::is_object(entry)) return {};
  raw::Walk walk(entry);
  while (const auto member = walk.next_member()) {
    if (member->key == "token") return member->value;
  }
  return {};
}

// Log probabilities of one choice: absent, null, or lists of which a chunk gets its range.
class Logprobs {
 public:
  template <std::size_t N>
  bool read(std::string_view logprobs, const std::array<std::string_view, N>& names) {
    value_ = logprobs;
    if (logprobs.empty() || raw::is_null(logprobs)) return true;
    std::array<std::string_view, N> values;
    if (!raw::read_closed(logprobs, names, values)) return false;
    for (std::size_t i = 0; i < N; ++i) {
      if (!read_list(names[i], values[i])) return false;
    }
    return true;
  }

  bool has_lists() const { return !lists_.empty(); }

  const std::vector<std::string_view>& items(std::string_view name) const {
    static const std::vector<std::string_view> kNone;
    const auto found =
        std::find_if(lists_.begin(), lists_.end(), [name](const List& l) { return l.name == name; });
    return found == lists_.end() ? kNone : found->items;
  }

  // Every list that is one has as many items, so that a range means the same in all.
  bool parallel() const {
    const std::size_t size = longest();
    return std::all_of(lists_.begin(), lists_.end(),
                       [size](const List& l) { return !l.array || l.items.size() == size; });
  }

  std::size_t longest() const {
    std::size_t size = 0;
    for (const List& list : lists_) size = std::max(size, list.items.size());
    return size;
  }

  // For a chunk that carries none: null, or nothing when the answer has no such member.
  std::string_view none() const { return value_.empty() ? std::string_view{} : raw::kNull; }

  // For the chunk that opens a choice: every list, empty.
  std::string empty() const {
    return json([](const List&) { return true; }, 0, 0);
  }

  // For a chunk with a range of one list, the others null.
  std::string range(std::string_view name, std::size_t first, std::size_t last) const {
    return json([name](const List& list) { return list.name == name; }, first, last);
  }

  // For a chunk with a range of all lists.
  std::string range(std::size_t first, std::size_t last) const {
    return json([](const List&) { return true; }, first, last);
  }

 private:
  struct List {
    std::string_view name;
    bool array = false;
    std::vector<std::string_view> items;
  };

  bool read_list(std::string_view name, std::string_view value) {
    if (value.empty()) return true;
    List list{name, false, {}};
    if (!raw::is_null(value)) {
      auto items = raw::items_of(value);
      if (!items) return false;
      list.array = true;
      list.items = std::move(*items);
    }
    lists_.push_back(std::move(list));
    return true;
  }

  template <class F>
  std::string json(F&& wanted, std::size_t first, std::size_t last) const {
    if (value_.empty() || raw::is_null(value_)) return std::string(value_);
    std::string json;
    ObjectText object(json);
    for (const List& list : lists_) {
      const bool filled = list.array && wanted(list);
      object.add(list.name, filled ? array_json(list.items, first, last) : std::string(raw::kNull));
    }
    object.close();
    return json;
  }

  static std::string array_json(const std::vector<std::string_view>& items, std::size_t first,
                                std::size_t last) {
    std::string json = "[";
    for (std::size_t i = first; i < std::min(last, items.size()); ++i) {
      if (i > first) json += ',';
      json += items[i];
    }
    return json + ']';
  }

  std::string_view value_;
  std::vector<List> lists_;
};

// Writes chunks: what is the same in all of them is made once.
class Chunks {
 public:
  // The members before `choices`, in the order of the provider.
  void begin(std::string envelope, bool with_usage) {
    envelope_ = std::move(envelope);
    with_usage_ = with_usage;
  }

  void choice(std::string_view json) {
    open();
    out_ += json;
    out_ += with_usage_ ? "],\"usage\":null}\n\n" : "]}\n\n";
  }

  void usage(std::string_view json) {
    open();
    out_ += "],\"usage\":";
    raw::append_compact(out_, json);
    out_ += "}\n\n";
  }

  std::string finish() && {
    out_ += "data: [DONE]\n\n";
    return std::move(out_);
  }

 private:
  void open() {
    out_ += "data: ";
    out_ += envelope_;
    out_ += "\"choices\":[";
  }

  std::string envelope_;
  bool with_usage_ = false;
  std::string out_;
};

std::string member_json(std::string_view name, std::string_view inside) {
  std::string json;
  ObjectText object(json);
  object.add_string(name, inside);
  object.close();
  return json;
}

// One choice of a chat body as chunks.
class ChatChoice {
 public:
  ChatChoice(Chunks& chunks, std::string_view index, std::string_view finish)
      : chunks_(chunks), index_(index), finish_(finish) {}

  bool write(std::string_view message, std::string_view logprobs) {
    if (!read(message) || !logprobs_.read(logprobs, shape::kChatLogprobs)) return false;
    open();
    write_text("content", content_);
    write_text("refusal", refusal_);
    if (!write_function(function_) || !write_calls(calls_)) return false;
    write_chunk("{}", logprobs_.none(), finish_);
    return true;
  }

 private:
  bool read(std::string_view message) {
    std::array<std::string_view, shape::kMessage.size()> values;
    if (!raw::read_closed(message, shape::kMessage, values)) return false;
    const auto [role, content, refusal, calls, function, quiet_1, quiet_2, quiet_3, quiet_4] = values;
    role_ = role;
    content_ = content;
    refusal_ = refusal;
    calls_ = calls;
    function_ = function;
    return shape::all_quiet({quiet_1, quiet_2, quiet_3, quiet_4}) && raw::is_string(role) &&
           shape::is_text_or_null(content) && shape::is_text_or_null(refusal);
  }

  void open() {
    std::string delta;
    ObjectText object(delta);
    object.add("role", role_);
    object.add("content", raw::is_string(content_) ? "\"\"" : content_);
    object.add("refusal", raw::is_string(refusal_) ? "\"\"" : refusal_);
    object.close();
    write_chunk(delta, logprobs_.empty(), raw::kNull);
  }

  void write_text(std::string_view name, std::string_view value) {
    const std::string_view text = raw::inside(value).value_or("");
    const auto& entries = logprobs_.items(name);
    if (entries.empty()) {
      for (const Piece& piece : pieces_of(text)) {
        write_chunk(member_json(name, piece.text), logprobs_.none(), raw::kNull);
      }
      return;
    }
    std::vector<std::string_view> tokens;
    for (const std::string_view entry : entries) tokens.push_back(token_of(entry));
    for (const Piece& piece : pieces_of(text, tokens)) {
      const std::string delta = raw::is_string(value) ? member_json(name, piece.text) : "{}";
      write_chunk(delta, logprobs_.range(name, piece.first, piece.last), raw::kNull);
    }
  }

  bool write_calls(std::string_view calls) {
    if (shape::is_quiet(calls)) return true;
    const auto items = raw::items_of(calls);
    if (!items || items->size() > shape::kMaxToolCalls) return false;
    for (std::size_t i = 0; i < items->size(); ++i) {
      if (!write_call((*items)[i], std::to_string(i))) return false;
    }
    return true;
  }

  bool write_call(std::string_view text, const std::string& number) {
    std::array<std::string_view, shape::kToolCall.size()> values;
    if (!raw::read_closed(text, shape::kToolCall, values)) return false;
    const auto [index, id, type, function] = values;
    if (!index.empty() && index != number) return false;
    if (!raw::is_string(id) || type != "\"function\"") return false;
    std::array<std::string_view, shape::kFunction.size()> parts;
    if (!read_function(function, parts)) return false;
    write_chunk(call_json(number, id, opened(parts[0])), logprobs_.none(), raw::kNull);
    for (const Piece& piece : pieces_of(*raw::inside(parts[1]))) {
      write_chunk(call_json(number, {}, member_json("arguments", piece.text)), logprobs_.none(), raw::kNull);
    }
    return true;
  }

  bool write_function(std::string_view function) {
    if (function.empty() || raw::is_null(function)) return true;
    std::array<std::string_view, shape::kFunction.size()> parts;
    if (!read_function(function, parts)) return false;
    write_chunk(function_json(opened(parts[0])), logprobs_.none(), raw::kNull);
    for (const Piece& piece : pieces_of(*raw::inside(parts[1]))) {
      write_chunk(function_json(member_json("arguments", piece.text)), logprobs_.none(), raw::kNull);
    }
    return true;
  }

  // Name and arguments, both strings.
  static bool read_function(std::string_view function,
                            std::array<std::string_view, shape::kFunction.size()>& parts) {
    if (!raw::read_closed(function, shape::kFunction, parts)) return false;
    return raw::inside(parts[0]).value_or("") != "" && raw::inside(parts[1]).has_value();
  }

  static std::string opened(std::string_view name) {
    std::string json;
    ObjectText object(json);
    object.add("name", name);
    object.add("arguments", "\"\"");
    object.close();
    return json;
  }

  static std::string function_json(std::string_view function) {
    std::string json;
    ObjectText object(json);
    object.add("function_call", function);
    object.close();
    return json;
  }

  static std::string call_json(std::string_view number, std::string_view id, std::string_view function) {
    std::string json = R"({"tool_calls":[)";
    ObjectText object(json);
    object.add("index", number);
    object.add("id", id);
    object.add("type", id.empty() ? "" : "\"function\"");
    object.add("function", function);
    object.close();
    return json + "]}";
  }

  void write_chunk(std::string_view delta, std::string_view logprobs, std::string_view finish) {
    std::string json;
    ObjectText object(json);
    object.add("index", index_);
    object.add("delta", delta);
    object.add("logprobs", logprobs);
    object.add("finish_reason", finish);
    object.close();
    chunks_.choice(json);
  }

  Chunks& chunks_;
  std::string_view index_;
  std::string_view finish_;
  std::string_view role_;
  std::string_view content_;
  std::string_view refusal_;
  std::string_view calls_;
  std::string_view function_;
  Logprobs logprobs_;
};

// One choice of a completions body as chunks.
class TextChoice {
 public:
  TextChoice(Chunks& chunks, std::string_view index, std::string_view finish)
      : chunks_(chunks), index_(index), finish_(finish) {}

  bool write(std::string_view value, std::string_view logprobs) {
    const auto text = raw::inside(value);
    if (!text || !logprobs_.read(logprobs, shape::kTextLogprobs)) return false;
    if (logprobs_.has_lists()) {
      for (const Piece& piece : pieces_with_logprobs(*text)) {
        write_chunk(piece.text, logprobs_.range(piece.first, piece.last), raw::kNull);
      }
    } else {
      for (const Piece& piece : pieces_of(*text)) write_chunk(piece.text, logprobs_.none(), raw::kNull);
    }
    write_chunk({}, logprobs_.none(), finish_);
    return true;
  }

 private:
  std::vector<Piece> pieces_with_logprobs(std::string_view text) const {
    const auto& tokens = logprobs_.items("tokens");
    if (tokens.empty() || !logprobs_.parallel()) return {{text, 0, logprobs_.longest()}};
    return pieces_of(text, tokens);
  }

  void write_chunk(std::string_view text, std::string_view logprobs, std::string_view finish) {
    std::string json;
    ObjectText object(json);
    object.add_string("text", text);
    object.add("index", index_);
    object.add("logprobs", logprobs);
    object.add("finish_reason", finish);
    object.close();
    chunks_.choice(json);
  }

  Chunks& chunks_;
  std::string_view index_;
  std::string_view finish_;
  Logprobs logprobs_;
};

// Reads one body and writes the chunks a provider would have sent for it.
class StreamAnswer {
 public:
  StreamAnswer(Protocol protocol, bool include_usage)
      : chat_(protocol == Protocol::chat), include_usage_(include_usage) {}

  std::optional<std::string> write(std::string_view body) {
    std::array<std::string_view, shape::kEnvelope.size()> values;
    if (!raw::read_closed(body, shape::kEnvelope, values)) return std::nullopt;
    const auto [id, object, created, model, tier, fingerprint, choices, usage, padding, quiet_1, quiet_2] =
        values;
    if (!padding.empty() || !shape::all_quiet({quiet_1, quiet_2})) return std::nullopt;
    if (!object.empty() && object != (chat_ ? "\"chat.completion\"" : "\"text_completion\""))
      return std::nullopt;
    if (!is_usage(usage) || !begin(id, created, model, tier, fingerprint)) return std::nullopt;
    if (!write_choices(choices)) return std::nullopt;
    if (include_usage_) chunks_.usage(usage);
    return std::move(chunks_).finish();
  }

 private:
  bool is_usage(std::string_view usage) const {
    if (raw::is_object(usage)) return true;
    return !include_usage_ && (usage.empty() || raw::is_null(usage));
  }

  bool begin(std::string_view id, std::string_view created, std::string_view model, std::string_view tier,
             std::string_view fingerprint) {
    if (!id.empty() && !raw::is_string(id)) return false;
    if (!model.empty() && !raw::is_string(model)) return false;
    if (!created.empty() && !raw::is_number(created)) return false;
    if (!shape::is_text_or_null(tier) || !shape::is_text_or_null(fingerprint)) return false;
    std::string envelope;
    ObjectText object(envelope);
    object.add("id", id);
    object.add("object", chat_ ? "\"chat.completion.chunk\"" : "\"text_completion\"");
    object.add("created", created);
    object.add("model", model);
    object.add("service_tier", tier);
    object.add("system_fingerprint", fingerprint);
    envelope += ',';  // `choices` and `usage` follow
    chunks_.begin(std::move(envelope), include_usage_);
    return true;
  }

  bool write_choices(std::string_view choices) {
    const auto items = raw::items_of(choices);
    if (!items || items->empty() || items->size() > shape::kMaxChoices) return false;
    for (std::size_t i = 0; i < items->size(); ++i) {
      if (!write_choice((*items)[i], std::to_string(i))) return false;
    }
    return true;
  }

  bool write_choice(std::string_view text, const std::string& position) {
    const auto names = shape::choice_names(chat_ ? "message" : "text");
    std::array<std::string_view, names.size()> values;
    if (!raw::read_closed(text, names, values)) return false;
    const auto [index, body, logprobs, finish, quiet_1, quiet_2, quiet_3] = values;
    if (index != position || !raw::is_string(finish)) return false;
    if (!shape::all_quiet({quiet_1, quiet_2, quiet_3})) return false;
    if (chat_) return ChatChoice(chunks_, index, finish).write(body, logprobs);
    return TextChoice(chunks_, index, finish).write(body, logprobs);
  }

  bool chat_;
  bool include_usage_;
  Chunks chunks_;
};

}  // namespace

std::optional<std::string> plain_to_stream(Protocol protocol, std::string_view body, bool include_usage,
                                           stream::JsonParser& json) {
  if (protocol != Protocol::chat && protocol != Protocol::completions) return std::nullopt;
  if (!stream::JsonDocument(json, body).valid()) return std::nullopt;
  return StreamAnswer(protocol, include_usage).write(raw::trim(body));
}

}  // namespace sentinel::cache
