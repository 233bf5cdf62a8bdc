// AVX2's loops with twice the width; a scan takes two blocks at a time.
#include "sentinel/vector/kernels_x86.hpp"

#if defined(__x86_64__)

#include <immintrin.h>

#include <array>

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes its own _mm512_undefined_* for a read of something uninitialised (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#define SENTINEL_AVX512 __attribute__((target("avx512f,avx512bw")))

namespace sentinel::vector {
namespace {

SENTINEL_AVX512 void signs_avx512(const float* row, const float* centre, std::size_t columns,
                                  std::uint8_t* bits) {
  for (std::size_t column = 0; column < columns; column += 2) {  // rows are padded to two columns
    const __mmask16 above =
        _mm512_cmp_ps_mask(_mm512_load_ps(row + column * 8), _mm512_load_ps(centre + column * 8), _CMP_GE_OQ);
    bits[column] = static_cast<std::uint8_t>(above);
    if (column + 1 < columns) bits[column + 1] = static_cast<std::uint8_t>(above >> 8U);
  }
}

SENTINEL_AVX512 inline float dot_avx512(const float* query, const float* row, std::size_t stride) {
  __m512 s0 = _mm512_setzero_ps();
  __m512 s1 = s0;
  std::size_t i = 0;
  for (; i + 32 <= stride; i += 32) {
    s0 = _mm512_fmadd_ps(_mm512_load_ps(query + i), _mm512_load_ps(row + i), s0);
    s1 = _mm512_fmadd_ps(_mm512_load_ps(query + i + 16), _mm512_load_ps(row + i + 16), s1);
  }
  if (i < stride) s0 = _mm512_fmadd_ps(_mm512_load_ps(query + i), _mm512_load_ps(row + i), s0);
  return _mm512_reduce_add_ps(_mm512_add_ps(s0, s1));
}

SENTINEL_AVX512 void dots_avx512(const float* query, const float* rows, std::size_t count, std::size_t stride,
                                 float* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = dot_avx512(query, rows + i * stride, stride);
}

SENTINEL_AVX512 std::size_t scan_avx512(const ScanInput& input, std::uint16_t bound, Hit* hits) {
  const std::size_t block_bytes = input.columns * kBlockRows;
  const __m512i half = _mm512_set1_epi8(15);
  constexpr auto kHighByte = static_cast<short>(0xff00);
  const __m512i bounds = _mm512_set1_epi16(static_cast<short>(bound));
  std::size_t found = 0;
  const std::size_t end = input.first_block + input.block_count;
  std::size_t b = input.first_block;
  for (; b + 2 <= end; b += 2) {
    const std::uint8_t* first = input.blocks + b * block_bytes;
    const std::uint8_t* second = first + block_bytes;
    const std::uint8_t* tables = input.tables;
    __m512i all = _mm512_setzero_si512();
    __m512i odd = _mm512_setzero_si512();
    for (std::size_t column = 0; column < input.columns; ++column) {
      const __m512i sketch = _mm512_inserti64x4(
          _mm512_castsi256_si512(_mm256_load_si256(reinterpret_cast<const __m256i*>(first))),
          _mm256_load_si256(reinterpret_cast<const __m256i*>(second)), 1);
      const __m512i low_table =
          _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(tables)));
      const __m512i high_table =
          _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(tables + 16)));
      const __m512i low = _mm512_shuffle_epi8(low_table, _mm512_and_si512(sketch, half));
      const __m512i high =
          _mm512_shuffle_epi8(high_table, _mm512_and_si512(_mm512_srli_epi16(sketch, 4), half));
      const __m512i worth = _mm512_add_epi8(low, high);
      all = _mm512_add_epi16(all, worth);
      odd = _mm512_add_epi16(odd, _mm512_srli_epi16(worth, 8));
      first += kBlockRows;
      second += kBlockRows;
      tables += kColumnTables;
    }
    const __m512i even = _mm512_sub_epi16(all, _mm512_slli_epi16(odd, 8));
    const __mmask64 reached = _mm512_movepi8_mask(
        _mm512_or_si512(_mm512_maskz_set1_epi16(_mm512_cmpge_epu16_mask(even, bounds), 0x00ff),
                        _mm512_maskz_set1_epi16(_mm512_cmpge_epu16_mask(odd, bounds), kHighByte)));
    if (reached == 0) continue;
    alignas(64) std::array<std::uint16_t, kBlockRows> evens;
    alignas(64) std::array<std::uint16_t, kBlockRows> odds;
    _mm512_store_si512(evens.data(), even);
    _mm512_store_si512(odds.data(), odd);
    constexpr std::size_t kHalf = kBlockRows / 2;  // of the second block
    found += collect(static_cast<std::uint32_t>(reached), evens.data(), odds.data(), b, hits + found);
    found += collect(static_cast<std::uint32_t>(reached >> 32U), evens.data() + kHalf, odds.data() + kHalf,
                     b + 1, hits + found);
  }
  if (b == end) return found;
  return found + kAvx2Kernels.scan({input.tables, input.blocks, input.columns, b, 1}, bound, hits + found);
}

}  // namespace

const Kernels kAvx512Kernels{"avx512", &signs_avx512, &dots_avx512, &scan_avx512};

}  // namespace sentinel::vector

#endif
