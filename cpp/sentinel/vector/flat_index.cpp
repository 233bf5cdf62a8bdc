#include "sentinel/vector/flat_index.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>
#include <shared_mutex>
#include <utility>

#include "sentinel/base/utf8.hpp"
#include "sentinel/vector/snapshot.hpp"

namespace sentinel::vector {
namespace {

Error invalid(std::string message) { return {ErrorCode::invalid_request, std::move(message)}; }

// One over the length, or 0 if there is none: a number that is not finite, or all of them 0. In double, so that no
// float32 is too small or too large to be squared; four sums, so that none waits for the one before.
double reciprocal_length(std::span<const float> given) {
  std::array<double, 4> sums{};
  std::size_t i = 0;
  for (; i + sums.size() <= given.size(); i += sums.size()) {
    for (std::size_t lane = 0; lane < sums.size(); ++lane) {
      const double value = given[i + lane];
      sums[lane] += value * value;
    }
  }
  for (; i < given.size(); ++i) sums[0] += static_cast<double>(given[i]) * static_cast<double>(given[i]);
  const double squares = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  return squares > 0 && std::isfinite(squares) ? 1 / std::sqrt(squares) : 0;
}

void scale(std::span<const float> given, double factor, float* out) {
  for (std::size_t i = 0; i < given.size(); ++i)
    out[i] = static_cast<float>(static_cast<double>(given[i]) * factor);
}

std::string fault_of(std::span<const float> given) {
  const bool finite =
      std::all_of(given.begin(), given.end(), [](float value) { return std::isfinite(value); });
  return finite ? " is a zero vector, which has no direction" : " holds a number that is not finite";
}

Status check_partition(std::string_view name) {
  if (name.size() > kMaxPartitionBytes)
    return invalid("partition must be at most " + std::to_string(kMaxPartitionBytes) + " bytes, not " +
                   std::to_string(name.size()));
  if (!utf8::valid(name)) return invalid("partition must be UTF-8");
  return Done{};
}

}  // namespace

FlatIndex::FlatIndex(std::size_t dimension, const Kernels& kernels)
    : dimension_(dimension), kernels_(kernels) {}

Result<std::unique_ptr<FlatIndex>> FlatIndex::make(std::size_t dimension, const Kernels& kernels) {
  if (dimension == 0 || dimension > kMaxDimension)
    return invalid("dimension must be 1 to " + std::to_string(kMaxDimension) + ", not " +
                   std::to_string(dimension));
  return std::unique_ptr<FlatIndex>(new FlatIndex(dimension, kernels));
}

Result<std::vector<double>> FlatIndex::reciprocal_lengths(std::span<const float> vectors,
                                                          std::string_view what) const {
  if (vectors.size() % dimension_ != 0)
    return invalid(std::string(what) + " must be whole vectors of " + std::to_string(dimension_) +
                   " numbers");
  std::vector<double> factors(vectors.size() / dimension_);
  for (std::size_t row = 0; row < factors.size(); ++row) {
    const auto given = vectors.subspan(row * dimension_, dimension_);
    factors[row] = reciprocal_length(given);
    if (factors[row] == 0)
      return invalid(std::string(what) + "[" + std::to_string(row) + "]" + fault_of(given));
  }
  return factors;
}

Status FlatIndex::add(std::span<const std::int64_t> ids, std::span<const float> vectors,
                      std::string_view partition) {
  if (auto named = check_partition(partition); !named) return named;
  const auto factors = reciprocal_lengths(vectors, "vectors");
  if (!factors) return factors.error();
  if (factors->size() != ids.size())
    return invalid("ids and vectors must be equally many, not " + std::to_string(ids.size()) + " and " +
                   std::to_string(factors->size()));
  if (ids.empty()) return Done{};
  const std::unique_lock alone(lock_);
  if (ids.size() > kMaxRows - places_.size())
    return invalid("an index holds at most " + std::to_string(kMaxRows) + " vectors");
  Partition& into = partition_of(partition);
  into.reserve(ids.size());
  AlignedVector<float> row;
  row.assign(padded(dimension_), 0.0F);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    scale(vectors.subspan(i * dimension_, dimension_), (*factors)[i], row.data());
    put(ids[i], row.data(), into);
  }
  into.settle(kernels_);
  return Done{};
}

Partition& FlatIndex::partition_of(std::string_view name) {
  const auto found = partitions_.find(name);
  if (found != partitions_.end()) return found->second;
  return partitions_.try_emplace(std::string(name), std::string(name), dimension_).first->second;
}

