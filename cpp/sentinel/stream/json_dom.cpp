#include "sentinel/stream/json_dom.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace sentinel::stream {
namespace {

constexpr std::size_t kKeptBytes = std::size_t{1} << 20;
constexpr std::size_t kLeastBytes = 4096;
constexpr std::int64_t kLargestCount = std::int64_t{1} << 53;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// A \uXXXX escape at `at`: its code unit, or nothing.
std::optional<unsigned> escaped_unit(const char* text, std::size_t at, std::size_t size) {
  if (at + 6 > size || text[at] != '\\' || text[at + 1] != 'u') return std::nullopt;
  unsigned unit = 0;
  for (std::size_t i = at + 2; i < at + 6; ++i) {
    const char c = text[i];
    if (!is_hex(c)) return std::nullopt;
    const int digit = is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10;
    unit = unit * 16 + static_cast<unsigned>(digit);
  }
  return unit;
}

// Passes over the escape at `at`; a surrogate without its partner is overwritten with U+FFFD's escape.
std::size_t tame_escape(char* text, std::size_t at, std::size_t size) {
  const auto unit = escaped_unit(text, at, size);
  if (!unit) return at + 2;
  if (*unit < 0xD800 || *unit > 0xDFFF) return at + 6;
  const auto partner = *unit < 0xDC00 ? escaped_unit(text, at + 6, size) : std::nullopt;
  if (partner && *partner >= 0xDC00 && *partner <= 0xDFFF) return at + 12;
  std::memcpy(text + at + 2, "fffd", 4);
  return at + 6;
}

// The end of the number at `at` by JSON's grammar, or `at` when there is none.
std::size_t number_end(const char* text, std::size_t at, std::size_t size) {
  const auto digits = [&](std::size_t from) {
    while (from < size && is_digit(text[from])) ++from;
    return from;
  };
  std::size_t end = at + (text[at] == '-' ? 1 : 0);
  const std::size_t whole = end;
  end = digits(end);
  if (end == whole || (text[whole] == '0' && end > whole + 1)) return at;
  if (end < size && text[end] == '.') {
    const std::size_t fraction = end + 1;
    end = digits(fraction);
    if (end == fraction) return at;
  }
  if (end < size && (text[end] == 'e' || text[end] == 'E')) {
    std::size_t exponent = end + 1;
    if (exponent < size && (text[exponent] == '+' || text[exponent] == '-')) ++exponent;
    end = digits(exponent);
    if (end == exponent) return at;
  }
  return end;
}

// Makes what JSON allows but simdjson refuses acceptable, in place and without changing the length: numbers
// long enough to be out of range become null, lone surrogates U+FFFD. Everything else is left for the parser
// to judge.
void tame(char* text, std::size_t size) {
  constexpr std::size_t kSurelyInRange =
      5;  // 1e308 fits, 1e309 has as many characters: shorter ones always fit
  bool in_string = false;
  for (std::size_t i = 0; i < size;) {
    if (in_string && text[i] == '\\') {
      i = tame_escape(text, i, size);
    } else if (text[i] == '"') {
      in_string = !in_string;
      ++i;
    } else if (!in_string && (text[i] == '-' || is_digit(text[i]))) {
      const std::size_t end = number_end(text, i, size);
      if (end - i >= kSurelyInRange) {
        const bool plain = std::all_of(text + i, text + end, [](char c) { return is_digit(c) || c == '-'; });
        if (!plain || end - i > 18) {
          std::memset(text + i, ' ', end - i);
          std::memcpy(text + i, "null", 4);
        }
      }
      i = std::max(end, i + 1);
    } else {
      ++i;
    }
  }
}

}  // namespace

struct JsonParser::Impl {
  simdjson::dom::parser parser;
  std::unique_ptr<char[]> buffer;
  std::size_t capacity = 0;

  bool reserve(std::size_t size) {
    if (size <= capacity) return true;
    const std::size_t wanted = std::max(kLeastBytes, std::bit_ceil(size));
    release();
    auto fresh = std::make_unique_for_overwrite<char[]>(wanted + simdjson::SIMDJSON_PADDING);
    if (parser.allocate(wanted) || parser.doc.allocate(wanted)) return false;
    buffer = std::move(fresh);
    capacity = wanted;
    return true;
  }

