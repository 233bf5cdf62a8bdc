#include "sentinel/vector/sketch.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>
#include <utility>

namespace sentinel::vector {
namespace {

constexpr std::size_t kDimensionsPerByte = 8;
constexpr std::size_t kDimensionsPerTable = 4;
constexpr std::size_t kTableBytes = 16;
constexpr float kMostOfRow = 65'535;
constexpr std::size_t kFirstScan = 8;  // blocks; each scan is twice as long as the one before, up to
constexpr std::size_t kLongestScan = 64;

// The sixteen sums of all subsets of four worths, as bytes side by side. `agreeing` has bit i for a dimension that adds
// its worth where the row's bit is set; the others add it where it is clear.
void write_table(const std::uint8_t* worth, unsigned agreeing, std::uint8_t* table) {
  constexpr std::uint64_t kOnes = 0x0101010101010101U;
  constexpr std::array<std::uint64_t, 3> kSet{0x0100010001000100U, 0x0101000001010000U, 0x0101010100000000U};
  std::uint64_t low = 0;  // of the eight sketches whose last bit is clear
  for (unsigned i = 0; i < kSet.size(); ++i) {
    const bool set = (agreeing >> i & 1U) != 0;
    low += worth[i] * (set ? kSet[i] : kOnes ^ kSet[i]);
  }
  const std::uint64_t last = worth[3] * kOnes;
  const bool set = (agreeing >> 3U & 1U) != 0;
  const std::array<std::uint64_t, 2> sums{set ? low : low + last, set ? low + last : low};
  static_assert(std::endian::native == std::endian::little && sizeof(sums) == kTableBytes);
  std::memcpy(table, sums.data(), kTableBytes);
}

}  // namespace

// One number to compare, without a branch on whether sums are equal.
struct Better {
  static std::uint64_t rank(const Hit& hit) { return (std::uint64_t{hit.sum} << 32U) | ~hit.row; }
  bool operator()(const Hit& left, const Hit& right) const { return rank(left) > rank(right); }
};

// The hits of the highest sums so far, and the sum a further row must reach to be one of them.
class Sketch::Shortlist {
 public:
  Shortlist(std::size_t count, std::uint16_t bound)
      : count_(count), bound_(bound), hits_(2 * count + kLongestScan * kBlockRows) {}

  // Where the next hits of one scan are written; `added` says how many were.
  Hit* room() { return hits_.data() + held_; }
  void added(std::size_t hits) { held_ += hits; }
  std::uint16_t bound() const { return bound_; }
  std::size_t size() const { return std::min(held_, count_); }

  // The rows behind `end` pad the last block.
  void drop_rows_from(std::size_t end) {
    while (held_ > 0 && hits_[held_ - 1].row >= end) --held_;
  }

