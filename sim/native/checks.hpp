// What a plan asks of the numbers it is given. Python proves them for a graph; here nothing is taken
// on trust, so that no call can read or write beyond an array, whoever makes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "plan.hpp"
#include "require.hpp"

namespace spikewright {

constexpr size_t kMostValues = INT32_MAX;            // of a frame: places are int32
constexpr size_t kMostBytes = size_t{1} << 46;       // of a buffer: more than any machine has
constexpr size_t kMostReach = size_t{1} << 32;       // of an offset in uint32
constexpr size_t kMostSteps = size_t{1} << 20;       // that go through an op together
constexpr size_t kMostThreads = 1024;

inline void require_at_most(const char *what, size_t value, size_t most) {
  if (value > most)
    throw std::invalid_argument(std::string(what) + " " + std::to_string(value) + ", at most " +
                                std::to_string(most));
}

// All of them multiplied; refused where that is more than `most`.
inline size_t product(const char *what, std::initializer_list<size_t> sizes, size_t most) {
  size_t all = 1;
  bool zero = false;
  for (size_t size : sizes) zero |= size == 0;
  for (size_t size : sizes) {
    if (zero) return 0;
    if (size > most / all)
      throw std::invalid_argument(std::string(what) + ": more than " + std::to_string(most));
    all *= size;
  }
  return all;
}

void check_map(const Map &map);
void check_index(const Ints &index, size_t size, size_t below);
// A window that reads frames of `from` and writes `out_channels` channels a position.
void check_window(const Window &window, const Map &from, size_t out_channels);
void check_weights(const Window &window, const Map &from, size_t out_channels, size_t groups,
                   size_t weights, int shift, int32_t largest);
void check_matmul(const Map &a, const Map &b, const std::vector<size_t> &shape,
                  const std::vector<size_t> &strides, const Map &map);
void check_neuron(const Map &from, const Map &map, const NeuronFields &fields);
void check_readout(const Map &from, const ReadoutFields &fields);

}  // namespace spikewright
