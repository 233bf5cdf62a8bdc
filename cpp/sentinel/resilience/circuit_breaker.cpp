#include "sentinel/resilience/circuit_breaker.hpp"

#include <algorithm>
#include <cassert>
#include <string>

namespace sentinel::resilience {
namespace {

constexpr Duration kLongest = std::chrono::hours{1};  // of any wait; keeps jitter within Random::below
constexpr Duration kDay = std::chrono::hours{24};
constexpr Duration kAskAgain = std::chrono::seconds{1};  // while all probes are under way

Error fault(const char* name, const std::string& rule) {
  return {ErrorCode::invalid_request, std::string(name) + " " + rule, name};
}

Status within(const char* name, std::uint64_t value, std::uint64_t least, std::uint64_t most) {
  if (value >= least && value <= most) return Done{};
  return fault(name, "must be from " + std::to_string(least) + " to " + std::to_string(most) + ", not " +
                         std::to_string(value));
}

Status within(const char* name, Duration value, Duration least, Duration most) {
  if (value >= least && value <= most) return Done{};
  return fault(name, "must be from " + std::to_string(least.count()) + " to " + std::to_string(most.count()) +
                         " microseconds, not " + std::to_string(value.count()));
}

Status validate_window(const BreakerSettings& settings) {
  if (settings.window == WindowKind::count) {
    if (auto ok = within("window_calls", settings.window_calls, 1, 100'000); !ok) return ok;
    return within("minimum_calls", settings.minimum_calls, 1, settings.window_calls);
  }
  if (auto ok = within("window_buckets", settings.window_buckets, 1, 3600); !ok) return ok;
  const Duration least = std::chrono::milliseconds{1} * settings.window_buckets;
  if (auto ok = within("window_length", settings.window_length, least, std::chrono::hours{24}); !ok)
    return ok;
  return within("minimum_calls", settings.minimum_calls, 1, 100'000);
}

Status validate_waits(const BreakerSettings& settings) {
  if (auto ok = within("open_wait", settings.open_wait, Duration{1}, kLongest); !ok) return ok;
  if (auto ok = within("wait_factor", settings.wait_factor, 1, 10); !ok) return ok;
  if (auto ok = within("longest_wait", settings.longest_wait, settings.open_wait, kLongest); !ok) return ok;
  if (auto ok = within("jitter_percent", settings.jitter_percent, 0, 100); !ok) return ok;
  if (auto ok = within("probes", settings.probes, 1, 1000); !ok) return ok;
  if (auto ok = within("longest_half_open", settings.longest_half_open, Duration{0}, kDay); !ok) return ok;
  return within("probe_timeout", settings.probe_timeout, std::chrono::milliseconds{1}, kDay);
}

bool over(Duration value, Duration threshold) { return threshold > Duration{0} && value > threshold; }

OutcomeWindow make_window(const BreakerSettings& settings) {
  if (settings.window == WindowKind::count) return OutcomeWindow(CountWindow(settings.window_calls));
  return OutcomeWindow(TimeWindow(settings.window_length, settings.window_buckets));
}

}  // namespace

Status validate(const BreakerSettings& settings) {
  if (auto ok = validate_window(settings); !ok) return ok;
  if (auto ok = within("failure_rate_percent", settings.failure_rate_percent, 1, 100); !ok) return ok;
  if (auto ok = within("slow_rate_percent", settings.slow_rate_percent, 1, 100); !ok) return ok;
  if (auto ok = within("slow_duration", settings.slow_duration, Duration{0}, kDay); !ok) return ok;
  if (auto ok = within("slow_first_token", settings.slow_first_token, Duration{0}, kDay); !ok) return ok;
  if (auto ok = within("slow_gap", settings.slow_gap, Duration{0}, kDay); !ok) return ok;
  return validate_waits(settings);
}

CircuitBreaker::CircuitBreaker(const BreakerSettings& settings, std::uint64_t seed)
    : settings_(settings), random_(seed), window_(make_window(settings)) {
  assert(validate(settings));
  seats_.reserve(settings.probes);
}

BreakerAnswer CircuitBreaker::allow(Instant now) {
  if (mode_ == BreakerMode::forced_open) return refuse(std::nullopt);
  if (disabled_) return {BreakerPermit(), std::nullopt, BreakerChange::none};
  if (state_ == BreakerState::closed) return admit(BreakerChange::none);
  const BreakerChange due = catch_up(now);
  if (state_ == BreakerState::half_open) return admit_probe(now, BreakerChange::none);
  if (now.monotonic < open_until_.monotonic) {
    BreakerAnswer refusal = refuse(open_until_ - now);
    refusal.change = due;
    return refusal;
  }
  start_probing(now);
  return admit_probe(now, BreakerChange::half_opened);
}

// It opened when its time was up, whenever that is noticed.
BreakerChange CircuitBreaker::catch_up(Instant now) {
  const Duration bound = settings_.longest_half_open;
  if (state_ != BreakerState::half_open || bound == Duration{0} || now - half_open_since_ < bound)
    return BreakerChange::none;
  open({half_open_since_.monotonic + bound, half_open_since_.unix_time + bound});
  return BreakerChange::opened;
}

void CircuitBreaker::start_probing(Instant now) {
  enter(BreakerState::half_open);
  half_open_since_ = now;
}

BreakerAnswer CircuitBreaker::admit(BreakerChange change) {
  return {BreakerPermit(generation_, ++permits_), std::nullopt, change};
}

BreakerAnswer CircuitBreaker::admit_probe(Instant now, BreakerChange change) {
  std::erase_if(seats_, [&](const Seat& seat) { return now - seat.taken >= settings_.probe_timeout; });
  if (seats_.size() + probed_.calls >= settings_.probes) return refuse(kAskAgain);
  BreakerAnswer answer = admit(change);
  seats_.push_back({permits_, now});
  return answer;
}

BreakerAnswer CircuitBreaker::refuse(std::optional<Duration> retry_after) {
  ++refused_;
  return {std::nullopt, retry_after, BreakerChange::none};
}

bool CircuitBreaker::is_slow(const CallTimes& times) const {
  return over(times.duration, settings_.slow_duration) ||
         over(times.first_token, settings_.slow_first_token) || over(times.longest_gap, settings_.slow_gap);
}

BreakerChange CircuitBreaker::record_success(BreakerPermit& permit, const CallTimes& times, Instant now) {
  return record(permit, {.failed = false, .slow = is_slow(times)}, now);
}

BreakerChange CircuitBreaker::record_failure(BreakerPermit& permit, Instant now) {
  return record(permit, {.failed = true, .slow = false}, now);
}

BreakerChange CircuitBreaker::record_failure(BreakerPermit& permit, const CallTimes& times, Instant now) {
  return record(permit, {.failed = true, .slow = is_slow(times)}, now);
}

bool CircuitBreaker::succeed_quietly(BreakerPermit& permit) {
  CountWindow* window = window_.by_count();
  if (window == nullptr || state_ != BreakerState::closed) return false;
  if (permit.generation_ == generation_) {
    const OutcomeCounts& counts = window->counts();
    if ((counts.failed | counts.slow) != 0 && reaches(counts, settings_.minimum_calls - 1)) return false;
    window->add({}, Instant{});
  }
  permit.generation_ = 0;
  return true;
}

BreakerPermit CircuitBreaker::unnamed_permit() const {
  if (disabled_ || state_ == BreakerState::open) return {};
  if (state_ == BreakerState::closed) return {generation_, 0};
  return seats_.empty() ? BreakerPermit() : BreakerPermit(generation_, seats_.front().number);
}

void CircuitBreaker::cancel(BreakerPermit& permit) { give_back(permit); }

// Spends the permit; says whether it belongs to the present state.
bool CircuitBreaker::give_back(BreakerPermit& permit) {
  const bool current = permit.generation_ == generation_;
  permit.generation_ = 0;
  if (!current) return false;
  std::erase_if(seats_, [&](const Seat& seat) { return seat.number == permit.number_; });
  return true;
}

BreakerChange CircuitBreaker::record(BreakerPermit& permit, Outcome outcome, Instant now) {
  if (!give_back(permit)) return BreakerChange::none;
  if (state_ == BreakerState::half_open) return record_probe(outcome, now);
  window_.add(outcome, now);
  if (mode_ != BreakerMode::automatic || !reaches(window_.counts(now), settings_.minimum_calls))
    return BreakerChange::none;
  open(now);
  return BreakerChange::opened;
}

BreakerChange CircuitBreaker::record_probe(Outcome outcome, Instant now) {
  ++probed_.calls;
  probed_.failed += outcome.failed ? 1U : 0U;
  probed_.slow += outcome.slow ? 1U : 0U;
  const bool all = probed_.calls >= settings_.probes;
  const bool bad = settings_.probe_rule == ProbeRule::every ? outcome.failed || outcome.slow
                                                            : all && reaches(probed_, settings_.probes);
  if (bad) {
    open(now);
    return BreakerChange::opened;
  }
  if (!all) return BreakerChange::none;
  openings_ = 0;
  enter(BreakerState::closed);
  return BreakerChange::closed;
}

// A threshold, with enough calls to tell.
bool CircuitBreaker::reaches(const OutcomeCounts& counts, std::uint64_t minimum_calls) const {
  if (counts.calls < minimum_calls) return false;
  const bool failing = counts.failed * 100 >= counts.calls * settings_.failure_rate_percent;
  const bool slow = counts.slow * 100 >= counts.calls * settings_.slow_rate_percent;
  return failing || slow;
}

void CircuitBreaker::enter(BreakerState state) {
  state_ = state;
  ++generation_;
  probed_ = {};
  opened_by_ = {};
  seats_.clear();
  window_.clear();
}

void CircuitBreaker::open(Instant now) {
  const OutcomeCounts counts = outcomes(now);
  const bool rates = tells_rates(now);
  enter(BreakerState::open);
  opened_by_ = counts;
  opened_by_rates_ = rates;
  const Duration wait = next_wait();
  open_until_ = {now.monotonic + wait, now.unix_time + wait};
  ++openings_;
}

Duration CircuitBreaker::next_wait() {
  Duration wait = settings_.open_wait;
  for (std::uint32_t i = 0; i < openings_ && wait < settings_.longest_wait; ++i) {
    wait = std::min<Duration>(wait * settings_.wait_factor, settings_.longest_wait);
    if (settings_.wait_factor == 1) break;
  }
  const auto jitter = static_cast<std::uint64_t>(wait.count()) * settings_.jitter_percent / 100;
  return wait + Duration{static_cast<std::int64_t>(random_.below(jitter + 1))};
}

void CircuitBreaker::force(BreakerMode mode) {
  if (mode == mode_ && !disabled_) return;
  mode_ = mode;
  disabled_ = false;
  openings_ = 0;
  enter(BreakerState::closed);
}

void CircuitBreaker::disable() {
  force(BreakerMode::automatic);
  openings_ = 0;
  enter(BreakerState::closed);
  disabled_ = true;
}

BreakerChange CircuitBreaker::open_now(Instant now) {
  if (mode_ != BreakerMode::automatic || disabled_) force(BreakerMode::automatic);
  if (state_ == BreakerState::open) return BreakerChange::none;
  open(now);
  return BreakerChange::opened;
}

bool CircuitBreaker::half_open_now(Instant now) {
  if (mode_ == BreakerMode::forced_open) {
    force(BreakerMode::automatic);
  } else if (state_ == BreakerState::closed) {
    return false;
  }
  if (state_ != BreakerState::half_open) start_probing(now);
  return true;
}

void CircuitBreaker::reset() {
  disable();
  disabled_ = false;
  refused_ = 0;
}

bool CircuitBreaker::tells_rates(Instant now) {
  if (state_ == BreakerState::open) return opened_by_rates_;
  if (state_ == BreakerState::half_open) return probed_.calls >= settings_.probes;
  return window_.counts(now).calls >= settings_.minimum_calls;
}

OutcomeCounts CircuitBreaker::outcomes(Instant now) {
  if (state_ == BreakerState::half_open) return probed_;
  return state_ == BreakerState::open ? opened_by_ : window_.counts(now);
}

BreakerState CircuitBreaker::state() const {
  return mode_ == BreakerMode::forced_open ? BreakerState::open : state_;
}

BreakerSnapshot CircuitBreaker::snapshot(Instant now) const {
  BreakerSnapshot saved{state_, mode_, openings_, Duration{0}};
  // Counted from now, so that a wall clock that was set meanwhile does not stretch the wait.
  if (state_ == BreakerState::open) saved.open_until_unix = now.unix_time + (open_until_ - now);
  return saved;
}

void CircuitBreaker::restore(const BreakerSnapshot& snapshot, Instant now) {
  mode_ = snapshot.mode;
  openings_ = snapshot.openings;
  // Half-open probes died with their process: OPEN with its wait over asks for new ones.
  const bool closed = snapshot.state == BreakerState::closed || mode_ != BreakerMode::automatic;
  enter(closed ? BreakerState::closed : BreakerState::open);
  const Duration latest = now.unix_time + 2 * settings_.longest_wait;  // of any wait with its jitter
  const Duration left = std::clamp(snapshot.open_until_unix, now.unix_time, latest) - now.unix_time;
  open_until_ = {now.monotonic + left, now.unix_time + left};
}

}  // namespace sentinel::resilience
