// Event timing on flat arrays: neurons and readout cells by number, synapses as sparse rows.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace spikewright::event {

// One neuron of the chip, in the units of its potential.
struct Neuron {
  int64_t threshold, reset, low, high, minimum, bias, decay, leak, initial;
  bool hard, at_threshold, biased;
};

// What an event of each source does: rows of (target, weight). Targets from `neurons` on are
// readout cells. `lag` is empty, or how many steps later each synapse acts.
struct Rows {
  const int64_t *start;
  const int32_t *target, *weight, *lag;
  size_t sources, synapses;
};

// A sample's events from outside, in order: those of step t lie at start[t] .. start[t + 1].
struct Events {
  const int64_t *start;
  const int32_t *source;
};

// Where a sample's step t is written: counts and v at t * step, readout at t * readout_step.
struct Record {
  int32_t *counts, *v;
  int64_t *readout;
  size_t step, readout_step;
};

// Throws std::invalid_argument for rows or events that leave their arrays, for lags beyond
// `longest_lag`, and for a synapse without a lag that leads back: its spikes might never end.
void check(const Rows &now, const Rows &later, size_t longest_lag, size_t neurons, size_t cells);
void check(const Events &events, size_t steps, size_t given, size_t sources);

// Of arguments that `check` has passed.
class Machine {
 public:
  Machine(std::vector<Neuron> neurons, Rows now, Rows later, size_t longest_lag);

  // Run one sample from rest; return the longest that the queue was.
  size_t run(size_t time_steps, const Events &events, const Record &record);

 private:
  struct Span { int64_t begin, end; };

  void time_reference();
  void fire(size_t neuron, int64_t v);
  void apply(const Rows &rows, int64_t begin, int64_t end);
  void drain(size_t step);

  std::vector<Neuron> neurons_;
  Rows now_, later_;
  std::vector<int64_t> v_;
  std::vector<int32_t> queue_;
  std::vector<std::vector<Span>> due_;
  size_t head_ = 0, longest_ = 0;
  int32_t *counts_ = nullptr;
  int64_t *readout_ = nullptr;
};

}  // namespace spikewright::event
