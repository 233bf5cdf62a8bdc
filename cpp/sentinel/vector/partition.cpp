#include "sentinel/vector/partition.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace sentinel::vector {
namespace {

constexpr std::size_t kTrainAgain = 4;
// Of rows that several queries share, so that they stay in a near cache.
constexpr std::size_t kTileBytes = 64 * 1024;

// How many rows a sketched search looks at, at most. Of 46,000 sentence embeddings (384 dimensions) the nearest one was among the
// first 96 of all 2,000 queries, the tenth nearest among the first 240 of nearly all.
constexpr std::size_t shortlist_size(std::size_t k) { return 80 + 16 * std::min(k, std::size_t{1} << 32U); }

// After as many a sketched search asks whether the others may still be better.
constexpr std::size_t kStep = 16;

void prefetch(const float* row, std::size_t stride) {
  for (std::size_t i = 0; i < stride; i += kRowStep) __builtin_prefetch(row + i);
}

// What a row's agreement with the query (sketch.hpp) says of its score, learnt from the rows that were scored already: the
// two are proportional, but for what the signs do not tell.
//   Of vectors that differ in all dimensions alike, signs leave a deviation of sqrt((pi / 2 - 1) / dimension) open at most
// ("RaBitQ", Gao and Long 2024, section 3.2); less is not believed, as a group of near rows would suggest it.
class Expectation {
 public:
  // `middle` is what a row at the centre scores.
  Expectation(std::size_t dimension, float middle)
      : middle_(static_cast<double>(middle)), least_variance_(0.5708 / static_cast<double>(dimension)) {}

  void learn(float agreement, float score) {
    const auto x = static_cast<double>(agreement);
    const double y = static_cast<double>(score) - middle_;
    xx_ += x * x;
    xy_ += x * y;
    yy_ += y * y;
    ++count_;
  }
  // The score that a row of this agreement hardly exceeds.
  float most(float agreement) const {
    constexpr double kDeviations = 4.5;
    if (xx_ == 0) return std::numeric_limits<float>::infinity();
    const double variance = (yy_ - xy_ * xy_ / xx_) / count_;
    const double expected = middle_ + xy_ / xx_ * static_cast<double>(agreement);
    return static_cast<float>(expected + kDeviations * std::sqrt(std::max(variance, least_variance_)));
  }

 private:
  double middle_;
  double least_variance_;
  double xx_ = 0;
  double xy_ = 0;
  double yy_ = 0;
  double count_ = 0;
};

}  // namespace

Partition::Partition(std::string name, std::size_t dimension)
    : name_(std::move(name)), dimension_(dimension), stride_(padded(dimension)), sketch_(dimension) {}

float Partition::dot(const float* query, const float* row, const Kernels& kernels) const {
  float product = 0;
  kernels.dots(query, row, 1, stride_, &product);
  return product;
}

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
  constexpr std::size_t kAhead = 6;
  const auto found = sketch_.find(query, shortlist_size(k), kernels);
  Expectation expectation(dimension_, dot(query, sketch_.centre().data(), kernels));
  for (std::size_t i = 0; i < std::min(kAhead, found.size()); ++i) prefetch(row(found[i].row), stride_);
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (i % kStep == 0 && i > 0 && expectation.most(found[i].agreement) < best.floor()) return;
    if (i + kAhead < found.size()) prefetch(row(found[i + kAhead].row), stride_);
    const float score = dot(query, row(found[i].row), kernels);
    expectation.learn(found[i].agreement, score);
    best.offer({ids_[found[i].row], score});
  }
}

void Partition::restore_ids(std::vector<std::int64_t> ids) {
  ids_ = std::move(ids);
  rows_.resize(ids_.size() * stride_);
}

}  // namespace sentinel::vector
