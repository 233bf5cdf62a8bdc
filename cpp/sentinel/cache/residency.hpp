// Who stays and who leaves: the order of a bounded cache's slots, as exact LRU or as W-TinyLFU.
//
// W-TinyLFU (Einziger, Friedman, Manes: "TinyLFU: A Highly Efficient Cache Admission Policy", ACM ToS 2017): who is new
// enters a window, ordered by recency. Who falls out of the window competes with the oldest of the main part for its
// place: the one that was asked for more often of late stays. The main part has two segments, four fifths of it for those
// that were asked for again (protection). Two things differ from the paper. A hit in the main part only leaves a mark;
// marks are looked at when room is needed, as a second chance. And the number of uses of a slot that is held lies in the
// slot; the sketch knows those that are not held. So a hit touches no memory but its own slot.
//
// The window's share is the caller's to move: a hundredth for W-TinyLFU, all of it for LRU. A move takes place step by
// step with what comes in, so no call is long: a window that may grow takes from the main part, one that must shrink
// hands over a few slots at a time, and while the window has all, a hit in the main part brings a slot into it.
//
// Contract: `add` puts a slot in as newest of the window. `victim(keep)` names the slot to take out next, never `keep`,
// kNoSlot if there is no other; the caller calls `remove` with it. Uses are halved each ten times as many accesses as slots.
// A slot weighs 1 unless `weighted`. Slots hold `hash` and `standing`; calls take the array of slots.
// Cost: O(1), but the halving: O(sketch) each ten times as many accesses. Thread rule: one owner.
// Failure rule: `add` may throw bad_alloc and then changed nothing.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "sentinel/cache/frequency_sketch.hpp"
#include "sentinel/cache/recency_list.hpp"

namespace sentinel::cache {

// In 1024ths of what is held.
inline constexpr std::uint32_t kWholeWindow = 1024;
inline constexpr std::uint32_t kSmallWindow = 10;

enum class Queue : std::uint8_t { none, window, probation, protection };

// Where a slot stands, and what is known of its uses: four bytes in the slot itself.
struct Standing {
  std::uint8_t epoch = 0;  // when `uses` was last brought up to date
  std::uint8_t uses = 0;
  bool asked_for = false;  // since it came to where it stands in the main part
  Queue queue = Queue::none;
};

class Residency {
 public:
  enum class Policy : std::uint8_t { lru, adaptive };

  explicit Residency(Policy policy, bool weighted = false)
      : weighted_(weighted),
        counting_(policy == Policy::adaptive),
        window_share_(counting_ ? kSmallWindow : kWholeWindow) {}

  void set_window_share(std::uint32_t share) { window_share_ = share; }
  std::uint32_t window_share() const { return window_share_; }

  // Somebody asked for what is not here.
  void note_miss(std::uint64_t hash) {
    if (!counting_) return;
    last_miss_uses_ = sketch_.add(hash);
    last_miss_ = hash;
    missed_ = true;
    count_access();
  }

  // Whether the last miss noted was this, and nothing was added since.
  bool just_missed(std::uint64_t hash) const { return missed_ && last_miss_ == hash; }

  // In the main part a hit leaves a mark and moves nothing: what it is worth is looked at when room is needed.
  template <class Slot>
  void touch(Slot* slots, std::uint32_t at) {
    if (touch_at_once(slots, at)) return;
    count_access();
    count_use(slots[at].standing);
    const bool in_window = slots[at].standing.queue == Queue::window;
    if (in_window) return list(Queue::window).renew(links_.data(), at);
    if (window_share_ == kWholeWindow) return enter_window(slots, at);
    slots[at].standing.asked_for = true;
  }

  // The same where it calls nothing, which is mostly; else nothing happens and it is false.
  template <class Slot>
  [[gnu::always_inline]] bool touch_at_once(Slot* slots, std::uint32_t at) {
    if (!counting_) {
      list(Queue::window).renew(links_.data(), at);
      return true;
    }
    Standing& standing = slots[at].standing;
    const bool changes_queue = window_share_ == kWholeWindow && standing.queue != Queue::window;
    if (changes_queue || until_check_ == 1) [[unlikely]]
      return false;
    --until_check_;
    count_use(standing);
    if (standing.queue == Queue::window) {
      list(Queue::window).renew(links_.data(), at);
    } else {
      standing.asked_for = true;
    }
    return true;
  }

