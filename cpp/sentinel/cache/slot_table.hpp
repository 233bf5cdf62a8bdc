// From a hash to the number of a slot: flat open addressing, for whoever keeps entries in an array of their own.
//
// Layout: a power of two of 4-byte buckets, at most a quarter of them taken, half of them where that is much memory. A
// bucket holds the number of a slot and, in the bits that numbers below a half of the buckets leave free, how far it is
// from its home and bits of its mixed hash. Linear probing from the home, which the mixed hash's upper bits name; so a
// look-up knows what the bits of a bucket must be. Removing shifts the followers back, so there are no tombstones.
// (Chunks whose bytes are compared all at once need a third of the memory, but a hit waits four nanoseconds longer for
// the number of its slot: measured.) Equal hashes may be held several times; keys are their owner's, who compares them,
// and so are whole hashes, which growing asks for, and removing if somebody is far from home.
//
// Contract: a look-up is a Probe: `table.probe(hash)` stands at the first slot whose bits agree, `table.advance` at the
// next; `slot` is kNoSlot at the end. Any insert or removal ends all probes. `hash_of` gives the hash of any slot that is
// held. Numbers should be those of an array with free places used again: memory is for the greatest.
// Cost: one cache line, mostly. insert allocates when it doubles the buckets.
// Thread rule: one owner. Failure rule: insert may throw bad_alloc and then changed nothing.
#pragma once

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sentinel::cache {

inline constexpr std::uint32_t kNoSlot = 0xffff'ffffU;

// Spreads a hash over 64 bits, the upper ones best (Fibonacci hashing, Knuth), since hashes of small integers are those
// integers.
inline std::uint64_t mixed(std::uint64_t hash) { return hash * 0x9e3779b97f4a7c15U; }

class SlotTable {
 public:
  struct Probe {
    std::uint32_t slot = kNoSlot;
    std::uint32_t tag = 0;
    std::size_t at = 0;
  };

  SlotTable() : buckets_(kLeastBuckets, kEmpty) {}

  [[gnu::always_inline]] Probe probe(std::uint64_t hash) const {
    const std::uint64_t spread = mixed(hash);
    Probe probe;
    probe.tag = tag_of(spread);
    probe.at = home(spread);
    settle(probe);
    return probe;
  }

  void advance(Probe& probe) const {
    step(probe);
    settle(probe);
  }

  // For whoever will ask for that hash soon.
  void prefetch(std::uint64_t hash) const { __builtin_prefetch(&buckets_[home(mixed(hash))]); }

  template <class HashOf>
  void insert(std::uint64_t hash, std::uint32_t slot, HashOf hash_of) {
    make_room(std::max(size_ + 1, slot + std::size_t{1}), hash_of);
    put(hash, slot);
    ++size_;
  }

  // `slot` must be held under that hash.
  template <class HashOf>
  void remove(std::uint64_t hash, std::uint32_t slot, HashOf hash_of) {
    std::size_t at = home(mixed(hash));
    while ((buckets_[at] & shape_.number_mask) != slot) {
      assert(buckets_[at] != kEmpty);
      at = after(at);
    }
    close_gap(at, hash_of);
    --size_;
  }

  // Room for so many, so that insert cannot fail.
  template <class HashOf>
  void reserve(std::size_t slots, HashOf hash_of) {
    make_room(slots, hash_of);
  }

  std::size_t size() const { return size_; }

 private:
  static constexpr std::size_t kLeastBuckets = 16;
  static constexpr unsigned kDistanceBits = 4;
  static constexpr std::size_t kManySlots = 1U << 14U;
  static constexpr std::uint32_t kEmpty = 0xffff'ffffU;
  static constexpr std::uint32_t kNeverEmpty =
      0x7fff'ffffU;  // no tag has the upper bit, so none agrees with kEmpty

  static unsigned shift_for(std::size_t buckets) {
    return 64U - static_cast<unsigned>(std::countr_zero(buckets));
  }

  // Which bits of a bucket are what: the number, the distance, the hash, and the uppermost of none but kEmpty.
  struct Shape {
    std::uint32_t number_mask;
    unsigned distance_shift;
    std::uint32_t farthest;  // all bits of the distance: that far or farther

    explicit Shape(std::size_t buckets) : number_mask(static_cast<std::uint32_t>(buckets / 2 - 1)) {
      distance_shift = static_cast<unsigned>(std::popcount(number_mask));
      farthest = ((1U << std::min(31U - distance_shift, kDistanceBits)) - 1) << distance_shift;
    }
  };

  // In the place of the distance there is none. Of other bits than those that name the home.
  std::uint32_t tag_of(std::uint64_t spread) const {
    return static_cast<std::uint32_t>(spread) & ~(shape_.number_mask | shape_.farthest) & kNeverEmpty;
  }
  std::size_t home(std::uint64_t spread) const { return spread >> shift_; }
  std::size_t mask() const { return 2 * std::size_t{shape_.number_mask} + 1; }
  std::size_t after(std::size_t at) const { return (at + 1) & mask(); }

  void step(Probe& probe) const {
    probe.at = after(probe.at);
    probe.tag = further(probe.tag);
  }

  // What the bits of a bucket are one place further from home.
  std::uint32_t further(std::uint32_t bucket) const {
    return (bucket & shape_.farthest) == shape_.farthest ? bucket : bucket + shape_.number_mask + 1;
  }

  [[gnu::always_inline]] void settle(Probe& probe) const {
    for (;; step(probe)) {
      const std::uint32_t bucket = buckets_[probe.at];
      probe.slot = bucket ^ probe.tag;  // the number, if all else agrees
      if (probe.slot <= shape_.number_mask) return;
      if (bucket != kEmpty) continue;
      probe.slot = kNoSlot;
      return;
    }
  }

  void put(std::uint64_t hash, std::uint32_t slot) {
    const std::uint64_t spread = mixed(hash);
    std::size_t at = home(spread);
    std::uint32_t bucket = slot | tag_of(spread);
    for (; buckets_[at] != kEmpty; at = after(at)) bucket = further(bucket);
    buckets_[at] = bucket;
  }

  template <class HashOf>
  std::size_t home_of(std::size_t at, HashOf hash_of) const {
    const std::uint32_t bucket = buckets_[at];
    const std::uint32_t distance = bucket & shape_.farthest;
    if (distance == shape_.farthest) return home(mixed(hash_of(bucket & shape_.number_mask)));
    return (at - (distance >> shape_.distance_shift)) & mask();
  }

  template <class HashOf>
  void close_gap(std::size_t gap, HashOf hash_of) {
    for (std::size_t at = after(gap); buckets_[at] != kEmpty; at = after(at)) {
      const std::size_t wanted = home_of(at, hash_of);
      const bool stands_behind_its_home = ((at - wanted) & mask()) < ((at - gap) & mask());
      if (stands_behind_its_home) continue;
      buckets_[gap] = moved(buckets_[at], (gap - wanted) & mask());
      gap = at;
    }
    buckets_[gap] = kEmpty;
  }

  std::uint32_t moved(std::uint32_t bucket, std::size_t distance) const {
    const std::uint32_t most = shape_.farthest >> shape_.distance_shift;
    const std::uint32_t written = distance < most ? static_cast<std::uint32_t>(distance) : most;
    return (bucket & ~shape_.farthest) | written << shape_.distance_shift;
  }

  template <class HashOf>
  void make_room(std::size_t slots, HashOf hash_of) {
    const std::size_t least = slots * (slots < kManySlots ? 4 : 2);
    if (least > buckets_.size()) resize(std::bit_ceil(least), hash_of);
  }

  template <class HashOf>
  [[gnu::noinline]] void resize(std::size_t wanted, HashOf hash_of) {
    assert(wanted <= std::size_t{1} << 32U);
    std::vector<std::uint32_t> old(wanted, kEmpty);
    old.swap(buckets_);
    const std::uint32_t old_mask = shape_.number_mask;
    shift_ = shift_for(wanted);
    shape_ = Shape(wanted);
    for (const std::uint32_t bucket : old)
      if (bucket != kEmpty) put(hash_of(bucket & old_mask), bucket & old_mask);
  }

  std::vector<std::uint32_t> buckets_;
  Shape shape_{kLeastBuckets};
  unsigned shift_ = shift_for(kLeastBuckets);
  std::size_t size_ = 0;
};

}  // namespace sentinel::cache
