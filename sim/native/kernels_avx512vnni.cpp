#include <immintrin.h>

#include "kernels.h"

static void add_row(int32_t *accumulator, const int8_t *weights, size_t count) {
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m128i packed = _mm_loadu_si128((const __m128i *)(weights + i));
    const __m512i before = _mm512_loadu_si512(accumulator + i);
    _mm512_storeu_si512(accumulator + i, _mm512_add_epi32(before, _mm512_cvtepi8_epi32(packed)));
  }
  for (; i < count; ++i) accumulator[i] += weights[i];
}

extern "C" const KernelTable kernels_avx512vnni = {"avx512vnni", add_row};
