// Every version of the loops that this CPU has, against the portable one and against plain sums.
#include "sentinel/vector/kernels.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "sentinel/base/aligned.hpp"
#include "vector/vectors.hpp"

namespace sentinel::vector {
namespace {

class EveryKernel : public testing::TestWithParam<std::size_t> {
 protected:
  std::size_t dimension() const { return GetParam(); }
  std::size_t stride() const { return padded(dimension()); }
  std::size_t columns() const { return (dimension() + 7) / 8; }

  AlignedVector<float> rows(std::size_t count) {
    AlignedVector<float> made;
    made.assign(count * stride(), 0.0F);
    for (std::size_t row = 0; row < count; ++row)
      for (std::size_t i = 0; i < dimension(); ++i) made[row * stride() + i] = test::number(random_);
    return made;
  }
  AlignedVector<std::uint8_t> bytes(std::size_t count, std::uint64_t bound) {
    AlignedVector<std::uint8_t> made(count);
    for (auto& byte : made) byte = static_cast<std::uint8_t>(random_.below(bound));
    return made;
  }

  Random random_{7};
};

TEST_P(EveryKernel, DotsAreTheSumsOfProducts) {
  constexpr std::size_t kRows = 5;
  const auto query = rows(1);
  const auto data = rows(kRows);
  for (const Kernels& kernels : available_kernels()) {
    std::vector<float> out(kRows);
    kernels.dots(query.data(), data.data(), kRows, stride(), out.data());
    for (std::size_t row = 0; row < kRows; ++row) {
      double sum = 0;
      for (std::size_t i = 0; i < dimension(); ++i)
        sum += static_cast<double>(query[i]) * static_cast<double>(data[row * stride() + i]);
      EXPECT_NEAR(out[row], sum, 1e-6 * static_cast<double>(dimension())) << kernels.name;
    }
  }
}

TEST_P(EveryKernel, AScoreDependsOnNoRowBesideIt) {
  const auto query = rows(1);
  const auto data = rows(4);
  for (const Kernels& kernels : available_kernels()) {
    std::vector<float> together(4);
    kernels.dots(query.data(), data.data(), 4, stride(), together.data());
    for (std::size_t row = 0; row < 4; ++row) {
      float alone = 0;
      kernels.dots(query.data(), data.data() + row * stride(), 1, stride(), &alone);
      EXPECT_EQ(alone, together[row]) << kernels.name;
    }
  }
}

TEST_P(EveryKernel, SignsTellWhichNumbersAreNotBelowTheCentre) {
  auto row = rows(1);
  const auto centre = rows(1);
  row[0] = centre[0];  // equal is not below
  for (const Kernels& kernels : available_kernels()) {
    std::vector<std::uint8_t> bits(columns());
    kernels.signs(row.data(), centre.data(), columns(), bits.data());
    for (std::size_t i = 0; i < dimension(); ++i)
      EXPECT_EQ((bits[i / 8] >> (i % 8) & 1) != 0, row[i] >= centre[i]) << kernels.name << " " << i;
  }
}

TEST_P(EveryKernel, ScansReportTheRowsThatReachTheBoundInOrder) {
  constexpr std::size_t kBlocks = 5;
  constexpr std::size_t kFirst = 1;  // a scan may begin behind the first block
  const auto blocks = bytes((kFirst + kBlocks) * columns() * kBlockRows, 256);
  const auto tables = bytes(columns() * kColumnTables, kMostOfTable + 1U);
  std::vector<Hit> sums;
  for (std::size_t row = kFirst * kBlockRows; row < (kFirst + kBlocks) * kBlockRows; ++row) {
    unsigned sum = 0;
    for (std::size_t column = 0; column < columns(); ++column) {
      const unsigned byte = blocks[(row / kBlockRows * columns() + column) * kBlockRows + row % kBlockRows];
      sum += tables[column * kColumnTables + (byte & 15U)];
      sum += tables[column * kColumnTables + 16 + (byte >> 4U)];
    }
    sums.push_back({static_cast<std::uint32_t>(row), static_cast<std::uint16_t>(sum)});
  }
  auto sorted = sums;
  std::sort(sorted.begin(), sorted.end(), [](const Hit& a, const Hit& b) { return a.sum < b.sum; });
  for (const std::size_t rank : {std::size_t{0}, sorted.size() / 2, sorted.size() - 1}) {
    for (const std::size_t count : {std::size_t{1}, std::size_t{2}, kBlocks}) {
      const std::uint16_t bound = sorted[rank].sum;
      std::vector<Hit> expected;
      std::copy_if(sums.begin(), sums.begin() + static_cast<std::ptrdiff_t>(count * kBlockRows),
                   std::back_inserter(expected), [&](const Hit& hit) { return hit.sum >= bound; });
      for (const Kernels& kernels : available_kernels()) {
        std::vector<Hit> hits(count * kBlockRows);
        hits.resize(
            kernels.scan({tables.data(), blocks.data(), columns(), kFirst, count}, bound, hits.data()));
        EXPECT_EQ(hits, expected) << kernels.name;
      }
    }
  }
}

TEST_P(EveryKernel, ScansHoldTheLargestSums) {
  const auto blocks = bytes(columns() * kBlockRows, 256);
  const std::size_t most = std::min<std::size_t>(kMostOfTable, 65'535 / (2 * columns()));
  AlignedVector<std::uint8_t> tables;
  tables.assign(columns() * kColumnTables, static_cast<std::uint8_t>(most));
  for (const Kernels& kernels : available_kernels()) {
    std::vector<Hit> hits(kBlockRows);
    ASSERT_EQ(kernels.scan({tables.data(), blocks.data(), columns(), 0, 1}, 0, hits.data()), kBlockRows);
    for (const Hit& hit : hits) EXPECT_EQ(hit.sum, most * 2 * columns()) << kernels.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Dimensions, EveryKernel,
                         testing::Values(1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 384, 1536, 4096),
                         [](const auto& dimension) { return std::to_string(dimension.param); });

TEST(Kernels, ThePortableOnesAreAlwaysThereAndComeFirst) {
  ASSERT_FALSE(available_kernels().empty());
  EXPECT_EQ(available_kernels().front().name, "portable");
  EXPECT_EQ(best_kernels().name, available_kernels().back().name);
}

}  // namespace
}  // namespace sentinel::vector
