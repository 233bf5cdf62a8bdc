// How a client steers the cache, and how it is told what happened: `Cache-Control` of requests (RFC 9111, section 5.2.1)
// and `Cache-Status` of responses (RFC 9211).
//
// Contract: the reader never fails. Names are case-insensitive, values may be quoted, unknown directives are ignored. A
// max-age that is not a number of seconds is the strictest one, 0; of several the smallest counts; too large a one is the
// largest there is. A quote that nobody closes is an ordinary character, so that it hides no directive behind it. Several
// header lines are joined with a comma by the caller.
// Cost: one pass, no allocation besides the text written. Thread rule: pure. No locale.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sentinel/base/clock.hpp"

namespace sentinel::cache {

struct Directives {
  bool no_store = false;  // keep nothing of this call, and answer it upstream
  bool no_cache = false;  // ask upstream; what comes may be stored
  std::optional<Duration> max_age;

  // May an entry answer, as far as its age goes?
  bool accepts(Duration age) const { return !no_store && !no_cache && (!max_age || age <= *max_age); }
  // An answer already under way was asked for by someone else, before: whoever steers does not follow it.
  bool forbids_following() const { return no_store || no_cache || max_age.has_value(); }
};

Directives parse_cache_control(std::string_view value);

enum class CacheOutcome : std::uint8_t {
  hit,     // answered from the cache
  miss,    // fwd=uri-miss: no entry
  stale,   // fwd=stale: an entry older than the client's max-age
  asked,   // fwd=request: the client said no-cache
  bypass,  // fwd=bypass: not to be cached at all
};

struct CacheStatus {
  CacheOutcome outcome = CacheOutcome::bypass;
  std::optional<Duration> ttl;  // written in whole seconds, rounded down
  bool stored = false;
  bool collapsed = false;  // followed another request's upstream call
  std::string_view key;    // empty: not written
};

// Appends for example `sentinel; fwd=uri-miss; stored` or `sentinel; hit; ttl=123; key="..."`.
void append_cache_status(std::string& out, const CacheStatus& status);

}  // namespace sentinel::cache
