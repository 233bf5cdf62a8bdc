#include "sentinel/base/timer_wheel.hpp"

#include <algorithm>
#include <bit>
#include <cassert>

namespace sentinel {
namespace {

constexpr std::size_t kWordBits = 64;

void link_before(detail::TimerLink& position, detail::TimerLink& link) {
  link.previous = position.previous;
  link.next = &position;
  position.previous->next = &link;
  position.previous = &link;
}

void unlink(detail::TimerLink& link) {
  link.previous->next = link.next;
  link.next->previous = link.previous;
  link.previous = &link;
  link.next = &link;
}

}  // namespace

void Timer::set(TimerWheel& wheel, Duration deadline) {
  cancel();
  deadline_ = deadline;
  wheel_ = &wheel;
  wheel.insert(*this);
  if (wheel.set_hook_ != nullptr) wheel.set_hook_(wheel.set_hook_context_, deadline);
}

void Timer::cancel() {
  if (wheel_ == nullptr) return;
  wheel_->remove(*this);
  wheel_ = nullptr;
}

TimerWheel::TimerWheel(Duration granularity, std::size_t slots)
    : granularity_(granularity), slots_(slots), occupied_((slots + kWordBits - 1) / kWordBits, 0) {
  assert(granularity > Duration{0});
  assert(std::has_single_bit(slots));
}

TimerWheel::~TimerWheel() {
  const auto disarm_all = [](detail::TimerLink& head) {
    while (head.next != &head) static_cast<Timer*>(head.next)->cancel();
  };
  for (detail::TimerLink& head : slots_) disarm_all(head);
  disarm_all(due_);
}

std::uint64_t TimerWheel::lap_tick(Duration at) const {
  return at <= Duration{0} ? 0 : static_cast<std::uint64_t>(at / granularity_);
}

void TimerWheel::insert(Timer& timer) {
  // What is already due waits in the slot that the next tick looks at first.
  const std::uint64_t at = std::max(lap_tick(timer.deadline_), cursor_);
  timer.slot_ = static_cast<std::size_t>(at) & (slots_.size() - 1);
  timer.order_ = ++sets_;
  link_before(slots_[timer.slot_], timer);
  occupied_[timer.slot_ / kWordBits] |= std::uint64_t{1} << (timer.slot_ % kWordBits);
  ++size_;
}

void TimerWheel::remove(Timer& timer) {
  unlink(timer);
  --size_;
  if (timer.slot_ == kDue) return;
  const detail::TimerLink& head = slots_[timer.slot_];
  if (head.next != &head) return;
  occupied_[timer.slot_ / kWordBits] &= ~(std::uint64_t{1} << (timer.slot_ % kWordBits));
}

void TimerWheel::tick(Duration now) {
  assert(!ticking_);
  ticking_ = true;
  const std::uint64_t target = std::max(lap_tick(now), cursor_);
  const std::uint64_t steps = std::min<std::uint64_t>(target - cursor_, slots_.size() - 1);
  for (std::uint64_t step = 0; size_ > 0 && step <= steps; ++step) {
    collect(static_cast<std::size_t>(cursor_ + step) & (slots_.size() - 1), now);
  }
  cursor_ = target;
  fire_due();
  ticking_ = false;
}

void TimerWheel::collect(std::size_t slot, Duration now) {
  if ((occupied_[slot / kWordBits] >> (slot % kWordBits) & 1U) == 0) return;
  detail::TimerLink& head = slots_[slot];
  for (detail::TimerLink* link = head.next; link != &head; link = link->next) {
    Timer* timer = static_cast<Timer*>(link);
    if (timer->deadline_ <= now) collected_.push_back(timer);
  }
}

void TimerWheel::fire_due() {
  std::sort(collected_.begin(), collected_.end(), [](const Timer* a, const Timer* b) {
    return a->deadline_ != b->deadline_ ? a->deadline_ < b->deadline_ : a->order_ < b->order_;
  });
  // Callbacks may destroy timers that are still to fire, so these wait in a list they can leave.
  for (Timer* timer : collected_) {
    remove(*timer);
    timer->slot_ = kDue;
    link_before(due_, *timer);
    ++size_;
  }
  collected_.clear();
  while (due_.next != &due_) {
    Timer& timer = *static_cast<Timer*>(due_.next);
    timer.cancel();
    timer.callback_(timer.context_);
  }
}

std::optional<Duration> TimerWheel::next() const {
  if (size_ == 0) return std::nullopt;
  const std::size_t mask = slots_.size() - 1;
  const std::size_t start = static_cast<std::size_t>(cursor_) & mask;
  std::size_t distance = 0;
  while (distance < slots_.size()) {
    const std::size_t slot = (start + distance) & mask;
    const std::size_t bit = slot % kWordBits;
    const std::uint64_t word = occupied_[slot / kWordBits] >> bit;
    if (word != 0) {
      distance += static_cast<std::size_t>(std::countr_zero(word));
      break;
    }
    distance += std::min(kWordBits - bit, slots_.size() - slot);
  }
  // The end of that slot, when all of it is due.
  return granularity_ * static_cast<std::int64_t>(cursor_ + distance + 1);
}

}  // namespace sentinel
