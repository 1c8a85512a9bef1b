#include <immintrin.h>

#define LANES 8
#include "kernels_common.h"

static inline void put_spikes(uint8_t *to, Vector fired) {
  const __m128i low = _mm256_castsi256_si128((__m256i)fired);
  const __m128i words = _mm_packs_epi32(low, _mm256_extracti128_si256((__m256i)fired, 1));
  const __m128i bytes = _mm_and_si128(_mm_packs_epi16(words, words), _mm_set1_epi8(1));
  _mm_storel_epi64((__m128i *)to, bytes);
}

/* Adds a row's int16 sums to its int32 ones, and begins anew. */
static inline void widen(int32_t *c, __m256i *low, __m256i *high) {
  const __m256i ones = _mm256_set1_epi16(1), zero = _mm256_setzero_si256();
  __m256i *to = (__m256i *)c;
  const __m256i first = _mm256_madd_epi16(*low, ones), second = _mm256_madd_epi16(*high, ones);
  _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), first));
  _mm256_storeu_si256(to + 1, _mm256_add_epi32(_mm256_loadu_si256(to + 1), second));
  *low = *high = zero;
}

/* Bytes to int16 pairs (vpmaddubsw), which is exact for inputs to 127 (2 * 127 * 128 < 2^15), summed
 * in int16 for as many quads as cannot overflow, then widened by vpmaddwd. */
template <int Rows>
static void dense_rows(const Dense *d, size_t row, size_t panel) {
  const size_t period = (size_t)(32767 / (2 * 128 * (d->largest > 0 ? d->largest : 1)));
  const size_t quads = d->quads, stride = d->a_stride, c_stride = d->c_stride;
  const int8_t *b = d->b + panel * d->chunks * quads * 64;
  const int32_t *init = d->init ? d->init + panel * kPanel : nullptr;
  int32_t *c = d->c + row * c_stride + panel * kPanel;
  __m256i low[Rows], high[Rows];
  for (int r = 0; r < Rows; ++r) {
    low[r] = high[r] = _mm256_setzero_si256();
    for (size_t i = 0; i < kPanel; ++i) c[(size_t)r * c_stride + i] = init ? init[i] : 0;
  }
  size_t left = period;
  for (size_t k = 0; k < d->chunks; ++k) {
    const uint8_t *a = d->a + row * stride + d->offsets[k];
    for (size_t q = 0; q < quads;) {
      const size_t end = quads - q > left ? q + left : quads;
      left -= end - q;
      for (; q < end; ++q, b += 64, a += kQuad) {
        const __m256i first = _mm256_loadu_si256((const __m256i *)b);
        const __m256i second = _mm256_loadu_si256((const __m256i *)(b + 32));
        for (int r = 0; r < Rows; ++r) {
          int32_t four;
          __builtin_memcpy(&four, a + (size_t)r * stride, 4);
          const __m256i x = _mm256_set1_epi32(four);
          low[r] = _mm256_add_epi16(low[r], _mm256_maddubs_epi16(x, first));
          high[r] = _mm256_add_epi16(high[r], _mm256_maddubs_epi16(x, second));
        }
      }
      if (left) continue;
      left = period;
      for (int r = 0; r < Rows; ++r) widen(c + (size_t)r * c_stride, &low[r], &high[r]);
    }
  }
  for (int r = 0; r < Rows; ++r) widen(c + (size_t)r * c_stride, &low[r], &high[r]);
}

static void dense(const Dense *d) {
  for (size_t panel = 0; panel < d->panels; ++panel) {
    size_t row = 0;
    for (; row + 4 <= d->rows; row += 4) dense_rows<4>(d, row, panel);
    for (; row < d->rows; ++row) dense_rows<1>(d, row, panel);
  }
}

/* Events in pairs: the bytes of two rows side by side, times how often each counts, summed to int16 by
 * one vpmaddubsw. 32 output channels a block; `period` pairs before the sums are widened: 127 of single
 * events, as 127 * 256 < 2^15. */
