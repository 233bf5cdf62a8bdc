// Vectors of a seed, and the plain model that an index is compared with: every row in a map, every score a loop.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sentinel/base/random.hpp"
#include "sentinel/vector/top_k.hpp"

namespace sentinel::vector::test {

// Sums of four uniform numbers around 0: near enough to normal, and the same everywhere.
inline float number(Random& random) {
  double sum = 0;
  for (int i = 0; i < 4; ++i) sum += static_cast<double>(random.below(1'000'001)) / 1'000'000 - 0.5;
  return static_cast<float>(sum);
}

inline std::vector<float> vector_of(Random& random, std::size_t dimension) {
  std::vector<float> made(dimension);
  do {
    for (float& value : made) value = number(random);
  } while (std::all_of(made.begin(), made.end(), [](float value) { return value == 0; }));
  return made;
}

inline std::vector<float> vectors_of(Random& random, std::size_t count, std::size_t dimension) {
  std::vector<float> made;
  for (std::size_t i = 0; i < count; ++i) {
    const auto one = vector_of(random, dimension);
    made.insert(made.end(), one.begin(), one.end());
  }
  return made;
}

inline std::vector<float> noisy(Random& random, std::span<const float> vector, float noise) {
  std::vector<float> made(vector.begin(), vector.end());
  for (float& value : made) value += noise * number(random);
  return made;
}

class Model {
 public:
  void add(std::int64_t id, std::vector<float> vector, std::string partition) {
    rows_[id] = {std::move(vector), std::move(partition)};
  }
  bool remove(std::int64_t id) { return rows_.erase(id) > 0; }
  std::size_t size() const { return rows_.size(); }
  const std::vector<float>& vector(std::int64_t id) const { return rows_.at(id).vector; }

  double score(std::span<const float> query, std::int64_t id) const {
    return cosine(query, rows_.at(id).vector);
  }
  // All of the partition, best first; equal scores by id.
  std::vector<std::pair<double, std::int64_t>> ranking(std::span<const float> query,
                                                       const std::optional<std::string>& partition) const {
    std::vector<std::pair<double, std::int64_t>> ranked;
    for (const auto& [id, row] : rows_) {
      if (!partition || row.partition == *partition) ranked.emplace_back(-cosine(query, row.vector), id);
    }
    std::sort(ranked.begin(), ranked.end());
    for (auto& [score, id] : ranked) score = -score;
    return ranked;
  }

 private:
  struct Row {
    std::vector<float> vector;
    std::string partition;
  };

  static double cosine(std::span<const float> a, std::span<const float> b) {
    double ab = 0;
    double aa = 0;
    double bb = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      ab += static_cast<double>(a[i]) * static_cast<double>(b[i]);
      aa += static_cast<double>(a[i]) * static_cast<double>(a[i]);
      bb += static_cast<double>(b[i]) * static_cast<double>(b[i]);
    }
    return ab / std::sqrt(aa * bb);
  }

  std::map<std::int64_t, Row> rows_;
};

}  // namespace sentinel::vector::test
