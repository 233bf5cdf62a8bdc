#include "sentinel/engine/request.hpp"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <unordered_set>
#include <vector>

#include "sentinel/base/utf8.hpp"
#include "sentinel/engine/errors.hpp"

namespace sentinel::engine {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::element_type;
using simdjson::dom::object;

constexpr std::size_t kMaxModelBytes = 256;
constexpr std::int64_t kMaxTokens = 1'000'000'000;
constexpr std::int64_t kMaxChoices = 128;

Error invalid(std::string message, std::string_view param) {
  return Error(ErrorCode::invalid_request, std::move(message), std::string(param));
}

std::string quoted(std::string_view text) { return "\"" + std::string(utf8::truncate(text, 64)) + "\""; }

// simdjson encodes a lone surrogate escape as three bytes that UTF-8 forbids: 0xED and a byte from 0xA0 on.
bool holds_surrogate(std::string_view text) {
  for (std::size_t at = text.find('\xED'); at != std::string_view::npos; at = text.find('\xED', at + 1)) {
    if (at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) >= 0xA0) return true;
  }
  return false;
}

// What a member's name means at any depth.
enum class Meaning : std::uint8_t {
  none,
  stored_id,  // names what a provider keeps for whoever knows its id; refused until ids are bound to accounts
  type,
  container,  // a code interpreter's, stored if it is given by its id
  audio,      // an earlier spoken answer, stored if it is given by its id
  free_form,  // below it everything is the application's own data
};

// By length first: every name of a request passes here.
Meaning meaning_of(std::string_view name) {
  const auto is = [name](std::string_view wanted, Meaning meaning) {
    return name == wanted ? meaning : Meaning::none;
  };
  switch (name.size()) {
    case 4: return is("type", Meaning::type);
    case 5: return name == "input" ? Meaning::free_form : is("audio", Meaning::audio);
    case 6: return is("schema", Meaning::free_form);
    case 7: return is("file_id", Meaning::stored_id);
    case 8: return name == "metadata" ? Meaning::free_form : is("file_ids", Meaning::stored_id);
    case 9: return name == "arguments" ? Meaning::free_form : is("container", Meaning::container);
    case 10: return is("parameters", Meaning::free_form);
    case 12: return name == "input_schema" ? Meaning::free_form : is("container_id", Meaning::stored_id);
    case 16: return is("vector_store_ids", Meaning::stored_id);
    default: return Meaning::none;
  }
}

bool is_text(element value, std::string_view wanted) {
  std::string_view text;
  return value.get_string().get(text) == simdjson::SUCCESS && text == wanted;
}

bool has_id(element value) {
  object members;
  return value.get_object().get(members) == simdjson::SUCCESS && members["id"].error() == simdjson::SUCCESS;
}

// The name of the stored object that a member refers to; empty: it refers to none.
std::string_view stored_by(Meaning meaning, std::string_view name, element value) {
  const bool refers = (meaning == Meaning::stored_id && !value.is_null()) ||
                      (meaning == Meaning::container && value.is_string()) ||
                      (meaning == Meaning::audio && has_id(value));
  if (refers) return name;
  return meaning == Meaning::type && is_text(value, "item_reference") ? "item_reference" : "";
}

