// An index as bytes, so that it is there again after a restart without embedding anything anew.
//
// Layout (little-endian): "SNTVEC" and a two-byte version, dimension u32, partitions u32, then per partition, by name:
// name size u32, rows u64, trained rows u64 (0: no sketch), the name, the ids i64, the vectors f32 without padding, and
// with a sketch its centre f32 and its blocks (sketch.hpp). At the end a 64-bit checksum of all before it.
//
// Contract: reading what was written gives the same rows in the same order, and the same answers. Whatever else the
// bytes are, they are refused whole, with the reason: cut, changed, of another kind or version, or of rows that no index
// holds. The checksum finds accidents, it proves no author: whoever may write the file may set the vectors.
// Cost: linear in the bytes. Reading brings every byte once from its source to where it stays, in steps that fit a near
// cache, and checks it there: little more than what copying costs. Thread rule: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "sentinel/base/result.hpp"
#include "sentinel/vector/kernels.hpp"
#include "sentinel/vector/partition.hpp"

namespace sentinel::vector {

struct SavedIndex {
  std::size_t dimension;
  std::vector<Partition> partitions;  // by name, none of them empty; ids may still be there twice
};

// Partitions by name, which no name twice.
std::size_t snapshot_bytes(std::size_t dimension, std::span<const Partition* const> partitions);
// `out` has exactly that size.
void write_snapshot(std::size_t dimension, std::span<const Partition* const> partitions,
                    std::span<std::uint8_t> out);

// Where a snapshot's bytes come from, front to back: `read` fills the span with the next ones, or says false if it cannot.
struct SnapshotSource {
  std::size_t size;
  std::function<bool(std::span<std::uint8_t>)> read;
};
Result<SavedIndex> read_snapshot(const SnapshotSource& source, const Kernels& kernels);

// A checksum of bytes that come in parts, however they are cut. Four lanes of multiply and rotate, so that the
// multiplications overlap. Every step can be undone, so a change within eight bytes is always found, others all but once
// in 2^64.
class Checksum {
 public:
  void add(std::span<const std::uint8_t> bytes);
  std::uint64_t value() const;

 private:
  static constexpr std::size_t kStep = 4 * sizeof(std::uint64_t);
  using Lanes = std::array<std::uint64_t, 4>;
  static void take(Lanes& lanes, const std::uint8_t* step);

  Lanes lanes_{1, 2, 3, 4};
  std::array<std::uint8_t, kStep> begun_{};  // bytes of a step that is not whole yet
  std::uint64_t size_ = 0;
};

std::uint64_t checksum(std::span<const std::uint8_t> bytes);

}  // namespace sentinel::vector
