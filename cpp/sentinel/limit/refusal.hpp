// Why a call may not pass: which limit, how long to wait, what the call was predicted to cost.
//
// Contract: a value made by LimitTable; error() is what the client is told. The text names the limit by its node, so
// ids must be such that their own tenant may read them. Cost: one string. Thread rule: none.
#pragma once

#include <cstdint>
#include <string>

#include "sentinel/base/clock.hpp"
#include "sentinel/base/error.hpp"
#include "sentinel/limit/headroom.hpp"
#include "sentinel/limit/rate.hpp"

namespace sentinel::limit {

enum class Cause : std::uint8_t {
  wait,   // passes after retry_after
  never,  // this cost is above the burst
  busy,   // the table itself has no room
};

struct Refusal {
  Cause cause = Cause::wait;
  std::string id;  // which limit: its node and kind
  Kind kind = Kind::requests;
  View view;
  std::int64_t predicted_cost = 0;
  Duration retry_after{0};  // 0 for `never`: send no Retry-After
  Headroom headroom;        // of the path, untouched by this call

  // 429 rate_limit_exceeded, or budget_exceeded for money; 503 overloaded for `busy`.
  Error error() const;
};

}  // namespace sentinel::limit
