// A plan: the ops of one graph in walking order. Made once; running it allocates nothing in the loop
// over steps. A block of samples x steps goes through an op before the next op runs.
//
// Values lie as [sample][step][position][channel], channels last, in the narrowest of three kinds
// that the bounds allow; which entry of the graph's own C order lies where, only Python knows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "aligned.hpp"
#include "gaps.hpp"
#include "kernels.h"
#include "team.hpp"

namespace spikewright {

using Ints = std::vector<int32_t>;
using Codes = Lined<int8_t>;

enum class Kind { u8, s8, i32 };
inline size_t width_of(Kind kind) { return kind == Kind::i32 ? 4 : 1; }

// Value i of those at x.
inline int32_t value_at(Kind kind, const uint8_t *x, size_t i) {
  if (kind == Kind::i32) return reinterpret_cast<const int32_t *>(x)[i];
  return kind == Kind::s8 ? static_cast<int8_t>(x[i]) : x[i];
}

// What is forced, for tests; `automatic` measures the density of events and takes the cheaper.
enum class Choice { automatic, gather, dense };
struct Forced {
  Choice choice;
  bool halves;  // int16 sums allowed
  size_t steps; // at most so many steps a block; 0: as many as the caches like
};

struct Map {  // of one frame
  size_t positions, channels;
  Kind kind;
  size_t size() const { return positions * channels; }
  size_t bytes() const { return size() * width_of(kind); }
};

// Which samples and steps are in flight, and how.
struct Block {
  size_t samples, steps, workers;
  bool repeated;  // the input is one frame at every step: fixed nodes have one frame a sample
  bool traced;    // states are written out after each step
};

inline size_t line_bytes(size_t bytes) { return (bytes + 63) / 64 * 64; }

class Op;

// Where everything lies in the memory of a block; offsets are in bytes.
struct Layout {
  Block block;
  std::vector<size_t> values, frames, state, shared, spikes;
  size_t scratch, scratch_bytes, trace, total;
  std::vector<size_t> gaps;  // of kGap bytes each, behind every buffer

  void forbid_gaps(const uint8_t *memory) const {
    allow(memory, total);
    for (size_t gap : gaps) forbid(memory + gap, kGap);
  }
};

// What an op runs in.
struct Context {
  const Layout &at;
  uint8_t *memory;
  size_t samples, steps, worker;  // samples and steps of this block, at most those of the layout
  Team &team;
  bool first, last;  // steps of a run: what state was, or will be, matters to nobody

  size_t frames_of(size_t node) const { return at.frames[node] == 1 ? 1 : steps; }
  uint8_t *frame(size_t node, const Map &map, size_t sample, size_t step) const {
    const size_t of = at.frames[node] == 1 ? 0 : step;
    return memory + at.values[node] + (sample * at.frames[node] + of) * map.bytes();
  }
  uint8_t *state(size_t node, size_t bytes, size_t sample) const {
    return memory + at.state[node] + sample * bytes;
  }
  uint8_t *shared(size_t node) const { return memory + at.shared[node]; }
  uint8_t *scratch() const {
    uint8_t *found = memory + at.scratch + worker * (at.scratch_bytes + kGap);
    allow(found, at.scratch_bytes);  // where another op carved it otherwise
    return found;
  }
  // How many spikes op `node` emitted over the steps of this block, as far as one worker ran it.
  size_t &spikes(size_t node, size_t sample, size_t of_worker) const {
    const size_t place = at.spikes[node] + of_worker * line_bytes(at.block.samples * sizeof(size_t));
    return reinterpret_cast<size_t *>(memory + place)[sample];
  }
  // v, then u, of n neurons after one step.
  int32_t *trace(size_t n, size_t sample, size_t step) const {
    return reinterpret_cast<int32_t *>(memory + at.trace) + (sample * at.block.steps + step) * 2 * n;
  }
};

class Op {
 public:
  virtual ~Op() = default;
  virtual void run(const Context &c) const = 0;
  // After the last op of a step: what a delay stores.
  virtual void finish_step(const Context &) const {}
  virtual void reset(const Context &, size_t) const {}
  virtual size_t scratch_bytes(const Block &) const { return 0; }  // of one worker
  virtual size_t shared_bytes(const Block &) const { return 0; }   // of all workers
  virtual size_t constant_bytes() const { return 0; }

