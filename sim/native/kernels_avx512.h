/* What the tables with 512-bit vectors share. */
#ifndef SPIKEWRIGHT_KERNELS_AVX512_H
#define SPIKEWRIGHT_KERNELS_AVX512_H

#include <immintrin.h>

#define LANES 16
#include "kernels_common.h"

/* 32 output channels a vector in int16, Blocks vectors in registers; 255 * 128 < 2^15. */
template <int Blocks>
static void gather_block(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                         size_t events) {
  __m512i wide[2 * Blocks];
  for (int b = 0; b < 2 * Blocks; ++b) wide[b] = _mm512_setzero_si512();
  for (size_t e = 0; e < events;) {
    __m512i sums[Blocks];
    for (int b = 0; b < Blocks; ++b) sums[b] = _mm512_setzero_si512();
    const size_t end = events - e > 255 ? e + 255 : events;
    for (; e < end; ++e) {
      const int8_t *row = weights + offsets[e];
      for (int b = 0; b < Blocks; ++b) {
        const __m256i codes = _mm256_loadu_si256((const __m256i *)(row + 32 * b));
        sums[b] = _mm512_add_epi16(sums[b], _mm512_cvtepi8_epi16(codes));
      }
    }
    for (int b = 0; b < Blocks; ++b) {
      const __m256i low = _mm512_castsi512_si256(sums[b]);
      const __m256i high = _mm512_extracti64x4_epi64(sums[b], 1);
      wide[2 * b] = _mm512_add_epi32(wide[2 * b], _mm512_cvtepi16_epi32(low));
      wide[2 * b + 1] = _mm512_add_epi32(wide[2 * b + 1], _mm512_cvtepi16_epi32(high));
    }
  }
  for (int b = 0; b < 2 * Blocks; ++b) _mm512_storeu_si512(out + 16 * b, wide[b]);
}

static void gather(int32_t *out, const int8_t *weights, const uint32_t *offsets, size_t events,
                   size_t count) {
  size_t j = 0;
  for (; j + 256 <= count; j += 256) gather_block<8>(out + j, weights + j, offsets, events);
  for (; j + 128 <= count; j += 128) gather_block<4>(out + j, weights + j, offsets, events);
  for (; j + 64 <= count; j += 64) gather_block<2>(out + j, weights + j, offsets, events);
  for (; j + 32 <= count; j += 32) gather_block<1>(out + j, weights + j, offsets, events);
}

template <bool Scaled>
static void gather_int32(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                         const int32_t *times, size_t events, size_t count) {
  for (size_t j = 0; j < count; j += 32) {
    __m512i sums[2];
    for (int b = 0; b < 2; ++b) sums[b] = _mm512_setzero_si512();
    for (size_t e = 0; e < events; ++e) {
      const int8_t *row = weights + offsets[e] + j;
      const __m512i factor = _mm512_set1_epi32(Scaled ? times[e] : 1);
      for (int b = 0; b < 2; ++b) {
        const __m512i w = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(row + 16 * b)));
        sums[b] = _mm512_add_epi32(sums[b], Scaled ? _mm512_mullo_epi32(w, factor) : w);
      }
    }
    for (int b = 0; b < 2; ++b) _mm512_storeu_si512(out + j + 16 * b, sums[b]);
  }
}

static void gather_wide(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                        size_t events, size_t count) {
  gather_int32<false>(out, weights, offsets, nullptr, events, count);
}

static void gather_times(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                         const int32_t *times, size_t events, size_t count) {
  gather_int32<true>(out, weights, offsets, times, events, count);
}

static inline __mmask64 first_of(size_t left) {
  return left >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1;
}

static inline __mmask64 mask_at(const uint8_t *x, size_t left) {
  const __m512i bytes = _mm512_maskz_loadu_epi8(first_of(left), x);
  return _mm512_test_epi8_mask(bytes, bytes);
}

static size_t events(uint32_t *out, const uint8_t *x, const uint32_t *places, size_t count) {
  uint32_t *to = out;
  for (size_t i = 0; i < count; i += 64) {
    uint64_t mask = mask_at(x + i, count - i);
    for (size_t j = i; mask; j += 16, mask >>= 16) {
      const __mmask16 sixteen = (__mmask16)mask;
      const __m512i all = _mm512_loadu_si512(places + j);
      _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(sixteen, all));
      to += __builtin_popcount(sixteen);
    }
  }
  return (size_t)(to - out);
}

static size_t count(const uint8_t *x, size_t count) {
  size_t found = 0;
  for (size_t i = 0; i < count; i += 64)
    found += (size_t)__builtin_popcountll(mask_at(x + i, count - i));
  return found;
}

#endif
