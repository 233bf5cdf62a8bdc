#include "sentinel/tokens/piece_cache.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tokens/slow_model.hpp"
#include "tokens/vocabulary_file.hpp"

namespace sentinel::tokens {
namespace {

using Split = PieceCache::Split;

// A key and the only split it is ever stored with.
struct Known {
  explicit Known(std::uint32_t number) : key(key_of("piece" + std::to_string(number))) {
    for (std::uint32_t id = 0; id < 1 + number % 5; ++id) ids.push_back(number + id);
  }
  PieceKey key;
  std::vector<std::uint32_t> ids;
};

TEST(PieceKey, EqualKeysAreEqualPiecesAlsoWithZeros) {
  EXPECT_EQ(key_of("abc"), key_of(std::string("abc")));
  EXPECT_NE(key_of("a"), key_of(std::string_view("a\0", 2)));
  EXPECT_NE(key_of(std::string_view("\0", 1)), key_of(std::string_view("\0\0", 2)));
  EXPECT_TRUE(key_of("").empty());
  EXPECT_FALSE(key_of(std::string_view("\0", 1)).empty());
}

TEST(PieceKey, AWindowGivesTheKeyOfEveryPieceThatBeginsThere) {
  const std::string text = "The quick brown fox jumps over \xE4\xB8\xAD\xE6\x96\x87";
  for (std::size_t start = 0; start < text.size(); ++start) {
    for (std::size_t length = 0; length <= PieceKey::kMostBytes && start + length <= text.size(); ++length)
      ASSERT_EQ(Window(text, start).key(length), key_of(std::string(text, start, length)));
  }
}

TEST(PieceCache, GivesWhatWasStoredForTheKeyOrNothing) {
  PieceCache cache;
  std::size_t found = 0;
  for (std::uint32_t number = 0; number < 4 * PieceCache::kSets; ++number) {
    const Known known(number);
    EXPECT_TRUE(cache.find(known.key, known.key.hash()).none());
    cache.store(known.key, known.key.hash(), Split(known.ids));
    const Split split = cache.find(known.key, known.key.hash());
    ASSERT_EQ(split.count(), known.ids.size());
    ASSERT_EQ(split.has_ids(), known.ids.size() <= PieceCache::kMostIds);
    for (std::size_t at = 0; split.has_ids() && at < split.count(); ++at)
      ASSERT_EQ(split.id(at), known.ids[at]);
  }
  for (std::uint32_t number = 0; number < 4 * PieceCache::kSets; ++number) {
    const Known known(number);
    const Split split = cache.find(known.key, known.key.hash());
    if (split.none()) continue;
    ++found;
    ASSERT_EQ(split.count(), known.ids.size());
  }
  EXPECT_LE(found, 2 * PieceCache::kSets);
  EXPECT_GT(found, PieceCache::kSets);
}

TEST(PieceCache, OfSeveralThreadsNoneEverSeesAnothersSplit) {
  PieceCache cache;
  std::atomic<bool> wrong = false;
  const auto work = [&](unsigned seed) {
    std::mt19937 random(seed);
    for (int round = 0; round < 40'000; ++round) {
      const Known known(static_cast<std::uint32_t>(random() % 3000));
      // One set for all, so that they meet.
      const std::uint64_t hash = std::uint64_t{random() % 4} << 40U;
      const Split split = cache.find(known.key, hash);
      if (!split.none() && split.packed() != Split(known.ids).packed()) wrong = true;
      cache.store(known.key, hash, Split(known.ids));
    }
  };
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 4; ++seed) threads.emplace_back(work, seed);
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(wrong);
}

TEST(Encoding, ManyThreadsCountWithOneEncodingAndItsCache) {
  const Encoding encoding = load_encoding(EncodingName::o200k_base);
  std::atomic<bool> wrong = false;
  const auto work = [&](unsigned seed) {
    std::mt19937 random(seed % 2);  // the same words in every second thread
    for (int round = 0; round < 300; ++round) {
      std::string text;
      for (int word = 0; word < 30; ++word) text += " w" + std::to_string(random() % 100'000) + "xq";
      if (encoding.count(text) != slow::encode(encoding, text).size()) wrong = true;
    }
  };
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 4; ++seed) threads.emplace_back(work, seed);
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(wrong);
}

}  // namespace
}  // namespace sentinel::tokens
