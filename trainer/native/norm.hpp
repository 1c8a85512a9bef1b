// What a BatchNorm before the fused neuron needs besides: x [row, channel], at most LANES channels.
#pragma once

#include "lif.hpp"

namespace spikewright::trainer {

// Of each channel: the mean, and the sum of squares about it; zeros before `moments` fills them.
struct Moments {
  double *mean, *m2;
};

// Of each channel: dx = dy * a.dy + x * a.x + a.one.
struct Affine {
  const float *dy, *x, *one;
};

void moments(const float *x, int64_t channels, int64_t rows, const Moments &into);
void moments(const bfloat16 *x, int64_t channels, int64_t rows, const Moments &into);

// Turn the gradient of the currents into that of x, in place.
void centre(float *dy, const float *x, const Affine &, int64_t channels, int64_t rows);
void centre(bfloat16 *dy, const bfloat16 *x, const Affine &, int64_t channels, int64_t rows);

}  // namespace spikewright::trainer
