// The k best matches of those offered: the highest score first, the lowest id among equal scores.
//
// Cost: one comparison for an offer that is too low, O(log k) for one that is not. Allocates k matches at most.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace sentinel::vector {

struct Match {
  std::int64_t id;
  float score;

  friend bool operator==(const Match&, const Match&) = default;
};

constexpr bool better(const Match& left, const Match& right) {
  return left.score != right.score ? left.score > right.score : left.id < right.id;
}

class TopK {
 public:
  explicit TopK(std::size_t k) : k_(k) {}

  // A match scoring less than this is none of the best.
  float floor() const {
    return heap_.size() < k_ ? -std::numeric_limits<float>::infinity() : heap_.front().score;
  }

  void offer(Match match) {
    if (heap_.size() < k_) {
      heap_.push_back(match);
      std::push_heap(heap_.begin(), heap_.end(), better);
      return;
    }
    if (!better(match, heap_.front())) return;
    std::pop_heap(heap_.begin(), heap_.end(), better);
    heap_.back() = match;
    std::push_heap(heap_.begin(), heap_.end(), better);
  }

  std::vector<Match> take() && {
    std::sort_heap(heap_.begin(), heap_.end(), better);
    return std::move(heap_);
  }

 private:
  std::size_t k_;            // above 0
  std::vector<Match> heap_;  // the worst in front
};

}  // namespace sentinel::vector
