#include "sentinel/engine/trace.hpp"

#include <algorithm>

namespace sentinel::engine {
namespace {

constexpr std::size_t kVersion00Bytes = 55;

bool is_lower_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

void TraceContext::append_traceparent(std::string& out) const {
  out += "00-";
  trace_id.append_to(out);
  out += '-';
  append_hex(out, span_id);
  out.append(sampled ? "-01" : "-00");
}

std::optional<TraceContext> read_traceparent(std::string_view header) {
  if (header.size() < kVersion00Bytes || header[2] != '-' || header[35] != '-' || header[52] != '-')
    return std::nullopt;
  const std::string_view version = header.substr(0, 2);
  const std::string_view trace_id = header.substr(3, 32);
  const std::string_view parent_id = header.substr(36, 16);
  const std::string_view flags = header.substr(53, 2);
  if (!is_lower_hex(version) || !is_lower_hex(trace_id) || !is_lower_hex(parent_id) || !is_lower_hex(flags)) {
    return std::nullopt;
  }
  TraceContext context;
  context.trace_id = {read_hex(trace_id.substr(0, 16)), read_hex(trace_id.substr(16))};
  context.parent_id = read_hex(parent_id);
  if (version == "ff" || context.trace_id.empty() || context.parent_id == 0) return std::nullopt;
  // Version 00 is exactly this long; a later one may carry more after a dash.
  const bool longer = header.size() > kVersion00Bytes;
  if (longer && (version == "00" || header[kVersion00Bytes] != '-')) return std::nullopt;
  context.sampled = std::string_view("13579bdf").find(flags[1]) != std::string_view::npos;  // the lowest bit
  return context;
}

TraceContext begin_span(std::optional<TraceContext> caller, Random& random) {
  TraceContext context = caller.value_or(TraceContext{});
  if (context.trace_id.empty()) context.trace_id = {random.next(), random.next()};
  context.span_id = random.next();
  return context;
}

}  // namespace sentinel::engine
