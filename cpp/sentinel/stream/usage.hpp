// Token figures as the provider reports them, in one meaning for every protocol.
//
// Contract: `prompt` counts every input token, `cached` and `cache_write` are parts of it (so a price for the
// rest is prompt - cached - cache_write, never negative); `reasoning` is a part of `completion`. Figures that
// cannot be true (negative, fractions, above 2^53, a part larger than its whole) are treated as absent by the
// readers. (Anthropic reports input, cache reads and cache writes apart; here `prompt` is their sum.)
#pragma once

#include <cstdint>

namespace sentinel::stream {

struct Usage {
  std::int64_t prompt = 0;
  std::int64_t completion = 0;
  std::int64_t cached = 0;
  std::int64_t cache_write = 0;
  std::int64_t reasoning = 0;

  friend bool operator==(const Usage&, const Usage&) = default;
};

}  // namespace sentinel::stream
