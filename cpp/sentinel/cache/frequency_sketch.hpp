// How often something was asked for of late, by hash, in four bits: a count-min sketch (Cormode, Muthukrishnan 2005)
// that forgets by halving, as TinyLFU has it (Einziger, Friedman, Manes: "TinyLFU", ACM ToS 2017).
//
// Layout: blocks of 64 bytes, 128 counters each; a hash names a block and four counters in it, one in each quarter, so
// that a question costs one cache line. About 16 counters stand for each entry that `grow_to` was told of.
//
// Contract: `estimate` is at most 15 and never below the number of `add`s since then, halvings aside.
// Growing keeps what is known: the table is doubled and each half begins as a copy.
// Cost: add and estimate O(1); halve and grow O(size). Thread rule: one owner.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sentinel::cache {

inline constexpr std::uint8_t kMostUses = 15;

class FrequencySketch {
 public:
  FrequencySketch() : words_(kWordsOfBlock) {}

  void grow_to(std::size_t entries) {
    const std::size_t wanted = std::bit_ceil(std::max<std::size_t>(entries, kWordsOfBlock));
    while (words_.size() < wanted) {
      const std::size_t half = words_.size();
      words_.resize(half * 2);
      std::copy_n(words_.begin(), half, words_.begin() + static_cast<std::ptrdiff_t>(half));
    }
  }

  std::uint8_t estimate(std::uint64_t hash) const {
    const Places places(hash, words_.size());
    std::uint8_t least = kMostUses;
#pragma GCC unroll 4
    for (std::size_t row = 0; row < kRows; ++row)
      least = std::min(least, counter(places.word[row], places.shift[row]));
    return least;
  }

  // Counts one and returns the estimate after it. Only the lowest of the four counters rise ("conservative update").
  std::uint8_t add(std::uint64_t hash) {
    const std::uint8_t known = estimate(hash);
    if (known == kMostUses) return known;
    raise(hash, static_cast<std::uint8_t>(known + 1));
    return static_cast<std::uint8_t>(known + 1);
  }

  // Makes the estimate at least `uses`.
  void raise(std::uint64_t hash, std::uint8_t uses) {
    if (uses == 0) return;
    const Places places(hash, words_.size());
#pragma GCC unroll 4
    for (std::size_t row = 0; row < kRows; ++row) {
      const std::uint8_t held = counter(places.word[row], places.shift[row]);
      if (held >= uses) continue;
      words_[places.word[row]] += static_cast<std::uint64_t>(uses - held) << places.shift[row];
    }
  }

  // For whoever will ask for that hash soon.
  void prefetch(std::uint64_t hash) const {
    __builtin_prefetch(&words_[block_of(spread(hash), words_.size())]);
  }

  void halve() {
    for (std::uint64_t& word : words_) word = (word >> 1U) & 0x7777'7777'7777'7777U;
  }

  void clear() { std::vector<std::uint64_t>(kWordsOfBlock).swap(words_); }

 private:
  static constexpr std::size_t kRows = 4;
  static constexpr std::size_t kWordsOfBlock = 8;
  static constexpr std::size_t kWordsOfRow = kWordsOfBlock / kRows;

  static std::uint64_t spread(std::uint64_t hash) {
    const std::uint64_t product = (hash ^ (hash >> 32U)) * 0xd6e8feb86659fd93U;
    return product ^ (product >> 32U);
  }
  static std::size_t block_of(std::uint64_t spread, std::size_t words) {
    return (spread & (words / kWordsOfBlock - 1)) * kWordsOfBlock;
  }

  struct Places {
    std::array<std::size_t, kRows> word;
    std::array<unsigned, kRows> shift;

    [[gnu::always_inline]] Places(std::uint64_t hash, std::size_t words) {
      const std::uint64_t mixed = spread(hash);
      const std::size_t block = block_of(mixed, words);
      std::uint64_t bits = (mixed * 0x9e3779b97f4a7c15U) >> 24U;
#pragma GCC unroll 4
      for (std::size_t row = 0; row < kRows; ++row) {
        word[row] = block + row * kWordsOfRow + (bits & (kWordsOfRow - 1));
        shift[row] = static_cast<unsigned>((bits >> 1U) & 15U) * 4U;
        bits >>= 5U;
      }
    }
  };

  std::uint8_t counter(std::size_t word, unsigned shift) const {
    return static_cast<std::uint8_t>((words_[word] >> shift) & 15U);
  }

  std::vector<std::uint64_t> words_;
};

}  // namespace sentinel::cache
