#include "sentinel/engine/known_headers.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "sentinel/base/ascii.hpp"

namespace sentinel::engine {
namespace {

bool is_control_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && c != '\t') || byte == 0x7f;
}

// Eight bytes a step: a word says "surely not" or "look closer" (the usual has-less and has-zero tricks).
bool may_hold_control_byte(std::uint64_t word) {
  constexpr std::uint64_t kOnes = 0x0101010101010101U;
  constexpr std::uint64_t kHighs = kOnes << 7U;
  const std::uint64_t below_space = (word - kOnes * 0x20) & ~word;
  const std::uint64_t delete_as_zero = word ^ (kOnes * 0x7f);
  const std::uint64_t is_delete = (delete_as_zero - kOnes) & ~delete_as_zero;
  return ((below_space | is_delete) & kHighs) != 0;
}

template <class Word>
std::uint64_t load(const char* bytes) {
  Word word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

// Up to seven bytes as a word: each at least once, the rest spaces.
std::uint64_t load_short(std::string_view value) {
  constexpr std::uint64_t kSpaces = 0x2020202000000000U;
  const char* end = value.data() + value.size();
  if (value.size() >= 4) return load<std::uint32_t>(value.data()) | (load<std::uint32_t>(end - 4) << 32U);
  if (value.size() >= 2)
    return load<std::uint16_t>(value.data()) | (load<std::uint16_t>(end - 2) << 16U) | kSpaces;
  return load<std::uint8_t>(value.data()) | 0x2020202020202000U;
}

bool has_control_byte(std::string_view value) {
  constexpr std::size_t kStep = sizeof(std::uint64_t);
  if (value.empty()) return false;
  bool maybe = false;
  if (value.size() < kStep) {
    maybe = may_hold_control_byte(load_short(value));
  } else {
    for (std::size_t at = 0; at + kStep <= value.size(); at += kStep)
      maybe |= may_hold_control_byte(load<std::uint64_t>(&value[at]));
    maybe |= may_hold_control_byte(load<std::uint64_t>(value.data() + value.size() - kStep));  // the rest
  }
  return maybe && std::any_of(value.begin(), value.end(), is_control_byte);
}

std::string_view without_bearer(std::string_view value) {
  constexpr std::size_t kSchemeBytes = 7;
  if (value.size() <= kSchemeBytes || !equals_ignoring_case(value.substr(0, kSchemeBytes), "bearer "))
    return {};
  value.remove_prefix(kSchemeBytes);
  while (value.starts_with(' ')) value.remove_prefix(1);
  return value;
}

}  // namespace

void KnownHeaders::read(std::span<const HeaderView> headers) {
  constexpr std::size_t kPunctuation = 4;  // ": " and the line's end
  for (const HeaderView& header : headers) {
    bytes += header.name.size() + header.value.size() + kPunctuation;
    holds_control_byte = holds_control_byte || has_control_byte(header.value);
    std::string_view* place = slot(header.name);
    if (place == nullptr) continue;
    if (place->data() == nullptr) {
      *place = header.value;
    } else if (is_list(*place)) {
      add_line(*place, header.value);
    } else {
      twice = header.name;
    }
  }
}

void KnownHeaders::add_line(std::string_view& slot, std::string_view line) {
  slot = joined_.emplace_back(std::string(slot) + ", " + std::string(line));
}

std::string_view KnownHeaders::credential() const {
  const std::string_view bearer = without_bearer(authorization);
  return bearer.empty() ? api_key : bearer;
}

bool KnownHeaders::ambiguous_credential() const { return !api_key.empty() && credential() != api_key; }

bool KnownHeaders::forwards_ascii() const {
  for (const std::string_view value :
       {anthropic_version, anthropic_beta, openai_beta, idempotency_key, tracestate}) {
    if (!is_visible(value)) return false;
  }
  return true;
}

std::unique_ptr<const ForwardedHeaders> KnownHeaders::forwarded() const {
  if (anthropic_version.empty() && anthropic_beta.empty() && openai_beta.empty() && idempotency_key.empty() &&
      tracestate.empty())
    return nullptr;
  return std::make_unique<const ForwardedHeaders>(
      ForwardedHeaders{std::string(anthropic_version), std::string(anthropic_beta), std::string(openai_beta),
                       std::string(idempotency_key), std::string(tracestate)});
}

std::string_view* KnownHeaders::slot(std::string_view name) {
  switch (name.size()) {
    case 4: return equals_ignoring_case(name, "host") ? &host : nullptr;
    case 9: return equals_ignoring_case(name, "x-api-key") ? &api_key : nullptr;
    case 10: return equals_ignoring_case(name, "tracestate") ? &tracestate : nullptr;
    case 11:
      if (equals_ignoring_case(name, "traceparent")) return &traceparent;
      return equals_ignoring_case(name, "openai-beta") ? &openai_beta : nullptr;
    case 12: return equals_ignoring_case(name, "x-request-id") ? &request_id : nullptr;
    case 13:
      if (equals_ignoring_case(name, "authorization")) return &authorization;
      return equals_ignoring_case(name, "cache-control") ? &cache_control : nullptr;
    case 14:
      if (equals_ignoring_case(name, "content-length")) return &content_length;
      return equals_ignoring_case(name, "anthropic-beta") ? &anthropic_beta : nullptr;
    case 15:
      if (equals_ignoring_case(name, "idempotency-key")) return &idempotency_key;
      return equals_ignoring_case(name, "x-forwarded-for") ? &forwarded_for : nullptr;
    case 16: return equals_ignoring_case(name, "content-encoding") ? &content_encoding : nullptr;
    case 17:
      if (equals_ignoring_case(name, "transfer-encoding")) return &transfer_encoding;
      return equals_ignoring_case(name, "anthropic-version") ? &anthropic_version : nullptr;
    case 22: return equals_ignoring_case(name, "x-sentinel-overhead-us") ? &overhead : nullptr;
    default: return nullptr;
  }
}

}  // namespace sentinel::engine