void FlatIndex::put(std::int64_t id, const float* row, Partition& partition) {
  const Place behind_the_last{&partition, partition.size()};
  const auto [at, is_new] = places_.try_emplace(id, behind_the_last);
  if (!is_new && at->second.partition == &partition) return partition.replace(at->second.row, row, kernels_);
  partition.append(id, row, kernels_);
  if (is_new) return;
  take_out(std::exchange(at->second, behind_the_last));
}

// The row's id is no longer looked up there; the one that moves into its place is.
void FlatIndex::take_out(Place place) {
  Partition& partition = *place.partition;
  const std::int64_t moved = partition.remove(place.row);
  if (place.row < partition.size()) places_.at(moved).row = place.row;
  if (partition.size() == 0) partitions_.erase(partitions_.find(partition.name()));
}

std::size_t FlatIndex::remove(std::span<const std::int64_t> ids) {
  const std::unique_lock alone(lock_);
  std::size_t removed = 0;
  for (const std::int64_t id : ids) {
    const auto found = places_.find(id);
    if (found == places_.end()) continue;
    const Place place = found->second;
    places_.erase(found);
    take_out(place);
    ++removed;
  }
  return removed;
}

void FlatIndex::search_one(const Partition& partition, std::span<const float> queries,
                           const Question& question, std::span<TopK> best) const {
  if (question.exact || !partition.sketch_pays(question.k))
    return partition.search_exact(queries, kernels_, best);
  for (std::size_t q = 0; q < best.size(); ++q) {
    partition.search_sketched(queries.data() + q * padded(dimension_), question.k, kernels_, best[q]);
  }
}

Result<std::vector<std::vector<Match>>> FlatIndex::search(std::span<const float> queries,
                                                          const Question& question) const {
  if (question.k == 0) return invalid("k must be at least 1, not 0");
  const auto factors = reciprocal_lengths(queries, queries.size() == dimension_ ? "query" : "queries");
  if (!factors) return factors.error();
  AlignedVector<float> rows;
  rows.assign(factors->size() * padded(dimension_), 0.0F);
  for (std::size_t q = 0; q < factors->size(); ++q)
    scale(queries.subspan(q * dimension_, dimension_), (*factors)[q], rows.data() + q * padded(dimension_));
  std::vector<TopK> best(factors->size(), TopK(question.k));
  {
    const std::shared_lock shared(lock_);
    if (!question.partition) {
      for (const auto& [name, partition] : partitions_) search_one(partition, rows, question, best);
    } else if (const auto found = partitions_.find(*question.partition); found != partitions_.end()) {
      search_one(found->second, rows, question, best);
    }
  }
  std::vector<std::vector<Match>> matches;
  matches.reserve(best.size());
  for (TopK& top : best) matches.push_back(std::move(top).take());
  return matches;
}

std::size_t FlatIndex::size() const {
  const std::shared_lock shared(lock_);
  return places_.size();
}

bool FlatIndex::contains(std::int64_t id) const {
  const std::shared_lock shared(lock_);
  return places_.contains(id);
}

std::size_t FlatIndex::encode(std::span<std::uint8_t> out) const {
  const std::shared_lock shared(lock_);
  std::vector<const Partition*> partitions;
  for (const auto& [name, partition] : partitions_)
    if (partition.size() > 0) partitions.push_back(&partition);
  const std::size_t bytes = snapshot_bytes(dimension_, partitions);
  if (out.size() == bytes) write_snapshot(dimension_, partitions, out);
  return bytes;
}

Result<std::unique_ptr<FlatIndex>> FlatIndex::decode(std::span<const std::uint8_t> snapshot,
                                                     const Kernels& kernels) {
  const auto read = [rest = snapshot](std::span<std::uint8_t> to) mutable {
    std::copy_n(rest.begin(), to.size(), to.begin());
    rest = rest.subspan(to.size());
    return true;
  };
  return decode(SnapshotSource{snapshot.size(), read}, kernels);
}

Result<std::unique_ptr<FlatIndex>> FlatIndex::decode(const SnapshotSource& snapshot, const Kernels& kernels) {
  auto saved = read_snapshot(snapshot, kernels);
  if (!saved) return saved.error();
  auto made = make(saved->dimension, kernels);
  if (!made) return made.error();
  FlatIndex& index = **made;
  std::size_t rows = 0;
  for (const Partition& partition : saved->partitions) rows += partition.size();
  index.places_.reserve(rows);
  for (Partition& partition : saved->partitions) {
    const std::string name = partition.name();
    Partition& kept = index.partitions_.try_emplace(name, std::move(partition)).first->second;
    for (std::size_t row = 0; row < kept.size(); ++row) {
      if (!index.places_.try_emplace(kept.ids()[row], Place{&kept, row}).second)
        return invalid("vector snapshot: id " + std::to_string(kept.ids()[row]) + " is there twice");
    }
  }
  return made;
}

}  // namespace sentinel::vector
