// The deadlines of slots, in a hierarchical timing wheel (Varghese, Lauck, SOSP 1987), moved on a bounded step at a time.
//
// base/timer_wheel.hpp holds deadlines of objects that stay where they are, and calls back; slots lie in an array that
// moves, there may be millions, and whoever sets one more must never pay for all that are due. So: seven levels of 64
// lists linked by numbers. A slot hangs in the level of the highest six bits in which its tick differs from the
// wheel's; when the wheel gets there it goes down, and in the lowest level it is due.
//
// Contract: `take_due(now, budget)` disarms and names a slot whose deadline is before `now`; kNoSlot when there is none or
// `budget` moves are used up. It may find one a tick (2^24 ns, about 17 ms) late; `take_all_due` is exact: each deadline
// at or before `now`. Times are nanoseconds, not negative; a time that goes back counts as standing still.
// Cost: arm and disarm O(1); a slot is moved at most seven times in its life. 24 bytes a slot once anything was armed.
// Thread rule: one owner. Failure rule: `arm` and `take_all_due` may throw bad_alloc, and then lost no deadline.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "sentinel/cache/slot_table.hpp"

namespace sentinel::cache {

class ExpiryWheel {
 public:
  ExpiryWheel() { heads_.fill(kNoSlot); }

  void arm(std::uint32_t slot, std::int64_t deadline) {
    if (slot >= nodes_.size()) nodes_.resize(std::max<std::size_t>(slot + std::size_t{1}, nodes_.size() * 2));
    disarm(slot);
    nodes_[slot].deadline = deadline;
    hang(slot);
    ++size_;
  }

  void disarm(std::uint32_t slot) {
    if (!armed(slot)) return;
    unhang(slot);
    --size_;
  }

  bool armed(std::uint32_t slot) const { return slot < nodes_.size() && nodes_[slot].place != kNowhere; }
  std::int64_t deadline(std::uint32_t slot) const { return nodes_[slot].deadline; }
  std::size_t size() const { return size_; }

  std::uint32_t take_due(std::int64_t now, int& budget) {
    const std::uint64_t tick = tick_of(now);
    if (size_ == 0 || tick == 0) return kNoSlot;
    if (!turn_to(tick - 1, budget)) return kNoSlot;  // that tick is over as a whole
    --budget;
    return take(heads_[digit(at_, 0)]);
  }

  void take_all_due(std::int64_t now, std::vector<std::uint32_t>& due) {
    for (;;) {
      make_room(due);
      int budget = kWithoutEnd;
      const std::uint32_t slot = take_due(now, budget);
      if (slot == kNoSlot) break;
      due.push_back(slot);
    }
    int budget = kWithoutEnd;
    if (size_ == 0 || !turn_to(tick_of(now), budget)) return;
    for (std::uint32_t slot = heads_[digit(at_, 0)]; slot != kNoSlot;) {
      const std::uint32_t next = nodes_[slot].next;
      make_room(due);
      if (nodes_[slot].deadline <= now) due.push_back(take(slot));
      slot = next;
    }
  }

  void clear() { *this = ExpiryWheel(); }

 private:
  static constexpr unsigned kTickBits = 24;
  static constexpr unsigned kDigitBits = 6;
  static constexpr unsigned kLevels = 7;  // 24 + 7 x 6 bits: every time there is
  static constexpr std::uint64_t kDigits = std::uint64_t{1} << kDigitBits;
  static constexpr std::uint16_t kNowhere = 0xffff;
  static constexpr int kWithoutEnd = std::numeric_limits<int>::max();

  struct Node {
    std::int64_t deadline = 0;
    std::uint32_t previous = kNoSlot;
    std::uint32_t next = kNoSlot;
    std::uint16_t place = kNowhere;  // which list
  };

  static std::uint64_t tick_of(std::int64_t time) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(time, 0)) >> kTickBits;
  }
  static std::uint64_t digit(std::uint64_t tick, unsigned level) {
    return (tick >> (level * kDigitBits)) & (kDigits - 1);
  }

  // Moves on to the first tick, `until` at the latest, at which the lowest list holds something; false when there is
  // none or the budget ends first.
  bool turn_to(std::uint64_t until, int& budget) {
    while (at_ <= until && budget > 0) {
      if (bring_down(budget)) continue;
      if (heads_[digit(at_, 0)] != kNoSlot) return true;
      const std::uint64_t next = next_occupied();
      if (next > until) {
        at_ = until;
        return false;
      }
      at_ = next;
    }
    return false;
  }

  // What hangs where the wheel stands, but above the lowest level, belongs lower: moves one.
  bool bring_down(int& budget) {
    for (unsigned level = kLevels - 1; level > 0; --level) {
      const std::uint64_t here = digit(at_, level);
      if ((occupied_[level] >> here & 1U) == 0) continue;
      const std::uint32_t slot = heads_[level * kDigits + here];
      unhang(slot);
      hang(slot);
      --budget;
      return true;
    }
    return false;
  }

  // The first tick after this one at which a list begins that holds something. Lower levels come first.
  std::uint64_t next_occupied() const {
    for (unsigned level = 0; level < kLevels; ++level) {
      const std::uint64_t here = digit(at_, level);
      const std::uint64_t later = here == kDigits - 1 ? 0 : occupied_[level] >> (here + 1) << (here + 1);
      if (later == 0) continue;
      const unsigned shift = level * kDigitBits;
      const std::uint64_t above = at_ >> shift >> kDigitBits << kDigitBits;
      return (above | static_cast<std::uint64_t>(std::countr_zero(later))) << shift;
    }
    return std::numeric_limits<std::uint64_t>::max();
  }

  void hang(std::uint32_t slot) {
    Node& node = nodes_[slot];
    const std::uint64_t tick = std::max(tick_of(node.deadline), at_);
    const auto differing = static_cast<unsigned>(std::bit_width(tick ^ at_));
    const unsigned level = differing == 0 ? 0 : (differing - 1) / kDigitBits;
    const std::uint64_t place = level * kDigits + digit(tick, level);
    node.place = static_cast<std::uint16_t>(place);
    node.previous = kNoSlot;
    node.next = heads_[place];
    if (node.next != kNoSlot) nodes_[node.next].previous = slot;
    heads_[place] = slot;
    occupied_[level] |= std::uint64_t{1} << digit(tick, level);
  }

  void unhang(std::uint32_t slot) {
    Node& node = nodes_[slot];
    (node.previous == kNoSlot ? heads_[node.place] : nodes_[node.previous].next) = node.next;
    if (node.next != kNoSlot) nodes_[node.next].previous = node.previous;
    if (heads_[node.place] == kNoSlot)
      occupied_[node.place / kDigits] &= ~(std::uint64_t{1} << (node.place % kDigits));
    node.place = kNowhere;
  }

  // For one more, before a deadline is taken that must not be lost.
  static void make_room(std::vector<std::uint32_t>& due) {
    if (due.size() == due.capacity()) due.reserve(std::max<std::size_t>(16, due.size() * 2));
  }

  std::uint32_t take(std::uint32_t slot) {
    disarm(slot);
    return slot;
  }

  std::vector<Node> nodes_;
  std::array<std::uint32_t, kLevels * kDigits> heads_;
  std::array<std::uint64_t, kLevels> occupied_{};
  std::uint64_t at_ = 0;
  std::size_t size_ = 0;
};

}  // namespace sentinel::cache
