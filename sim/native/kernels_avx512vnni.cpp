#include <immintrin.h>

#include "kernels_common.h"

static void add_row(int32_t *accumulator, const int8_t *weights, int32_t times, size_t count) {
  const __m512i factor = _mm512_set1_epi32(times);
  for (size_t i = 0; i < count; i += 16) {
    const size_t left = count - i;
    const __mmask16 mask = left >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << left) - 1);
    const __m512i wide = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, weights + i));
    const __m512i term = times == 1 ? wide : _mm512_mullo_epi32(wide, factor);
    const __m512i sum = _mm512_add_epi32(_mm512_maskz_loadu_epi32(mask, accumulator + i), term);
    _mm512_mask_storeu_epi32(accumulator + i, mask, sum);
  }
}

static void add_row16(int16_t *accumulator, const int8_t *weights, int32_t times, size_t count) {
  const __m512i factor = _mm512_set1_epi16((int16_t)times);
  for (size_t i = 0; i < count; i += 32) {
    const size_t left = count - i;
    const __mmask32 mask = left >= 32 ? ~(__mmask32)0 : ((__mmask32)1 << left) - 1;
    const __m512i wide = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(mask, weights + i));
    const __m512i term = times == 1 ? wide : _mm512_mullo_epi16(wide, factor);
    const __m512i sum = _mm512_add_epi16(_mm512_maskz_loadu_epi16(mask, accumulator + i), term);
    _mm512_mask_storeu_epi16(accumulator + i, mask, sum);
  }
}

/* vpdpbusd multiplies unsigned by signed bytes into int32 without saturation: x is moved up by 128,
 * and 128 times the sum of the weights is taken away again. */
static int32_t dot(const int8_t *weights, const int8_t *x, int32_t weight_sum, size_t count) {
  const __m512i offset = _mm512_set1_epi8((char)0x80);
  __m512i total = _mm512_setzero_si512();
  for (size_t i = 0; i < count; i += 64) {
    const size_t left = count - i;
    const __mmask64 mask = left >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1;
    const __m512i w = _mm512_maskz_loadu_epi8(mask, weights + i);
    const __m512i a = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, x + i), offset);
    total = _mm512_dpbusd_epi32(total, a, w);
  }
  return _mm512_reduce_add_epi32(total) - 128 * weight_sum;
}

extern "C" const KernelTable kernels_avx512vnni = {"avx512vnni", add_row, add_row16,
                                                  add_scaled,   dot,     plain_neuron};
