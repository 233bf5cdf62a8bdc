// The loops that a search consists of, in one version for each kind of CPU.
//
// `dots` multiplies a query with consecutive rows of float32. `scan` adds up, for every row, what its sign sketch is
// worth to the query (sketch.hpp) and reports the rows that reach a bound: the table look-ups of "Quicker ADC"
// (Andre, Kermarrec, Le Scouarnec 2019) on one bit per dimension, with a byte shuffle as the table.
// `signs` makes a row's sketch.
//
// Contract: every version of `scan` and `signs` gives the same, bit for bit. `dots` sums in an order of its own in each
// version, so that versions differ by rounding; within one version a score depends on query and row alone, never on the
// rows beside it. Rows and queries are padded with zeros to a multiple of kRowStep floats and begin on a cache line.
// Cost: dots reads each row once, scan one bit per dimension; nothing allocates.
// Thread rule: pure functions. The choice is made by what the CPU says at run time, so that one binary serves all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sentinel::vector {

inline constexpr std::size_t kRowStep = 16;       // floats a row is padded to a multiple of
inline constexpr std::size_t kBlockRows = 32;     // rows whose sketches lie interleaved
inline constexpr std::size_t kColumnTables = 32;  // bytes of the two look-up tables of one column
inline constexpr std::uint8_t kMostOfTable = 63;  // four of them fit a byte

constexpr std::size_t padded(std::size_t dimension) {
  return (dimension + kRowStep - 1) / kRowStep * kRowStep;
}

// A row that a scan found, by its place in the scanned blocks.
struct Hit {
  std::uint32_t row;
  std::uint16_t sum;

  friend bool operator==(const Hit&, const Hit&) = default;
};

// What a scan reads: `columns` bytes of sketch per row, in blocks of kBlockRows rows; in a block byte column * kBlockRows
// + row. `tables` has for each column 16 bytes for the low half of a sketch byte and 16 for the high half, none of them
// above kMostOfTable, and no row's sum is above 65,535.
struct ScanInput {
  const std::uint8_t* tables;
  const std::uint8_t* blocks;
  std::size_t columns;
  std::size_t first_block;
  std::size_t block_count;
};

struct Kernels {
  std::string_view name;
  // Bit i of the `columns` bytes tells whether row[i] >= centre[i].
  void (*signs)(const float* row, const float* centre, std::size_t columns, std::uint8_t* bits);
  // out[i] = query * row i, for `count` rows of `stride` floats.
  void (*dots)(const float* query, const float* rows, std::size_t count, std::size_t stride, float* out);
  // Writes the rows whose sum is at least `bound` to `hits`, in order, and returns their number. `hits` has room for
  // every row of the blocks.
  std::size_t (*scan)(const ScanInput& input, std::uint16_t bound, Hit* hits);
};

// Those that this CPU can run, the portable one first, the fastest last.
std::span<const Kernels> available_kernels();
inline const Kernels& best_kernels() { return available_kernels().back(); }

}  // namespace sentinel::vector