template <std::size_t N>
bool is_one_of(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// One walk over the whole tree: duplicate keys, surrogates, stored objects, bytes of text.
class Walk {
 public:
  using Keys = std::vector<std::string_view>;

  // `keys`: memory that outlives the walk, so that it is allocated once.
  Walk(bool has_escapes, Keys& keys) : has_escapes_(has_escapes), keys_(keys) { keys_.clear(); }

  Status over(element value, bool free_form) {
    switch (value.type()) {
      case element_type::OBJECT: return object_members(object(value), free_form);
      case element_type::ARRAY: return items(array(value), free_form);
      case element_type::STRING: return text(std::string_view(value));
      default: return Done{};
    }
  }

  Status unique_keys(object members) {
    const std::size_t first = keys_.size();
    for (const auto member : members) {
      if (has_escapes_ && holds_surrogate(member.key)) return lone_surrogate();
      keys_.push_back(member.key);
    }
    const auto begin = keys_.begin() + static_cast<std::ptrdiff_t>(first);
    const std::string_view* twice = find_duplicate(begin);
    if (twice != nullptr) {
      return Error(ErrorCode::invalid_request, "the key " + quoted(*twice) + " stands twice in one object",
                   std::string(utf8::truncate(*twice, 64)));
    }
    keys_.resize(first);
    return Done{};
  }

  std::int64_t text_bytes = 0;

 private:
  const std::string_view* find_duplicate(Keys::iterator begin) {
    constexpr std::ptrdiff_t kFew = 24;
    if (keys_.end() - begin <= kFew) {
      for (auto left = begin; left != keys_.end(); ++left) {
        for (auto right = left + 1; right != keys_.end(); ++right) {
          if (*left == *right) return &*left;
        }
      }
      return nullptr;
    }
    std::sort(begin, keys_.end());
    const auto twice = std::adjacent_find(begin, keys_.end());
    return twice == keys_.end() ? nullptr : &*twice;
  }

  Status items(array values, bool free_form) {
    for (const element item : values) {
      Status status = over(item, free_form);
      if (!status) return status;
    }
    return Done{};
  }

  Status object_members(object members, bool free_form) {
    Status unique = unique_keys(members);
    if (!unique) return unique;
    for (const auto member : members) {
      const Meaning meaning = free_form ? Meaning::none : meaning_of(member.key);
      const std::string_view referred = stored_by(meaning, member.key, member.value);
      if (!referred.empty()) return stored(referred);
      Status status = over(member.value, free_form || meaning == Meaning::free_form);
      if (!status) return status;
    }
    return Done{};
  }

  Status text(std::string_view value) {
    if (has_escapes_ && holds_surrogate(value)) return lone_surrogate();
    if (!value.starts_with("data:")) text_bytes += static_cast<std::int64_t>(value.size());
    return Done{};
  }

  static Error lone_surrogate() {
    return Error(ErrorCode::invalid_json,
                 "a \\u escape is half of a surrogate pair: the text is not Unicode");
  }
  static Error stored(std::string_view name) {
    return invalid("objects stored at a provider are not supported: " + quoted(name), name);
  }

  const bool has_escapes_;
  Keys& keys_;  // a stack: the keys of the object being checked lie on top
};

Status read_model(element value, RequestFacts& facts) {
  std::string_view model;
  if (value.get_string().get(model) != simdjson::SUCCESS) return invalid("model must be a string", "model");
  if (model.empty()) return invalid("model must not be empty", "model");
  if (model.size() > kMaxModelBytes) return invalid("model must not be longer than 256 bytes", "model");
  const bool plain = std::all_of(model.begin(), model.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  if (!plain) return invalid("model must be visible ASCII without spaces", "model");
  facts.model = model;
  return Done{};
}

Status read_stream(element value, RequestFacts& facts) {
  if (value.is_null()) return Done{};
  if (value.get_bool().get(facts.stream) != simdjson::SUCCESS)
    return invalid("stream must be true or false", "stream");
  return Done{};
}

Status read_stream_options(element value, RequestFacts& facts) {
  if (value.is_null()) return Done{};
  object options;
  if (value.get_object().get(options) != simdjson::SUCCESS) {
    return invalid("stream_options must be an object", "stream_options");
  }
  facts.has_stream_options = true;
  element wanted;
  if (options["include_usage"].get(wanted) != simdjson::SUCCESS || wanted.is_null()) return Done{};
  bool include_usage = false;
  if (wanted.get_bool().get(include_usage) != simdjson::SUCCESS) {
    return invalid("stream_options.include_usage must be true or false", "stream_options.include_usage");
  }
  facts.include_usage = include_usage;
  return Done{};
}

Status integer_in(element value, std::string_view name, std::int64_t least, std::int64_t most) {
  if (value.is_null()) return Done{};
  std::int64_t number = 0;
  if (value.get_int64().get(number) == simdjson::SUCCESS && number >= least && number <= most) return Done{};
  return invalid(
      std::string(name) + " must be an integer from " + std::to_string(least) + " to " + std::to_string(most),
      name);
}

Status read_choices(element value, RequestFacts& facts) {
  Status valid = integer_in(value, "n", 1, kMaxChoices);
  if (valid && !value.is_null()) facts.choices = std::int64_t(value);
  return valid;
}

Status read_max_tokens(Endpoint endpoint, std::string_view name, element value, RequestFacts& facts) {
  const bool may_only_echo = endpoint == Endpoint::completions;
  Status valid = integer_in(value, name, may_only_echo ? 0 : 1, kMaxTokens);
  if (valid && !value.is_null())
    facts.max_output_tokens = std::min(std::int64_t(value), facts.max_output_tokens.value_or(kMaxTokens));
  return valid;
}

Status number_in(element value, std::string_view name, double least, double most) {
  if (value.is_null()) return Done{};
  double number = 0;
  if (value.get_double().get(number) == simdjson::SUCCESS && number >= least && number <= most) return Done{};
  return invalid(std::string(name) + " must be a number from " + std::to_string(static_cast<int>(least)) +
                     " to " + std::to_string(static_cast<int>(most)),
                 name);
}

Status refuse_stored(element value, std::string_view name) {
  if (value.is_null()) return Done{};
  return invalid(std::string(name) + " names an object stored at a provider, which is not supported", name);
}

Status read_background(element value) {
  bool background = true;
  if (value.is_null() || (value.get_bool().get(background) == simdjson::SUCCESS && !background))
    return Done{};
  return invalid("background responses are stored at the provider, which is not supported", "background");
}

// An input item without type and role is a reference by default, so its id alone names what the provider keeps.
Status refuse_references(element input) {
  array items;
  if (input.get_array().get(items) != simdjson::SUCCESS) return Done{};
  for (const element item : items) {
    object members;
    if (item.get_object().get(members) != simdjson::SUCCESS || members["id"].error() != simdjson::SUCCESS)
      continue;
    const auto type = members["type"];
    const bool typed = type.error() == simdjson::SUCCESS && !type.is_null();
    if (!typed && members["role"].error() != simdjson::SUCCESS) return refuse_stored(item, "input");
  }
  return Done{};
}

Status read_end_user(element value, std::string_view name, RequestFacts& facts) {
  std::string_view user;
  if (value.is_null()) return Done{};
  if (value.get_string().get(user) != simdjson::SUCCESS)
    return invalid(std::string(name) + " must be a string", name);
  const bool newer = name == "safety_identifier";  // the name that replaces `user`, wherever it stands
  if (newer ? !user.empty() : facts.end_user.empty()) facts.end_user = user;
  return Done{};
}

Status read_metadata(element value, RequestFacts& facts) {
  object members;
  element user;
  if (value.get_object().get(members) != simdjson::SUCCESS ||
      members["user_id"].get(user) != simdjson::SUCCESS)
    return Done{};
  return read_end_user(user, "metadata.user_id", facts);
}

// What the gateway itself must understand of one top-level member; everything else passes as it is.
Status read_member(Endpoint endpoint, std::string_view name, element value, RequestFacts& facts) {
  if (name == "model") return read_model(value, facts);
  if (name == "stream") return read_stream(value, facts);
  if (name == "stream_options") return read_stream_options(value, facts);
  if (name == "n") return read_choices(value, facts);
  if (name == "max_tokens" || name == "max_completion_tokens" || name == "max_output_tokens")
    return read_max_tokens(endpoint, name, value, facts);
  if (name == "temperature") return number_in(value, name, 0, 2);
  if (name == "top_p") return number_in(value, name, 0, 1);
  if (endpoint == Endpoint::responses) {
    if (name == "previous_response_id" || name == "conversation" || name == "prompt")
      return refuse_stored(value, name);
    if (name == "background") return read_background(value);
    if (name == "input") return refuse_references(value);
  }
  if (endpoint == Endpoint::messages) {
    if (name == "container") return refuse_stored(value, name);
    if (name == "metadata") return read_metadata(value, facts);
    return Done{};
  }
  if (name == "safety_identifier" || name == "user") return read_end_user(value, name, facts);
  return Done{};
}

bool is_text_member(std::string_view name) {
  return name == "messages" || name == "prompt" || name == "input" || name == "system" ||
         name == "instructions";
}

Status require(object root, std::string_view name, bool text_allowed) {
  element value;
  if (root[name].get(value) != simdjson::SUCCESS || value.is_null()) {
    return invalid("the member \"" + std::string(name) + "\" is missing", name);
  }
  if (value.type() == element_type::ARRAY) {
    if (array(value).size() > 0) return Done{};
    return invalid(std::string(name) + " must not be empty", name);
  }
  if (text_allowed && value.type() == element_type::STRING) return Done{};
  return invalid(std::string(name) + (text_allowed ? " must be a string or an array" : " must be an array"),
                 name);
}

Status require_input(Endpoint endpoint, object root) {
  switch (endpoint) {
    case Endpoint::chat:
    case Endpoint::query:
    case Endpoint::messages: return require(root, "messages", false);
    case Endpoint::completions: return require(root, "prompt", true);
    case Endpoint::embeddings:
    case Endpoint::responses: return require(root, "input", true);
    case Endpoint::models: return Done{};
  }
  return Done{};
}

// Whether a key as written, escapes and all, is `name`. Our names are ASCII without characters that need an escape.
bool names(std::string_view key, std::string_view name) {
  if (key.find('\\') == std::string_view::npos) return key == name;
  std::size_t at = 0;
  for (const char wanted : name) {
    if (at >= key.size()) return false;
    if (key[at] != '\\') {
      if (key[at++] != wanted) return false;
      continue;
    }
    if (key.size() < at + 6 || key[at + 1] != 'u') return false;
    const std::string digits(key.substr(at + 2, 4));
    if (std::strtol(digits.c_str(), nullptr, 16) != wanted) return false;
    at += 6;
  }
  return at == key.size();
}

// A cursor over one object of JSON that has been validated.
class TopLevel {
 public:
  explicit TopLevel(std::string_view body) : body_(body) {}

  struct Span {
    std::size_t begin = 0;
    std::size_t end = 0;
  };

  // Where the value of a member stands.
  std::optional<Span> find(std::string_view name, Span within) const {
    std::size_t at = skip_space(within.begin + 1);
    while (at < within.end && body_[at] == '"') {
      const std::size_t key_end = skip_string(at);
      const std::string_view key = body_.substr(at + 1, key_end - at - 2);
      const std::size_t value = skip_space(skip_space(key_end) + 1);
      const std::size_t value_end = skip_value(value);
      if (names(key, name)) return Span{value, value_end};
      at = skip_space(value_end);
      if (at >= within.end || body_[at] != ',') return std::nullopt;
      at = skip_space(at + 1);
    }
    return std::nullopt;
  }

  Span whole() const { return {skip_space(0), body_.size()}; }

 private:
  std::size_t skip_space(std::size_t at) const {
    while (at < body_.size() &&
           (body_[at] == ' ' || body_[at] == '\n' || body_[at] == '\r' || body_[at] == '\t'))
      ++at;
    return at;
  }

  std::size_t skip_string(std::size_t at) const {
    for (++at;; ++at) {
      at = body_.find('"', at);
      if (at == std::string_view::npos) return body_.size();
      std::size_t slashes = 0;
      while (body_[at - 1 - slashes] == '\\') ++slashes;
      if (slashes % 2 == 0) return at + 1;
    }
  }

  std::size_t skip_value(std::size_t at) const {
    if (body_[at] == '"') return skip_string(at);
    if (body_[at] != '{' && body_[at] != '[')
      return std::min(body_.find_first_of(",}] \t\r\n", at), body_.size());
    std::size_t depth = 0;
    while (at < body_.size()) {
      const char character = body_[at];
      if (character == '"') {
        at = skip_string(at);
        continue;
      }
      if (character == '{' || character == '[') ++depth;
      if ((character == '}' || character == ']') && --depth == 0) return at + 1;
      ++at;
    }
    return body_.size();
  }

  std::string_view body_;
};

std::string splice(std::string_view body, TopLevel::Span place, std::string_view text) {
  std::string changed;
  changed.reserve(body.size() + text.size() + 1);
  changed.append(body.substr(0, place.begin)).append(text).append(body.substr(place.end));
  return changed;
}

std::string insert_first_member(std::string_view body, std::size_t brace, std::string_view member) {
  const std::size_t next = body.find_first_not_of(" \t\r\n", brace + 1);
  const bool empty = next != std::string_view::npos && body[next] == '}';
  return splice(body, {brace + 1, brace + 1}, std::string(member) + (empty ? "" : ","));
}

}  // namespace

static_assert(kBodyPadding >= simdjson::SIMDJSON_PADDING);

struct RequestReader::Parser {
  simdjson::dom::parser json;
  Walk::Keys keys;
  object root;  // of the body read last
  cache::IdentityScratch scratch;
  PromptTexts prompt;
  std::deque<std::string> rewritten;  // texts that stand nowhere in the body as they are counted
};

RequestReader::RequestReader() : parser_(std::make_unique<Parser>()) {}
RequestReader::~RequestReader() = default;

namespace {

Result<RequestFacts> read_root(Endpoint endpoint, object root, bool has_escapes, Walk::Keys& keys) {
  RequestFacts facts;
  Walk walk(has_escapes, keys);
  Status unique = walk.unique_keys(root);
  if (!unique) return std::move(unique.error());
  for (const auto member : root) {
    Status known = read_member(endpoint, member.key, member.value, facts);
    if (!known) return std::move(known.error());
    const std::int64_t before = walk.text_bytes;
    Status status = walk.over(member.value, member.key == "metadata");
    if (!status) return std::move(status.error());
    if (!is_text_member(member.key)) walk.text_bytes = before;
  }
  if (facts.model.empty()) return invalid("the member \"model\" is missing", "model");
  if (facts.stream && endpoint == Endpoint::embeddings)
    return invalid("embeddings are not streamed", "stream");
  Status input = require_input(endpoint, root);
  if (!input) return std::move(input.error());
  facts.text_bytes = walk.text_bytes;
  return facts;
}

}  // namespace

Result<RequestFacts> RequestReader::read(Endpoint endpoint, std::string_view padded_body) {
  constexpr std::size_t kKeptBytes = std::size_t{1} << 20U;
  if (parser_->json.capacity() > kKeptBytes) parser_ = std::make_unique<Parser>();
  element parsed;
  const auto error = parser_->json.parse(padded_body.data(), padded_body.size(), false).get(parsed);
  if (error != simdjson::SUCCESS) {
    return Error(ErrorCode::invalid_json,
                 std::string("the body is not valid JSON: ") + simdjson::error_message(error));
  }
  object root;
  if (parsed.get_object().get(root) != simdjson::SUCCESS) {
    return Error(ErrorCode::invalid_json, "the body must be a JSON object");
  }
  parser_->root = root;
  return read_root(endpoint, root, padded_body.find("\\u") != std::string_view::npos, parser_->keys);
}

cache::Qualification RequestReader::qualify(stream::Protocol protocol) const {
  return cache::qualify(protocol, parser_->root);
}

Digest RequestReader::identity(const cache::IdentityHead& head) {
  return cache::identity_of(head, parser_->root, parser_->scratch);
}

std::vector<Digest> RequestReader::item_identities(const cache::IdentityHead& head) {
  std::vector<Digest> identities;
  element input;
  if (parser_->root["input"].get(input) != simdjson::SUCCESS) return identities;
  const cache::EmbeddingIdentity identity(head, parser_->root, parser_->scratch);
  array list;
  const bool one = input.get_array().get(list) != simdjson::SUCCESS || list.at(0).is_number();
  if (one) {
    identities.push_back(identity.of(input, parser_->scratch));
    return identities;
  }
  for (const element item : list) identities.push_back(identity.of(item, parser_->scratch));
  return identities;
}

namespace {

// Gathers what a model reads. Names of things (ids, kinds, addresses of images) are left out.
class PromptWalk {
 public:
  PromptWalk(PromptTexts& prompt, std::deque<std::string>& rewritten)
      : prompt_(prompt), rewritten_(rewritten) {}

  void member(std::string_view name, element value) {
    if (name == "messages") return messages(value);
    if (is_text_member(name)) return texts(value);
    if (name == "tools" || name == "functions" || name == "response_format") definition(value);
  }

 private:
  static constexpr std::array<std::string_view, 9> kUnread{
      "type", "id", "tool_call_id", "image_url", "url", "file", "data", "format", "cache_control"};

  void messages(element value) {
    array list;
    if (value.get_array().get(list) != simdjson::SUCCESS) return;
    for (const element message : list) {
      ++prompt_.messages;
      texts(message);
      object members;
      if (message.get_object().get(members) == simdjson::SUCCESS &&
          members["name"].error() == simdjson::SUCCESS)
        ++prompt_.names;
    }
  }

  void texts(element value) {
    switch (value.type()) {
      case element_type::STRING: prompt_.texts.push_back(std::string_view(value)); return;
      case element_type::INT64:
      case element_type::UINT64: ++prompt_.token_ids; return;
      case element_type::ARRAY:
        for (const element item : array(value)) texts(item);
        return;
      case element_type::OBJECT:
        for (const auto member : object(value)) {
          if (!is_one_of(member.key, kUnread)) texts(member.value);
        }
        return;
      default: return;
    }
  }

  void definition(element value) {
    if (!value.is_null()) prompt_.texts.push_back(rewritten_.emplace_back(simdjson::minify(value)));
  }

  PromptTexts& prompt_;
  std::deque<std::string>& rewritten_;
};

}  // namespace

const PromptTexts& RequestReader::prompt_texts(std::string_view padded_body) {
  PromptTexts& prompt = parser_->prompt;
  prompt.texts.clear();
  prompt.messages = prompt.names = prompt.token_ids = 0;
  parser_->rewritten.clear();
  object root;
  if (parser_->json.parse(padded_body.data(), padded_body.size(), false).get_object().get(root) !=
      simdjson::SUCCESS)
    return prompt;
  PromptWalk walk(prompt, parser_->rewritten);
  for (const auto member : root) walk.member(member.key, member.value);
  return prompt;
}

std::string with_model(std::string_view body, std::string_view model) {
  const TopLevel top(body);
  const auto place = top.find("model", top.whole());
  std::string value = "\"";
  append_json_escaped(value, model);
  value += '"';
  return place ? splice(body, *place, value) : std::string(body);
}

std::string with_usage_requested(std::string_view body, const RequestFacts& facts) {
  constexpr std::string_view kMember = "\"include_usage\":true";
  const TopLevel top(body);
  const auto options = top.find("stream_options", top.whole());
  if (!facts.has_stream_options) {
    const std::string value = "{" + std::string(kMember) + "}";
    if (options) return splice(body, *options, value);  // null
    return insert_first_member(body, top.whole().begin, "\"stream_options\":" + value);
  }
  if (!options) return std::string(body);
  const auto wanted = top.find("include_usage", *options);
  if (wanted) return splice(body, *wanted, "true");
  return insert_first_member(body, options->begin, kMember);
}

}  // namespace sentinel::engine
