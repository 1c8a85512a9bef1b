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

/* Groups * LANES channels from i on, over all positions and steps; each group's membranes are a chain
 * of dependent instructions, and two chains run side by side. */
template <bool Decays, bool Soft, int Groups>
static size_t lanes_of_cells(const Cells *c, size_t i) {
  const Vector low = c->low - (Vector){}, high = c->high - (Vector){};
  const int shift = c->shift;
  const size_t steps = c->steps, acc_step = c->acc_step, spike_step = c->spike_step;
  Vector threshold[Groups] = {}, bias[Groups] = {}, reset[Groups] = {}, kept[Groups] = {};
  Vector all = {};
  for (size_t position = 0; position < c->positions; ++position) {
    if (position == 0 || c->parameter_position) {
      size_t at = position * c->parameter_position + i;
      for (int g = 0; g < Groups; ++g, at += LANES) {
        threshold[g] = load(c->threshold + at);
        bias[g] = load(c->bias + at);
        reset[g] = load(c->reset + at);
        if (Decays) kept[g] = load(c->kept + at);
      }
    }
    const int32_t *acc = c->acc + position * c->acc_position + i;
    uint8_t *spikes = c->spikes + position * c->spike_position + i;
    int32_t *trace = c->trace ? c->trace + position * c->trace_position + i : nullptr;
    Vector v[Groups] = {};
    const size_t of_v = position * c->v_position + i;
    for (int g = 0; c->v && g < Groups; ++g) v[g] = load(c->v + of_v + g * LANES);
    for (size_t t = 0; t < steps; ++t, acc += acc_step, spikes += spike_step)
      for (int g = 0; g < Groups; ++g) {
        if (Decays) v[g] = decayed(v[g], kept[g]);
        v[g] = smaller(larger(v[g] + (load(acc + g * LANES) << shift) + bias[g], low), high);
        const Vector fired = v[g] > threshold[g];
        v[g] = Soft ? v[g] - (fired & reset[g]) : (fired ? reset[g] : v[g]);
        put_spikes(spikes + g * LANES, fired);
        all -= fired;
        if (trace) store(trace + t * c->trace_step + g * LANES, v[g]);
      }
    for (int g = 0; c->after && g < Groups; ++g) store(c->after + of_v + g * LANES, v[g]);
  }
  size_t spikes = 0;
  for (int lane = 0; lane < LANES; ++lane) spikes += (size_t)all[lane];
  return spikes;
}

template <bool Decays, bool Soft>
static size_t cell_by_itself(const Cells *c, size_t position, size_t i) {
  size_t spikes = 0;
  const size_t at = position * c->parameter_position + i, of_v = position * c->v_position + i;
  int32_t v = c->v ? c->v[of_v] : 0;
  for (size_t t = 0; t < c->steps; ++t) {
    const int32_t acc = c->acc[position * c->acc_position + t * c->acc_step + i];
    if (Decays) v = decayed(v, c->kept[at]);
    v += acc * (1 << c->shift) + c->bias[at];
    v = v < c->low ? c->low : (v > c->high ? c->high : v);
    const bool fired = v > c->threshold[at];
    spikes += fired;
    if (fired) v = Soft ? v - c->reset[at] : c->reset[at];
    c->spikes[position * c->spike_position + t * c->spike_step + i] = fired;
    if (c->trace) c->trace[position * c->trace_position + t * c->trace_step + i] = v;
  }
  if (c->after) c->after[of_v] = v;
  return spikes;
}

template <bool Decays, bool Soft>
static size_t cells_of(const Cells *c) {
  size_t i = 0, spikes = 0;
  for (; i + 2 * LANES <= c->channels; i += 2 * LANES) spikes += lanes_of_cells<Decays, Soft, 2>(c, i);
  for (; i + LANES <= c->channels; i += LANES) spikes += lanes_of_cells<Decays, Soft, 1>(c, i);
  for (; i < c->channels; ++i)
    for (size_t position = 0; position < c->positions; ++position)
      spikes += cell_by_itself<Decays, Soft>(c, position, i);
  return spikes;
}

static size_t cells(const Cells *c) {
  if (c->kept) return c->soft ? cells_of<true, true>(c) : cells_of<true, false>(c);
  return c->soft ? cells_of<false, true>(c) : cells_of<false, false>(c);
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

/* Each table's own: int16 sums of events that count once or `times` times; int32 sums. */
template <bool Counted>
static void gather_int16(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                         const uint8_t *times, int32_t largest, size_t events, size_t count);
template <bool Scaled>
static void gather_int32(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                         const int32_t *times, size_t events, size_t count);
template <bool Counted>
static size_t list_events(uint32_t *out, uint8_t *times, const uint8_t *x, const uint32_t *places,
                          size_t count);

static void gather(int32_t *out, const int8_t *weights, const uint32_t *offsets, size_t events,
                   size_t count) {
  gather_int16<false>(out, weights, offsets, nullptr, 1, events, count);
}

static void gather_wide(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                        size_t events, size_t count) {
  gather_int32<false>(out, weights, offsets, nullptr, events, count);
}

static void gather_times(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                         const int32_t *times, size_t events, size_t count) {
  gather_int32<true>(out, weights, offsets, times, events, count);
}

static size_t events(uint32_t *out, const uint8_t *x, const uint32_t *places, size_t count) {
  return list_events<false>(out, nullptr, x, places, count);
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
