// Open reservations, named by (slot, generation): each is taken out once, by its end or by its expiry.
//
// Layout: slots are reused with their memory; a list in order of opening is also the order of expiry, since all live
// equally long. `next_expiry` can be read without the lock.
//
// Contract: `take` gives a reservation's items once; a stale or invented name gives nothing. Cost: O(items), no search.
// Thread rule: locks itself; lock it after the bucket shards, never before. Failure rule: a full slab adds nothing.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "sentinel/base/clock.hpp"
#include "sentinel/limit/path_list.hpp"

namespace sentinel::limit {

struct Bucket;

struct Reservation {
  std::uint64_t id = 0;
  Duration expires_at{0};  // monotonic
};

// What one want took from one bucket.
struct Item {
  Bucket* bucket = nullptr;
  std::int64_t cost = 0;
  std::int64_t amount = 0;  // the rate's at that time
  Duration charged_at{0};   // the bucket's time then
};

using Items = PathList<Item>;

class ReservationSlab {
 public:
  static constexpr Duration kNone = Duration::max();

  void set_max_slots(std::size_t max_slots) { max_slots_ = max_slots; }

  // The id's low half names the slot, its high half the generation.
  std::optional<Reservation> add(std::span<const Item> items, Duration expires_at);
  bool take(std::uint64_t id, Items& items);
  bool take_expired(Duration now, Items& items);

  Duration next_expiry() const { return Duration{next_expiry_.load(std::memory_order_relaxed)}; }
  std::size_t size() const;

 private:
  static constexpr std::uint32_t kEnd = std::numeric_limits<std::uint32_t>::max();
  struct Slot {
    std::vector<Item> items;
    Duration expires_at{0};
    std::uint32_t generation = 1;
    std::uint32_t before = kEnd;
    std::uint32_t after = kEnd;
    bool open = false;
  };

  void close(std::uint32_t index, Items& items);
  void publish_expiry();

  mutable std::mutex mutex_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::uint32_t first_ = kEnd;
  std::uint32_t last_ = kEnd;
  std::size_t max_slots_ = 1;
  std::size_t open_ = 0;
  std::atomic<std::int64_t> next_expiry_{kNone.count()};
};

}  // namespace sentinel::limit
