#include "sentinel/net/whole_request.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>

#include "sentinel/base/ascii.hpp"

namespace sentinel::net {
namespace {

constexpr std::size_t kMostHeaders = 100;
constexpr std::size_t kMostDigits = 15;
constexpr std::string_view kVersion = "HTTP/1.1";

enum Class : std::uint8_t { kToken = 1, kValue = 2, kTarget = 4 };

constexpr std::array<std::uint8_t, 256> make_classes() {
  std::array<std::uint8_t, 256> classes{};
  for (std::size_t byte = 0x20; byte < 256; ++byte) classes[byte] = byte == 0x7f ? 0 : kValue;
  classes['\t'] = kValue;
  for (std::size_t byte = 0x21; byte < 0x7f; ++byte) classes[byte] |= byte == '#' ? 0 : kTarget;
  for (char c = '0'; c <= '9'; ++c) classes[static_cast<std::size_t>(c)] |= kToken;
  for (char c = 'A'; c <= 'Z'; ++c) classes[static_cast<std::size_t>(c)] |= kToken;
  for (char c = 'a'; c <= 'z'; ++c) classes[static_cast<std::size_t>(c)] |= kToken;
  for (const char c : std::string_view("!#$%&'*+-.^_`|~")) classes[static_cast<std::size_t>(c)] |= kToken;
  return classes;
}

constexpr std::array<std::uint8_t, 256> kClasses = make_classes();

// What stands before the first byte that is of another class.
std::string_view take(std::string_view& rest, Class wanted) {
  std::size_t size = 0;
  while (size < rest.size() && (kClasses[static_cast<unsigned char>(rest[size])] & wanted) != 0) ++size;
  const std::string_view taken = rest.substr(0, size);
  rest.remove_prefix(size);
  return taken;
}

bool skip(std::string_view& rest, std::string_view expected) {
  if (!rest.starts_with(expected)) return false;
  rest.remove_prefix(expected.size());
  return true;
}

struct Framing {
  std::size_t body_bytes = 0;
  bool has_length = false;
};

bool read_length(std::string_view digits, Framing& framing) {
  if (framing.has_length || digits.empty() || digits.size() > kMostDigits) return false;
  framing.has_length = true;
  const char* const end = digits.data() + digits.size();
  const auto [read_to, failure] = std::from_chars(digits.data(), end, framing.body_bytes);
  return failure == std::errc() && read_to == end;
}

// Whether a request with this field is still of the plainest kind.
bool is_plain(const RequestHeader& field, Framing& framing) {
  switch (field.name.size()) {
    case 6: return !equals_ignoring_case(field.name, "expect");
    case 7: return !equals_ignoring_case(field.name, "upgrade");
    case 10:
      return !equals_ignoring_case(field.name, "connection") ||
             equals_ignoring_case(field.value, "keep-alive");
    case 14: return !equals_ignoring_case(field.name, "content-length") || read_length(field.value, framing);
    case 16: return !equals_ignoring_case(field.name, "proxy-connection");
    case 17: return !equals_ignoring_case(field.name, "transfer-encoding");
    default: return true;
  }
}

bool read_field(std::string_view& rest, RequestHeader& field) {
  field.name = take(rest, kToken);
  if (field.name.empty() || !skip(rest, ":")) return false;
  field.value = trimmed(take(rest, kValue));
  return skip(rest, "\r\n");
}

bool read_request_line(std::string_view& rest, WholeRequest& request) {
  if (!skip(rest, "POST ") || !rest.starts_with('/')) return false;
  const std::string_view target = take(rest, kTarget);
  const std::size_t mark = std::min(target.find('?'), target.size());
  request.path = target.substr(0, mark);
  request.query = target.substr(std::min(mark + 1, target.size()));
  return skip(rest, " ") && skip(rest, kVersion) && skip(rest, "\r\n");
}

}  // namespace

std::optional<WholeRequest> read_whole_request(std::string_view bytes, std::vector<RequestHeader>& headers) {
  headers.clear();
  WholeRequest request;
  std::string_view rest = bytes;
  if (!read_request_line(rest, request)) return std::nullopt;
  Framing framing;
  while (!skip(rest, "\r\n")) {
    RequestHeader field;
    if (headers.size() == kMostHeaders || !read_field(rest, field) || !is_plain(field, framing))
      return std::nullopt;
    headers.push_back(field);
  }
  if (rest.size() != framing.body_bytes) return std::nullopt;
  request.body = rest;
  return request;
}

}  // namespace sentinel::net
