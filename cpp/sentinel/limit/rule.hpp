// One rule of a node: a rate of requests, tokens or money, or a number of concurrent calls.
#pragma once

#include <variant>

#include "sentinel/limit/concurrency.hpp"
#include "sentinel/limit/rate.hpp"

namespace sentinel::limit {

using Rule = std::variant<Rate, Slots>;

inline Kind kind_of(const Rule& rule) {
  const Rate* rate = std::get_if<Rate>(&rule);
  return rate != nullptr ? rate->kind() : Kind::concurrency;
}

// What tells two rates of one kind on one node apart ("60/min" and "1000/day"); 0 for concurrency.
inline Duration period_of(const Rule& rule) {
  const Rate* rate = std::get_if<Rate>(&rule);
  return rate != nullptr ? rate->period() : Duration{0};
}

}  // namespace sentinel::limit
