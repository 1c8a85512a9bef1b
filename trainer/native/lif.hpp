// The fused LIF neuron: all time steps of a block of neurons while they are in cache.
#pragma once

#include <cstdint>

namespace spikewright::trainer {

// What trainer/functional/lif.py calls LIFParameters, in float.
struct Constants {
  float beta, tau, v_threshold, v_reset, width;
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

// Advance the neurons [begin, end) through all steps, or carry the gradient back through them.
void forward(const Call<float> &, int64_t begin, int64_t end);
void forward(const Call<bfloat16> &, int64_t begin, int64_t end);
void backward(const Call<float> &, int64_t begin, int64_t end);
void backward(const Call<bfloat16> &, int64_t begin, int64_t end);

}  // namespace spikewright::trainer
