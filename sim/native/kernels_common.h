/* Kernels in GCC's vector types, compiled anew in each instruction-set file at its own width: LANES
 * int32 a vector. Everything here is static, so that no copy can serve another CPU. */
#ifndef SPIKEWRIGHT_KERNELS_COMMON_H
#define SPIKEWRIGHT_KERNELS_COMMON_H

#include "kernels.h"

typedef int32_t Vector __attribute__((vector_size(LANES * 4)));
typedef int32_t VectorAt __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

static inline Vector load(const int32_t *from) { return *(const VectorAt *)from; }
static inline void store(int32_t *to, Vector x) { *(VectorAt *)to = x; }
/* LANES bytes, 1 where `fired` is -1 and 0 where it is 0: each table's own, compilers do it badly. */
static inline void put_spikes(uint8_t *to, Vector fired);
static inline Vector larger(Vector a, Vector b) { return a > b ? a : b; }
static inline Vector smaller(Vector a, Vector b) { return a < b ? a : b; }

/* sign(x) * ((|x| * m) >> 12), m = 4096 - d, within int32: with |x| = 4096 h + l it is
 * h * m + ((l * m) >> 12). */
template <typename T>
static inline T decayed(T x, T m) {
  const T size = x < 0 ? -x : x;
  const T left = (size >> 12) * m + (((size & 4095) * m) >> 12);
  return x < 0 ? -left : left;
}

/* LANES channels from i on, over all positions and steps. */
template <bool Decays, bool Soft>
static void lanes_of_cells(const Cells *c, size_t i) {
  const Vector low = c->low - (Vector){}, high = c->high - (Vector){};
  const int shift = c->shift;
  const size_t steps = c->steps, acc_step = c->acc_step, spike_step = c->spike_step;
  Vector threshold = {}, bias = {}, reset = {}, kept = {};
  for (size_t position = 0; position < c->positions; ++position) {
    if (position == 0 || c->parameter_position) {
      const size_t at = position * c->parameter_position + i;
      threshold = load(c->threshold + at);
      bias = load(c->bias + at);
      reset = load(c->reset + at);
      if (Decays) kept = load(c->kept + at);
    }
    const int32_t *acc = c->acc + position * c->acc_position + i;
    uint8_t *spikes = c->spikes + position * c->spike_position + i;
    int32_t *trace = c->trace ? c->trace + position * c->trace_position + i : nullptr;
    Vector v = {};
    if (c->v) v = load(c->v + position * c->v_position + i);
    for (size_t t = 0; t < steps; ++t, acc += acc_step, spikes += spike_step) {
      if (Decays) v = decayed(v, kept);
      v = smaller(larger(v + (load(acc) << shift) + bias, low), high);
      const Vector fired = v > threshold;
      v = Soft ? v - (fired & reset) : (fired ? reset : v);
      put_spikes(spikes, fired);
      if (trace) store(trace + t * c->trace_step, v);
    }
    if (c->after) store(c->after + position * c->v_position + i, v);
  }
}

template <bool Decays, bool Soft>
static void cell_by_itself(const Cells *c, size_t position, size_t i) {
  const size_t at = position * c->parameter_position + i, of_v = position * c->v_position + i;
  int32_t v = c->v ? c->v[of_v] : 0;
  for (size_t t = 0; t < c->steps; ++t) {
    const int32_t acc = c->acc[position * c->acc_position + t * c->acc_step + i];
    if (Decays) v = decayed(v, c->kept[at]);
    v += acc * (1 << c->shift) + c->bias[at];
    v = v < c->low ? c->low : (v > c->high ? c->high : v);
    const bool fired = v > c->threshold[at];
    if (fired) v = Soft ? v - c->reset[at] : c->reset[at];
    c->spikes[position * c->spike_position + t * c->spike_step + i] = fired;
    if (c->trace) c->trace[position * c->trace_position + t * c->trace_step + i] = v;
  }
  if (c->after) c->after[of_v] = v;
}

template <bool Decays, bool Soft>
static void cells_of(const Cells *c) {
  size_t i = 0;
  for (; i + LANES <= c->channels; i += LANES) lanes_of_cells<Decays, Soft>(c, i);
  for (; i < c->channels; ++i)
    for (size_t position = 0; position < c->positions; ++position)
      cell_by_itself<Decays, Soft>(c, position, i);
}

static void cells(const Cells *c) {
  if (c->kept)
    c->soft ? cells_of<true, true>(c) : cells_of<true, false>(c);
  else
    c->soft ? cells_of<false, true>(c) : cells_of<false, false>(c);
}

static void join_sums(const Joining *j) {
  const int32_t scale = 1 << j->shift;
  for (size_t position = 0; position < j->positions; ++position)
    for (size_t t = 0; t < j->steps; ++t) {
      int32_t *__restrict__ acc = j->acc + position * j->acc_position + t * j->acc_step;
      const size_t at = position * j->x_position + t * j->x_step;
      if (j->factor) {
        const uint8_t *x = (const uint8_t *)j->x + at;
        const int32_t *factor = j->factor + position * j->factor_position;
        for (size_t i = 0; i < j->channels; ++i) acc[i] = acc[i] * scale + x[i] * factor[i];
      } else {
        const int32_t *x = (const int32_t *)j->x + at;
        for (size_t i = 0; i < j->channels; ++i) acc[i] = acc[i] * scale + x[i];
      }
    }
}

static void add_scaled(int32_t *sums, const int32_t *values, int32_t times, size_t count) {
  for (size_t i = 0; i < count; ++i) sums[i] += times * values[i];
}

static void add_bytes(int32_t *sums, const uint8_t *values, int32_t times, size_t count) {
  for (size_t i = 0; i < count; ++i) sums[i] += times * values[i];
}

static size_t join(uint32_t *out, const uint32_t *lists, const uint32_t *counts, size_t capacity,
                   const uint32_t *cells, const uint32_t *bases, size_t windows, size_t step) {
  uint32_t *to = out;
  for (size_t k = 0; k < windows; ++k) {
    const size_t cell = cells[k] + step, count = counts[cell];
    const int32_t *list = (const int32_t *)lists + cell * capacity;
    const int32_t base = (int32_t)bases[k];
    for (size_t i = 0; i < count; i += LANES) store((int32_t *)to + i, load(list + i) + base);
    to += count;
  }
  return (size_t)(to - out);
}

#endif
