#include <immintrin.h>

#include "kernels.h"

static void add_row(int32_t *accumulator, const int8_t *weights, size_t count) {
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m256i *lanes = (__m256i *)(accumulator + i);
    const __m128i packed = _mm_loadl_epi64((const __m128i *)(weights + i));
    const __m256i sum = _mm256_add_epi32(_mm256_loadu_si256(lanes), _mm256_cvtepi8_epi32(packed));
    _mm256_storeu_si256(lanes, sum);
  }
  for (; i < count; ++i) accumulator[i] += weights[i];
}

extern "C" const KernelTable kernels_avx2 = {"avx2", add_row};
