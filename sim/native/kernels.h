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

typedef struct KernelTable {
  const char *name;
  /* accumulator[i] += weights[i] for i < count: one spike's row of synaptic weights. */
  void (*add_row)(int32_t *accumulator, const int8_t *weights, size_t count);
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
