// Recency or frequency: two small shadow caches of hashes watch a sample of the accesses, one by LRU, one by W-TinyLFU,
// and the cache follows the one that would have hit more of late. Miniature simulation as in Waldspurger, Saemundsson,
// Ahmad, Park: "Cache Modeling and Optimization using Miniature Simulations" (USENIX ATC 2017).
//
// The sample is spatial: a hash is in it or not, with all its accesses, and the shadow caches are smaller by the same
// factor. Both see the same accesses, so their difference is small in noise. It is summed with a memory of some
// shadow cache's sizes of sampled accesses, and must pass a threshold to turn the judgement.
//
// Contract: call `watch(hash)` at each access, `judge` at each miss: it says whether recency wins. `watch` only notes, and
// works its notes off when they are many; a cache that for long has not missed needs no judgement, so then they
// are dropped, and `watch` is false: it need not be called again before `judge`.
// Cost: watch a test and a store, and by sample a step in both shadow caches. Memory: at most some 60 KB.
// Thread rule: one owner. Failure rule: only the constructor may throw (bad_alloc).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sentinel/cache/residency.hpp"
#include "sentinel/cache/slot_table.hpp"

namespace sentinel::cache {

// Hashes without values, bounded in number.
class ShadowCache {
 public:
  // All memory is taken here: `access` cannot fail.
  ShadowCache(Residency::Policy policy, std::size_t most) : most_(most), residency_(policy) {
    slots_.reserve(most + 1);
    table_.reserve(most + 1, HashOf{slots_});
    residency_.reserve(most + 1);
  }

  // True when it was held; now it is.
  bool access(std::uint64_t hash) {
    const std::uint32_t found = find(hash);
    if (found != kNoSlot) {
      residency_.touch(slots_.data(), found);
      return true;
    }
    residency_.note_miss(hash);
    admit(hash);
    return false;
  }

 private:
  struct Slot {
    std::uint64_t hash = 0;
    Standing standing;
  };

  struct HashOf {
    const std::vector<Slot>& slots;
    std::uint64_t operator()(std::uint32_t at) const { return slots[at].hash; }
  };

  std::uint32_t find(std::uint64_t hash) const {
    SlotTable::Probe probe = table_.probe(hash);
    while (probe.slot != kNoSlot && slots_[probe.slot].hash != hash) table_.advance(probe);
    return probe.slot;
  }

  void admit(std::uint64_t hash) {
    const std::uint32_t at = free_slot();
    slots_[at] = {hash, {}};
    table_.insert(hash, at, HashOf{slots_});
    residency_.add(slots_.data(), at, 1);
    if (residency_.size() <= most_) return;
    free_ = residency_.victim(slots_.data(), at);
    table_.remove(slots_[free_].hash, free_, HashOf{slots_});
    residency_.remove(slots_.data(), free_);
  }

  std::uint32_t free_slot() {
    if (free_ != kNoSlot) return free_;
    slots_.emplace_back();
    return static_cast<std::uint32_t>(slots_.size() - 1);
  }

  std::size_t most_;
  std::uint32_t free_ = kNoSlot;
  std::vector<Slot> slots_;
  SlotTable table_;
  Residency residency_;
};

class Duel {
 public:
  // For a cache of about so many entries.
  explicit Duel(std::size_t entries)
      : sample_shift_(shift_for(entries)),
        shadows_(std::max<std::size_t>(entries >> sample_shift_, 2)),
        recency_(Residency::Policy::lru, shadows_),
        frequency_(Residency::Policy::adaptive, shadows_) {}

  bool watch(std::uint64_t hash) {
    if (!quiet_) note(hash);
    return !quiet_;
  }

  bool judge() {
    batches_without_miss_ = 0;
    quiet_ = false;
    return recency_wins_;
  }

 private:
  void note(std::uint64_t hash) {
    notes_[noted_] = hash;  // without a branch that nobody could foresee
    noted_ += sampled(hash);
    if (noted_ == kNotes) work_off();
  }

  static constexpr std::size_t kNotes = 32;
  static constexpr std::size_t kBatchesWithoutMiss = 256;
  static constexpr unsigned kLeastShift = 3;  // an eighth of the accesses at most
  static constexpr std::size_t kShadowsAimedAt = 128;
  static constexpr double kMemoryInShadows = 8;
  static constexpr double kThreshold = 0.004;
  static constexpr double kHeadStart = 0.04;  // a young count of uses says little yet, and seldom so again

  static unsigned shift_for(std::size_t entries) {
    unsigned shift = kLeastShift;
    while ((entries >> shift) >= 2 * kShadowsAimedAt) ++shift;
    return shift;
  }

  std::size_t sampled(std::uint64_t hash) const {
    const std::uint64_t spread = (hash ^ (hash >> 29U)) * 0xbf58476d1ce4e5b9U;
    return (spread >> 32U & ((std::uint64_t{1} << sample_shift_) - 1)) == 0 ? 1 : 0;
  }

  void work_off() {
    noted_ = 0;
    for (const std::uint64_t hash : notes_) weigh(hash);
    quiet_ = ++batches_without_miss_ == kBatchesWithoutMiss;
  }

  void weigh(std::uint64_t hash) {
    const int recency = recency_.access(hash) ? 1 : 0;
    const int frequency = frequency_.access(hash) ? 1 : 0;
    const double memory = kMemoryInShadows * static_cast<double>(shadows_);
    lead_ += static_cast<double>(recency - frequency) - lead_ / memory;
    if (lead_ > kThreshold * memory) recency_wins_ = true;
    if (lead_ < -kThreshold * memory) recency_wins_ = false;
  }

  unsigned sample_shift_;
  std::size_t shadows_;
  ShadowCache recency_;
  ShadowCache frequency_;
  double lead_ =
      -kHeadStart * static_cast<double>(shadows_);  // recency's hits over those of frequency, fading
  bool recency_wins_ = false;
  std::size_t noted_ = 0;
  std::size_t batches_without_miss_ = 0;
  bool quiet_ = false;
  std::array<std::uint64_t, kNotes> notes_{};
};

}  // namespace sentinel::cache
