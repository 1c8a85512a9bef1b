// A plan: the ops of one graph in walking order, with one int32 buffer a node. Made once; running it
// allocates nothing. All shapes are flat, C order, one sample.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels.h"

namespace spikewright {

using Ints = std::vector<int32_t>;
using Codes = std::vector<int8_t>;

// When a weight op gathers events (skips zeros) and when it computes densely.
enum class Choice { automatic, gather, dense };

// The memory of one sample in flight.
struct Workspace {
  Ints values;   // every node's output, one behind the other
  Ints state;    // v, u, ... of every stateful op
  Ints scratch;  // shared by the ops of a step
  Codes bytes;   // int8 copies of inputs, for dense arithmetic
  std::vector<int16_t> halves;  // int16 accumulators
};

class Op {
 public:
  virtual ~Op() = default;
  virtual void run(Workspace &w) const = 0;
  // After the last op of a step: what a delay stores.
  virtual void finish_step(Workspace &) const {}
  virtual void reset(Workspace &) const {}

  size_t offset = 0;  // of the output in Workspace::values
  size_t size = 0;
  size_t state_offset = 0;
  size_t state_size = 0;
  size_t scratch_size = 0;
  size_t byte_size = 0;
  size_t half_size = 0;
  bool fixed = false;  // the same at every step while the input is one repeated frame

 protected:
  int32_t *out(Workspace &w) const { return w.values.data() + offset; }
  int32_t *state(Workspace &w) const { return w.state.data() + state_offset; }
};

// What a bound has proven of a weight op: inputs within int8, every partial sum within int16.
struct Proven {
  bool bytes, halves;
};

// Where an op reads: a node's buffer.
struct Source {
  size_t offset, size;
  const int32_t *of(const Workspace &w) const { return w.values.data() + offset; }
};

struct Window {  // of a convolution or pool over two axes; one axis has height 1
  size_t channels, height, width, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x, dilation_y,
      dilation_x, out_height, out_width;
};

struct NeuronFields {  // arrays hold one entry a neuron, or none
  Ints threshold, decay, current_decay, bias, bias_in, reset, initial, minimum, leak;
  int32_t low, high, current_low, current_high, current_bits, shift, max_spikes, refractory;
  bool current_based, wraps, inclusive;
  enum class Reset { hard, soft, soft_after_decay } kind;
};

struct ReadoutFields {
  Ints bias, decay;
  int32_t low, high, shift;
  bool accumulates;
};

struct Recorded {  // where a run writes: [time, batch, size] each, or nullptr
  size_t node;
  int32_t *spikes, *v, *u;
};

class Plan {
 public:
  Plan(const KernelTable &kernels, Choice choice) : kernels_(kernels), choice_(choice) {}
  Plan(const Plan &) = delete;

  size_t add_input(size_t size);
  size_t add_linear(size_t source, size_t rows, size_t in, size_t out, const int8_t *weight,
                    int shift, Proven proven);
  size_t add_conv(size_t source, const Window &window, size_t out_channels, size_t groups,
                  const int8_t *weight, int shift, Proven proven);
  size_t add_pool(size_t source, const Window &window, bool maximum);
  size_t add_gather(size_t source, Ints index);
  size_t add_sum(const std::vector<size_t> &sources);
  size_t add_matmul(size_t a, size_t b, size_t batch, size_t rows, size_t inner, size_t columns,
                    bool transpose_b);
  size_t add_scale(size_t source, Ints factor);
  size_t add_delay(size_t size, size_t steps);
  void close_delay(size_t delay, size_t source);
  size_t add_neuron(size_t source, NeuronFields fields);
  size_t add_readout(size_t source, ReadoutFields fields);
  void mark_fixed(size_t node) { ops_.at(node)->fixed = true; }

  void set_output(size_t node) { output_ = node; }

  size_t output() const { return output_; }
  size_t offset_of(size_t node) const { return ops_.at(node)->offset; }
  size_t size_of(size_t node) const { return ops_.at(node)->size; }
  size_t workspace_bytes() const;
  Workspace workspace() const;
  void reset(Workspace &w) const;
  // One step of one sample: x is copied into the input's buffer.
  void step(Workspace &w, const int32_t *x, bool first, bool repeated) const;
  // Samples [begin, end) of x [time or 1, batch, size]; y and recordings are [time, batch, size].
  void run(Workspace &w, const int32_t *x, bool repeated, size_t time, size_t batch, size_t begin,
           size_t end, int32_t *y, const std::vector<Recorded> &recorded) const;

 private:
  size_t push(std::unique_ptr<Op> op, size_t size);
  Source source(size_t node) const;
  void record(const Workspace &w, const Recorded &r, size_t place) const;

  const KernelTable &kernels_;
  Choice choice_;
  std::vector<std::unique_ptr<Op>> ops_;
  size_t output_ = 0;
  size_t values_ = 0, states_ = 0, scratch_ = 0, bytes_ = 0, halves_ = 0;
};

}  // namespace spikewright
