#include "sentinel/cache/embeddings.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#include "sentinel/cache/forms_json.hpp"
#include "sentinel/stream/json_dom.hpp"

namespace sentinel::cache {
namespace {

// The value of `input` when the body has exactly one.
std::optional<std::string_view> input_of(std::string_view body) {
  const std::string_view object = raw::trim(body);
  if (!raw::is_object(object)) return std::nullopt;
  std::optional<std::string_view> input;
  raw::Walk walk(object);
  while (const auto member = walk.next_member()) {
    if (member->key != "input") continue;
    if (input) return std::nullopt;
    input = member->value;
  }
  if (!walk.done()) return std::nullopt;
  return input;
}

bool is_token_list(std::string_view value) {
  if (!raw::is_array(value)) return false;
  raw::Walk walk(value);
  while (const auto item = walk.next_item()) {
    if (!raw::small_count(*item)) return false;
  }
  return walk.done();
}

template <class F>
bool all(const std::vector<std::string_view>& values, F&& passes) {
  return std::all_of(values.begin(), values.end(), passes);
}

std::string compact(std::string_view value) {
  std::string text;
  text.reserve(value.size());
  raw::append_compact(text, value);
  return text;
}

// In a parsed list, bytes that only numbers and what stands between them are made of: no quote, no bracket,
// no letter but an exponent's. A table, because every byte of every vector is asked.
constexpr auto kForeign = [] {
  std::array<bool, 256> foreign{};
  foreign.fill(true);
  for (const char c : std::string_view("0123456789-+.eE, \n\r\t"))
    foreign[static_cast<unsigned char>(c)] = false;
  return foreign;
}();

// A list of numbers or a base64 string, not empty.
bool is_vector(std::string_view value) {
  if (const auto base64 = raw::inside(value)) return !base64->empty();
  if (!raw::is_array(value)) return false;
  const std::string_view numbers = raw::trim(value.substr(1, value.size() - 2));
  bool foreign = numbers.empty();
  for (const char c : numbers) foreign |= kForeign[static_cast<unsigned char>(c)];
  return !foreign;
}

bool is_absent_or(std::string_view value, std::string_view text) { return value.empty() || value == text; }

// Puts every entry of `data` in its place; true when each place was filled once.
bool place_entries(std::string_view data, std::vector<std::string>& places) {
  static constexpr std::array<std::string_view, 3> kNames = {"object", "index", "embedding"};
  if (!raw::is_array(data)) return false;
  std::size_t placed = 0;
  raw::Walk walk(data);
  while (const auto entry = walk.next_item()) {
    std::array<std::string_view, kNames.size()> values;
    if (!raw::read_closed(*entry, kNames, values)) return false;
    const auto [object, raw_index, embedding] = values;
    const auto index = raw::small_count(raw_index);
    if (!is_absent_or(object, "\"embedding\"") || !index || !is_vector(embedding)) return false;
    if (*index >= places.size() || !places[*index].empty()) return false;
    places[*index] = compact(embedding);
    ++placed;
  }
  return walk.done() && placed == places.size();
}

std::optional<EmbeddingUsage> usage_of(const stream::JsonObject& root) {
  const auto usage = stream::object_member(root, "usage");
  if (!usage) return std::nullopt;
  const auto count = [&usage](std::string_view key) {
    const auto figure = stream::member(*usage, key);
    return figure ? stream::as_count(*figure) : std::nullopt;
  };
  const auto prompt = count("prompt_tokens");
  if (!prompt) return std::nullopt;
  return EmbeddingUsage{*prompt, count("total_tokens").value_or(*prompt)};
}

void append_number(std::string& out, std::int64_t number) { out += std::to_string(number); }

}  // namespace

std::optional<EmbeddingItems> EmbeddingItems::read(std::string_view body) {
  const auto input = input_of(body);
  if (!input) return std::nullopt;
  EmbeddingItems items;
  if (raw::is_string(*input)) {
    items.raw.push_back(*input);
    return items;
  }
  auto values = raw::items_of(*input);
  if (!values || values->empty()) return std::nullopt;
  if (all(*values, raw::is_string)) {
    items.raw = std::move(*values);
    return items;
  }
  items.tokens = true;
  if (is_token_list(*input)) {
    items.raw.push_back(*input);
    return items;
  }
  if (!all(*values, is_token_list)) return std::nullopt;
  items.raw = std::move(*values);
  return items;
}

std::optional<std::string> request_with_items(std::string_view body,
                                              std::span<const std::string_view> raw_items) {
  const auto input = input_of(body);
  if (!input) return std::nullopt;
  const auto begin = static_cast<std::size_t>(input->data() - body.data());
  std::string request(body.substr(0, begin));
  request += '[';
  for (std::size_t i = 0; i < raw_items.size(); ++i) {
    if (i > 0) request += ',';
    request += raw_items[i];
  }
  request += ']';
  request += body.substr(begin + input->size());
  return request;
}

std::optional<EmbeddingReply> split_reply(std::string_view body, std::size_t expected_items,
                                          stream::JsonParser& json) {
  static constexpr std::array<std::string_view, 6> kNames = {"object", "data", "model",
                                                             "usage",  "id",   "created"};
  const stream::JsonDocument document(json, body);
  const auto root = document.valid() ? stream::as_object(document.root()) : std::nullopt;
  if (!root || expected_items == 0 || expected_items > body.size()) return std::nullopt;
  std::array<std::string_view, kNames.size()> values;
  if (!raw::read_closed(raw::trim(body), kNames, values)) return std::nullopt;
  const auto [object, data, model, usage, id, created] = values;
  if (object != "\"list\"" || !raw::is_string(model)) return std::nullopt;
  EmbeddingReply reply;
  reply.raw_model = model;
  reply.embeddings.resize(expected_items);
  if (!place_entries(data, reply.embeddings)) return std::nullopt;
  reply.usage = usage_of(*root);
  return reply;
}

std::string assemble_reply(std::span<const std::string_view> raw_embeddings, std::string_view raw_model,
                           EmbeddingUsage usage) {
  constexpr std::size_t kAround = 64;  // what stands around one vector
  std::size_t bytes = raw_model.size() + 2 * kAround;
  for (const std::string_view embedding : raw_embeddings) bytes += embedding.size() + kAround;
  std::string body;
  body.reserve(bytes);
  body += R"({"object":"list","data":[)";
  for (std::size_t i = 0; i < raw_embeddings.size(); ++i) {
    if (i > 0) body += ',';
    body += R"({"object":"embedding","index":)";
    append_number(body, static_cast<std::int64_t>(i));
    body += R"(,"embedding":)";
    body += raw_embeddings[i];
    body += '}';
  }
  body += R"(],"model":)";
  body += raw_model;
  body += R"(,"usage":{"prompt_tokens":)";
  append_number(body, usage.prompt_tokens);
  body += R"(,"total_tokens":)";
  append_number(body, usage.total_tokens);
  body += "}}";
  return body;
}

std::vector<std::int64_t> share_of_usage(std::int64_t prompt_tokens,
                                         std::span<const std::string_view> raw_items) {
  std::vector<std::int64_t> shares(raw_items.size(), 0);
  if (raw_items.empty() || prompt_tokens <= 0) return shares;
  std::vector<std::uint64_t> weights;
  for (const std::string_view item : raw_items) weights.push_back(item.size());
  std::uint64_t sum = std::accumulate(weights.begin(), weights.end(), std::uint64_t{0});
  if (sum == 0) {
    std::fill(weights.begin(), weights.end(), 1);
    sum = weights.size();
  }
  const auto total = static_cast<std::uint64_t>(prompt_tokens);
  std::vector<std::uint64_t> rests(weights.size());
  std::uint64_t given = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    // total * weight / sum in two parts, so that large totals do not overflow
    const std::uint64_t part = (total % sum) * weights[i];
    const std::uint64_t share = total / sum * weights[i] + part / sum;
    rests[i] = part % sum;
    shares[i] = static_cast<std::int64_t>(share);
    given += share;
  }
  std::vector<std::size_t> order(weights.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return rests[a] > rests[b]; });
  for (std::size_t i = 0; given < total; ++i, ++given) ++shares[order[i]];
  return shares;
}

}  // namespace sentinel::cache