  template <class Slot>
  void add(Slot* slots, std::uint32_t at, std::uint64_t weight) {
    if (links_.size() <= at) links_.resize(at + std::size_t{1});
    if (weighted_ && weights_.size() <= at) weights_.resize(at + std::size_t{1});
    if (counting_) {
      sketch_.grow_to(size_ + 1);
      slots[at].standing.uses = uses_of_new(slots[at].hash);
      slots[at].standing.epoch = epoch_;
    }
    if (weighted_) weights_[at] = weight;
    ++size_;
    enter(slots, at, Queue::window);
    if (counting_) shrink_window(slots);
  }

  template <class Slot>
  void reweigh(Slot* slots, std::uint32_t at, std::uint64_t weight) {
    if (!weighted_) return;
    weight_of(slots[at].standing.queue) += weight - weights_[at];
    weights_[at] = weight;
  }

  template <class Slot>
  void remove(Slot* slots, std::uint32_t at) {
    if (counting_) {
      bring_up_to_date(slots[at].standing);
      sketch_.raise(slots[at].hash, slots[at].standing.uses);
    }
    if (candidate_ == at) candidate_ = kNoSlot;
    leave(slots, at);
    slots[at].standing.queue = Queue::none;
    --size_;
  }

  template <class Slot>
  std::uint32_t victim(Slot* slots, std::uint32_t keep) {
    promote(slots);
    const std::uint32_t oldest = oldest_but(keep);
    const std::uint32_t candidate = candidate_;
    candidate_ = kNoSlot;
    if (candidate == kNoSlot || candidate == keep || candidate == oldest || oldest == kNoSlot) return oldest;
    if (slots[oldest].standing.queue == Queue::window) return oldest;
    bring_up_to_date(slots[candidate].standing);
    bring_up_to_date(slots[oldest].standing);
    return slots[candidate].standing.uses > slots[oldest].standing.uses ? oldest : candidate;
  }

  // Who mostly leaves next; kNoSlot if nobody is here.
  std::uint32_t likely_victim() const { return oldest_but(kNoSlot); }
  void prefetch_uses(std::uint64_t hash) const {
    if (counting_) sketch_.prefetch(hash);
  }

  // One like this when it was new.
  Residency emptied() const { return Residency(counting_ ? Policy::adaptive : Policy::lru, weighted_); }

  // Room for so many, so that `add` of numbers below it cannot fail.
  void reserve(std::size_t slots) {
    links_.resize(slots);
    if (weighted_) weights_.resize(slots);
    if (counting_) sketch_.grow_to(slots);
  }

  std::size_t size() const { return size_; }
  std::uint64_t weight() const {
    return weight_of(Queue::window) + weight_of(Queue::probation) + weight_of(Queue::protection);
  }
  std::uint64_t weight_at(std::uint32_t at) const { return weighted_ ? weights_[at] : 1; }

  // Most valuable first.
  template <class Visit>
  void visit(Visit visit) const {
    for (const Queue queue : {Queue::protection, Queue::window, Queue::probation})
      for (std::uint32_t at = list(queue).newest(); at != kNoSlot; at = links_[at].older) visit(at);
  }

 private:
  static constexpr std::size_t kAccessesPerSlot = 10;
  static constexpr std::size_t kLeastAccesses = 640;
  static constexpr int kMovesPerStep = 8;

  RecencyList& list(Queue queue) { return lists_[static_cast<std::size_t>(queue)]; }
  const RecencyList& list(Queue queue) const { return lists_[static_cast<std::size_t>(queue)]; }
  std::uint64_t& weight_of(Queue queue) { return weight_[static_cast<std::size_t>(queue)]; }
  std::uint64_t weight_of(Queue queue) const { return weight_[static_cast<std::size_t>(queue)]; }

  template <class Slot>
  void enter(Slot* slots, std::uint32_t at, Queue queue) {
    slots[at].standing.queue = queue;
    list(queue).push(links_.data(), at);
    weight_of(queue) += weight_at(at);
  }

  template <class Slot>
  void leave(Slot* slots, std::uint32_t at) {
    const Queue queue = slots[at].standing.queue;
    list(queue).remove(links_.data(), at);
    weight_of(queue) -= weight_at(at);
  }

  template <class Slot>
  void move(Slot* slots, std::uint32_t at, Queue to) {
    leave(slots, at);
    enter(slots, at, to);
  }

  // What is asked for while the window has all comes into it.
  template <class Slot>
  void enter_window(Slot* slots, std::uint32_t at) {
    if (candidate_ == at) candidate_ = kNoSlot;
    move(slots, at, Queue::window);
  }

