#include "kernels_common.h"

static void add_row(int32_t *accumulator, const int8_t *weights, int32_t times, size_t count) {
  for (size_t i = 0; i < count; ++i) accumulator[i] += times * weights[i];
}

static void add_row16(int16_t *accumulator, const int8_t *weights, int32_t times, size_t count) {
  for (size_t i = 0; i < count; ++i) accumulator[i] = (int16_t)(accumulator[i] + times * weights[i]);
}

static int32_t dot(const int8_t *weights, const int8_t *x, int32_t weight_sum, size_t count) {
  (void)weight_sum;
  int32_t total = 0;
  for (size_t i = 0; i < count; ++i) total += (int32_t)weights[i] * x[i];
  return total;
}

extern "C" const KernelTable kernels_generic = {"generic",  add_row, add_row16,
                                               add_scaled, dot,     plain_neuron};
