#define LANES 4
#include "kernels_common.h"

static inline void put_spikes(uint8_t *to, Vector fired) {
  for (int i = 0; i < LANES; ++i) to[i] = (uint8_t)-fired[i];
}

static void dense(const Dense *d) {
  for (size_t r = 0; r < d->rows; ++r)
    for (size_t n = 0; n < d->panels * kPanel; ++n) {
      int32_t sum = d->init ? d->init[n] : 0;
      const size_t panel = d->chunks * d->quads * 64;
      const int8_t *b = d->b + n / kPanel * panel + n % kPanel * kQuad;
      for (size_t k = 0; k < d->chunks; ++k) {
        const uint8_t *a = d->a + r * d->a_stride + d->offsets[k];
        for (size_t q = 0; q < d->quads; ++q, a += kQuad, b += 64)
          for (size_t i = 0; i < kQuad; ++i)
            sum += (d->is_signed ? (int32_t)(int8_t)a[i] : (int32_t)a[i]) * b[i];
      }
      d->c[r * d->c_stride + n] = sum;
    }
}

template <bool Scaled>
static void gather_int32(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                         const int32_t *times, size_t events, size_t count) {
  for (size_t j = 0; j < count; ++j) out[j] = 0;
  for (size_t e = 0; e < events; ++e)
    for (size_t j = 0; j < count; ++j) out[j] += (Scaled ? times[e] : 1) * weights[offsets[e] + j];
}

template <bool Counted>
static void gather_int16(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                         const uint8_t *times, int32_t largest, size_t events, size_t count) {
  const size_t period = (size_t)(32767 / (128 * largest));
  for (size_t j = 0; j < count; ++j) out[j] = 0;
  for (size_t first = 0; first < count; first += kEventRow)
    for (size_t e = 0; e < events;) {
      int16_t sums[kEventRow] = {0};
      const size_t end = events - e > period ? e + period : events;
      for (; e < end; ++e)
        for (size_t j = 0; j < kEventRow; ++j)
          sums[j] = (int16_t)(sums[j] + (Counted ? times[e] : 1) * weights[offsets[e] + first + j]);
      for (size_t j = 0; j < kEventRow; ++j) out[first + j] += sums[j];
    }
}

template <bool Counted>
static size_t list_events(uint32_t *out, uint8_t *times, const uint8_t *x, const uint32_t *places,
                          size_t count) {
  size_t found = 0;
  for (size_t i = 0; i < count; ++i) {
    out[found] = places[i];
    if (Counted) times[found] = x[i];
    found += x[i] != 0;
  }
  return found;
}

static size_t count(const uint8_t *x, size_t count) {
  size_t found = 0;
  for (size_t i = 0; i < count; ++i) found += x[i] != 0;
  return found;
}

extern "C" const KernelTable kernels_generic = {
    "generic",   1,      1,           255,
    kSignedNative, dense, gather,      gather_wide,
    gather_int16<true>, gather_times, events, list_events<true>, join, count,
    add_scaled,  add_bytes, cells,    join_sums};
