// The rows of one partition: unit vectors one after another, their ids beside them, and their sketches once there are
// enough rows for a sketch to be worth it.
//
// Removing a row moves the last one into its place, so that what is scanned has no holes. The sketch's centre is the
// mean of the rows when it was trained; it is trained again each time their number has grown fourfold.
//
// Contract: every row has length 1 and is padded with zeros (kernels.hpp). Scores are cosines as float32 dot products.
// Cost: an exact search reads every row, a sketched one an eighth of a byte per dimension and the shortlisted rows.
// Thread rule: const members from any thread while nobody calls another one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sentinel/base/aligned.hpp"
#include "sentinel/vector/kernels.hpp"
#include "sentinel/vector/sketch.hpp"
#include "sentinel/vector/top_k.hpp"

namespace sentinel::vector {

inline constexpr std::size_t kFirstSketchedRows = 256;

class Partition {
 public:
  Partition(std::string name, std::size_t dimension);

  // Makes room for as many more rows, so that nothing below allocates until then (`settle` may).
  void reserve(std::size_t more);
  // Both take a padded unit row.
  void append(std::int64_t id, const float* row, const Kernels& kernels);
  void replace(std::size_t place, const float* row, const Kernels& kernels);
  // Gives the id of the row that is in this place now (the removed one's, if it was the last).
  std::int64_t remove(std::size_t place);
  // After rows were appended: trains the sketch if it is time to.
  void settle(const Kernels& kernels);

  // Offers the rows that may be among the k best to `best`, `queries` being padded unit vectors.
  void search_exact(std::span<const float> queries, const Kernels& kernels, std::span<TopK> best) const;
  void search_sketched(const float* query, std::size_t k, const Kernels& kernels, TopK& best) const;
  // Whether a sketched search for k would not look at most rows anyway.
  bool sketch_pays(std::size_t k) const;

  const std::string& name() const { return name_; }
  std::size_t size() const { return ids_.size(); }
  std::span<const std::int64_t> ids() const { return ids_; }
  const float* row(std::size_t place) const { return rows_.data() + place * stride_; }
  const Sketch& sketch() const { return sketch_; }

  // For a snapshot's reader: as many rows as ids, still to be written, and the sketch.
  void restore_ids(std::vector<std::int64_t> ids);
  float* row_to_write(std::size_t place) { return rows_.data() + place * stride_; }
  Sketch& sketch_to_write() { return sketch_; }

 private:
  float dot(const float* query, const float* row, const Kernels& kernels) const;

  std::string name_;  // empty: rows without a partition
  std::size_t dimension_;
  std::size_t stride_;
  std::vector<std::int64_t> ids_;
  AlignedVector<float> rows_;
  Sketch sketch_;
};

}  // namespace sentinel::vector
