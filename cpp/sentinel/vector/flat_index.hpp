// Vectors by id, and the k nearest of a query by cosine.
//
// Rows are brought to length 1 when they are added and kept as float32, flat, by partition (partition.hpp). A search is
// exact (every row is read) or sketched (a shortlist by one bit per dimension, then exact scores of those: what it
// returns is right, what it misses is the question). A partition of few rows, or a k near its size, is always searched
// exactly. Equal scores come in the order of their ids.
//
// Contract: an id is in the index once; adding it again replaces its vector and its partition. A call that fails has
// changed nothing. A search sees each row as one add left it, never half of two.
// Cost: memory 4 bytes x dimension padded to 16, an eighth of a byte x dimension, and about 50 bytes a row; add and
// remove are O(dimension) a row, the first few times amortised over training a sketch.
// Thread rule: any thread; searches share a lock, add and remove hold it alone, in the order of their coming.
// Failure rule: an Error that names the parameter; allocation failure throws and leaves a valid index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sentinel/base/result.hpp"
#include "sentinel/vector/kernels.hpp"
#include "sentinel/vector/partition.hpp"
#include "sentinel/vector/top_k.hpp"
#include "sentinel/vector/turnstile.hpp"

namespace sentinel::vector {

struct SnapshotSource;

inline constexpr std::size_t kMaxDimension = 16'384;
inline constexpr std::size_t kMaxPartitionBytes = 256;
inline constexpr std::size_t kMaxRows = std::size_t{1} << 31U;

struct Question {
  std::size_t k = 1;                          // at least 1
  std::optional<std::string_view> partition;  // nothing: all rows; empty: those without a partition
  bool exact = false;
};

class FlatIndex {
 public:
  // Dimension 1 to kMaxDimension.
  static Result<std::unique_ptr<FlatIndex>> make(std::size_t dimension,
                                                 const Kernels& kernels = best_kernels());
  // The index that `encode` was called on; anything else is an Error that says what is wrong (snapshot.hpp).
  static Result<std::unique_ptr<FlatIndex>> decode(const SnapshotSource& snapshot,
                                                   const Kernels& kernels = best_kernels());
  static Result<std::unique_ptr<FlatIndex>> decode(std::span<const std::uint8_t> snapshot,
                                                   const Kernels& kernels = best_kernels());

  // As many vectors, one after another, as ids. Of an id given twice the last counts. Errors: a vector with a number
  // that is not finite or of length 0 (or too near to it), a partition that is too long.
  Status add(std::span<const std::int64_t> ids, std::span<const float> vectors, std::string_view partition);
  // The number of those that were there.
  std::size_t remove(std::span<const std::int64_t> ids);

  // For each query, one after another, the best matches, at most k. Errors as for add, k 0, sizes that do not fit.
  Result<std::vector<std::vector<Match>>> search(std::span<const float> queries,
                                                 const Question& question) const;

  // Writes the snapshot if `out` has exactly its size, which is returned: the index may grow between two calls.
  std::size_t encode(std::span<std::uint8_t> out) const;

  std::size_t dimension() const { return dimension_; }
  std::size_t size() const;
  bool contains(std::int64_t id) const;

 private:
  using Partitions = std::map<std::string, Partition, std::less<>>;
  struct Place {
    Partition* partition;
    std::size_t row;
  };

  FlatIndex(std::size_t dimension, const Kernels& kernels);
  Result<std::vector<double>> reciprocal_lengths(std::span<const float> vectors, std::string_view what) const;
  Partition& partition_of(std::string_view name);
  void put(std::int64_t id, const float* row, Partition& partition);
  void take_out(Place place);
  void search_one(const Partition& partition, std::span<const float> queries, const Question& question,
                  std::span<TopK> best) const;

  std::size_t dimension_;
  Kernels kernels_;
  mutable Turnstile lock_;
  Partitions partitions_;  // none of them empty, but where an add ran out of memory
  std::unordered_map<std::int64_t, Place> places_;
};

}  // namespace sentinel::vector
