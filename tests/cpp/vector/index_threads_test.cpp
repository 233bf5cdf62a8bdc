// Searches beside writers, for TSan: a row is seen as one add left it, never half of two.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "sentinel/vector/flat_index.hpp"
#include "sentinel/vector/turnstile.hpp"
#include "vector/vectors.hpp"

namespace sentinel::vector {
namespace {

constexpr std::size_t kDimension = 32;
constexpr std::int64_t kIds = 40;

std::vector<float> axis(std::size_t which) {
  std::vector<float> vector(kDimension, 0);
  vector[which % kDimension] = 1;
  return vector;
}

// Every row is always one axis, whoever wrote it: a score that is neither 0 nor 1 is a torn row.
TEST(IndexThreads, AGetDuringEightWritersIsNeverTorn) {
  const auto index = *FlatIndex::make(kDimension);
  std::atomic<bool> stop = false;
  std::atomic<int> torn = 0;
  std::vector<std::jthread> writers;
  for (std::size_t w = 0; w < 8; ++w) {
    writers.emplace_back([&, w] {
      Random random(w);
      while (!stop) {
        const auto id = static_cast<std::int64_t>(random.below(kIds));
        const auto vector = axis(random.below(kDimension));
        if (random.below(5) == 0) {
          index->remove({&id, 1});
        } else {
          (void)index->add({&id, 1}, vector, random.below(2) == 0 ? "a" : "");
        }
      }
    });
  }
  for (std::size_t round = 0; round < 400; ++round) {
    const auto found = index->search(axis(round), {static_cast<std::size_t>(kIds), {}, round % 2 == 0});
    for (const Match& match : found->front()) torn += match.score != 0 && match.score != 1 ? 1 : 0;
    std::vector<std::uint8_t> bytes(index->encode({}));
    EXPECT_TRUE(index->encode(bytes) != bytes.size() || FlatIndex::decode(bytes));  // else it has grown
    EXPECT_LE(index->size(), static_cast<std::size_t>(kIds));
  }
  stop = true;
  writers.clear();
  EXPECT_EQ(torn, 0);
}

TEST(IndexThreads, SketchedSearchesRunBesideWritersThatTrain) {
  const auto index = *FlatIndex::make(kDimension);
  std::jthread writer([&] {
    Random random(1);
    for (std::int64_t first = 0; first < 2'400; first += 80) {
      std::vector<std::int64_t> ids;
      for (std::int64_t id = first; id < first + 80; ++id) ids.push_back(id);
      EXPECT_TRUE(index->add(ids, test::vectors_of(random, ids.size(), kDimension), {}));
    }
  });
  Random random(2);
  while (index->size() < 2'400) {
    const auto found = index->search(test::vector_of(random, kDimension), {3, {}, false});
    EXPECT_LE(found->front().size(), 3U);
  }
}

// A waiting writer is not passed by readers that come after it: otherwise this would not end.
TEST(Turnstile, AWriterGetsInThoughReadersNeverPause) {
  Turnstile lock;
  std::atomic<bool> written = false;
  std::vector<std::jthread> readers;
  for (int r = 0; r < 3; ++r) {
    readers.emplace_back([&] {
      while (!written) {
        lock.lock_shared();
        std::this_thread::yield();
        lock.unlock_shared();
      }
    });
  }
  lock.lock();
  written = true;
  lock.unlock();
}

}  // namespace
}  // namespace sentinel::vector
