#include "sentinel/cache/directives.hpp"

#include <algorithm>
#include <charconv>
#include <system_error>

#include "sentinel/base/ascii.hpp"

namespace sentinel::cache {
namespace {

using std::chrono::seconds;

constexpr seconds kLongest{std::int64_t{1} << 31U};  // RFC 9111, section 1.2.2

// Where the directive that begins at the front ends: at the next comma outside of quotes.
std::size_t end_of_directive(std::string_view text) {
  bool quoted = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (quoted && text[at] == '\\') {
      ++at;
    } else if (text[at] == '"') {
      quoted = !quoted;
    } else if (text[at] == ',' && !quoted) {
      return at;
    }
  }
  return quoted ? std::min(text.find(','), text.size()) : text.size();
}

std::string_view unquoted(std::string_view text) {
  if (text.size() < 2 || text.front() != '"' || text.back() != '"') return text;
  return text.substr(1, text.size() - 2);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

Duration seconds_of(std::string_view text) {
  if (text.empty() || !std::all_of(text.begin(), text.end(), is_digit)) return Duration{0};
  std::int64_t count = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), count);
  if (read.ec != std::errc{}) return kLongest;  // digits only, so too many of them
  return std::min(seconds{count}, kLongest);
}

void note(std::string_view directive, Directives& found) {
  const std::size_t equals = directive.find('=');
  const std::string_view name = trimmed(directive.substr(0, equals));
  if (equals_ignoring_case(name, "no-store")) found.no_store = true;
  if (equals_ignoring_case(name, "no-cache")) found.no_cache = true;
  if (!equals_ignoring_case(name, "max-age")) return;
  const std::string_view value =
      equals == std::string_view::npos ? std::string_view() : trimmed(directive.substr(equals + 1));
  const Duration age = seconds_of(unquoted(value));
  found.max_age = found.max_age ? std::min(*found.max_age, age) : age;
}

void append_number(std::string& out, std::int64_t number) {
  char digits[20];
  const auto written = std::to_chars(std::begin(digits), std::end(digits), number);
  out.append(digits, written.ptr);
}

// A string of RFC 8941: visible ASCII and spaces; nothing else can be said in one.
void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c >= 0x20 && c < 0x7f ? c : '?';
  }
  out += '"';
}

std::string_view word(CacheOutcome outcome) {
  switch (outcome) {
    case CacheOutcome::hit: return "; hit";
    case CacheOutcome::miss: return "; fwd=uri-miss";
    case CacheOutcome::stale: return "; fwd=stale";
    case CacheOutcome::asked: return "; fwd=request";
    case CacheOutcome::bypass: return "; fwd=bypass";
  }
  return "";
}

}  // namespace

Directives parse_cache_control(std::string_view value) {
  Directives found;
  while (!value.empty()) {
    const std::size_t end = end_of_directive(value);
    note(value.substr(0, end), found);
    value.remove_prefix(std::min(value.size(), end + 1));
  }
  return found;
}

void append_cache_status(std::string& out, const CacheStatus& status) {
  out.append("sentinel").append(word(status.outcome));
  if (status.ttl) {
    out.append("; ttl=");
    append_number(out, std::chrono::floor<seconds>(*status.ttl).count());
  }
  if (status.stored) out.append("; stored");
  if (status.collapsed) out.append("; collapsed");
  if (!status.key.empty()) append_quoted(out.append("; key="), status.key);
}

}  // namespace sentinel::cache
