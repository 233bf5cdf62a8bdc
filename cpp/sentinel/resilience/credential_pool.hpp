// Which of an upstream's credentials serves the next call: in turn, without those that cool down after a 429.
//
// Contract: a 429 concerns the credential, not the upstream, so it comes here and never to the breaker. The
// credential rests as long as Retry-After says (at most `longest`), or without that header `first`, doubled
// for each 429 in a row. Several 429s of calls that were under way together count once for the doubling. A
// success ends the row but not a rest. When all rest, the answer is the time until the first is back.
// Cost: choose O(credentials), no allocation after construction. Thread rule: one owner, or the caller's
// lock. Failure rule: no credential is an answer; an index that does not exist is an assert.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "sentinel/base/clock.hpp"

namespace sentinel::resilience {

struct CoolDownSettings {
  Duration first = std::chrono::seconds{1};
  Duration longest = std::chrono::minutes{5};

  friend bool operator==(const CoolDownSettings&, const CoolDownSettings&) = default;
};

struct CredentialChoice {
  std::optional<std::size_t> credential;
  Duration retry_after{0};  // when there is none
};

class CredentialPool {
 public:
  CredentialPool(std::size_t credentials, const CoolDownSettings& settings)
      : settings_(settings), credentials_(credentials) {
    assert(credentials > 0 && settings.first > Duration{0} && settings.longest >= settings.first);
  }

  CredentialChoice choose(Instant now) {
    Duration earliest = Duration::max();
    for (std::size_t tried = 0; tried < credentials_.size(); ++tried) {
      const std::size_t index = (next_ + tried) % credentials_.size();
      const Duration left = resting(index, now);
      if (left == Duration{0}) {
        next_ = (index + 1) % credentials_.size();
        return {index, Duration{0}};
      }
      earliest = std::min(earliest, left);
    }
    return {std::nullopt, earliest};
  }

  // The upstream answered 429 to a call with this credential.
  void record_refusal(std::size_t index, std::optional<Duration> retry_after, Instant now) {
    assert(index < credentials_.size());
    Credential& credential = credentials_[index];
    if (resting(index, now) == Duration{0})
      credential.row = credential.row < kMostRow ? credential.row + 1 : kMostRow;
    const Duration rest =
        std::clamp(retry_after.value_or(doubled(credential.row)), Duration{0}, settings_.longest);
    credential.rests_until = std::max(credential.rests_until, now.monotonic + rest);
  }

  void record_success(std::size_t index) {
    assert(index < credentials_.size());
    credentials_[index].row = 0;
  }

  Duration resting(std::size_t index, Instant now) const {  // how much longer; 0: it may be used
    assert(index < credentials_.size());
    return std::max(credentials_[index].rests_until - now.monotonic, Duration{0});
  }

  std::size_t size() const { return credentials_.size(); }

 private:
  struct Credential {
    Duration rests_until{0};
    std::uint32_t row = 0;  // 429s since the last success
  };
  static constexpr std::uint32_t kMostRow = 32;

  Duration doubled(std::uint32_t row) const {
    Duration rest = settings_.first;
    for (std::uint32_t i = 1; i < row && rest < settings_.longest; ++i) rest *= 2;
    return rest;
  }

  CoolDownSettings settings_;
  std::vector<Credential> credentials_;
  std::size_t next_ = 0;
};

}  // namespace sentinel::resilience