  // Once twice as many are held as are wanted, forgets all but the best. A row that comes later must then be better than
  // the worst of them, not its equal.
  void tighten() {
    if (held_ < 2 * count_) return;
    forget_all_but_best();
    bound_ = static_cast<std::uint16_t>(std::min<unsigned>(hits_[count_ - 1].sum + 1U, 65'535U));
  }

  // Best first.
  std::span<const Hit> best() {
    if (held_ > count_) forget_all_but_best();
    std::sort(at(0), at(held_), Better());
    return {hits_.data(), held_};
  }

 private:
  AlignedVector<Hit>::iterator at(std::size_t i) { return hits_.begin() + static_cast<std::ptrdiff_t>(i); }

  // The worst of the best is then the last.
  void forget_all_but_best() {
    std::nth_element(at(0), at(count_ - 1), at(held_), Better());
    held_ = count_;
  }

  std::size_t count_;
  std::size_t held_ = 0;
  std::uint16_t bound_;
  AlignedVector<Hit> hits_;
};

Sketch::Sketch(std::size_t dimension)
    : dimension_(dimension), columns_((dimension + kDimensionsPerByte - 1) / kDimensionsPerByte) {
  centre_.assign(padded(dimension), 0.0F);
  bits_.resize(columns_);
}

std::size_t Sketch::block_bytes(std::size_t rows) const {
  return (rows + kBlockRows - 1) / kBlockRows * kBlockRows * columns_;
}

std::uint8_t* Sketch::byte_of(std::size_t row, std::size_t column) {
  return blocks_.data() + (row / kBlockRows * columns_ + column) * kBlockRows + row % kBlockRows;
}

void Sketch::train(const float* rows, std::size_t count, const Kernels& kernels) {
  const std::size_t stride = centre_.size();
  std::vector<double> sums(dimension_, 0.0);
  blocks_.clear();
  rows_ = 0;
  trained_rows_ = 0;  // until there is room
  reserve(count);
  for (std::size_t row = 0; row < count; ++row) {
    for (std::size_t i = 0; i < dimension_; ++i) sums[i] += static_cast<double>(rows[row * stride + i]);
  }
  for (std::size_t i = 0; i < dimension_; ++i)
    centre_[i] = static_cast<float>(sums[i] / static_cast<double>(count));
  trained_rows_ = count;
  for (std::size_t row = 0; row < count; ++row) put(row, rows + row * stride, kernels);
}

void Sketch::put(std::size_t place, const float* row, const Kernels& kernels) {
  assert(place <= rows_);
  if (place == rows_) ++rows_;
  if (blocks_.size() < block_bytes(rows_)) {
    const std::size_t before = blocks_.size();
    blocks_.resize(block_bytes(rows_));
    std::fill(blocks_.begin() + static_cast<std::ptrdiff_t>(before), blocks_.end(), std::uint8_t{0});
  }
  kernels.signs(row, centre_.data(), columns_, bits_.data());
  for (std::size_t column = 0; column < columns_; ++column) *byte_of(place, column) = bits_[column];
}

void Sketch::move_last(std::size_t to) {
  assert(to < rows_);
  --rows_;
  for (std::size_t column = 0; column < columns_; ++column) {
    *byte_of(to, column) = *byte_of(rows_, column);
    *byte_of(rows_, column) = 0;  // so that equal rows make equal snapshots
  }
  blocks_.resize(block_bytes(rows_));
}

// A query as scans read it.
struct Sketch::Query {
  AlignedVector<std::uint8_t> tables;
  float total;  // what a row on the query's side in every dimension sums up to
  float scale;  // what a worth of 1 was multiplied by
};

Sketch::Query Sketch::read(const float* query) const {
  const std::size_t tables = columns_ * 2;
  AlignedVector<float> worth(tables * kDimensionsPerTable);
  float most = 0;
  float total = 0;
  for (std::size_t first = 0; first < worth.size(); first += kDimensionsPerTable) {
    float sum = 0;
    for (std::size_t i = first; i < first + kDimensionsPerTable; ++i) {
      worth[i] = std::fabs(query[i] - centre_[i]);
      sum += worth[i];
    }
    most = std::max(most, sum);
    total += sum;
  }
  // Rounding may add a half for each dimension.
  const float room_of_table = kMostOfTable - kDimensionsPerTable / 2;
  const float room_of_row = kMostOfRow - static_cast<float>(worth.size() / 2);
  const float scale = most > 0 ? std::min(room_of_table / most, room_of_row / total) : 0.0F;
  AlignedVector<std::uint8_t> out(tables * kTableBytes);
  unsigned whole = 0;
  for (std::size_t t = 0; t < tables; ++t) {
    const std::size_t first = t * kDimensionsPerTable;
    std::array<std::uint8_t, kDimensionsPerTable> rounded;
    unsigned agreeing = 0;
    for (unsigned i = 0; i < kDimensionsPerTable; ++i) {
      rounded[i] = static_cast<std::uint8_t>(worth[first + i] * scale + 0.5F);
      whole += rounded[i];
      agreeing |= static_cast<unsigned>(query[first + i] >= centre_[first + i]) << i;
    }
    write_table(rounded.data(), agreeing, out.data() + t * kTableBytes);
  }
  return {std::move(out), static_cast<float>(whole), scale};
}

// A sum that certainly more than `count` rows reach, were the sample fair: twice as many of the sample as are to be
// expected among the best, and some more. Its blocks lie everywhere, since what was added together is often alike.
std::uint16_t Sketch::likely_bound(const ScanInput& all, std::size_t count, const Kernels& kernels) const {
  constexpr std::size_t kSampledBlocks = 16;
  constexpr std::size_t kSampledRows = kSampledBlocks * kBlockRows;
  constexpr std::size_t kSpare = 6;
  const std::size_t rank = 2 * count * kSampledBlocks / all.block_count + kSpare;
  if (all.block_count < 16 * kSampledBlocks || rank > kSampledRows / 4) return 0;
  std::array<Hit, kSampledRows> hits;  // NOLINT: filled below
  std::size_t sampled = 0;
  for (std::size_t i = 0; i < kSampledBlocks; ++i) {
    ScanInput one = all;
    one.first_block = i * (all.block_count - 1) / kSampledBlocks;  // not the last, which may be padded
    one.block_count = 1;
    sampled += kernels.scan(one, 0, hits.data() + sampled);
  }
  const auto at_rank = hits.begin() + static_cast<std::ptrdiff_t>(rank);
  std::nth_element(hits.begin(), at_rank, hits.end(),
                   [](const Hit& left, const Hit& right) { return left.sum > right.sum; });
  return at_rank->sum;
}

std::vector<Sketch::Candidate> Sketch::find(const float* given, std::size_t count,
                                            const Kernels& kernels) const {
  const Query query = read(given);
  const std::size_t blocks = (rows_ + kBlockRows - 1) / kBlockRows;
  const ScanInput all{query.tables.data(), blocks_.data(), columns_, 0, blocks};
  Shortlist shortlist = scan(all, likely_bound(all, count, kernels), count, kernels);
  if (shortlist.size() < std::min(count, rows_)) shortlist = scan(all, 0, count, kernels);
  std::vector<Candidate> found;
  found.reserve(count);
  const float unit = query.scale > 0 ? 1 / query.scale : 0.0F;
  for (const Hit& hit : shortlist.best())
    found.push_back({hit.row, (2 * static_cast<float>(hit.sum) - query.total) * unit});
  return found;
}

Sketch::Shortlist Sketch::scan(const ScanInput& all, std::uint16_t bound, std::size_t count,
                               const Kernels& kernels) const {
  Shortlist shortlist(count, bound);
  ScanInput next = all;
  for (std::size_t length = kFirstScan; next.first_block < all.block_count;
       length = std::min(2 * length, kLongestScan)) {
    next.block_count = std::min(length, all.block_count - next.first_block);
    shortlist.added(kernels.scan(next, shortlist.bound(), shortlist.room()));
    shortlist.drop_rows_from(rows_);
    shortlist.tighten();
    next.first_block += next.block_count;
  }
  return shortlist;
}

std::span<std::uint8_t> Sketch::restore(std::span<const float> centre, std::size_t trained_rows,
                                        std::size_t rows) {
  assert(centre.size() == dimension_);
  std::copy(centre.begin(), centre.end(), centre_.begin());
  trained_rows_ = trained_rows;
  rows_ = rows;
  blocks_.resize(block_bytes(rows));
  return blocks_;
}

}  // namespace sentinel::vector