  void release() {
    parser = simdjson::dom::parser{};
    buffer.reset();
    capacity = 0;
  }
};

JsonParser::JsonParser() : impl_(std::make_unique<Impl>()) {}
JsonParser::~JsonParser() = default;
JsonParser::JsonParser(JsonParser&&) noexcept = default;
JsonParser& JsonParser::operator=(JsonParser&&) noexcept = default;

std::size_t JsonParser::capacity_bytes() const { return impl_->capacity; }

JsonDocument::JsonDocument(JsonParser& parser, std::string_view text) : parser_(parser) {
  JsonParser::Impl& impl = parser.impl();
  if (text.empty() || !impl.reserve(text.size())) return;
  char* const bytes = impl.buffer.get();
  std::memcpy(bytes, text.data(), text.size());
  std::memset(bytes + text.size(), 0, simdjson::SIMDJSON_PADDING);
  simdjson::error_code error = impl.parser.parse(bytes, text.size(), false).get(root_);
  if (error == simdjson::NUMBER_ERROR || error == simdjson::STRING_ERROR) {
    tame(bytes, text.size());
    error = impl.parser.parse(bytes, text.size(), false).get(root_);
  }
  valid_ = error == simdjson::SUCCESS;
}

JsonDocument::~JsonDocument() {
  if (parser_.impl().capacity > kKeptBytes) parser_.impl().release();
}

std::optional<std::int64_t> as_count(const JsonElement& element) {
  std::int64_t value = 0;
  if (element.type() == simdjson::dom::element_type::DOUBLE) {  // 12.0, as some write it
    double real = 0;
    if (element.get_double().get(real) != simdjson::SUCCESS) return std::nullopt;
    if (!(real >= 0) || real > static_cast<double>(kLargestCount) || std::trunc(real) != real)
      return std::nullopt;
    return static_cast<std::int64_t>(real);
  }
  if (element.get_int64().get(value) != simdjson::SUCCESS) return std::nullopt;
  if (value < 0 || value > kLargestCount) return std::nullopt;
  return value;
}

namespace {

std::optional<std::int64_t> count_member(const std::optional<JsonObject>& object, std::string_view key) {
  if (!object) return std::nullopt;
  const auto found = member(*object, key);
  return found ? as_count(*found) : std::nullopt;
}

TokenCounts messages_counts(const JsonObject& usage) {
  TokenCounts counts;
  counts.prompt = count_member(usage, "input_tokens");
  counts.completion = count_member(usage, "output_tokens");
  counts.cached = count_member(usage, "cache_read_input_tokens");
  counts.cache_write = count_member(usage, "cache_creation_input_tokens");
  return counts;
}

TokenCounts responses_counts(const JsonObject& usage) {
  TokenCounts counts;
  counts.prompt = count_member(usage, "input_tokens");
  counts.completion = count_member(usage, "output_tokens");
  counts.cached = count_member(object_member(usage, "input_tokens_details"), "cached_tokens");
  counts.reasoning = count_member(object_member(usage, "output_tokens_details"), "reasoning_tokens");
  return counts;
}

TokenCounts chat_counts(const JsonObject& usage) {
  TokenCounts counts;
  counts.prompt = count_member(usage, "prompt_tokens");
  counts.completion = count_member(usage, "completion_tokens");
  counts.cached = count_member(object_member(usage, "prompt_tokens_details"), "cached_tokens");
  if (!counts.cached) counts.cached = count_member(usage, "prompt_cache_hit_tokens");  // DeepSeek
  counts.reasoning = count_member(object_member(usage, "completion_tokens_details"), "reasoning_tokens");
  return counts;
}

}  // namespace

TokenCounts read_counts(Protocol protocol, const JsonObject& usage) {
  switch (protocol) {
    case Protocol::messages: return messages_counts(usage);
    case Protocol::responses: return responses_counts(usage);
    case Protocol::chat:
    case Protocol::completions:
    case Protocol::embeddings: return chat_counts(usage);
  }
  return {};
}

std::string_view error_text(const JsonElement& error) {
  if (const auto text = as_string(error)) return *text;
  const auto object = as_object(error);
  return object ? string_member(*object, "message").value_or("") : std::string_view{};
}

}  // namespace sentinel::stream
