// The breaker against a slow, plain model that keeps the whole history and recomputes everything from it.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "resilience/moments.hpp"
#include "sentinel/resilience/circuit_breaker.hpp"

namespace sentinel::resilience {
namespace {

struct Event {
  Duration when;
  bool failed;
  bool slow;
};

class Model {
 public:
  explicit Model(const BreakerSettings& settings) : settings_(settings) {}

  struct Permit {
    int epoch;
    Duration taken;
  };

  // Without jitter the wait is a pure function of how often it opened.
  Duration wait() const {
    std::int64_t wait = settings_.open_wait.count();
    for (int i = 1; i < openings_; ++i) {
      wait = std::min<std::int64_t>(wait * settings_.wait_factor, settings_.longest_wait.count());
    }
    return Duration{wait};
  }

  bool allow(Duration now) {
    if (state_ == BreakerState::open && now >= opened_ + wait()) move(BreakerState::half_open);
    if (state_ == BreakerState::open) return false;
    if (state_ == BreakerState::closed) return true;
    const auto taken = std::count_if(probes_.begin(), probes_.end(), [&](const auto& probe) {
      return now - probe.second < settings_.probe_timeout;
    });
    return static_cast<std::uint32_t>(taken) + passed_ < settings_.probes;
  }
  void took(std::uint64_t id, Duration now) {
    epochs_[id] = epoch_;
    if (state_ == BreakerState::half_open) probes_[id] = now;
  }

  void report(std::uint64_t id, bool failed, bool slow, Duration now) {
    const int epoch = epochs_.at(id);
    probes_.erase(id);
    if (epoch != epoch_) return;
    if (state_ == BreakerState::half_open) {
      if (failed || slow) return open(now);
      if (++passed_ < settings_.probes) return;
      openings_ = 0;
      return move(BreakerState::closed);
    }
    history_.push_back({now, failed, slow});
    const OutcomeCounts counts = recount(now);
    if (counts.calls < settings_.minimum_calls) return;
    const bool failing = counts.failed * 100 >= settings_.failure_rate_percent * counts.calls;
    if (failing || counts.slow * 100 >= settings_.slow_rate_percent * counts.calls) open(now);
  }
  void cancel(std::uint64_t id) { probes_.erase(id); }

  OutcomeCounts recount(Duration now) const {
    std::size_t first = 0;
    if (settings_.window == WindowKind::count && history_.size() > settings_.window_calls) {
      first = history_.size() - settings_.window_calls;
    }
    OutcomeCounts counts;
    for (std::size_t i = first; i < history_.size(); ++i) {
      if (settings_.window == WindowKind::time && !in_window(history_[i].when, now)) continue;
      ++counts.calls;
      counts.failed += history_[i].failed ? 1U : 0U;
      counts.slow += history_[i].slow ? 1U : 0U;
    }
    return counts;
  }
  BreakerState state() const { return state_; }

 private:
  bool in_window(Duration when, Duration now) const {
    const std::int64_t width = settings_.window_length.count() / settings_.window_buckets;
    return when.count() / width > now.count() / width - settings_.window_buckets;
  }
  void move(BreakerState state) {
    state_ = state;
    ++epoch_;
    passed_ = 0;
    probes_.clear();
    history_.clear();
  }
  void open(Duration now) {
    move(BreakerState::open);
    opened_ = now;
    ++openings_;
  }