  // Takes those at the end of probation that were asked for into protection, a few at a time.
  template <class Slot>
  void promote(Slot* slots) {
    for (int moved = 0; moved < kMovesPerStep && !list(Queue::probation).empty(); ++moved) {
      const std::uint32_t at = list(Queue::probation).oldest();
      if (!slots[at].standing.asked_for) return;
      if (candidate_ == at) candidate_ = kNoSlot;
      slots[at].standing.asked_for = false;
      move(slots, at, Queue::protection);
      shrink_protection(slots);
    }
  }

  // Down to four fifths of the main part. Who was asked for stays, once more as newest.
  template <class Slot>
  void shrink_protection(Slot* slots) {
    const std::uint64_t main = weight_of(Queue::probation) + weight_of(Queue::protection);
    for (int moved = 0; moved < kMovesPerStep && weight_of(Queue::protection) > main - main / 5; ++moved) {
      const std::uint32_t at = list(Queue::protection).oldest();
      if (!slots[at].standing.asked_for) {
        move(slots, at, Queue::probation);
        continue;
      }
      slots[at].standing.asked_for = false;
      list(Queue::protection).renew(links_.data(), at);
    }
  }

  // Hands what is too much to the main part; the last to go is who must compete when room is short.
  template <class Slot>
  void shrink_window(Slot* slots) {
    if (window_share_ == kWholeWindow) return;
    const std::uint64_t most = std::max<std::uint64_t>(
        1, weight() / kWholeWindow * window_share_ + weight() % kWholeWindow * window_share_ / kWholeWindow);
    for (int moved = 0; moved < kMovesPerStep && weight_of(Queue::window) > most; ++moved) {
      const std::uint32_t at = list(Queue::window).oldest();
      if (at == list(Queue::window).newest()) return;
      slots[at].standing.asked_for = false;
      move(slots, at, Queue::probation);
      candidate_ = at;
    }
  }

  std::uint32_t oldest_but(std::uint32_t keep) const {
    for (const Queue queue : {Queue::probation, Queue::protection, Queue::window}) {
      const std::uint32_t oldest = list(queue).oldest();
      if (oldest == kNoSlot) continue;
      if (oldest != keep) return oldest;
      if (links_[oldest].newer != kNoSlot) return links_[oldest].newer;
    }
    return kNoSlot;
  }

  // A set that follows the miss it answers is one access with it.
  std::uint8_t uses_of_new(std::uint64_t hash) {
    const bool counted = just_missed(hash);
    missed_ = false;
    if (counted) return last_miss_uses_;
    count_access();
    return sketch_.add(hash);
  }

  void count_access() {
    if (--until_check_ == 0) [[unlikely]]
      check_age();
  }

  [[gnu::noinline]] void check_age() {
    const std::size_t period = std::max(kLeastAccesses, size_ * kAccessesPerSlot);
    accesses_ += chunk_;
    if (accesses_ >= period) {
      accesses_ /= 2;
      ++epoch_;
      sketch_.halve();
    }
    chunk_ = accesses_ < period ? period - accesses_ : 1;
    until_check_ = chunk_;
  }

  // Without a branch: after each halving every slot that is asked for is out of date once.
  [[gnu::always_inline]] void bring_up_to_date(Standing& standing) const {
    const unsigned halvings = static_cast<std::uint8_t>(epoch_ - standing.epoch);
    standing.uses = static_cast<std::uint8_t>(standing.uses >> std::min(halvings, 7U));
    standing.epoch = epoch_;
  }

  [[gnu::always_inline]] void count_use(Standing& standing) const {
    bring_up_to_date(standing);
    standing.uses = std::min<std::uint8_t>(static_cast<std::uint8_t>(standing.uses + 1), kMostUses);
  }

  bool weighted_;
  bool counting_;
  bool missed_ = false;
  std::uint8_t epoch_ = 0;
  std::uint8_t last_miss_uses_ = 0;
  std::uint32_t window_share_;
  std::uint32_t candidate_ = kNoSlot;
  std::size_t size_ = 0;
  std::size_t accesses_ =
      0;  // since the start, halved with the uses; without the chunk that is being counted
  std::size_t chunk_ = kLeastAccesses;
  std::size_t until_check_ = kLeastAccesses;
  std::vector<Links> links_;
  std::array<RecencyList, 4> lists_;
  std::array<std::uint64_t, 4> weight_{};
  std::uint64_t last_miss_ = 0;
  FrequencySketch sketch_;
  std::vector<std::uint64_t> weights_;
};

}  // namespace sentinel::cache
