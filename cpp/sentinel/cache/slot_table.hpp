// From a hash to the number of a slot: flat open addressing, for whoever keeps entries in an array of their own.
//
// Layout: a power of two of 4-byte buckets, at most a quarter of them taken. A bucket holds the number of a slot and, in
// the bits that numbers below a half of the buckets leave free, bits of the mixed hash. Linear probing from the place
// that the mixed hash's upper bits name; removing shifts the followers back, so there are no tombstones. (Chunks whose
// bytes are compared all at once need a third of the memory, but a hit waits four nanoseconds longer for the number of
// its slot: measured.) Equal hashes may be held several times; keys are their owner's, who compares them, and so are
// whole hashes, which growing and removing ask for.
//
// Contract: a look-up is a Probe: `table.probe(hash)` stands at the first slot whose bits agree, `table.advance` at the
// next; `slot` is kNoSlot at the end. Any insert or removal ends all probes. `hash_of` gives the hash of any slot that is
// held. Numbers are those of an array with free places used again: the n-th that is held at a time is below n, if none
// was taken out.
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
    probe.at = after(probe.at);
    settle(probe);
  }

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
    while ((buckets_[at] & number_mask_) != slot) {
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
  static constexpr std::size_t kBucketsPerSlot = 4;
  static constexpr std::uint32_t kEmpty = 0xffff'ffffU;
  static constexpr std::uint32_t kNeverEmpty =
      0x7fff'ffffU;  // no tag has the upper bit, so none agrees with kEmpty

  static unsigned shift_for(std::size_t buckets) {
    return 64U - static_cast<unsigned>(std::countr_zero(buckets));
  }
  static std::uint32_t mask_for(std::size_t buckets) { return static_cast<std::uint32_t>(buckets / 2 - 1); }

  // Of other bits than those that name the place.
  std::uint32_t tag_of(std::uint64_t spread) const {
    return static_cast<std::uint32_t>(spread) & ~number_mask_ & kNeverEmpty;
  }
  std::size_t home(std::uint64_t spread) const { return spread >> shift_; }
  std::size_t after(std::size_t at) const { return (at + 1) & (2 * std::size_t{number_mask_} + 1); }

  [[gnu::always_inline]] void settle(Probe& probe) const {
    for (;; probe.at = after(probe.at)) {
      const std::uint32_t bucket = buckets_[probe.at];
      probe.slot = bucket ^ probe.tag;  // the number, if the tags agree
      if (probe.slot <= number_mask_) return;
      if (bucket != kEmpty) continue;
      probe.slot = kNoSlot;
      return;
    }
  }

  void put(std::uint64_t hash, std::uint32_t slot) {
    const std::uint64_t spread = mixed(hash);
    std::size_t at = home(spread);
    while (buckets_[at] != kEmpty) at = after(at);
    buckets_[at] = slot | tag_of(spread);
  }

  template <class HashOf>
  void close_gap(std::size_t gap, HashOf hash_of) {
    const std::size_t mask = buckets_.size() - 1;
    for (std::size_t at = after(gap); buckets_[at] != kEmpty; at = after(at)) {
      const std::size_t wanted = home(mixed(hash_of(buckets_[at] & number_mask_)));
      const bool stands_behind_its_home = ((at - wanted) & mask) < ((at - gap) & mask);
      if (stands_behind_its_home) continue;
      buckets_[gap] = buckets_[at];
      gap = at;
    }
    buckets_[gap] = kEmpty;
  }

  template <class HashOf>
  void make_room(std::size_t slots, HashOf hash_of) {
    if (slots * kBucketsPerSlot > buckets_.size()) resize(std::bit_ceil(slots * kBucketsPerSlot), hash_of);
  }

  template <class HashOf>
  [[gnu::noinline]] void resize(std::size_t wanted, HashOf hash_of) {
    assert(wanted <= std::size_t{1} << 32U);
    std::vector<std::uint32_t> old(wanted, kEmpty);
    old.swap(buckets_);
    const std::uint32_t old_mask = number_mask_;
    shift_ = shift_for(wanted);
    number_mask_ = mask_for(wanted);
    for (const std::uint32_t bucket : old)
      if (bucket != kEmpty) put(hash_of(bucket & old_mask), bucket & old_mask);
  }

  std::vector<std::uint32_t> buckets_;
  std::uint32_t number_mask_ = mask_for(kLeastBuckets);
  unsigned shift_ = shift_for(kLeastBuckets);
  std::size_t size_ = 0;
};

}  // namespace sentinel::cache
