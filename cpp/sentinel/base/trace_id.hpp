// The name of a trace, 128 bits (W3C trace context, "trace-id"): kept as two words, written as 32 digits where it is read.
//
// Contract: all zero is no trace. Cost: 16 bytes, no allocation. Thread rule: a plain value.
#pragma once

#include <cstdint>
#include <string>

#include "sentinel/base/hex.hpp"

namespace sentinel {

struct TraceId {
  std::uint64_t high = 0;
  std::uint64_t low = 0;

  bool empty() const { return (high | low) == 0; }

  // 32 lower-case hexadecimal digits.
  void append_to(std::string& out) const {
    append_hex(out, high);
    append_hex(out, low);
  }
  std::string text() const {
    std::string digits;
    append_to(digits);
    return digits;
  }

  friend bool operator==(const TraceId&, const TraceId&) = default;
};

}  // namespace sentinel