template <bool Counted, int Blocks>
static void gather_block(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                         const uint8_t *times, size_t period, size_t events) {
  const __m256i zero = _mm256_setzero_si256();
  __m256i factors = _mm256_set1_epi8(1);
  for (int b = 0; b < 4 * Blocks; ++b) _mm256_storeu_si256((__m256i *)(out + 8 * b), zero);
  for (size_t e = 0; e < events;) {
    __m256i low[Blocks], high[Blocks];
    for (int b = 0; b < Blocks; ++b) low[b] = high[b] = zero;
    const size_t end = events - e > 2 * period ? e + 2 * period : events;
    for (; e < end; e += 2) {
      const int8_t *one = weights + offsets[e];
      const bool pair = e + 1 < end;
      const int8_t *two = pair ? weights + offsets[e + 1] : one;
      if (Counted) {
        int16_t both;
        __builtin_memcpy(&both, times + e, 2);
        factors = _mm256_set1_epi16(both);
      }
      for (int b = 0; b < Blocks; ++b) {
        const __m256i x = _mm256_loadu_si256((const __m256i *)(one + 32 * b));
        const __m256i y = pair ? _mm256_loadu_si256((const __m256i *)(two + 32 * b)) : zero;
        const __m256i first = _mm256_unpacklo_epi8(x, y), second = _mm256_unpackhi_epi8(x, y);
        low[b] = _mm256_add_epi16(low[b], _mm256_maddubs_epi16(factors, first));
        high[b] = _mm256_add_epi16(high[b], _mm256_maddubs_epi16(factors, second));
      }
    }
    /* Unpacking works in halves: low holds channels 0-7 and 16-23. */
    for (int b = 0; b < Blocks; ++b)
      for (int quarter = 0; quarter < 4; ++quarter) {
        const __m256i from = quarter % 2 ? high[b] : low[b];
        const __m128i eight = quarter < 2 ? _mm256_castsi256_si128(from)
                                          : _mm256_extracti128_si256(from, 1);
        __m256i *to = (__m256i *)(out + 32 * b + 8 * quarter);
        const __m256i wide = _mm256_cvtepi16_epi32(eight);
        _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), wide));
      }
  }
}

template <bool Counted>
static void gather_int16(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                         const uint8_t *times, int32_t largest, size_t events, size_t count) {
  const size_t period = (size_t)(32767 / (2 * 128 * largest));
  size_t j = 0;
  for (; j + 128 <= count; j += 128)
    gather_block<Counted, 4>(out + j, weights + j, offsets, times, period, events);
  for (; j + 64 <= count; j += 64)
    gather_block<Counted, 2>(out + j, weights + j, offsets, times, period, events);
  for (; j < count; j += 32)
    gather_block<Counted, 1>(out + j, weights + j, offsets, times, period, events);
}

template <bool Scaled>
static void gather_int32(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                         const int32_t *times, size_t events, size_t count) {
  for (size_t j = 0; j < count; j += 32) {
    __m256i sums[4];
    for (int b = 0; b < 4; ++b) sums[b] = _mm256_setzero_si256();
    for (size_t e = 0; e < events; ++e) {
      const int8_t *row = weights + offsets[e] + j;
      const __m256i factor = _mm256_set1_epi32(Scaled ? times[e] : 1);
      for (int b = 0; b < 4; ++b) {
        const __m256i w = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(row + 8 * b)));
        sums[b] = _mm256_add_epi32(sums[b], Scaled ? _mm256_mullo_epi32(w, factor) : w);
      }
    }
    for (int b = 0; b < 4; ++b) _mm256_storeu_si256((__m256i *)(out + j + 8 * b), sums[b]);
  }
}

static inline uint32_t mask_at(const uint8_t *x) {
  const __m256i bytes = _mm256_loadu_si256((const __m256i *)x);
  return ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_setzero_si256()));
}

/* For each byte of a mask, the positions of its ones, in order. */
struct Ones {
  uint8_t of[256][8];
  constexpr Ones() : of() {
    for (int mask = 0; mask < 256; ++mask)
      for (int bit = 0, found = 0; bit < 8; ++bit)
        if (mask >> bit & 1) of[mask][found++] = (uint8_t)bit;
  }
};
static constexpr Ones kOnes{};

/* Without a branch on how many there are of each eight, which no predictor guesses. */
template <bool Counted>
static size_t list_events(uint32_t *out, uint8_t *times, const uint8_t *x, const uint32_t *places,
                          size_t count) {
  uint32_t *to = out;
  for (size_t i = 0; i < count; i += 32, x += 32) {
    uint8_t last[32] = {};
    if (count - i < 32) x = (const uint8_t *)__builtin_memcpy(last, x, count - i);
    uint32_t mask = mask_at(x);
    if (!mask) continue;
    for (size_t j = 0; j < 32; j += 8, mask >>= 8) {
      const __m128i ones = _mm_loadl_epi64((const __m128i *)kOnes.of[mask & 255]);
      const __m256i eight = _mm256_loadu_si256((const __m256i *)(places + i + j));
      const __m256i found = _mm256_permutevar8x32_epi32(eight, _mm256_cvtepu8_epi32(ones));
      _mm256_storeu_si256((__m256i *)to, found);
      if (Counted) {
        const __m128i bytes = _mm_loadl_epi64((const __m128i *)(x + j));
        _mm_storel_epi64((__m128i *)(times + (to - out)), _mm_shuffle_epi8(bytes, ones));
      }
      to += __builtin_popcount(mask & 255);
    }
  }
  return (size_t)(to - out);
}

static size_t count(const uint8_t *x, size_t count) {
  size_t found = 0, i = 0;
  for (; i + 32 <= count; i += 32) found += (size_t)__builtin_popcount(mask_at(x + i));
  for (; i < count; ++i) found += x[i] != 0;
  return found;
}

extern "C" const KernelTable kernels_avx2 = {
    "avx2",       1,      1,           127,
    kSignedNever, dense,  gather,      gather_wide,
    gather_int16<true>, gather_times, events, list_events<true>, join, count,
    add_scaled,   add_bytes, cells,    join_sums};
