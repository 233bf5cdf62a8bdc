// A list of slots from newest to oldest, linked by numbers.
//
// The links of all slots are an array of their own, eight bytes each, which several lists share: a move touches four of
// them and no slot. Functions take that array, which may have moved since the last call.
// Contract: a slot is in at most one list. Cost: O(1), no allocation. Thread rule: one owner.
#pragma once

#include <cstdint>

#include "sentinel/cache/slot_table.hpp"

namespace sentinel::cache {

struct Links {
  std::uint32_t newer = kNoSlot;
  std::uint32_t older = kNoSlot;
};

class RecencyList {
 public:
  std::uint32_t newest() const { return newest_; }
  std::uint32_t oldest() const { return oldest_; }
  bool empty() const { return newest_ == kNoSlot; }

  void push(Links* links, std::uint32_t at) {
    links[at] = {kNoSlot, newest_};
    (newest_ == kNoSlot ? oldest_ : links[newest_].newer) = at;
    newest_ = at;
  }

  void remove(Links* links, std::uint32_t at) {
    const Links here = links[at];
    (here.newer == kNoSlot ? newest_ : links[here.newer].older) = here.older;
    (here.older == kNoSlot ? oldest_ : links[here.older].newer) = here.newer;
  }

  void renew(Links* links, std::uint32_t at) {
    if (at == newest_) return;
    const Links here = links[at];  // somebody is newer
    links[here.newer].older = here.older;
    (here.older == kNoSlot ? oldest_ : links[here.older].newer) = here.newer;
    links[at] = {kNoSlot, newest_};
    links[newest_].newer = at;
    newest_ = at;
  }

 private:
  std::uint32_t newest_ = kNoSlot;
  std::uint32_t oldest_ = kNoSlot;
};

}  // namespace sentinel::cache
