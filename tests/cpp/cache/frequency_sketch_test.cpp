#include "sentinel/cache/frequency_sketch.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>

#include "sentinel/base/random.hpp"

namespace sentinel::cache {
namespace {

TEST(FrequencySketch, NeverTellsLessThanWasCounted) {
  Random random(3);
  FrequencySketch sketch;
  sketch.grow_to(1'000);
  std::map<std::uint64_t, int> model;
  for (int i = 0; i < 4'000; ++i) {
    const std::uint64_t hash = random.below(700) * random.below(4);
    ++model[hash];
    const std::uint8_t counted = sketch.add(hash);
    EXPECT_EQ(counted, sketch.estimate(hash));
  }
  for (const auto& [hash, count] : model) EXPECT_GE(sketch.estimate(hash), std::min<int>(count, kMostUses));
}

TEST(FrequencySketch, SeldomTellsMore) {
  FrequencySketch sketch;
  sketch.grow_to(2'000);
  for (std::uint64_t hash = 0; hash < 2'000; ++hash) sketch.add(hash);
  int too_high = 0;
  for (std::uint64_t hash = 0; hash < 2'000; ++hash) too_high += sketch.estimate(hash) > 1 ? 1 : 0;
  EXPECT_LT(too_high, 40);
}

TEST(FrequencySketch, StopsAtFifteenAndForgetsByHalving) {
  FrequencySketch sketch;
  for (int i = 0; i < 40; ++i) sketch.add(5);
  EXPECT_EQ(sketch.estimate(5), 15);
  sketch.halve();
  EXPECT_EQ(sketch.estimate(5), 7);
  for (int i = 0; i < 3; ++i) sketch.halve();
  EXPECT_EQ(sketch.estimate(5), 0);
}

TEST(FrequencySketch, KeepsWhatItKnowsWhenItGrows) {
  FrequencySketch sketch;
  for (std::uint64_t hash = 0; hash < 8; ++hash)
    for (std::uint64_t i = 0; i <= hash; ++i) sketch.add(hash * 7'919);
  sketch.grow_to(100'000);
  for (std::uint64_t hash = 0; hash < 8; ++hash) EXPECT_GE(sketch.estimate(hash * 7'919), hash + 1);
}

TEST(FrequencySketch, RaisesAndNeverLowers) {
  FrequencySketch sketch;
  sketch.raise(1, 9);
  sketch.raise(1, 4);
  EXPECT_EQ(sketch.estimate(1), 9);
}

}  // namespace
}  // namespace sentinel::cache
