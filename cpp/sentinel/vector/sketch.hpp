// One bit per dimension for every row, and how a query finds the rows worth a look by them.
//
// A row's bit says on which side of the centre (the mean of the rows) it lies in that dimension. The query keeps its
// numbers: a row is worth the sum of |q - centre| over the dimensions where it lies on the query's side. That estimates
// the cosine far better than counting equal bits does (the asymmetric estimate of "RaBitQ", Gao and Long 2024, without
// its rotation). The centre matters where embeddings share a direction, as those of many models do.
//
// The worths of four dimensions at a time are tables of 16 bytes (kernels.hpp), so that adding them up costs a shuffle;
// they are rounded to whole numbers, at most 63 in a table, the same for every kernel, so that which rows are found
// depends on no CPU.
//
// Contract: `find` gives the `count` rows of the highest sums, the lower row among equal ones, best first.
// Cost: dimension / 8 bytes a row; `find` reads them once. Thread rule: `find` is const; all else needs one owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "sentinel/base/aligned.hpp"
#include "sentinel/vector/kernels.hpp"

namespace sentinel::vector {

class Sketch {
 public:
  explicit Sketch(std::size_t dimension);

  // Begins anew: `count` padded rows around their own mean.
  void train(const float* rows, std::size_t count, const Kernels& kernels);
  // So that `put` does not allocate before there are as many rows.
  void reserve(std::size_t rows) { grow(blocks_, block_bytes(rows)); }
  // Sketches one padded row at `place`, which is at most one behind the last.
  void put(std::size_t place, const float* row, const Kernels& kernels);
  // The last row takes the place `to` and is no longer the last.
  void move_last(std::size_t to);

  struct Candidate {
    std::uint32_t row;
    float agreement;  // the worth of the dimensions on the query's side, less the worth of those that are not
  };

  // The rows to look at for a padded query, best first.
  std::vector<Candidate> find(const float* query, std::size_t count, const Kernels& kernels) const;

  std::size_t rows() const { return rows_; }
  std::size_t trained_rows() const { return trained_rows_; }  // 0: there is no sketch yet

  // What a snapshot keeps: the centre (as many floats as dimensions) and the blocks.
  std::span<const float> centre() const { return {centre_.data(), dimension_}; }
  std::span<const std::uint8_t> blocks() const { return blocks_; }
  std::size_t block_bytes(std::size_t rows) const;
  // Gives the blocks, which hold no value until they are written.
  std::span<std::uint8_t> restore(std::span<const float> centre, std::size_t trained_rows, std::size_t rows);

 private:
  struct Query;
  class Shortlist;

  Query read(const float* query) const;
  std::uint16_t likely_bound(const ScanInput& all, std::size_t count, const Kernels& kernels) const;
  Shortlist scan(const ScanInput& all, std::uint16_t bound, std::size_t count, const Kernels& kernels) const;
  std::uint8_t* byte_of(std::size_t row, std::size_t column);

  std::size_t dimension_;
  std::size_t columns_;  // bytes of one row's bits
  std::size_t rows_ = 0;
  std::size_t trained_rows_ = 0;
  AlignedVector<float> centre_;     // padded with zeros
  std::vector<std::uint8_t> bits_;  // of the row that is being put
  AlignedVector<std::uint8_t> blocks_;
};

}  // namespace sentinel::vector
