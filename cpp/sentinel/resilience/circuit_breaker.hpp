// Circuit breaker: stops calls to a target that fails or has become slow, and tries it again with few probes.
//
// The pattern is Nygard's ("Release It!", 2007). CLOSED lets everything through and watches a sliding window
// (the last N calls, or the last seconds). When the window holds `minimum_calls` and the share of failed or
// of slow calls reaches its threshold, the breaker is OPEN: it refuses, and says when to come back. After the
// wait the first caller makes it HALF_OPEN: `probes` calls may pass. By ProbeRule::every, when all have
// succeeded and none was slow it is CLOSED again with an empty window, and the first bad one reopens it. By
// ProbeRule::rates, when all have reported, the thresholds decide which of the two it is (resilience4j's
// rule). Whenever it reopens the wait grows by `wait_factor` up to `longest_wait`. HALF_OPEN for
// `longest_half_open` is OPEN again: nobody reported enough.
//
// Contract: each permit is reported once: record_success, record_failure, or cancel. Reporting spends it; a
// spent permit, and one of an earlier state (generation), changes nothing. cancel says that the client left:
// no failure, and a probe's seat comes back. A probe that is not heard of for `probe_timeout` gives its seat
// back too, so that a lost permit cannot keep the target shut; its late report still counts if the breaker
// has not moved on. What counts as a failure is the caller's choice: see docs/resilience.md.
// Forced states refuse or admit everything until `automatic` is set again, which starts CLOSED and empty;
// forced closed still counts outcomes, disabled does not. Before the first call it is simply CLOSED.
// A change that is due by time alone happens when somebody asks: allow(), or catch_up().
// Cost: O(1) and no allocation per call (by time: O(buckets) after a pause). Thread rule: one owner, or the
// caller's lock. Failure rule: settings are checked by validate(); the constructor asserts them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sentinel/base/clock.hpp"
#include "sentinel/base/random.hpp"
#include "sentinel/base/result.hpp"
#include "sentinel/resilience/outcome_window.hpp"

namespace sentinel::resilience {

enum class BreakerState : std::uint8_t { closed = 0, half_open = 1, open = 2 };  // the metric's numbers
enum class BreakerMode : std::uint8_t { automatic, forced_open, forced_closed };
enum class BreakerChange : std::uint8_t { none, opened, half_opened, closed };  // for the log and its counter
enum class WindowKind : std::uint8_t { count, time };
enum class ProbeRule : std::uint8_t { every, rates };

struct BreakerSettings {
  WindowKind window = WindowKind::count;
  std::uint32_t window_calls = 100;                   // for WindowKind::count
  Duration window_length = std::chrono::seconds{30};  // for WindowKind::time
  std::uint32_t window_buckets = 10;                  // for WindowKind::time
  std::uint32_t minimum_calls = 20;
  std::uint32_t failure_rate_percent = 50;
  std::uint32_t slow_rate_percent = 80;
  Duration slow_duration{0};     // a call longer than this is slow; 0: not looked at
  Duration slow_first_token{0};  // likewise for the time to its first token
  Duration slow_gap{0};          // likewise for its longest silence after that
  Duration open_wait = std::chrono::seconds{5};
  std::uint32_t wait_factor = 2;
  Duration longest_wait = std::chrono::minutes{2};
  std::uint32_t jitter_percent = 10;  // added to the wait, never taken from it
  std::uint32_t probes = 1;
  Duration probe_timeout = std::chrono::seconds{60};
  ProbeRule probe_rule = ProbeRule::every;
  Duration longest_half_open{0};  // 0: no bound

  friend bool operator==(const BreakerSettings&, const BreakerSettings&) = default;
};

// The error's param is the name of the setting at fault.
Status validate(const BreakerSettings& settings);

struct CallTimes {
  Duration duration{0};
  Duration first_token{0};
  Duration longest_gap{0};
};

class BreakerPermit {
 public:
  BreakerPermit() = default;  // spent

  bool spent() const { return generation_ == 0; }

