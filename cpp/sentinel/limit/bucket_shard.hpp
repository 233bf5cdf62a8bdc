// One shard of a limit table: its buckets, and which of them would be full soonest.
//
// Layout: buckets are allocated one by one and never move. An order owns them and sorts them by a
// lower bound of the instant at which they are full: charging a bucket only makes that later, so the hot path leaves the
// order alone, and an entry that is out of date is put right when it comes to the front. Giving back may make it
// earlier: whoever gives back calls `touch`. Spare buckets have an order of their own; of those in debt they are dropped before any other.
//
// Contract: at most `max_buckets`; a bucket with `open` above 0 is never dropped, and none for a spare one but another
// spare one or one that is full. Cost: a look-up by a hash that is
// given; dropping is O(log n), amortised over charges. Thread rule: hold `mutex` for every call.
// Failure rule: no room is a null pointer.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "sentinel/base/clock.hpp"
#include "sentinel/limit/bucket_index.hpp"
#include "sentinel/limit/concurrency.hpp"
#include "sentinel/limit/gcra.hpp"
#include "sentinel/limit/rate.hpp"
#include "sentinel/limit/rule.hpp"

namespace sentinel::limit {

struct Bucket {
  std::string id;
  Rule rule;
  std::uint64_t hash = 0;
  Gcra gcra;                  // of a Rate
  Concurrency calls;          // of Slots
  std::uint32_t open = 0;     // reservations and calls under way that know this bucket
  Duration full_at_least{0};  // its place in the order
  std::uint64_t number = 0;   // settles ties in the order of making, so that a run can be replayed
  bool spare = false;
};

class BucketShard {
 public:
  void set_max_buckets(std::size_t max_buckets) { max_buckets_ = max_buckets; }

  Bucket* find(const BucketKey& key) const { return index_.find(key); }
  Bucket* find_or_make(const BucketKey& key, const Rule& rule, bool spare, Instant now);

  // Gives the bucket its place after something came back to it.
  void touch(Bucket& bucket);

  // Drops at most `most` buckets that are full.
  void drop_full(Duration now, std::size_t most);

  std::size_t size() const { return index_.size(); }
  std::uint64_t forgiven() const { return forgiven_; }

  template <class Function>
  void for_each(Function&& function) const {
    for (const Order* order : {&kept_, &spare_}) {
      for (const auto& [place, bucket] : *order) function(*bucket);
    }
  }

  std::mutex mutex;

 private:
  using Place = std::pair<Duration, std::uint64_t>;

  using Order = std::map<Place, std::unique_ptr<Bucket>>;

  Order& order_of(const Bucket& bucket) { return bucket.spare ? spare_ : kept_; }
  Bucket* soonest(Order& order);
  bool make_room(bool spare, Duration now);
  void drop_full(Order& order, Duration now, std::size_t& most);
  void place(Bucket& bucket, Duration full_at);
  void drop(Bucket& bucket);

  BucketIndex index_;
  Order kept_;
  Order spare_;
  std::size_t max_buckets_ = 1;
  std::uint64_t next_number_ = 0;
  std::uint64_t forgiven_ = 0;
};

}  // namespace sentinel::limit
