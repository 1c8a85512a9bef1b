// The fused LIF neuron: all time steps of a block of neurons while they are in cache.
#pragma once

#include <cstdint>

namespace spikewright::trainer {

// The surrogate: its slope g, and for `rectangle` and `sigmoid` also Path B's G.
enum class Kind : int { rectangle, sigmoid, atan };

// What trainer/functional/lif.py calls LIFParameters, in float; `width` or `alpha`, by kind.
struct Constants {
  float beta, tau, v_threshold, v_reset, width, alpha;
  Kind kind;
  bool hard, at_threshold, decay_input;
};

// Element i of step t lies at data[t * step + i]; step 0 repeats one frame. Elements from `split`
// on take Path B. Values are float or bfloat16, computed in float.
template <typename Value>
struct Sequence {
  Value *data;
  int64_t step;
};

template <typename Value>
struct Call {
  Sequence<const Value> x;
  Sequence<const Value> grad_out;  // backward only
  Sequence<Value> out;             // spikes and Path B's values; backward: the gradient of x
  int64_t time_steps, split;
  Constants c;
};

struct bfloat16 {
  uint16_t bits;
};

// The two halves of `backward` where another surrogate than the rectangle stands between them:
// y[t * count + i] = u - v_threshold, and its slope g(y) of the same layout.
struct Slopes {
  float *y;
  const float *g;
  int64_t count;
};

// BatchNorm before the neuron, channels last: element i belongs to channel i % channels, and the
// current is x * gain + offset, rounded to the type of x. `mean` is that of x.
struct Norm {
  const float *gain, *offset, *mean;
  int64_t channels;
};

// Most channels of a Norm.
constexpr int64_t LANES = 1024;

// Of each channel: the sum of the gradient of its currents, and of that times (x - mean).
struct Sums {
  double *plain, *centred;
};

// Advance the neurons [begin, end) through all steps, or carry the gradient back through them.
void forward(const Call<float> &, int64_t begin, int64_t end);
void forward(const Call<bfloat16> &, int64_t begin, int64_t end);
void backward(const Call<float> &, int64_t begin, int64_t end);
void backward(const Call<bfloat16> &, int64_t begin, int64_t end);

// The same behind a BatchNorm; begin, end and split lie between two rows of channels. `backward`
// writes the gradient of the currents, summed over the steps where x is one frame for all.
void forward(const Call<float> &, const Norm &, int64_t begin, int64_t end);
void forward(const Call<bfloat16> &, const Norm &, int64_t begin, int64_t end);
void backward(const Call<float> &, const Norm &, const Sums &, int64_t begin, int64_t end);
void backward(const Call<bfloat16> &, const Norm &, const Sums &, int64_t begin, int64_t end);

// Write y from x.
void potentials(const Call<float> &, const Slopes &, int64_t begin, int64_t end);
void potentials(const Call<bfloat16> &, const Slopes &, int64_t begin, int64_t end);
// Write the gradient of x from grad_out, y and g.
void carry(const Call<float> &, const Slopes &, int64_t begin, int64_t end);
void carry(const Call<bfloat16> &, const Slopes &, int64_t begin, int64_t end);

}  // namespace spikewright::trainer
