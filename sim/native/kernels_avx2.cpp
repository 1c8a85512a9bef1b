#include <immintrin.h>

#include "kernels_common.h"

static void add_row(int32_t *accumulator, const int8_t *weights, int32_t times, size_t count) {
  const __m256i factor = _mm256_set1_epi32(times);
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m256i *lanes = (__m256i *)(accumulator + i);
    const __m128i packed = _mm_loadl_epi64((const __m128i *)(weights + i));
    const __m256i wide = _mm256_cvtepi8_epi32(packed);
    const __m256i term = times == 1 ? wide : _mm256_mullo_epi32(wide, factor);
    _mm256_storeu_si256(lanes, _mm256_add_epi32(_mm256_loadu_si256(lanes), term));
  }
  for (; i < count; ++i) accumulator[i] += times * weights[i];
}

static void add_row16(int16_t *accumulator, const int8_t *weights, int32_t times, size_t count) {
  const __m256i factor = _mm256_set1_epi16((int16_t)times);
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    __m256i *lanes = (__m256i *)(accumulator + i);
    const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(weights + i)));
    const __m256i term = times == 1 ? wide : _mm256_mullo_epi16(wide, factor);
    _mm256_storeu_si256(lanes, _mm256_add_epi16(_mm256_loadu_si256(lanes), term));
  }
  for (; i < count; ++i) accumulator[i] = (int16_t)(accumulator[i] + times * weights[i]);
}

/* int8 to int16, then pmaddwd: 2 * 127 * 127 fits int32, nothing saturates (pmaddubsw would). */
static int32_t dot(const int8_t *weights, const int8_t *x, int32_t weight_sum, size_t count) {
  (void)weight_sum;
  __m256i total = _mm256_setzero_si256();
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256i w = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(weights + i)));
    const __m256i a = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(x + i)));
    total = _mm256_add_epi32(total, _mm256_madd_epi16(w, a));
  }
  int32_t lanes[8];
  _mm256_storeu_si256((__m256i *)lanes, total);
  int32_t sum = 0;
  for (int k = 0; k < 8; ++k) sum += lanes[k];
  for (; i < count; ++i) sum += (int32_t)weights[i] * x[i];
  return sum;
}

extern "C" const KernelTable kernels_avx2 = {"avx2",     add_row, add_row16,
                                            add_scaled, dot,     plain_neuron};
