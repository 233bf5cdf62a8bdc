// What is left, as a caller is told it: the tightest of all limits on its path, per kind, for the headers
// x-ratelimit-{limit,remaining,reset}-{requests,tokens}, and how durations are written there.
//
// Contract: `limit` is the burst, that is what `remaining` counts down from and what is whole again after `reset`.
// Cost: values, no allocation but the text. Thread rule: none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sentinel/base/clock.hpp"
#include "sentinel/limit/rate.hpp"

namespace sentinel::limit {

struct View {
  std::int64_t limit = 0;
  std::int64_t remaining = 0;
  Duration reset{0};

  friend bool operator==(const View&, const View&) = default;
};

// Less remaining, then the longer reset.
bool tighter(const View& view, const View& than);

struct Headroom {
  std::optional<View> requests;
  std::optional<View> tokens;

  // Keeps the tighter of the two per kind: less remaining, then the longer reset. Other kinds are in no header.
  void note(Kind kind, const View& view);
  void note(const Headroom& other);
};

// As OpenAI writes them: 12ms, 1s, 1.5s, 6m0s, 1h2m3s; rounded up to a millisecond.
std::string format_duration(Duration duration);

// Whole seconds for Retry-After, rounded up, at least 1.
std::int64_t retry_after_seconds(Duration duration);

}  // namespace sentinel::limit
