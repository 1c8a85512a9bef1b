/* Kernels in GCC's vector types, compiled anew in each instruction-set file at its own width: LANES
 * int32 a vector. Everything here is static, so that no copy can serve another CPU. */
#ifndef SPIKEWRIGHT_KERNELS_COMMON_H
#define SPIKEWRIGHT_KERNELS_COMMON_H

#include "kernels.h"

typedef int32_t Vector __attribute__((vector_size(LANES * 4)));
typedef int32_t VectorAt __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef uint8_t Bytes __attribute__((vector_size(LANES)));
typedef uint8_t BytesAt __attribute__((vector_size(LANES), aligned(1), may_alias));

static inline Vector load(const int32_t *from) { return *(const VectorAt *)from; }
static inline void store(int32_t *to, Vector x) { *(VectorAt *)to = x; }
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

template <bool Decays, bool Soft>
static void lanes_of_cells(const Cells *c, size_t position, size_t i) {
  const size_t at = position * c->parameter_position + i;
  const Vector threshold = load(c->threshold + at), bias = load(c->bias + at);
  const Vector reset = load(c->reset + at), low = c->low - (Vector){}, high = c->high - (Vector){};
  Vector kept = {};
  if (Decays) kept = load(c->kept + at);
  int32_t *state = c->v + position * c->v_position + i;
  const int32_t *acc = c->acc + position * c->acc_position + i;
  uint8_t *spikes = c->spikes + position * c->spike_position + i;
  int32_t *trace = c->trace ? c->trace + position * c->trace_position + i : nullptr;
  Vector v = load(state);
  for (size_t t = 0; t < c->steps; ++t) {
    if (Decays) v = decayed(v, kept);
    v = smaller(larger(v + (load(acc) << c->shift) + bias, low), high);
    const Vector fired = v > threshold;
    v = Soft ? v - (fired & reset) : (fired ? reset : v);
    *(BytesAt *)spikes = __builtin_convertvector(-fired, Bytes);
    if (trace) store(trace + t * c->trace_step, v);
    acc += c->acc_step;
    spikes += c->spike_step;
  }
  store(state, v);
}

template <bool Decays, bool Soft>
static void cell_by_itself(const Cells *c, size_t position, size_t i) {
  const size_t at = position * c->parameter_position + i;
  int32_t v = c->v[position * c->v_position + i];
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
  c->v[position * c->v_position + i] = v;
}

template <bool Decays, bool Soft>
static void cells_of(const Cells *c) {
  for (size_t position = 0; position < c->positions; ++position) {
    size_t i = 0;
    for (; i + LANES <= c->channels; i += LANES) lanes_of_cells<Decays, Soft>(c, position, i);
    for (; i < c->channels; ++i) cell_by_itself<Decays, Soft>(c, position, i);
  }
}

static void cells(const Cells *c) {
  if (c->kept)
    c->soft ? cells_of<true, true>(c) : cells_of<true, false>(c);
  else
    c->soft ? cells_of<false, true>(c) : cells_of<false, false>(c);
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