  Map map{};
  size_t number = 0;
  size_t state_bytes = 0;  // of one sample
  std::vector<size_t> reads;
  bool fixed = false;  // the same at every step while the input is one repeated frame
  bool stateless = false;  // its values follow from those it reads in the same step
  bool empty = false;  // another op writes the values
  bool has_current = false;
  bool counts_spikes = false;  // it fills Context::spikes
};

struct Source {  // where an op reads
  size_t node;
  Map map;
  const uint8_t *of(const Context &c, size_t sample, size_t step) const {
    return c.frame(node, map, sample, step);
  }
};

struct Window {  // of a convolution or pool over two axes; one axis has height 1
  size_t channels, height, width, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x, dilation_y,
      dilation_x, out_height, out_width;
};

struct NeuronFields {  // arrays hold one entry a channel, one a neuron, or none
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

template <typename T>
struct Array {  // of the caller's memory
  T *data = nullptr;
  size_t size = 0;
};

struct Recorded {  // where a run writes: [time, batch, size] each, or nothing
  size_t node;
  Array<const int32_t> index;  // of value p in the graph's own order, or none
  Array<int32_t> spikes, v, u;
};

// Encoded values [time or 1, batch, size] as they come from numpy.
struct Encoded {
  const void *data;
  size_t size;
  int item;  // bytes a value: 1, 4, 8
  bool is_unsigned;
};

class Neurons;

// Every call that builds or runs a plan throws std::invalid_argument for numbers that do not fit one
// another (see checks.hpp): no plan that was built reads or writes beyond what it was given.
class Plan {
 public:
  Plan(const KernelTable &kernels, Forced forced);
  Plan(const Plan &) = delete;
  ~Plan();

  size_t add_input(Map map, Ints index);
  size_t add_weights(size_t source, const Window &window, size_t out_channels, size_t groups,
                     Array<const int8_t> weight, int shift, int32_t largest);
  size_t add_pool(size_t source, const Window &window, bool maximum, Kind kind);
  size_t add_permutation(size_t source, Map map, Ints index);
  size_t add_sum(const std::vector<size_t> &sources, Map map);
  size_t add_scale(size_t source, Map map, Ints factor);
  size_t add_matmul(size_t a, size_t b, const std::vector<size_t> &shape,
                    const std::vector<size_t> &strides, Map map);
  size_t add_delay(Map map, size_t steps);
  void close_delay(size_t delay, size_t source);
  size_t add_neuron(size_t source, Map map, NeuronFields fields);
  // A neuron that takes the sums of weights tile by tile, and with them those of `addend` (none or
  // one op: int32 currents, or uint8 spikes times a factor a channel or a neuron).
  size_t add_fused_neuron(size_t weights, Map map, NeuronFields fields,
                          const std::vector<size_t> &addend, Ints factor);
  size_t add_readout(size_t source, ReadoutFields fields);
  // A node whose values are the same at every step of a repeated frame.
  void mark_fixed(size_t node);
  // The last call of those that build a plan.
  void set_output(size_t node);

  // What a run or a step is given fits this plan.
  void check_run(const Encoded &x, bool repeated, size_t time, size_t batch,
                 const Array<int32_t> &y, const std::vector<Recorded> &recorded, bool traced,
                 size_t threads) const;

  const Map &map_of(size_t node) const { return ops_.at(node)->map; }
  size_t output() const { return output_; }
  bool recurrent() const { return !delays_.empty(); }
  size_t constant_bytes() const;
  size_t state_bytes() const;
  size_t workspace_bytes(size_t samples, size_t time) const;

  // `together`: all samples in one block, as a stream keeps them.
  Layout layout(size_t samples, size_t time, size_t workers, bool repeated, bool traced,
                bool together = false) const;
  void reset(const Context &c) const;
  void load(const Context &c, const Encoded &x, size_t batch, size_t sample, size_t step) const;
  void advance(const Context &c, bool skip_fixed, const std::vector<Recorded> *recorded,
               size_t batch, size_t sample, size_t step) const;
  void store(const Context &c, int32_t *y, size_t batch, size_t sample, size_t step) const;
  // Samples [begin, end); y and recordings are [time, batch, size].
  void run(uint8_t *memory, const Layout &at, Team &team, size_t worker, const Encoded &x,
           size_t time, size_t batch, size_t begin, size_t end, int32_t *y,
           const std::vector<Recorded> &recorded) const;

 private:
  size_t push(std::unique_ptr<Op> op, Map map, std::vector<size_t> reads);
  Op &unfinished(size_t node) const;
  Source source(size_t node) const;
  void check_recorded(const Recorded &r, size_t frames, bool traced) const;
  size_t steps_at_once(size_t time) const;
  size_t samples_at_once(size_t samples, size_t steps) const;
  void record(const Context &c, const Recorded &r, size_t batch, size_t sample, size_t step) const;

  const KernelTable &kernels_;
  Forced forced_;
  std::vector<std::unique_ptr<Op>> ops_;
  std::vector<size_t> delays_, last_use_;
  Ints input_index_;
  size_t output_ = 0;
  bool finished_ = false;
};

}  // namespace spikewright
