// From a hash to the number of a slot: flat open addressing, for whoever keeps entries in an array of their own.
//
// Layout: a power of two of chunks, each a cache line: twelve places with the number of a slot, for each of them one
// byte of its mixed hash, which places are taken, and how many went on to a later chunk because this one was full (F14:
// Bronson, Shi, "Open-sourcing F14 for faster, more memory-efficient hash tables", 2019). One comparison finds the
// places of a chunk whose byte agrees, so a look-up has no loop to foresee. Two thirds of the places are taken at most.
// Removing leaves no mark but a count that falls. Equal hashes may be held several times; keys are their owner's, who
// compares them, and so are whole hashes, which growing asks for.
//
// Contract: a look-up is a Probe: `table.probe(hash)` stands at the first slot whose byte agrees, `table.advance` at the
// next; `slot` is kNoSlot at the end. Any insert or removal ends all probes. insert's `hash_of` gives the hash of any
// slot that is held already.
// Cost: one cache line, mostly. insert allocates when it doubles the chunks. Numbers of slots are below 2^31.
// Thread rule: one owner. Failure rule: insert may throw bad_alloc and then changed nothing.
#pragma once

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <array>
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
    std::uint32_t matches = 0;  // places of the chunk that are still to be looked at
    std::size_t at = 0;         // which chunk
    std::size_t chunks_left = 0;
    std::uint8_t tag = 0;
  };

  SlotTable() : chunks_(kLeastChunks) {}

  [[gnu::always_inline]] Probe probe(std::uint64_t hash) const {
    const std::uint64_t spread = mixed(hash);
    Probe probe;
    probe.tag = tag_of(spread);
    probe.at = home(spread);
    probe.matches = chunks_[probe.at].matches(probe.tag);
    probe.chunks_left = mask_;
    settle(probe);
    return probe;
  }

  void advance(Probe& probe) const {
    probe.matches &= probe.matches - 1;
    settle(probe);
  }

  template <class HashOf>
  void insert(std::uint64_t hash, std::uint32_t slot, HashOf hash_of) {
    if (size_ >= chunks_.size() * kSlotsPerChunk) resize(chunks_.size() * 2, hash_of);
    put(hash, slot);
    ++size_;
  }

  // `slot` must be held under that hash.
  void remove(std::uint64_t hash, std::uint32_t slot) {
    const std::uint64_t spread = mixed(hash);
    const std::uint8_t tag = tag_of(spread);
    for (std::size_t at = home(spread);; at = after(at)) {
      if (chunks_[at].take_out(tag, slot)) break;
      assert(chunks_[at].passed > 0);
      if (chunks_[at].passed != kCountsNoMore) --chunks_[at].passed;
    }
    --size_;
  }

  // Room for so many, so that insert cannot fail.
  template <class HashOf>
  void reserve(std::size_t slots, HashOf hash_of) {
    const std::size_t wanted = std::bit_ceil((slots + kSlotsPerChunk - 1) / kSlotsPerChunk);
    if (wanted > chunks_.size()) resize(wanted, hash_of);
  }

  std::size_t size() const { return size_; }

 private:
  static constexpr std::size_t kPlaces = 12;
  static constexpr std::size_t kSlotsPerChunk = 8;  // on average, at most
  static constexpr std::size_t kLeastChunks = 2;
  static constexpr std::uint16_t kAllTaken = (1U << kPlaces) - 1;
  static constexpr std::uint16_t kCountsNoMore = 0xffff;

  struct alignas(64) Chunk {
    std::array<std::uint8_t, kPlaces> tags{};
    std::uint16_t taken = 0;   // a bit for each place
    std::uint16_t passed = 0;  // how many that belong here or before are behind it; it stays at kCountsNoMore
    std::array<std::uint32_t, kPlaces> slots;

    std::uint32_t matches(std::uint8_t tag) const {
#ifdef __SSE2__
      const __m128i line = _mm_load_si128(reinterpret_cast<const __m128i*>(this));
      const __m128i equal = _mm_cmpeq_epi8(line, _mm_set1_epi8(static_cast<char>(tag)));
      return static_cast<std::uint32_t>(_mm_movemask_epi8(equal)) & taken;
#else
      std::uint32_t equal = 0;
      for (std::size_t place = 0; place < kPlaces; ++place)
        equal |= static_cast<std::uint32_t>(tags[place] == tag) << place;
      return equal & taken;
#endif
    }

    void put(std::uint8_t tag, std::uint32_t slot) {
      const auto place = static_cast<unsigned>(std::countr_one(taken));
      tags[place] = tag;
      slots[place] = slot;
      taken = static_cast<std::uint16_t>(taken | 1U << place);
    }

    bool take_out(std::uint8_t tag, std::uint32_t slot) {
      for (std::uint32_t left = matches(tag); left != 0; left &= left - 1) {
        const auto place = static_cast<unsigned>(std::countr_zero(left));
        if (slots[place] != slot) continue;
        taken = static_cast<std::uint16_t>(taken & ~(1U << place));
        return true;
      }
      return false;
    }
  };
  static_assert(sizeof(Chunk) == 64);

  static unsigned shift_for(std::size_t chunks) {
    return 64U - static_cast<unsigned>(std::countr_zero(chunks));
  }

  // Not of the bits that name the chunk.
  static std::uint8_t tag_of(std::uint64_t spread) { return static_cast<std::uint8_t>(spread >> 28U); }
  std::size_t home(std::uint64_t spread) const { return spread >> shift_; }
  std::size_t after(std::size_t at) const { return (at + 1) & mask_; }

  [[gnu::always_inline]] void settle(Probe& probe) const {
    const Chunk& chunk = chunks_[probe.at];
    if (probe.matches != 0) {
      probe.slot = chunk.slots[static_cast<unsigned>(std::countr_zero(probe.matches))];
    } else if (chunk.passed == 0) {
      probe.slot = kNoSlot;
    } else {
      go_on(probe);
    }
  }

  // In chunks behind. Once round is enough: full chunks may have passed each other theirs.
  [[gnu::noinline]] void go_on(Probe& probe) const {
    probe.slot = kNoSlot;
    while (chunks_[probe.at].passed > 0 && probe.chunks_left > 0) {
      --probe.chunks_left;
      probe.at = after(probe.at);
      probe.matches = chunks_[probe.at].matches(probe.tag);
      if (probe.matches == 0) continue;
      probe.slot = chunks_[probe.at].slots[static_cast<unsigned>(std::countr_zero(probe.matches))];
      return;
    }
  }

  void put(std::uint64_t hash, std::uint32_t slot) {
    const std::uint64_t spread = mixed(hash);
    std::size_t at = home(spread);
    for (; chunks_[at].taken == kAllTaken; at = after(at))
      if (chunks_[at].passed != kCountsNoMore) ++chunks_[at].passed;
    chunks_[at].put(tag_of(spread), slot);
  }

  template <class HashOf>
  [[gnu::noinline]] void resize(std::size_t wanted, HashOf hash_of) {
    std::vector<Chunk> old(wanted);
    old.swap(chunks_);
    shift_ = shift_for(wanted);
    mask_ = wanted - 1;
    for (const Chunk& chunk : old) {
      for (std::uint32_t left = chunk.taken; left != 0; left &= left - 1) {
        const std::uint32_t slot = chunk.slots[static_cast<unsigned>(std::countr_zero(left))];
        put(hash_of(slot), slot);
      }
    }
  }

  std::vector<Chunk> chunks_;
  std::size_t mask_ = kLeastChunks - 1;
  unsigned shift_ = shift_for(kLeastChunks);
  std::size_t size_ = 0;
};

}  // namespace sentinel::cache
