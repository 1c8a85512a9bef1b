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

/* Events in pairs: the bytes of two rows side by side, times how often each counts, summed to int16 by
 * one vpmaddubsw. 64 output channels a block; `period` pairs before the sums are widened: 127 of single
 * events, as 127 * 256 < 2^15. */
template <int Blocks>
static inline void add_pair(__m512i *low, __m512i *high, __m512i factors, const int8_t *one,
                            const int8_t *two) {
  for (int b = 0; b < Blocks; ++b) {
    const __m512i x = _mm512_loadu_si512(one + 64 * b);
    const __m512i y = two ? _mm512_loadu_si512(two + 64 * b) : _mm512_setzero_si512();
    const __m512i first = _mm512_unpacklo_epi8(x, y), second = _mm512_unpackhi_epi8(x, y);
    low[b] = _mm512_add_epi16(low[b], _mm512_maddubs_epi16(factors, first));
    high[b] = _mm512_add_epi16(high[b], _mm512_maddubs_epi16(factors, second));
  }
}

template <bool Counted>
static inline __m512i factors_of(const uint8_t *times) {
  int16_t both = 0x0101;
  if (Counted) __builtin_memcpy(&both, times, 2);
  return _mm512_set1_epi16(both);
}

template <bool Counted, int Blocks>
static void gather_block(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                         const uint8_t *times, size_t period, size_t events) {
  const __m512i zero = _mm512_setzero_si512();
  for (int b = 0; b < 4 * Blocks; ++b) _mm512_storeu_si512(out + 16 * b, zero);
  for (size_t e = 0; e < events;) {
    __m512i low[Blocks], high[Blocks];
    for (int b = 0; b < Blocks; ++b) low[b] = high[b] = zero;
    const size_t end = events - e > 2 * period ? e + 2 * period : events;
    for (; e + 2 <= end; e += 2)
      add_pair<Blocks>(low, high, factors_of<Counted>(times + e), weights + offsets[e],
                       weights + offsets[e + 1]);
    for (; e < end; ++e)
      add_pair<Blocks>(low, high, factors_of<Counted>(times + e), weights + offsets[e], nullptr);
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
template <bool Counted>
static void gather_half(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                        const uint8_t *times, size_t period, size_t events) {
  __m512i wide[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  for (size_t e = 0; e < events;) {
    __m512i sums = _mm512_setzero_si512();
    const size_t end = events - e > period ? e + period : events;
    for (; e < end; ++e) {
      const __m256i codes = _mm256_loadu_si256((const __m256i *)(weights + offsets[e]));
      const __m512i x = _mm512_cvtepi8_epi16(codes);
      const __m512i added = Counted ? _mm512_mullo_epi16(x, _mm512_set1_epi16(times[e])) : x;
      sums = _mm512_add_epi16(sums, added);
    }
    const __m256i low = _mm512_castsi512_si256(sums), high = _mm512_extracti64x4_epi64(sums, 1);
    wide[0] = _mm512_add_epi32(wide[0], _mm512_cvtepi16_epi32(low));
    wide[1] = _mm512_add_epi32(wide[1], _mm512_cvtepi16_epi32(high));
  }
  for (int h = 0; h < 2; ++h) _mm512_storeu_si512(out + 16 * h, wide[h]);
}

template <bool Counted>
static void gather_int16(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                         const uint8_t *times, int32_t largest, size_t events, size_t count) {
  const size_t period = (size_t)(32767 / (2 * 128 * largest));
  size_t j = 0;
  for (; j + 256 <= count; j += 256)
    gather_block<Counted, 4>(out + j, weights + j, offsets, times, period, events);
  for (; j + 128 <= count; j += 128)
    gather_block<Counted, 2>(out + j, weights + j, offsets, times, period, events);
  for (; j + 64 <= count; j += 64)
    gather_block<Counted, 1>(out + j, weights + j, offsets, times, period, events);
  for (; j < count; j += 32)
    gather_half<Counted>(out + j, weights + j, offsets, times, 2 * period, events);
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

static inline __mmask64 first_of(size_t left) {
  return left >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1;
}

static inline __mmask64 mask_at(const uint8_t *x, size_t left) {
  const __m512i bytes = _mm512_maskz_loadu_epi8(first_of(left), x);
  return _mm512_test_epi8_mask(bytes, bytes);
}

/* Without a branch on how many there are of each sixteen, which no predictor guesses. */
template <bool Counted>
static size_t list_events(uint32_t *out, uint8_t *times, const uint8_t *x, const uint32_t *places,
                          size_t count) {
  uint32_t *to = out;
  for (size_t i = 0; i < count; i += 64) {
    uint64_t mask = mask_at(x + i, count - i);
    if (!mask) continue;
    for (size_t j = i; j < i + 64; j += 16, mask >>= 16) {
      const __mmask16 sixteen = (__mmask16)mask;
      const __m512i all = _mm512_loadu_si512(places + j);
      _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(sixteen, all));
      if (Counted) {
        const __m512i values = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(sixteen, x + j));
        const __m512i found = _mm512_maskz_compress_epi32(sixteen, values);
        _mm_storeu_si128((__m128i *)(times + (to - out)), _mm512_cvtepi32_epi8(found));
      }
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
