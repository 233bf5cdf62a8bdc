#include "sentinel/limit/bucket_index.hpp"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sentinel/base/random.hpp"
#include "sentinel/limit/bucket_shard.hpp"

namespace sentinel::limit {
namespace {

std::unique_ptr<Bucket> bucket(std::string id, std::uint64_t hash) {
  return std::make_unique<Bucket>(Bucket{std::move(id), Slots{1}, hash, {}, {}, 0, {}, 0});
}

BucketKey key_of(const Bucket& bucket) { return {bucket.id, Kind::concurrency, Duration{0}, bucket.hash}; }

TEST(BucketIndex, KeysOfOneHashAreToldApart) {
  BucketIndex index;
  const auto a = bucket("a", 7);
  const auto b = bucket("b", 7);
  index.insert(*a);
  index.insert(*b);
  EXPECT_EQ(index.find(key_of(*a)), a.get());
  EXPECT_EQ(index.find(key_of(*b)), b.get());
  EXPECT_EQ(index.find({"c", Kind::concurrency, Duration{0}, 7}), nullptr);
  EXPECT_EQ(index.find({"a", Kind::requests, Duration{0}, 7}), nullptr);
  EXPECT_EQ(index.find({"a", Kind::concurrency, Duration{1}, 7}), nullptr);
  index.erase(*a);
  EXPECT_EQ(index.find(key_of(*a)), nullptr);
  EXPECT_EQ(index.find(key_of(*b)), b.get());
}

// Few low bits in the hashes: long probes, which wrap around and are broken up by deletions.
TEST(BucketIndex, FindsWhatAMapFinds) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Random random(seed);
    BucketIndex index;
    std::map<std::string, std::unique_ptr<Bucket>> model;
    for (int step = 0; step < 3'000; ++step) {
      const std::string id = std::to_string(random.below(150));
      const auto known = model.find(id);
      if (known == model.end()) {
        const auto made = model.emplace(id, bucket(id, random.below(6) * 13)).first;
        index.insert(*made->second);
      } else if (random.below(2) == 0) {
        index.erase(*known->second);
        model.erase(known);
      }
      ASSERT_EQ(index.size(), model.size());
      if (step % 50 != 0) continue;
      for (const auto& [name, kept] : model) ASSERT_EQ(index.find(key_of(*kept)), kept.get());
      for (std::uint64_t hash = 0; hash < 6; ++hash)
        ASSERT_EQ(index.find({"absent", Kind::concurrency, Duration{0}, hash * 13}), nullptr);
    }
  }
}

}  // namespace
}  // namespace sentinel::limit
