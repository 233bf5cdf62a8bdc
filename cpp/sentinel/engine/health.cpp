#include "sentinel/engine/health.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "sentinel/engine/snapshot.hpp"

namespace sentinel::engine {

using resilience::BreakerChange;
using resilience::BreakerMode;
using resilience::BreakerSnapshot;
using resilience::BreakerState;

Permit::Permit(Permit&& other) noexcept
    : health_(std::exchange(other.health_, nullptr)),
      permit_(std::exchange(other.permit_, std::nullopt)),
      taken_(other.taken_),
      sampled_(other.sampled_) {}

Permit& Permit::operator=(Permit&& other) noexcept {
  if (this == &other) return *this;
  drop();
  health_ = std::exchange(other.health_, nullptr);
  permit_ = std::exchange(other.permit_, std::nullopt);
  taken_ = other.taken_;
  sampled_ = other.sampled_;
  return *this;
}

Permit::~Permit() { drop(); }

// Without an outcome; its place among the calls under way is free again.
void Permit::drop() {
  TargetHealth* const health = std::exchange(health_, nullptr);
  if (health == nullptr) return;
  const std::lock_guard lock(health->mutex_);
  if (permit_) health->breaker_->cancel(*permit_);
  if (health->concurrency_) health->concurrency_->release(taken_);
}

BreakerChange Permit::succeed(const resilience::CallTimes& times, Instant now) {
  if (health_ == nullptr) return BreakerChange::none;
  taken_ = now;
  const std::lock_guard lock(health_->mutex_);
  return permit_ ? health_->breaker_->record_success(*permit_, times, now) : BreakerChange::none;
}

BreakerChange Permit::fail(Instant now) {
  if (health_ == nullptr) return BreakerChange::none;
  taken_ = now;
  const std::lock_guard lock(health_->mutex_);
  return permit_ ? health_->breaker_->record_failure(*permit_, now) : BreakerChange::none;
}

void Permit::sample(Duration latency, bool overloaded, Instant now) {
  if (health_ == nullptr || std::exchange(sampled_, true)) return;
  const std::lock_guard lock(health_->mutex_);
  if (health_->concurrency_) health_->concurrency_->sample(latency, overloaded, now);
}

TargetHealth::TargetHealth(std::string label, const TargetSettings& settings, std::uint64_t seed)
    : label_(std::move(label)), settings_(settings), budget_(settings.budget) {
  if (settings.breaker) breaker_.emplace(*settings.breaker, seed);
  if (settings.concurrency) concurrency_.emplace(*settings.concurrency);
}

TargetHealth::Answer TargetHealth::allow(Instant now) {
  Answer answer;
  Permit permit;
  const std::lock_guard lock(mutex_);
  if (breaker_) {
    resilience::BreakerAnswer asked = breaker_->allow(now);
    answer.change = asked.change;
    answer.retry_after = asked.retry_after;
    if (!asked.permit) return answer;
    permit.permit_ = asked.permit;
  }
  if (concurrency_ && !concurrency_->try_acquire(now)) {
    if (permit.permit_) breaker_->cancel(*permit.permit_);
    answer.busy = true;
    answer.retry_after = std::chrono::seconds{1};
    return answer;
  }
  permit.health_ = this;
  permit.taken_ = now;
  answer.permit.emplace(std::move(permit));
  return answer;
}

void TargetHealth::record_call(Instant now) {
  const std::lock_guard lock(mutex_);
  budget_.record_call(now);
}

bool TargetHealth::try_retry(Instant now) {
  const std::lock_guard lock(mutex_);
  return budget_.try_retry(now);
}

void TargetHealth::force(BreakerMode mode) {
  const std::lock_guard lock(mutex_);
  if (breaker_) breaker_->force(mode);
}

TargetStatus TargetHealth::status(Instant now) {
  const std::lock_guard lock(mutex_);
  TargetStatus status;
  status.target = label_;
  if (breaker_) {
    status.has_breaker = true;
    status.state = breaker_->state();
    status.mode = breaker_->mode();
    status.counts = breaker_->counts(now);
    status.refused = breaker_->refused();
  }
  if (concurrency_) {
    status.concurrency_limit = concurrency_->limit();
    status.in_flight = concurrency_->in_flight();
  }
  return status;
}

BreakerState TargetHealth::state() const {
  const std::lock_guard lock(mutex_);
  return breaker_ ? breaker_->state() : BreakerState::closed;
}

BreakerSnapshot TargetHealth::snapshot(Instant now) const {
  const std::lock_guard lock(mutex_);
  return breaker_ ? breaker_->snapshot(now) : BreakerSnapshot{};
}

void TargetHealth::restore(const BreakerSnapshot& snapshot, Instant now) {
  const std::lock_guard lock(mutex_);
  if (breaker_) breaker_->restore(snapshot, now);
}

CredentialHealth::CredentialHealth(std::size_t count, const resilience::CoolDownSettings& given)
    : credentials(count), settings(given) {
  if (count > 0) pool_.emplace(count, given);
}

resilience::CredentialChoice CredentialHealth::choose(Instant now) {
  const std::lock_guard lock(mutex_);
  return pool_ ? pool_->choose(now) : resilience::CredentialChoice{};
}

void CredentialHealth::record_refusal(std::size_t index, std::optional<Duration> retry_after, Instant now) {
  const std::lock_guard lock(mutex_);
  if (pool_) pool_->record_refusal(index, retry_after, now);
}

void CredentialHealth::record_success(std::size_t index) {
  const std::lock_guard lock(mutex_);
  if (pool_) pool_->record_success(index);
}

void HealthTable::adopt(Snapshot& snapshot) {
  const std::lock_guard lock(mutex_);
  for (const auto& upstream : snapshot.upstreams) {
    auto& known = credentials_[upstream->name];
    const bool same = known && known->credentials == upstream->health->credentials &&
                      known->settings == upstream->health->settings;
    if (same) {
      upstream->health = known;
    } else {
      known = upstream->health;
    }
  }
  for (const auto& route : snapshot.routes) {
    for (auto& target : route->targets) {
      auto& known = targets_[target.label];
      if (known && known->settings() == target.health->settings()) {
        target.health = known;
      } else {
        known = target.health;
      }
    }
  }
}

std::vector<TargetStatus> HealthTable::statuses(Instant now) const {
  std::vector<TargetStatus> all;
  const std::lock_guard lock(mutex_);
  for (const auto& [label, health] : targets_) all.push_back(health->status(now));
  std::sort(all.begin(), all.end(),
            [](const TargetStatus& left, const TargetStatus& right) { return left.target < right.target; });
  return all;
}

bool HealthTable::force(std::string_view target, BreakerMode mode) {
  const std::lock_guard lock(mutex_);
  const auto known = targets_.find(std::string(target));
  if (known == targets_.end() || !known->second->settings().breaker) return false;
  known->second->force(mode);
  return true;
}

std::vector<std::pair<std::string, BreakerState>> HealthTable::states() const {
  std::vector<std::pair<std::string, BreakerState>> all;
  const std::lock_guard lock(mutex_);
  for (const auto& [label, health] : targets_) all.emplace_back(label, health->state());
  std::sort(all.begin(), all.end());
  return all;
}

// "state mode openings open_until label": the label last, because only it may hold anything.
std::string HealthTable::snapshot(Instant now) const {
  std::string text;
  const std::lock_guard lock(mutex_);
  for (const auto& [label, health] : targets_) {
    const BreakerSnapshot taken = health->snapshot(now);
    if (taken == BreakerSnapshot{}) continue;
    for (const std::int64_t number :
         {static_cast<std::int64_t>(taken.state), static_cast<std::int64_t>(taken.mode),
          std::int64_t{taken.openings}, taken.open_until_unix.count()}) {
      text += std::to_string(number);
      text += ' ';
    }
    text += label;
    text += '\n';
  }
  return text;
}

namespace {

std::optional<std::int64_t> take_number(std::string_view& line) {
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  std::int64_t value = 0;
  const auto read = std::from_chars(line.data(), line.data() + space, value);
  if (read.ec != std::errc{} || read.ptr != line.data() + space || value < 0) return std::nullopt;
  line.remove_prefix(space + 1);
  return value;
}

std::optional<BreakerSnapshot> take_breaker(std::string_view& line) {
  const auto state = take_number(line);
  const auto mode = take_number(line);
  const auto openings = take_number(line);
  const auto until = take_number(line);
  constexpr std::int64_t kMostOpenings = 1'000'000;
  if (!state || !mode || !openings || !until || *state > 2 || *mode > 2 || *openings > kMostOpenings)
    return std::nullopt;
  return BreakerSnapshot{static_cast<BreakerState>(*state), static_cast<BreakerMode>(*mode),
                         static_cast<std::uint32_t>(*openings), Duration{*until}};
}

}  // namespace

Status HealthTable::restore(std::string_view text, Instant now) {
  std::vector<std::pair<std::string, BreakerSnapshot>> read;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const auto breaker = take_breaker(line);
    if (!breaker) return Error(ErrorCode::invalid_request, "the state of the breakers cannot be read");
    read.emplace_back(line, *breaker);
  }
  const std::lock_guard lock(mutex_);
  for (const auto& [label, breaker] : read) {
    const auto known = targets_.find(label);
    if (known != targets_.end()) known->second->restore(breaker, now);
  }
  return Done{};
}

}  // namespace sentinel::engine
