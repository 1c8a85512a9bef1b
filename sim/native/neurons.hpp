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

class Neurons : public Op {
 public:
  Neurons(Source x, const Weights *weights) : x_(x), weights_(weights) {}

  void run(const Context &c) const override;
  size_t scratch_bytes(const Block &b) const override;
  virtual void advance(const Context &c, size_t sample, const Sums &sums) const = 0;

 private:
  void run_alone(const Context &c) const;

  Source x_;
  const Weights *weights_;  // whose sums are taken as they come, or nullptr: those of x
};

std::unique_ptr<Neurons> make_neurons(const KernelTable &k, Source x, const Weights *weights,
                                      const Map &map, NeuronFields fields);

}  // namespace spikewright
