#include "sentinel/vector/kernels_x86.hpp"

#if defined(__x86_64__)

#include <immintrin.h>

#include <array>

#define SENTINEL_AVX2 __attribute__((target("avx2,fma")))

namespace sentinel::vector {
namespace {

SENTINEL_AVX2 void signs_avx2(const float* row, const float* centre, std::size_t columns,
                              std::uint8_t* bits) {
  for (std::size_t column = 0; column < columns; ++column) {
    const __m256 above =
        _mm256_cmp_ps(_mm256_load_ps(row + column * 8), _mm256_load_ps(centre + column * 8), _CMP_GE_OQ);
    bits[column] = static_cast<std::uint8_t>(_mm256_movemask_ps(above));
  }
}

SENTINEL_AVX2 inline float horizontal_sum(__m256 v) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// Four sums, because a multiply-add takes four times as long as it blocks its port.
SENTINEL_AVX2 inline float dot_avx2(const float* query, const float* row, std::size_t stride) {
  __m256 s0 = _mm256_setzero_ps();
  __m256 s1 = s0;
  __m256 s2 = s0;
  __m256 s3 = s0;
  std::size_t i = 0;
  for (; i + 32 <= stride; i += 32) {
    s0 = _mm256_fmadd_ps(_mm256_load_ps(query + i), _mm256_load_ps(row + i), s0);
    s1 = _mm256_fmadd_ps(_mm256_load_ps(query + i + 8), _mm256_load_ps(row + i + 8), s1);
    s2 = _mm256_fmadd_ps(_mm256_load_ps(query + i + 16), _mm256_load_ps(row + i + 16), s2);
    s3 = _mm256_fmadd_ps(_mm256_load_ps(query + i + 24), _mm256_load_ps(row + i + 24), s3);
  }
  if (i < stride) {  // the stride is a multiple of 16
    s0 = _mm256_fmadd_ps(_mm256_load_ps(query + i), _mm256_load_ps(row + i), s0);
    s1 = _mm256_fmadd_ps(_mm256_load_ps(query + i + 8), _mm256_load_ps(row + i + 8), s1);
  }
  return horizontal_sum(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));
}

SENTINEL_AVX2 void dots_avx2(const float* query, const float* rows, std::size_t count, std::size_t stride,
                             float* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = dot_avx2(query, rows + i * stride, stride);
}

// The bytes of a column are looked up and added as pairs of rows in 16 bits: `all` sums even + 256 * odd, `odd` the odd
// ones alone, and what they put into `all` is taken out once at the end.
struct Sums {
  __m256i all;
  __m256i odd;
};

SENTINEL_AVX2 inline __m256i load(const std::uint8_t* bytes) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(bytes));
}

SENTINEL_AVX2 inline __m256i load_table(const std::uint8_t* bytes) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes)));
}

// What one column of a block is worth, a byte a row.
SENTINEL_AVX2 inline __m256i look_up(__m256i sketch, __m256i low_table, __m256i high_table) {
  const __m256i half = _mm256_set1_epi8(15);
  const __m256i low = _mm256_shuffle_epi8(low_table, _mm256_and_si256(sketch, half));
  const __m256i high = _mm256_shuffle_epi8(high_table, _mm256_and_si256(_mm256_srli_epi16(sketch, 4), half));
  return _mm256_add_epi8(low, high);
}

SENTINEL_AVX2 inline void add(__m256i worth, Sums& sums) {
  sums.all = _mm256_add_epi16(sums.all, worth);
  sums.odd = _mm256_add_epi16(sums.odd, _mm256_srli_epi16(worth, 8));
}

// Two columns at a time fit a byte; some blocks side by side share the loading of the tables.
template <std::size_t kBlocks>
SENTINEL_AVX2 inline void add_up(const ScanInput& input, const std::uint8_t* bytes, Sums (&sums)[kBlocks]) {
  const std::size_t block_bytes = input.columns * kBlockRows;
  const std::uint8_t* tables = input.tables;
  for (Sums& of_block : sums) of_block = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  for (std::size_t pair = 0; pair < input.columns / 2; ++pair) {
    const __m256i tables_now[] = {load_table(tables), load_table(tables + 16), load_table(tables + 32),
                                  load_table(tables + 48)};
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBlocks; ++i) {
      const std::uint8_t* block = bytes + i * block_bytes;
      const __m256i first = look_up(load(block), tables_now[0], tables_now[1]);
      const __m256i second = look_up(load(block + kBlockRows), tables_now[2], tables_now[3]);
      add(_mm256_add_epi8(first, second), sums[i]);
    }
    bytes += 2 * kBlockRows;
    tables += 2 * kColumnTables;
  }
  if (input.columns % 2 == 0) return;
  for (std::size_t i = 0; i < kBlocks; ++i)
    add(look_up(load(bytes + i * block_bytes), load_table(tables), load_table(tables + 16)), sums[i]);
}

SENTINEL_AVX2 inline std::size_t note(const Sums& sums, std::size_t block, std::uint16_t bound, Hit* hits) {
  const __m256i bounds = _mm256_set1_epi16(static_cast<short>(bound));
  const __m256i zero = _mm256_setzero_si256();
  const __m256i even = _mm256_sub_epi16(sums.all, _mm256_slli_epi16(sums.odd, 8));
  const __m256i even_reached = _mm256_cmpeq_epi16(_mm256_subs_epu16(bounds, even), zero);
  const __m256i odd_reached = _mm256_cmpeq_epi16(_mm256_subs_epu16(bounds, sums.odd), zero);
  const __m256i byte_a_row = _mm256_blendv_epi8(odd_reached, even_reached, _mm256_set1_epi16(0x00ff));
  const auto reached = static_cast<std::uint32_t>(_mm256_movemask_epi8(byte_a_row));
  if (reached == 0) return 0;
  alignas(32) std::array<std::uint16_t, kBlockRows / 2> evens;
  alignas(32) std::array<std::uint16_t, kBlockRows / 2> odds;
  _mm256_store_si256(reinterpret_cast<__m256i*>(evens.data()), even);
  _mm256_store_si256(reinterpret_cast<__m256i*>(odds.data()), sums.odd);
  return collect(reached, evens.data(), odds.data(), block, hits);
}

template <std::size_t kBlocks>
SENTINEL_AVX2 inline std::size_t scan_blocks(const ScanInput& input, std::size_t block, std::uint16_t bound,
                                             Hit* hits) {
  Sums sums[kBlocks];
  add_up(input, input.blocks + block * input.columns * kBlockRows, sums);
  std::size_t found = 0;
  for (std::size_t i = 0; i < kBlocks; ++i) found += note(sums[i], block + i, bound, hits + found);
  return found;
}

SENTINEL_AVX2 std::size_t scan_avx2(const ScanInput& input, std::uint16_t bound, Hit* hits) {
  constexpr std::size_t kTogether = 2;
  std::size_t found = 0;
  std::size_t block = input.first_block;
  const std::size_t end = block + input.block_count;
  for (; block + kTogether <= end; block += kTogether)
    found += scan_blocks<kTogether>(input, block, bound, hits + found);
  for (; block < end; ++block) found += scan_blocks<1>(input, block, bound, hits + found);
  return found;
}

}  // namespace

const Kernels kAvx2Kernels{"avx2", &signs_avx2, &dots_avx2, &scan_avx2};

}  // namespace sentinel::vector

#endif
