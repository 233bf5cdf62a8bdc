#include "sentinel/vector/kernels.hpp"

#include <array>

#include "sentinel/vector/kernels_x86.hpp"

namespace sentinel::vector {
namespace {

void signs(const float* row, const float* centre, std::size_t columns, std::uint8_t* bits) {
  for (std::size_t column = 0; column < columns; ++column) {
    unsigned byte = 0;
    for (unsigned i = 0; i < 8; ++i)
      byte |= static_cast<unsigned>(row[column * 8 + i] >= centre[column * 8 + i]) << i;
    bits[column] = static_cast<std::uint8_t>(byte);
  }
}

// Eight sums side by side: the order a compiler can vectorise without being allowed to reorder.
float dot(const float* query, const float* row, std::size_t stride) {
  std::array<float, 8> sums{};
  for (std::size_t i = 0; i < stride; i += sums.size()) {
    for (std::size_t lane = 0; lane < sums.size(); ++lane) sums[lane] += query[i + lane] * row[i + lane];
  }
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

void dots(const float* query, const float* rows, std::size_t count, std::size_t stride, float* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = dot(query, rows + i * stride, stride);
}

std::size_t scan(const ScanInput& input, std::uint16_t bound, Hit* hits) {
  std::size_t found = 0;
  for (std::size_t b = input.first_block; b < input.first_block + input.block_count; ++b) {
    std::array<std::uint32_t, kBlockRows> sums{};
    const std::uint8_t* block = input.blocks + b * input.columns * kBlockRows;
    for (std::size_t column = 0; column < input.columns; ++column) {
      const std::uint8_t* low = input.tables + column * kColumnTables;
      const std::uint8_t* high = low + 16;
      for (std::size_t r = 0; r < kBlockRows; ++r) {
        const unsigned byte = block[column * kBlockRows + r];
        sums[r] += static_cast<std::uint32_t>(low[byte & 15U]) + high[byte >> 4U];
      }
    }
    for (std::size_t r = 0; r < kBlockRows; ++r) {
      if (sums[r] < bound) continue;
      hits[found++] = {static_cast<std::uint32_t>(b * kBlockRows + r), static_cast<std::uint16_t>(sums[r])};
    }
  }
  return found;
}

struct Available {
  std::array<Kernels, 3> kernels{Kernels{"portable", &signs, &dots, &scan}};
  std::size_t count = 1;

  Available() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) kernels[count++] = kAvx2Kernels;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
      kernels[count++] = kAvx512Kernels;
#endif
  }
};

}  // namespace

std::span<const Kernels> available_kernels() {
  static const Available available;
  return {available.kernels.data(), available.count};
}

}  // namespace sentinel::vector