  BreakerSettings settings_;
  BreakerState state_ = BreakerState::closed;
  int epoch_ = 0;
  int openings_ = 0;
  std::uint32_t passed_ = 0;
  Duration opened_{0};
  std::map<std::uint64_t, int> epochs_;
  std::map<std::uint64_t, Duration> probes_;
  std::vector<Event> history_;
};

BreakerSettings random_settings(Random& random) {
  BreakerSettings settings;
  settings.window = random.below(2) == 0 ? WindowKind::count : WindowKind::time;
  settings.window_calls = static_cast<std::uint32_t>(1 + random.below(20));
  settings.window_buckets = static_cast<std::uint32_t>(1 + random.below(8));
  settings.window_length = std::chrono::milliseconds{8 + random.below(4000)};
  settings.minimum_calls = static_cast<std::uint32_t>(1 + random.below(settings.window_calls));
  settings.failure_rate_percent = static_cast<std::uint32_t>(1 + random.below(100));
  settings.slow_rate_percent = static_cast<std::uint32_t>(1 + random.below(100));
  settings.slow_gap = std::chrono::milliseconds{50};
  settings.open_wait = std::chrono::milliseconds{1 + random.below(2000)};
  settings.longest_wait = settings.open_wait * static_cast<std::int64_t>(1 + random.below(8));
  settings.wait_factor = static_cast<std::uint32_t>(1 + random.below(3));
  settings.jitter_percent = 0;
  settings.probes = static_cast<std::uint32_t>(1 + random.below(4));
  settings.probe_timeout = std::chrono::milliseconds{1 + random.below(5000)};
  return settings;
}

void play(std::uint64_t seed, std::array<std::uint64_t, 3>& visits) {
  Random random(seed);
  const BreakerSettings settings = random_settings(random);
  ASSERT_TRUE(validate(settings));
  CircuitBreaker breaker(settings, seed);
  Model model(settings);
  std::vector<std::pair<std::uint64_t, BreakerPermit>> held;
  std::uint64_t ids = 0;
  Duration now{0};
  const std::uint64_t failing_percent = random.below(101);
  for (int step = 0; step < 600; ++step) {
    now += Duration{static_cast<std::int64_t>(random.below(random.below(20) == 0 ? 3'000'000 : 40'000))};
    if (held.empty() || random.below(2) == 0) {
      const BreakerAnswer answer = breaker.allow(at(now));
      ASSERT_EQ(answer.permit.has_value(), model.allow(now)) << "seed " << seed << " step " << step;
      ASSERT_NE(answer.permit.has_value(), answer.retry_after.has_value());
      if (answer.permit) {
        model.took(++ids, now);
        held.emplace_back(ids, *answer.permit);
      } else {
        ASSERT_GT(*answer.retry_after, Duration{0});
      }
    } else {
      const std::size_t which = random.below(held.size());
      auto [id, permit] = held[which];
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
      const std::uint64_t choice = random.below(10);
      const bool failed = random.below(100) < failing_percent;
      const bool slow = !failed && random.below(6) == 0;
      if (choice == 0) {
        breaker.cancel(permit);
        model.cancel(id);
      } else if (choice == 1) {
        held.emplace_back(id, permit);  // still under way
      } else {
        if (failed) breaker.record_failure(permit, at(now));
        CallTimes times;
        if (slow) times.longest_gap = std::chrono::milliseconds{51};
        if (!failed) breaker.record_success(permit, times, at(now));
        model.report(id, failed, slow, now);
        ASSERT_TRUE(permit.spent());
      }
    }
    ASSERT_EQ(breaker.state(), model.state()) << "seed " << seed << " step " << step;
    ASSERT_EQ(breaker.counts(at(now)), model.recount(now)) << "seed " << seed << " step " << step;
    ++visits[static_cast<std::size_t>(breaker.state())];
  }
}

TEST(CircuitBreakerProperty, A6DoesWhatAModelWithTheFullHistoryDoes) {
  std::array<std::uint64_t, 3> visits{};
  for (std::uint64_t seed = 1; seed <= 1500; ++seed) {
    play(seed, visits);
    if (HasFatalFailure()) return;
  }
  for (const std::uint64_t visited : visits) EXPECT_GT(visited, 10'000U) << "every state must be met often";
}

// However calls end, a recovering target is found again: seats never leak.
TEST(CircuitBreakerProperty, PermitsNeverLeak) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    BreakerSettings settings = random_settings(random);
    CircuitBreaker breaker(settings, seed);
    Duration now{0};
    for (int step = 0; step < 300; ++step) {
      now += Duration{static_cast<std::int64_t>(random.below(500'000))};
      BreakerAnswer answer = breaker.allow(at(now));
      if (!answer.permit) continue;
      const std::uint64_t end = random.below(4);
      if (end == 0) breaker.cancel(*answer.permit);
      if (end == 1) breaker.record_failure(*answer.permit, at(now));
      if (end == 2) breaker.record_success(*answer.permit, {}, at(now));
      // end == 3: the holder vanished
    }
    for (std::uint32_t i = 0; breaker.state() != BreakerState::closed; ++i) {
      ASSERT_LT(i, 20U) << "seed " << seed;
      now += settings.longest_wait + settings.probe_timeout;
      BreakerAnswer answer = breaker.allow(at(now));
      ASSERT_TRUE(answer.permit.has_value()) << "seed " << seed;
      breaker.record_success(*answer.permit, {}, at(now));
    }
  }
}

}  // namespace
}  // namespace sentinel::resilience
