// Neurons: advanced over all steps of a block at once, position by position, right behind the sums.
#pragma once

#include "plan.hpp"

namespace spikewright {

// Sums that have arrived: acc + p * acc_position + t * acc_step + i belongs to position
// position + p, step t, channel channel + i; each still to be shifted left by `shift`.
struct Sums {
  const int32_t *acc;
  size_t acc_position, acc_step, position, positions, channel, channels;
  int shift;
};

class Weights;

// What joins the sums before the neurons see them.
struct Addend {
  bool given = false;
  Source x{};
  Ints factor;  // one a channel or a neuron, of uint8 values; empty for int32
};

struct Arriving {
  Source x;
  const Weights *weights;  // whose sums are taken as they come, or nullptr: those of x
  Addend addend;
};

class Neurons : public Op {
 public:
  Neurons(const KernelTable &k, Arriving from) : k_(k), from_(std::move(from)) {
    counts_spikes = true;
  }

  void run(const Context &c) const override;
  size_t scratch_bytes(const Block &b) const override;
  // The sums of a tile, in memory that may be written.
  void take(const Context &c, size_t sample, int32_t *acc, Sums sums) const;
  // Returns how many neurons spiked, over all steps.
  virtual size_t advance(const Context &c, size_t sample, const Sums &sums) const = 0;

 protected:
  const KernelTable &k_;

 private:
  void run_alone(const Context &c) const;

  Arriving from_;
};

std::unique_ptr<Neurons> make_neurons(const KernelTable &k, Arriving from, const Map &map,
                                      NeuronFields fields);

}  // namespace spikewright
