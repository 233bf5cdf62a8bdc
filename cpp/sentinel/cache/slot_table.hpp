// From a hash to the number of a slot: flat open addressing, for whoever keeps entries in an array of their own.
//
// Layout: a power of two of 8-byte buckets, each the number of a slot and 32 bits of its mixed hash, at most half of
// them taken. Linear probing from the place that the upper of those bits name; removing shifts the followers back, so
// there are no tombstones. Equal hashes may be held several times; keys are their owner's, who compares them.
//
// Contract: a look-up is a Probe: `table.probe(hash)` stands at the first slot whose 32 bits agree, `table.advance`
// at the next; `slot` is kNoSlot at the end. Any insert or removal ends all probes.
// Cost: one cache line, mostly. insert allocates when it doubles the buckets. Numbers of slots are below 2^31.
// Thread rule: one owner. Failure rule: insert may throw bad_alloc and then changed nothing.
#pragma once

#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sentinel::cache {

inline constexpr std::uint32_t kNoSlot = 0xffff'ffffU;

// Spreads a hash over 32 bits (Fibonacci hashing, Knuth), since hashes of small integers are those integers.
inline std::uint32_t mixed(std::uint64_t hash) {
  return static_cast<std::uint32_t>((hash * 0x9e3779b97f4a7c15U) >> 32U);
}

class SlotTable {
 public:
  struct Probe {
    std::uint32_t slot = kNoSlot;
    std::uint32_t tag = 0;
    std::size_t at = 0;
  };

  SlotTable() : buckets_(kLeastBuckets) {}

  Probe probe(std::uint64_t hash) const {
    Probe probe;
    probe.tag = mixed(hash);
    probe.at = home(probe.tag);
    settle(probe);
    return probe;
  }

  void advance(Probe& probe) const {
    probe.at = after(probe.at);
    settle(probe);
  }

  void insert(std::uint64_t hash, std::uint32_t slot) {
    if ((size_ + 1) * 2 > buckets_.size()) resize(buckets_.size() * 2);
    put({slot, mixed(hash)});
    ++size_;
  }

  // `slot` must be held under that hash.
  void remove(std::uint64_t hash, std::uint32_t slot) {
    std::size_t at = home(mixed(hash));
    while (buckets_[at].slot != slot) {
      assert(buckets_[at].slot != kNoSlot);
      at = after(at);
    }
    close_gap(at);
    --size_;
  }

  // Room for so many, so that insert cannot fail.
  void reserve(std::size_t slots) {
    const std::size_t wanted = std::bit_ceil(slots * 2);
    if (wanted > buckets_.size()) resize(wanted);
  }

  std::size_t size() const { return size_; }

 private:
  struct Bucket {
    std::uint32_t slot = kNoSlot;
    std::uint32_t tag = 0;
  };
  static constexpr std::size_t kLeastBuckets = 16;

  static unsigned shift_for(std::size_t buckets) {
    return 32U - static_cast<unsigned>(std::countr_zero(buckets));
  }

  std::size_t home(std::uint32_t tag) const { return tag >> shift_; }
  std::size_t after(std::size_t at) const { return (at + 1) & mask_; }

  void settle(Probe& probe) const {
    const Bucket* const buckets = buckets_.data();
    for (;; probe.at = (probe.at + 1) & mask_) {
      const Bucket bucket = buckets[probe.at];
      probe.slot = bucket.slot;
      if (bucket.tag == probe.tag || bucket.slot == kNoSlot) return;
    }
  }

  void put(Bucket bucket) {
    std::size_t at = home(bucket.tag);
    while (buckets_[at].slot != kNoSlot) at = after(at);
    buckets_[at] = bucket;
  }

  void close_gap(std::size_t gap) {
    for (std::size_t at = after(gap); buckets_[at].slot != kNoSlot; at = after(at)) {
      const bool stands_behind_its_home = ((at - home(buckets_[at].tag)) & mask_) < ((at - gap) & mask_);
      if (stands_behind_its_home) continue;
      buckets_[gap] = buckets_[at];
      gap = at;
    }
    buckets_[gap] = {};
  }

  void resize(std::size_t wanted) {
    assert(wanted <= std::size_t{1} << 32U);
    std::vector<Bucket> old(wanted);
    old.swap(buckets_);
    shift_ = shift_for(wanted);
    mask_ = wanted - 1;
    for (const Bucket& bucket : old)
      if (bucket.slot != kNoSlot) put(bucket);
  }

  std::vector<Bucket> buckets_;
  std::size_t mask_ = kLeastBuckets - 1;
  unsigned shift_ = shift_for(kLeastBuckets);
  std::size_t size_ = 0;
};

}  // namespace sentinel::cache
