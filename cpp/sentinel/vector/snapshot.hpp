// An index as bytes, so that it is there again after a restart without embedding anything anew.
//
// Layout (little-endian): "SNTVEC" and a two-byte version, dimension u32, partitions u32, then per partition, by name:
// name size u32, rows u64, trained rows u64 (0: no sketch), the name, the ids i64, the vectors f32 without padding, and
// with a sketch its centre f32 and its blocks (sketch.hpp). At the end a 64-bit checksum of all before it.
//
// Contract: reading what was written gives the same rows in the same order, and the same answers. Whatever else the
// bytes are, they are refused whole, with the reason: cut, changed, of another kind or version, or of rows that no index
// holds. The checksum finds accidents, it proves no author: whoever may write the file may set the vectors.
// Cost: linear in the bytes, about what copying them costs. Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
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
Result<SavedIndex> read_snapshot(std::span<const std::uint8_t> bytes, const Kernels& kernels);

// Four lanes of multiply and rotate, so that the multiplications overlap. Every step can be undone, so a change within
// eight bytes is always found, others all but once in 2^64.
std::uint64_t checksum(std::span<const std::uint8_t> bytes);

}  // namespace sentinel::vector
