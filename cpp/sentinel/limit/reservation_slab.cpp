#include "sentinel/limit/reservation_slab.hpp"

#include <algorithm>

namespace sentinel::limit {

std::optional<Reservation> ReservationSlab::add(std::span<const Item> items, Duration expires_at) {
  const std::lock_guard lock(mutex_);
  if (open_ >= max_slots_) return std::nullopt;
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  if (last_ != kEnd) expires_at = std::max(expires_at, slots_[last_].expires_at);  // a clock that went back
  Slot& slot = slots_[index];
  slot.items.assign(items.begin(), items.end());
  slot.expires_at = expires_at;
  slot.open = true;
  slot.before = last_;
  slot.after = kEnd;
  (last_ != kEnd ? slots_[last_].after : first_) = index;
  last_ = index;
  ++open_;
  publish_expiry();
  return Reservation{std::uint64_t{slot.generation} << 32U | index, expires_at};
}

bool ReservationSlab::take(std::uint64_t id, Items& items) {
  const auto index = static_cast<std::uint32_t>(id);
  const std::lock_guard lock(mutex_);
  if (index >= slots_.size()) return false;
  if (!slots_[index].open || slots_[index].generation != id >> 32U) return false;
  close(index, items);
  return true;
}

bool ReservationSlab::take_expired(Duration now, Items& items) {
  const std::lock_guard lock(mutex_);
  if (first_ == kEnd || slots_[first_].expires_at > now) return false;
  close(first_, items);
  return true;
}

std::size_t ReservationSlab::size() const {
  const std::lock_guard lock(mutex_);
  return open_;
}

void ReservationSlab::close(std::uint32_t index, Items& items) {
  Slot& slot = slots_[index];
  items.clear();
  for (const Item& item : slot.items) items.add(item);
  (slot.before != kEnd ? slots_[slot.before].after : first_) = slot.after;
  (slot.after != kEnd ? slots_[slot.after].before : last_) = slot.before;
  slot.open = false;
  ++slot.generation;
  free_.push_back(index);
  --open_;
  publish_expiry();
}

void ReservationSlab::publish_expiry() {
  const Duration next = first_ == kEnd ? kNone : slots_[first_].expires_at;
  next_expiry_.store(next.count(), std::memory_order_relaxed);
}

}  // namespace sentinel::limit
