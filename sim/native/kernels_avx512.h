/* What the tables with 512-bit vectors share. */
#ifndef SPIKEWRIGHT_KERNELS_AVX512_H
#define SPIKEWRIGHT_KERNELS_AVX512_H

#include <immintrin.h>

#define LANES 16
#include "kernels_common.h"

static inline void put_spikes(uint8_t *to, Vector fired) {
  const __mmask16 mask = _mm512_movepi32_mask((__m512i)fired);
  _mm_storeu_si128((__m128i *)to, _mm_maskz_set1_epi8(mask, 1));
}

/* Events in pairs: the bytes of two rows side by side, summed to int16 by one vpmaddubsw. 64 output
 * channels a block; 127 * 256 < 2^15 allows 127 pairs before the sums are widened. */
template <int Blocks>
static void gather_block(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                         size_t events) {
  const __m512i ones = _mm512_set1_epi8(1), zero = _mm512_setzero_si512();
  for (int b = 0; b < 4 * Blocks; ++b) _mm512_storeu_si512(out + 16 * b, zero);
  for (size_t e = 0; e < events;) {
    __m512i low[Blocks], high[Blocks];
    for (int b = 0; b < Blocks; ++b) low[b] = high[b] = zero;
    const size_t end = events - e > 254 ? e + 254 : events;
    for (; e + 2 <= end; e += 2) {
      const int8_t *one = weights + offsets[e], *two = weights + offsets[e + 1];
      for (int b = 0; b < Blocks; ++b) {
        const __m512i x = _mm512_loadu_si512(one + 64 * b), y = _mm512_loadu_si512(two + 64 * b);
        low[b] = _mm512_add_epi16(low[b], _mm512_maddubs_epi16(ones, _mm512_unpacklo_epi8(x, y)));
        high[b] = _mm512_add_epi16(high[b], _mm512_maddubs_epi16(ones, _mm512_unpackhi_epi8(x, y)));
      }
    }
    for (; e < end; ++e)
      for (int b = 0; b < Blocks; ++b) {
        const __m512i x = _mm512_loadu_si512(weights + offsets[e] + 64 * b);
        low[b] = _mm512_add_epi16(low[b], _mm512_maddubs_epi16(ones, _mm512_unpacklo_epi8(x, zero)));
        high[b] = _mm512_add_epi16(high[b], _mm512_maddubs_epi16(ones, _mm512_unpackhi_epi8(x, zero)));
      }
    /* Unpacking works in quarters: low holds channels 0-7, 16-23, 32-39, 48-55. */
    for (int b = 0; b < Blocks; ++b)
      for (int quarter = 0; quarter < 4; ++quarter) {
        const __m512i order = _mm512_add_epi64(_mm512_setr_epi64(0, 1, 8, 9, 0, 1, 8, 9),
                                               _mm512_set1_epi64(2 * quarter));
        const __m512i both = _mm512_permutex2var_epi64(low[b], order, high[b]);
        const __m512i wide = _mm512_cvtepi16_epi32(_mm512_castsi512_si256(both));
        int32_t *to = out + 64 * b + 16 * quarter;
        _mm512_storeu_si512(to, _mm512_add_epi32(_mm512_loadu_si512(to), wide));
      }
  }
}

/* The last 32 output channels. */
static void gather_half(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                        size_t events) {
  __m512i wide[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  for (size_t e = 0; e < events;) {
    __m512i sums = _mm512_setzero_si512();
    const size_t end = events - e > 255 ? e + 255 : events;
    for (; e < end; ++e) {
      const __m256i codes = _mm256_loadu_si256((const __m256i *)(weights + offsets[e]));
      sums = _mm512_add_epi16(sums, _mm512_cvtepi8_epi16(codes));
    }
    const __m256i low = _mm512_castsi512_si256(sums), high = _mm512_extracti64x4_epi64(sums, 1);
    wide[0] = _mm512_add_epi32(wide[0], _mm512_cvtepi16_epi32(low));
    wide[1] = _mm512_add_epi32(wide[1], _mm512_cvtepi16_epi32(high));
  }
  for (int h = 0; h < 2; ++h) _mm512_storeu_si512(out + 16 * h, wide[h]);
}

static void gather(int32_t *out, const int8_t *weights, const uint32_t *offsets, size_t events,
                   size_t count) {
  size_t j = 0;
  for (; j + 256 <= count; j += 256) gather_block<4>(out + j, weights + j, offsets, events);
  for (; j + 128 <= count; j += 128) gather_block<2>(out + j, weights + j, offsets, events);
  for (; j + 64 <= count; j += 64) gather_block<1>(out + j, weights + j, offsets, events);
  for (; j < count; j += 32) gather_half(out + j, weights + j, offsets, events);
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
