#include "sentinel/vector/top_k.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "sentinel/base/random.hpp"

namespace sentinel::vector {
namespace {

TEST(TopK, KeepsWhatSortingEverythingWouldPutFirst) {
  Random random(3);
  for (const std::size_t k : {1U, 2U, 7U, 100U, 1000U}) {
    std::vector<Match> all;
    TopK top(k);
    for (std::int64_t i = 0; i < 300; ++i) {
      const Match match{static_cast<std::int64_t>(random.below(1'000'000)) * 1000 + i,
                        static_cast<float>(random.below(20))};
      all.push_back(match);
      top.offer(match);
    }
    std::sort(all.begin(), all.end(), better);
    if (all.size() > k) all.resize(k);
    EXPECT_EQ(std::move(top).take(), all);
  }
}

TEST(TopK, EqualScoresComeByIdWhateverTheOrderOfOffering) {
  for (const bool ascending : {true, false}) {
    TopK top(2);
    for (std::int64_t i = 0; i < 5; ++i) top.offer({ascending ? i : 4 - i, 0.5F});
    EXPECT_EQ(std::move(top).take(), (std::vector<Match>{{0, 0.5F}, {1, 0.5F}}));
  }
}

TEST(TopK, TheFloorIsTheWorstKeptOnceThereAreK) {
  TopK top(2);
  top.offer({1, 0.9F});
  EXPECT_EQ(top.floor(), -std::numeric_limits<float>::infinity());
  top.offer({2, 0.1F});
  EXPECT_EQ(top.floor(), 0.1F);
}

}  // namespace
}  // namespace sentinel::vector
