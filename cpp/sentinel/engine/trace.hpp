// W3C trace context (https://www.w3.org/TR/trace-context/): read `traceparent`, write it for the upstream call.
//
// Contract: a malformed or all-zero traceparent is ignored and a new trace begins. The upstream sees the same trace with
// our span as its parent; `tracestate` is passed on only with a valid traceparent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sentinel/base/random.hpp"
#include "sentinel/base/trace_id.hpp"

namespace sentinel::engine {

struct TraceContext {
  TraceId trace_id;
  std::uint64_t parent_id = 0;  // the caller's span; 0: a new trace
  std::uint64_t span_id = 0;    // ours
  bool sampled = true;

  void append_traceparent(std::string& out) const;
};

// Nothing unless the header is a valid traceparent.
std::optional<TraceContext> read_traceparent(std::string_view header);

TraceContext begin_span(std::optional<TraceContext> caller, Random& random);

}  // namespace sentinel::engine
