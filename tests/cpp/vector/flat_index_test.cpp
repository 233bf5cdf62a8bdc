#include "sentinel/vector/flat_index.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "vector/vectors.hpp"

namespace sentinel::vector {
namespace {

std::unique_ptr<FlatIndex> index_of(std::size_t dimension, const Kernels& kernels = best_kernels()) {
  auto made = FlatIndex::make(dimension, kernels);
  EXPECT_TRUE(made);
  return *std::move(made);
}

void add(FlatIndex& index, std::int64_t id, const std::vector<float>& vector,
         std::string_view partition = {}) {
  ASSERT_TRUE(index.add({&id, 1}, vector, partition));
}

std::vector<Match> search(const FlatIndex& index, const std::vector<float>& query, std::size_t k,
                          std::optional<std::string_view> partition = {}, bool exact = true) {
  const auto found = index.search(query, {k, partition, exact});
  EXPECT_TRUE(found);
  EXPECT_EQ(found->size(), 1U);
  return found->front();
}

std::vector<std::int64_t> ids_of(const std::vector<Match>& matches) {
  std::vector<std::int64_t> ids;
  for (const Match& match : matches) ids.push_back(match.id);
  return ids;
}

TEST(FlatIndex, ScoresAreCosinesWhateverTheLengths) {
  const auto index = index_of(2);
  add(*index, 1, {3, 4});
  add(*index, 2, {0, 1e-30F});
  add(*index, 3, {-1e30F, 0});
  const auto found = search(*index, {100, 0}, 5);
  ASSERT_EQ(ids_of(found), (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_FLOAT_EQ(found[0].score, 0.6F);
  EXPECT_FLOAT_EQ(found[1].score, 0);
  EXPECT_FLOAT_EQ(found[2].score, -1);
}

TEST(FlatIndex, EqualScoresComeInTheOrderOfIds) {
  const auto index = index_of(3);
  for (const std::int64_t id : {9, -4, 7, 2}) add(*index, id, {1, 2, 2});
  EXPECT_EQ(ids_of(search(*index, {1, 2, 2}, 3)), (std::vector<std::int64_t>{-4, 2, 7}));
}

TEST(FlatIndex, AnIdAddedAgainIsReplacedAndMayChangeItsPartition) {
  const auto index = index_of(2);
  add(*index, 1, {1, 0}, "a");
  add(*index, 2, {1, 0}, "a");
  add(*index, 1, {0, 1}, "b");
  EXPECT_EQ(index->size(), 2U);
  EXPECT_EQ(ids_of(search(*index, {1, 0}, 5, "a")), std::vector<std::int64_t>{2});
  EXPECT_EQ(ids_of(search(*index, {1, 0}, 5, "b")), std::vector<std::int64_t>{1});
  EXPECT_FLOAT_EQ(search(*index, {0, 1}, 1, "b")[0].score, 1);
}

TEST(FlatIndex, OfAnIdGivenTwiceInOneCallTheLastCounts) {
  const auto index = index_of(2);
  const std::vector<std::int64_t> ids{5, 5};
  ASSERT_TRUE(index->add(ids, std::vector<float>{1, 0, 0, 1}, {}));
  EXPECT_EQ(index->size(), 1U);
  EXPECT_FLOAT_EQ(search(*index, {0, 1}, 1)[0].score, 1);
}

TEST(FlatIndex, ThePartitionWithoutANameIsOneOfItsOwn) {
  const auto index = index_of(1);
  add(*index, 1, {1});
  add(*index, 2, {1}, "a");
  EXPECT_EQ(ids_of(search(*index, {1}, 5, "")), std::vector<std::int64_t>{1});
  EXPECT_EQ(ids_of(search(*index, {1}, 5)), (std::vector<std::int64_t>{1, 2}));
  EXPECT_TRUE(search(*index, {1}, 5, "unknown").empty());
}

TEST(FlatIndex, RemovingTellsHowManyWereThere) {
  const auto index = index_of(1);
  add(*index, 1, {1});
  add(*index, 2, {1}, "a");
  EXPECT_EQ(index->remove(std::vector<std::int64_t>{1, 3, 1}), 1U);
  EXPECT_FALSE(index->contains(1));
  EXPECT_TRUE(index->contains(2));
  EXPECT_EQ(index->remove(std::vector<std::int64_t>{2}), 1U);
  EXPECT_EQ(index->size(), 0U);
  EXPECT_TRUE(search(*index, {1}, 5).empty());
}

TEST(FlatIndex, ACallThatFailsChangesNothingAndNamesWhatIsWrong) {
  const auto index = index_of(2);
  add(*index, 1, {1, 0});
  const std::vector<std::int64_t> ids{1, 2};
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const auto fault = [&](const std::vector<float>& vectors, std::string_view partition = {}) {
    const auto added = index->add(ids, vectors, partition);
    EXPECT_FALSE(added);
    return added ? std::string() : added.error().message;
  };
  EXPECT_NE(fault({0, 1, 0, 0}).find("vectors[1] is a zero vector"), std::string::npos);
  EXPECT_NE(fault({0, 1, 0, nan}).find("vectors[1] holds a number that is not finite"), std::string::npos);
  EXPECT_NE(fault({infinity, 1, 0, 1}).find("vectors[0] holds"), std::string::npos);
  EXPECT_NE(fault({1, 1}).find("equally many, not 2 and 1"), std::string::npos);
  EXPECT_NE(fault({1, 1, 1}).find("whole vectors of 2"), std::string::npos);
  EXPECT_NE(fault({1, 1, 1, 1}, std::string(257, 'x')).find("at most 256 bytes, not 257"), std::string::npos);
  EXPECT_NE(fault({1, 1, 1, 1}, "\xff").find("UTF-8"), std::string::npos);
  EXPECT_EQ(index->size(), 1U);
  EXPECT_FLOAT_EQ(search(*index, {1, 0}, 1)[0].score, 1);
}

TEST(FlatIndex, ParametersOutOfRangeAreNamed) {
  EXPECT_NE(FlatIndex::make(0).error().message.find("dimension must be 1 to 16384, not 0"),
            std::string::npos);
  EXPECT_FALSE(FlatIndex::make(kMaxDimension + 1));
  const auto index = index_of(2);
  EXPECT_NE(
      index->search(std::vector<float>{1, 0}, {0, {}, true}).error().message.find("k must be at least 1"),
      std::string::npos);
  EXPECT_NE(index->search(std::vector<float>{0, 0}, {}).error().message.find("query[0] is a zero vector"),
            std::string::npos);
}

TEST(FlatIndex, ABatchAnswersAsItsQueriesAloneDo) {
  Random random(5);
  const auto index = index_of(40);
  std::vector<std::int64_t> ids(700);
  std::iota(ids.begin(), ids.end(), 0);
  ASSERT_TRUE(index->add(ids, test::vectors_of(random, ids.size(), 40), {}));
  const auto queries = test::vectors_of(random, 9, 40);
  for (const bool exact : {true, false}) {
    const auto together = index->search(queries, {3, {}, exact});
    ASSERT_TRUE(together);
    for (std::size_t q = 0; q < 9; ++q) {
      const std::vector<float> query(queries.begin() + static_cast<std::ptrdiff_t>(q * 40),
                                     queries.begin() + static_cast<std::ptrdiff_t>((q + 1) * 40));
      EXPECT_EQ((*together)[q], search(*index, query, 3, {}, exact));
    }
  }
}

TEST(FlatIndex, ASketchedSearchScoresExactlyAndFindsTheNearest) {
  constexpr std::size_t kDimension = 64;
  Random random(6);
  for (const Kernels& kernels : available_kernels()) {
    const auto index = index_of(kDimension, kernels);
    std::vector<std::int64_t> ids(4'000);
    std::iota(ids.begin(), ids.end(), 0);
    const auto vectors = test::vectors_of(random, ids.size(), kDimension);
    ASSERT_TRUE(index->add(ids, vectors, {}));
    for (std::size_t row = 0; row < ids.size(); row += 101) {
      const auto query = test::noisy(random, std::span(vectors).subspan(row * kDimension, kDimension), 0.3F);
      const auto exact = search(*index, query, 1);
      EXPECT_EQ(search(*index, query, 1, {}, false), exact) << kernels.name;
      EXPECT_EQ(exact[0].id, static_cast<std::int64_t>(row));
    }
  }
}

// ---- against the plain model ----

class AgainstTheModel : public testing::TestWithParam<std::size_t> {};

void expect_same_ranking(const std::vector<Match>& found, const test::Model& model,
                         std::span<const float> query, std::size_t k,
                         const std::optional<std::string>& partition) {
  constexpr double kRounding = 2e-6;
  const auto ranking = model.ranking(query, partition);
  ASSERT_EQ(found.size(), std::min(k, ranking.size()));
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i].score, model.score(query, found[i].id), kRounding);  // the right score of its id
    EXPECT_NEAR(found[i].score, ranking[i].first, kRounding);  // and one as good as the model's
    EXPECT_TRUE(i == 0 || better(found[i - 1], found[i]));
  }
}

TEST_P(AgainstTheModel, AddsReplacementsAndRemovalsLeaveTheSameRowsForEveryKernel) {
  const std::size_t dimension = GetParam();
  const std::size_t steps = dimension > 1'000 ? 60 : 200;
  for (const Kernels& kernels : available_kernels()) {
    Random random(dimension);
    const auto index = index_of(dimension, kernels);
    test::Model model;
    const std::vector<std::string> partitions{"", "a", "b"};
    for (std::size_t step = 0; step < steps; ++step) {
      const std::string& partition = partitions[random.below(partitions.size())];
      if (random.below(4) == 0) {
        std::vector<std::int64_t> gone;
        for (std::size_t i = random.below(30); i > 0; --i)
          gone.push_back(static_cast<std::int64_t>(random.below(600)));
        std::size_t removed = 0;
        for (const std::int64_t id : gone) removed += model.remove(id) ? 1U : 0U;
        EXPECT_EQ(index->remove(gone), removed);
      } else {
        std::vector<std::int64_t> ids;
        std::vector<float> vectors;
        for (std::size_t i = random.below(20); i > 0; --i) {
          ids.push_back(static_cast<std::int64_t>(random.below(600)));
          auto one = model.size() > 0 && random.below(8) == 0  // now and then the same as another
                         ? model.vector(model.ranking(test::vector_of(random, dimension), {})[0].second)
                         : test::vector_of(random, dimension);
          vectors.insert(vectors.end(), one.begin(), one.end());
          model.add(ids.back(), std::move(one), partition);
        }
        ASSERT_TRUE(index->add(ids, vectors, partition));
      }
      ASSERT_EQ(index->size(), model.size());
      if (step % 10 != 0) continue;
      const auto query = test::vector_of(random, dimension);
      for (const auto& among : {std::optional<std::string>(), std::optional<std::string>(partition)}) {
        const std::size_t k = 1 + random.below(12);
        expect_same_ranking(search(*index, query, k, among), model, query, k, among);
      }
      for (const Match& match : search(*index, query, 3, {}, false))
        EXPECT_NEAR(match.score, model.score(query, match.id), 2e-6);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Dimensions, AgainstTheModel, testing::Values(1, 7, 8, 9, 31, 384, 1536),
                         [](const auto& dimension) { return std::to_string(dimension.param); });

}  // namespace
}  // namespace sentinel::vector
