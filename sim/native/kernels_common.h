/* Kernels that the compiler vectorises by itself, compiled anew in each instruction-set file. */
#ifndef SPIKEWRIGHT_KERNELS_COMMON_H
#define SPIKEWRIGHT_KERNELS_COMMON_H

#include "kernels.h"

/* sign(x) * ((|x| * (4096 - d)) >> 12) within int32: with |x| = 4096 h + l and m = 4096 - d it is
 * h * m + ((l * m) >> 12). */
static inline int32_t decayed(int32_t x, int32_t d) {
  const int32_t size = x < 0 ? -x : x;
  const int32_t m = 4096 - d;
  const int32_t kept = (size >> 12) * m + (((size & 4095) * m) >> 12);
  return x < 0 ? -kept : kept;
}

static void add_scaled(int32_t *accumulator, const int32_t *values, int32_t times, size_t count) {
  for (size_t i = 0; i < count; ++i) accumulator[i] += times * values[i];
}

static inline int32_t plain_step(const PlainNeuron *n, int32_t acc, int32_t kept, int32_t bias) {
  const int32_t v = kept + acc * (1 << n->shift) + bias;
  return v < n->low ? n->low : (v > n->high ? n->high : v);
}

static void plain_neuron(const PlainNeuron *n, const int32_t *accumulator, int32_t *v,
                         int32_t *spikes, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const int32_t kept = n->decay ? decayed(v[i], n->decay[i]) : v[i];
    const int32_t now = plain_step(n, accumulator[i], kept, n->bias ? n->bias[i] : 0);
    const int32_t fired = n->inclusive ? now >= n->threshold[i] : now > n->threshold[i];
    spikes[i] = fired;
    v[i] = fired ? (n->reset ? n->reset[i] : 0) : now;
  }
}

#endif
