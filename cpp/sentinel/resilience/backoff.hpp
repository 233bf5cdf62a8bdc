// How long to wait before a retry: exponential with full jitter (Brooker, "Exponential Backoff And Jitter",
// 2015), and the upstream's own Retry-After where it gave one.
//
// Contract: without Retry-After a number from 0 to min(cap, base * 2^attempt), all equally likely. With it at
// least that long: the jitter is added, so that callers told the same moment do not come back at once. If the
// upstream asks for more than `longest_retry_after`, nothing: the caller should not hold its client so long.
// parse_retry_after reads the header of RFC 9110, section 10.2.3: seconds, or any of the three date forms.
// Cost: O(1), no allocation. Thread rule: pure, Random has one owner. Failure rule: what cannot be read is
// nothing, as if the header were absent.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "sentinel/base/clock.hpp"
#include "sentinel/base/random.hpp"

namespace sentinel::resilience {

struct BackoffSettings {
  Duration base = std::chrono::milliseconds{100};
  Duration cap = std::chrono::seconds{5};  // at most an hour
  Duration longest_retry_after = std::chrono::seconds{10};

  friend bool operator==(const BackoffSettings&, const BackoffSettings&) = default;
};

// attempt: 0 before the first retry.
std::optional<Duration> retry_delay(const BackoffSettings& settings, std::uint32_t attempt,
                                    std::optional<Duration> retry_after, Random& random);

// How long from now; a date that has passed is 0.
std::optional<Duration> parse_retry_after(std::string_view value, Instant now);

}  // namespace sentinel::resilience
