/* One table of kernels for each instruction set. A C header: the instruction-set files include this
 * and <immintrin.h> and nothing else, because an inline function of the C++ library compiled there
 * could be the copy that the linker keeps for every CPU. */
#ifndef SPIKEWRIGHT_KERNELS_H
#define SPIKEWRIGHT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A plain neuron: no current, single spikes, hard reset, no refractoriness (the common case).
 * Arrays hold one entry a neuron; a NULL array is a zero. */
typedef struct PlainNeuron {
  const int32_t *threshold;
  const int32_t *decay;
  const int32_t *bias;
  const int32_t *reset;
  int32_t low, high; /* saturation */
  int32_t shift;     /* of the accumulator */
  int32_t inclusive; /* 1: >=, 0: > */
} PlainNeuron;

typedef struct KernelTable {
  const char *name;
  /* accumulator[i] += times * weights[i]: one event's row of synaptic weights. */
  void (*add_row)(int32_t *accumulator, const int8_t *weights, int32_t times, size_t count);
  /* The same into int16, where a bound proves that no partial sum leaves it. */
  void (*add_row16)(int16_t *accumulator, const int8_t *weights, int32_t times, size_t count);
  /* accumulator[i] += times * values[i] (attention). */
  void (*add_scaled)(int32_t *accumulator, const int32_t *values, int32_t times, size_t count);
  /* The sum of weights[i] * x[i] for x in -127..127, exactly; `weight_sum` is the sum of weights. */
  int32_t (*dot)(const int8_t *weights, const int8_t *x, int32_t weight_sum, size_t count);
  /* One step of plain neurons: reads accumulators, updates v, writes spikes. */
  void (*plain_neuron)(const PlainNeuron *neuron, const int32_t *accumulator, int32_t *v,
                       int32_t *spikes, size_t count);
} KernelTable;

extern const KernelTable kernels_generic;
#ifdef SPIKEWRIGHT_X86_64
extern const KernelTable kernels_avx2;
extern const KernelTable kernels_avx512vnni;
#endif

#ifdef __cplusplus
}
#endif

#endif
