// A list of slots from newest to oldest, linked by numbers through the slots themselves.
//
// A slot holds a `QueueNode queue_node`; functions take the array of slots, which may have moved since the last call.
// Contract: a slot is in at most one list. Cost: O(1), no allocation. Thread rule: one owner.
#pragma once

#include <cstdint>

#include "sentinel/cache/slot_table.hpp"

namespace sentinel::cache {

enum class Queue : std::uint8_t { none, window, probation, protection };

struct QueueNode {
  std::uint32_t newer = kNoSlot;
  std::uint32_t older = kNoSlot;
  std::uint8_t epoch = 0;  // when `uses` was last brought up to date
  std::uint8_t uses = 0;
  bool asked_for = false;  // since it came to where it stands in protection
  Queue queue = Queue::none;
};

class RecencyList {
 public:
  std::uint32_t newest() const { return newest_; }
  std::uint32_t oldest() const { return oldest_; }
  bool empty() const { return newest_ == kNoSlot; }

  template <class Slot>
  void push(Slot* slots, std::uint32_t at) {
    slots[at].queue_node.newer = kNoSlot;
    slots[at].queue_node.older = newest_;
    (newest_ == kNoSlot ? oldest_ : slots[newest_].queue_node.newer) = at;
    newest_ = at;
  }

  template <class Slot>
  void remove(Slot* slots, std::uint32_t at) {
    const QueueNode& node = slots[at].queue_node;
    (node.newer == kNoSlot ? newest_ : slots[node.newer].queue_node.older) = node.older;
    (node.older == kNoSlot ? oldest_ : slots[node.older].queue_node.newer) = node.newer;
  }

  template <class Slot>
  void renew(Slot* slots, std::uint32_t at) {
    if (at == newest_) return;
    remove(slots, at);
    push(slots, at);
  }

 private:
  std::uint32_t newest_ = kNoSlot;
  std::uint32_t oldest_ = kNoSlot;
};

}  // namespace sentinel::cache
