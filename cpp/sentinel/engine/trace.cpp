#include "sentinel/engine/trace.hpp"

#include <algorithm>

namespace sentinel::engine {
namespace {

constexpr std::size_t kVersion00Bytes = 55;

bool is_lower_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_all_zero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

}  // namespace

void TraceContext::append_traceparent(std::string& out) const {
  out.append("00-").append(trace_id).append("-");
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
  if (version == "ff" || is_all_zero(trace_id) || is_all_zero(parent_id)) return std::nullopt;
  // Version 00 is exactly this long; a later one may carry more after a dash.
  const bool longer = header.size() > kVersion00Bytes;
  if (longer && (version == "00" || header[kVersion00Bytes] != '-')) return std::nullopt;
  TraceContext context;
  context.trace_id = trace_id;
  context.parent_id = parent_id;
  context.sampled = std::string_view("13579bdf").find(flags[1]) != std::string_view::npos;  // the lowest bit
  return context;
}

TraceContext begin_span(std::optional<TraceContext> caller, Random& random) {
  TraceContext context;
  if (caller) context = std::move(*caller);
  if (context.trace_id.empty()) {
    context.trace_id.reserve(32);
    random.append_hex(context.trace_id);
    random.append_hex(context.trace_id);
  }
  context.span_id = random.next();
  return context;
}

}  // namespace sentinel::engine
