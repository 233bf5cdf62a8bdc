// The versions for x86-64; each may be called only on a CPU that has what its name says.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "sentinel/vector/kernels.hpp"

#if defined(__x86_64__)
namespace sentinel::vector {

extern const Kernels kAvx2Kernels;    // AVX2, FMA
extern const Kernels kAvx512Kernels;  // AVX-512 F and BW, and all that AVX2's need

// Notes the rows of a block whose bits are set. The sums of its even rows and of its odd rows lie apart, as adding
// bytes in pairs left them.
inline std::size_t collect(std::uint32_t reached, const std::uint16_t* even, const std::uint16_t* odd,
                           std::size_t block, Hit* hits) {
  std::size_t found = 0;
  for (; reached != 0; reached &= reached - 1) {
    const auto row = static_cast<std::size_t>(std::countr_zero(reached));
    hits[found++] = {static_cast<std::uint32_t>(block * kBlockRows + row),
                     (row % 2 == 0 ? even : odd)[row / 2]};
  }
  return found;
}

}  // namespace sentinel::vector
#endif
