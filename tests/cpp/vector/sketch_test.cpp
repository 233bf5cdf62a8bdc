#include "sentinel/vector/sketch.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include "sentinel/vector/partition.hpp"
#include "vector/vectors.hpp"

namespace sentinel::vector {
namespace {

constexpr std::size_t kDimension = 48;

// Rows in groups of near ones, so that there is something to find.
AlignedVector<float> clustered(Random& random, std::size_t count, std::size_t dimension, float shift = 0) {
  const std::size_t stride = padded(dimension);
  const auto centres = test::vectors_of(random, 40, dimension);
  AlignedVector<float> rows;
  rows.assign(count * stride, 0.0F);
  for (std::size_t row = 0; row < count; ++row) {
    const std::size_t group = random.below(40);
    for (std::size_t i = 0; i < dimension; ++i)
      rows[row * stride + i] = centres[group * dimension + i] + 0.5F * test::number(random) + shift;
  }
  return rows;
}

std::vector<std::uint32_t> sorted(const std::vector<Sketch::Candidate>& found) {
  std::vector<std::uint32_t> rows;
  for (const Sketch::Candidate& one : found) rows.push_back(one.row);
  std::sort(rows.begin(), rows.end());
  return rows;
}

TEST(Sketch, FindsTheSameRowsWithEveryKernel) {
  Random random(11);
  const auto rows = clustered(random, 3'000, kDimension);
  for (const std::size_t count : {1U, 31U, 32U, 33U, 500U, 3'000U}) {
    Sketch sketch(kDimension);
    sketch.train(rows.data(), count, available_kernels().front());
    for (const std::size_t wanted : {1U, 20U, 96U}) {
      const auto expected = sorted(sketch.find(rows.data(), wanted, available_kernels().front()));
      EXPECT_EQ(expected.size(), std::min<std::size_t>(wanted, count));
      for (const Kernels& kernels : available_kernels())
        EXPECT_EQ(sorted(sketch.find(rows.data(), wanted, kernels)), expected) << kernels.name;
    }
  }
}

// Enough rows that a sample of them says where to begin; finding a tenth of all asks no sample.
constexpr std::size_t kSampledRows = 257 * kBlockRows;

void expect_few_among_many(const Sketch& sketch, const float* query) {
  const auto many = sorted(sketch.find(query, kSampledRows / 5, best_kernels()));
  const auto few = sorted(sketch.find(query, 100, best_kernels()));
  EXPECT_EQ(few.size(), 100U);
  EXPECT_TRUE(std::includes(many.begin(), many.end(), few.begin(), few.end()));
}

TEST(Sketch, FindingFewerGivesTheFirstOfFindingMore) {
  Random random(12);
  const auto rows = clustered(random, kSampledRows, kDimension);
  Sketch sketch(kDimension);
  sketch.train(rows.data(), kSampledRows, best_kernels());
  for (std::size_t query = 0; query < 20; ++query)
    expect_few_among_many(sketch, rows.data() + query * padded(kDimension));
}

TEST(Sketch, ASampleThatMisleadsHidesNothing) {
  Random random(12);
  auto rows = clustered(random, kSampledRows, kDimension);
  const std::vector<float> query(rows.begin(), rows.begin() + kDimension);
  for (std::size_t block = 0; block < 256;
       block += 8) {  // those that are sampled, all of them like the query
    for (std::size_t row = block * kBlockRows; row < (block + 1) * kBlockRows; ++row) {
      const auto near = test::noisy(random, query, 0.2F);
      std::copy(near.begin(), near.end(),
                rows.begin() + static_cast<std::ptrdiff_t>(row * padded(kDimension)));
    }
  }
  Sketch sketch(kDimension);
  sketch.train(rows.data(), kSampledRows, best_kernels());
  AlignedVector<float> padded_query;
  padded_query.assign(padded(kDimension), 0.0F);
  std::copy(query.begin(), query.end(), padded_query.begin());
  expect_few_among_many(sketch, padded_query.data());
}

TEST(Sketch, ARowIsAmongTheFirstFoundForItself) {
  Random random(13);
  const auto rows = clustered(random, 2'000, kDimension);
  Sketch sketch(kDimension);
  sketch.train(rows.data(), 2'000, best_kernels());
  for (std::uint32_t row = 0; row < 2'000; row += 37) {
    const auto found = sorted(sketch.find(rows.data() + row * padded(kDimension), 8, best_kernels()));
    EXPECT_NE(std::find(found.begin(), found.end(), row), found.end()) << row;
  }
}

TEST(Sketch, ADirectionThatAllShareDoesNotHideTheDifferences) {
  Random random(14);
  const auto rows = clustered(random, 2'000, kDimension, 10);  // every number is positive
  Sketch sketch(kDimension);
  sketch.train(rows.data(), 2'000, best_kernels());
  for (std::uint32_t row = 0; row < 2'000; row += 37) {
    const auto found = sorted(sketch.find(rows.data() + row * padded(kDimension), 8, best_kernels()));
    EXPECT_NE(std::find(found.begin(), found.end(), row), found.end()) << row;
  }
}

TEST(Sketch, RowsPutAndMovedAreSketchedAsIfTheyHadBeenThere) {
  Random random(15);
  const std::size_t stride = padded(kDimension);
  auto rows = clustered(random, 100, kDimension);
  Sketch sketch(kDimension);
  sketch.train(rows.data(), 70, best_kernels());
  const std::vector<float> centre(sketch.centre().begin(), sketch.centre().end());
  for (std::size_t row = 70; row < 100; ++row) sketch.put(row, rows.data() + row * stride, best_kernels());
  sketch.move_last(3);
  std::copy_n(rows.data() + 99 * stride, stride, rows.data() + 3 * stride);
  sketch.move_last(98);  // itself the last
  EXPECT_EQ(sketch.rows(), 98U);

  Sketch anew(kDimension);
  anew.restore(centre, 70, 0);
  for (std::size_t row = 0; row < 98; ++row) anew.put(row, rows.data() + row * stride, best_kernels());
  EXPECT_TRUE(
      std::equal(sketch.blocks().begin(), sketch.blocks().end(), anew.blocks().begin(), anew.blocks().end()));
}

TEST(Sketch, AQueryAtTheCentreFindsTheFirstRows) {
  Sketch sketch(8);
  AlignedVector<float> rows;
  rows.assign(300 * padded(8), 0.25F);
  sketch.train(rows.data(), 300, best_kernels());
  std::vector<std::uint32_t> first(10);
  std::iota(first.begin(), first.end(), 0U);
  EXPECT_EQ(sorted(sketch.find(rows.data(), 10, best_kernels())), first);
}

TEST(Sketch, WideVectorsDoNotOverflowTheSums) {
  constexpr std::size_t kWide = 16'384;
  Random random(16);
  const auto rows = clustered(random, 40, kWide);
  Sketch sketch(kWide);
  sketch.train(rows.data(), 40, best_kernels());
  for (std::uint32_t row = 0; row < 40; ++row)
    EXPECT_EQ(sorted(sketch.find(rows.data() + row * kWide, 1, best_kernels())),
              std::vector<std::uint32_t>{row});
}

}  // namespace
}  // namespace sentinel::vector
