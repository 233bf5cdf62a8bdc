// What short pieces that are no token were split into: a word that is met again is not split again, as most words of a
// text are.
//
// Contract: `find` gives exactly what was stored for that key, or a split of no tokens; a newer piece takes the place of
// an older one of its set. Of a piece of up to three tokens the ids are kept, of more their number.
// Cost: `kSets` sets of two slots of 32 bytes, 256 KiB, allocated at once and never more. A find is one cache line.
// Thread rule: any number of threads, no lock: a slot is a sequence lock of atomic words. A reader that meets a writer
// finds nothing; a writer that meets another stores nothing. Failure rule: none.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "sentinel/tokens/piece_key.hpp"

namespace sentinel::tokens {

class PieceCache {
 public:
  static constexpr std::size_t kSets = 4096;
  static constexpr std::size_t kMostIds = 3;
  static constexpr unsigned kIdBits = 20;

  class Split {
   public:
    Split() = default;
    explicit Split(std::uint64_t packed) : packed_(packed) {}
    explicit Split(std::span<const std::uint32_t> ids) : packed_(ids.size()) {
      if (!has_ids()) return;
      for (std::size_t at = 0; at < ids.size(); ++at)
        packed_ |= std::uint64_t{ids[at]} << (kCountBits + at * kIdBits);
    }
    bool none() const { return packed_ == 0; }
    std::size_t count() const { return packed_ & ((1U << kCountBits) - 1); }
    bool has_ids() const { return count() <= kMostIds; }
    std::uint32_t id(std::size_t at) const {
      return static_cast<std::uint32_t>(packed_ >> (kCountBits + at * kIdBits)) & ((1U << kIdBits) - 1);
    }
    std::uint64_t packed() const { return packed_; }

   private:
    static constexpr unsigned kCountBits = 4;  // a key's piece has at most 15 tokens
    std::uint64_t packed_ = 0;
  };

  PieceCache() : sets_(std::make_unique<Set[]>(kSets)) {}

  Split find(const PieceKey& key, std::uint64_t hash) const {
    const Set& set = sets_[set_of(hash)];
    for (const Slot& slot : set) {
      const std::uint64_t version = slot.version.load(std::memory_order_acquire);
      const std::uint64_t other = (slot.low.load(std::memory_order_acquire) ^ key.low) |
                                  (slot.high.load(std::memory_order_acquire) ^ key.high);
      const Split split(slot.split.load(std::memory_order_acquire));
      if (other != 0) continue;
      const bool whole = (version & 1U) == 0 && slot.version.load(std::memory_order_relaxed) == version;
      return whole ? split : Split();
    }
    return {};
  }

  // Takes the place of the slot of the set that was written longer ago.
  void store(const PieceKey& key, std::uint64_t hash, Split split) {
    Set& set = sets_[set_of(hash)];
    const std::uint64_t first = set[0].version.load(std::memory_order_relaxed);
    const std::uint64_t second = set[1].version.load(std::memory_order_relaxed);
    Slot& slot = first <= second ? set[0] : set[1];
    std::uint64_t version = first <= second ? first : second;
    if ((version & 1U) != 0) return;
    if (!slot.version.compare_exchange_strong(version, version + 1, std::memory_order_acquire)) return;
    slot.low.store(key.low, std::memory_order_release);
    slot.high.store(key.high, std::memory_order_release);
    slot.split.store(split.packed(), std::memory_order_release);
    slot.version.store(version + 2, std::memory_order_release);
  }

 private:
  struct alignas(32) Slot {
    std::atomic<std::uint64_t> version{0};  // odd while it is written
    std::atomic<std::uint64_t> low{0};
    std::atomic<std::uint64_t> high{0};
    std::atomic<std::uint64_t> split{0};
  };
  struct alignas(64) Set : std::array<Slot, 2> {};

  // Other bits of the hash than those by which the vocabulary places its tokens.
  static std::size_t set_of(std::uint64_t hash) { return static_cast<std::size_t>(hash >> 40U) % kSets; }

  std::unique_ptr<Set[]> sets_;
};

}  // namespace sentinel::tokens