 private:
  friend class CircuitBreaker;
  BreakerPermit(std::uint64_t generation, std::uint64_t number) : generation_(generation), number_(number) {}
  std::uint64_t generation_ = 0;
  std::uint64_t number_ = 0;
};

struct BreakerAnswer {
  std::optional<BreakerPermit> permit;
  std::optional<Duration> retry_after;  // of a refusal; nothing when the breaker is forced open
  BreakerChange change = BreakerChange::none;
};

// What outlives the process or is shared: all but the window, which starts empty. Times since 1970.
struct BreakerSnapshot {
  BreakerState state = BreakerState::closed;
  BreakerMode mode = BreakerMode::automatic;
  std::uint32_t openings = 0;  // since it was last closed: the wait's exponent
  Duration open_until_unix{0};

  friend bool operator==(const BreakerSnapshot&, const BreakerSnapshot&) = default;
};

class CircuitBreaker {
 public:
  CircuitBreaker(const BreakerSettings& settings, std::uint64_t seed);

  BreakerAnswer allow(Instant now);
  BreakerChange record_success(BreakerPermit& permit, const CallTimes& times, Instant now);
  BreakerChange record_failure(BreakerPermit& permit, Instant now);
  BreakerChange record_failure(BreakerPermit& permit, const CallTimes& times, Instant now);
  void cancel(BreakerPermit& permit);

  // For callers to whom the time costs more than the rest. A CLOSED breaker lets a call pass without it, and its success
  // is counted without it if the window is by count and no threshold can be reached by that. False: nothing was done.
  bool pass_quietly(BreakerPermit& permit) {
    if (state_ != BreakerState::closed || mode_ == BreakerMode::forced_open || disabled_) return false;
    permit = BreakerPermit(generation_, ++permits_);
    return true;
  }
  bool succeed_quietly(BreakerPermit& permit);

  // The permit of whoever reports without one: of the oldest probe under way, or of any call while CLOSED. Spent if
  // there is none to report.
  BreakerPermit unnamed_permit() const;

  BreakerChange catch_up(Instant now);

  void force(BreakerMode mode);
  BreakerMode mode() const { return mode_; }
  void disable();  // everything passes and nothing counts, until another mode or state is set
  bool disabled() const { return disabled_; }

  // By hand, and automatic from then on. OPEN as if a threshold were reached, with its wait; HALF_OPEN before the wait is
  // over (false if the breaker is CLOSED); CLOSED as new, counters too.
  BreakerChange open_now(Instant now);
  bool half_open_now(Instant now);
  void reset();

  BreakerState state() const;  // OPEN stays OPEN after its wait until somebody calls
  OutcomeCounts counts(Instant now) { return window_.counts(now); }
  // Those that matter in its state: of the window, of the probes, or those that opened it.
  OutcomeCounts outcomes(Instant now);
  // Whether they are enough calls to tell a rate.
  bool tells_rates(Instant now);
  std::uint64_t refused() const { return refused_; }

  BreakerSnapshot snapshot(Instant now) const;
  void restore(const BreakerSnapshot& snapshot, Instant now);

 private:
  struct Seat {  // of a probe under way
    std::uint64_t number;
    Instant taken;
  };

  bool is_slow(const CallTimes& times) const;
  bool reaches(const OutcomeCounts& counts, std::uint64_t minimum_calls) const;
  BreakerChange record(BreakerPermit& permit, Outcome outcome, Instant now);
  BreakerChange record_probe(Outcome outcome, Instant now);
  BreakerAnswer admit(BreakerChange change);
  BreakerAnswer admit_probe(Instant now, BreakerChange change);
  BreakerAnswer refuse(std::optional<Duration> retry_after);
  void enter(BreakerState state);
  void open(Instant now);
  void start_probing(Instant now);
  Duration next_wait();
  bool give_back(BreakerPermit& permit);

  BreakerSettings settings_;
  Random random_;
  OutcomeWindow window_;
  BreakerState state_ = BreakerState::closed;
  BreakerMode mode_ = BreakerMode::automatic;
  std::uint64_t generation_ = 1;
  std::uint64_t permits_ = 0;
  std::uint64_t refused_ = 0;
  std::uint32_t openings_ = 0;
  OutcomeCounts probed_;     // what the probes of this HALF_OPEN came to
  OutcomeCounts opened_by_;  // what made it OPEN
  bool opened_by_rates_ = false;
  bool disabled_ = false;
  Instant open_until_;
  Instant half_open_since_;
  std::vector<Seat> seats_;
};

}  // namespace sentinel::resilience
