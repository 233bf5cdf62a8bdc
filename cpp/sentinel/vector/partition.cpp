#include "sentinel/vector/partition.hpp"

#include <algorithm>
#include <utility>

namespace sentinel::vector {
namespace {

constexpr std::size_t kTrainAgain = 4;
// Of rows that several queries share, so that they stay in a near cache.
constexpr std::size_t kTileBytes = 64 * 1024;

// How many rows a sketched search looks at. Of 46,000 sentence embeddings (384 dimensions) the nearest one was among the
// first 96 of all 2,000 queries, the tenth nearest among the first 240 of nearly all.
constexpr std::size_t shortlist_size(std::size_t k) { return 80 + 16 * std::min(k, std::size_t{1} << 32U); }

void prefetch(const float* row, std::size_t stride) {
  for (std::size_t i = 0; i < stride; i += kRowStep) __builtin_prefetch(row + i);
}

}  // namespace

Partition::Partition(std::string name, std::size_t dimension)
    : name_(std::move(name)), stride_(padded(dimension)), sketch_(dimension) {}

void Partition::reserve(std::size_t more) {
  grow(ids_, size() + more);
  grow(rows_, (size() + more) * stride_);
  if (sketch_.trained_rows() > 0) sketch_.reserve(size() + more);
}

void Partition::append(std::int64_t id, const float* row, const Kernels& kernels) {
  rows_.insert(rows_.end(), row, row + stride_);
  ids_.push_back(id);
  if (sketch_.trained_rows() > 0) sketch_.put(size() - 1, row, kernels);
}

void Partition::replace(std::size_t place, const float* row, const Kernels& kernels) {
  std::copy(row, row + stride_, row_to_write(place));
  if (sketch_.trained_rows() > 0) sketch_.put(place, row, kernels);
}

std::int64_t Partition::remove(std::size_t place) {
  const std::size_t last = ids_.size() - 1;
  const std::int64_t moved = ids_[last];
  if (place != last) std::copy(row(last), row(last) + stride_, row_to_write(place));
  ids_[place] = moved;
  ids_.pop_back();
  rows_.resize(ids_.size() * stride_);
  if (sketch_.trained_rows() > 0) sketch_.move_last(place);
  return moved;
}

void Partition::settle(const Kernels& kernels) {
  const std::size_t due = std::max(kFirstSketchedRows, kTrainAgain * sketch_.trained_rows());
  if (size() >= due) sketch_.train(rows_.data(), size(), kernels);
}

bool Partition::sketch_pays(std::size_t k) const {
  return sketch_.trained_rows() > 0 && shortlist_size(k) < size() / 2;
}

void Partition::search_exact(std::span<const float> queries, const Kernels& kernels,
                             std::span<TopK> best) const {
  const std::size_t tile = std::max(kTileBytes / (stride_ * sizeof(float)), std::size_t{8});
  std::vector<float> scores(tile);
  for (std::size_t first = 0; first < size(); first += tile) {
    const std::size_t count = std::min(tile, size() - first);
    for (std::size_t q = 0; q < best.size(); ++q) {
      kernels.dots(queries.data() + q * stride_, row(first), count, stride_, scores.data());
      float floor = best[q].floor();
      for (std::size_t i = 0; i < count; ++i) {
        if (scores[i] < floor) continue;
        best[q].offer({ids_[first + i], scores[i]});
        floor = best[q].floor();
      }
    }
  }
}

void Partition::search_sketched(const float* query, std::size_t k, const Kernels& kernels, TopK& best) const {
  constexpr std::size_t kAhead = 4;
  const auto rows = sketch_.find(query, shortlist_size(k), kernels);
  for (std::size_t i = 0; i < std::min(kAhead, rows.size()); ++i) prefetch(row(rows[i]), stride_);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i + kAhead < rows.size()) prefetch(row(rows[i + kAhead]), stride_);
    float score = 0;
    kernels.dots(query, row(rows[i]), 1, stride_, &score);
    best.offer({ids_[rows[i]], score});
  }
}

void Partition::restore_ids(std::vector<std::int64_t> ids) {
  ids_ = std::move(ids);
  rows_.resize(ids_.size() * stride_);
}

}  // namespace sentinel::vector
