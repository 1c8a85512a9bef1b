/* One table of kernels for each instruction set. A C header: the instruction-set files include
 * <immintrin.h> and the kernels*.h headers and nothing else, because an inline function of the C++
 * library compiled there could be the copy that the linker keeps for every CPU. */
#ifndef SPIKEWRIGHT_KERNELS_H
#define SPIKEWRIGHT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  kPanel = 16,    /* output channels of a panel of dense weights */
  kQuad = 4,      /* inputs that stand side by side in a panel */
  kEventRow = 32, /* rows of event-driven weights are padded to a multiple of this */
  kSlack = 64     /* bytes that a kernel may read past the end of what it is given */
};

/* c[r][n] = init[n] + sum over chunks k and inputs i of a[r * a_stride + offsets[k] + i] * b(k, i, n).
 * b is packed as [panel][chunk][quad][16 outputs][4 inputs]; inputs past the true ones meet zeros
 * there. Rows are written up to the next multiple of 16. */
typedef struct Dense {
  int32_t *c;
  size_t c_stride;
  const uint8_t *a;
  size_t a_stride, rows;
  const uint32_t *offsets;
  size_t chunks, quads;
  const int8_t *b;
  size_t panels;
  const int32_t *init; /* or NULL */
  int32_t largest;     /* input value */
  int is_signed;       /* inputs are int8 */
} Dense;

/* Neurons without current, refractoriness or multiple spikes, over positions x steps x channels.
 * v' = clamp(decayed(v) + (acc << shift) + bias); where v' > threshold a spike leaves, and v becomes
 * reset (hard) or v' - reset (soft). Parameters advance by parameter_position a position (or 0). */
typedef struct Cells {
  const int32_t *acc;
  size_t acc_position, acc_step;
  const int32_t *v; /* before the first step; NULL: zeros */
  int32_t *after;   /* v after the last step, or NULL */
  size_t v_position;
  uint8_t *spikes;
  size_t spike_position, spike_step;
  int32_t *trace; /* v after each step, or NULL */
  size_t trace_position, trace_step;
  const int32_t *threshold, *bias, *reset;
  const int32_t *kept; /* 4096 - decay, or NULL */
  size_t parameter_position;
  int32_t low, high, shift;
  int soft;
  size_t positions, steps, channels;
} Cells;

/* acc = (acc << shift) + x * factor: currents of another branch join the sums of a tile. x is int32, or
 * uint8 with factors that advance by factor_position a position. */
typedef struct Joining {
  int32_t *acc;
  size_t acc_position, acc_step;
  int32_t shift;
  const void *x;
  size_t x_position, x_step;
  const int32_t *factor; /* or NULL: int32 */
  size_t factor_position;
  size_t positions, steps, channels;
} Joining;

enum SignedDense { kSignedNever, kSignedNative, kSignedShifted };

typedef struct KernelTable {
  const char *name;
  size_t panels;       /* that `dense` takes at once */
  size_t row_block;    /* rows that `dense` computes even for one */
  int32_t dense_limit; /* the largest unsigned input of `dense` */
  int signed_dense;    /* whether int8 inputs need 128 added to them */
  void (*dense)(const Dense *d);
  /* out[j] = sum over events of weights[offsets[e] + j], j < count (a multiple of kEventRow):
   * int16 sums, widened before they can overflow; or int32 throughout. */
  void (*gather)(int32_t *out, const int8_t *weights, const uint32_t *offsets, size_t events,
                 size_t count);
  void (*gather_wide)(int32_t *out, const int8_t *weights, const uint32_t *offsets, size_t events,
                      size_t count);
  /* The same where event e counts times[e] times, 1 to `largest` (at most 127): in int16 too. */
  void (*gather_counted)(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                         const uint8_t *times, int32_t largest, size_t events, size_t count);
  /* The same with any factor for each event, in int32. */
  void (*gather_times)(int32_t *out, const int8_t *weights, const uint32_t *offsets,
                       const int32_t *times, size_t events, size_t count);
  /* Writes places[i] for each non-zero x[i]; returns how many. May write kSlack bytes past them. */
  size_t (*events)(uint32_t *out, const uint8_t *x, const uint32_t *places, size_t count);
  /* The same, and times[k] = the value of event k; may write kSlack bytes past those too. */
  size_t (*counted_events)(uint32_t *out, uint8_t *times, const uint8_t *x, const uint32_t *places,
                           size_t count);
  /* The lists of one window behind each other: list cells[k] + step, each entry plus bases[k]; list c
   * has counts[c] entries from c * capacity on. May write kSlack bytes past them. */
  size_t (*join)(uint32_t *out, const uint32_t *lists, const uint32_t *counts, size_t capacity,
                 const uint32_t *cells, const uint32_t *bases, size_t windows, size_t step);
  size_t (*count)(const uint8_t *x, size_t count); /* non-zeros */
  void (*add_scaled)(int32_t *sums, const int32_t *values, int32_t times, size_t count);
  void (*add_bytes)(int32_t *sums, const uint8_t *values, int32_t times, size_t count);
  size_t (*cells)(const Cells *c); /* returns how many spikes left */
  void (*join_sums)(const Joining *j);
} KernelTable;

extern const KernelTable kernels_generic;
#ifdef SPIKEWRIGHT_X86_64
extern const KernelTable kernels_avx2;
extern const KernelTable kernels_avx512vnni;
extern const KernelTable kernels_amx;
#endif

#ifdef __cplusplus
}
#endif

#endif
