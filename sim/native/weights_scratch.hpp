// Scratch memory of linear layers and convolutions, for the files that compute them.
#pragma once

#include <algorithm>

#include "weights.hpp"

namespace spikewright {

constexpr uint8_t kMiddle = 128;  // added to int8 inputs where products take unsigned ones

inline size_t up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Hands out parts of one worker's scratch memory, or only adds them up where there is none.
class Carver {
 public:
  explicit Carver(uint8_t *base) : base_(base) {}
  template <typename T>
  T *take(size_t count) {
    uint8_t *found = base_ ? base_ + used_ : nullptr;
    used_ += up(count * sizeof(T) + kSlack, kSlack);
    if (base_) forbid(base_ + used_, kGap);
    used_ += kGap;
    return reinterpret_cast<T *>(found);
  }
  size_t used() const { return used_; }

 private:
  uint8_t *base_;
  size_t used_ = 0;
};

// The events of the input rows that the window of the present output row reaches.
struct Weights::Ring {
  Ring(const Weights &w, size_t steps, Carver &carver) : slots((w.s_.kernel_y - 1) * w.s_.dilation_y + 1) {
    slots = std::min(slots, w.s_.height);
    const size_t all = slots * w.s_.width * steps;
    capacity = up(w.in_ + 16, 16);
    wide = w.bytes_of_times();
    counts = carver.take<uint32_t>(all);
    places = carver.take<uint32_t>(all * capacity);
    times = carver.take<uint8_t>(all * capacity * wide);
    cells = carver.take<uint32_t>(w.taps_);
    bases = carver.take<uint32_t>(w.taps_);
    joined = carver.take<uint32_t>(w.taps_ * capacity);
    joined_times = carver.take<uint8_t>(w.taps_ * capacity * wide);
  }

  void join_times(size_t windows, size_t step) {
    uint8_t *to = joined_times;
    for (size_t k = 0; k < windows; ++k) {
      const size_t cell = cells[k] + step;
      to = std::copy_n(times + cell * capacity * wide, counts[cell] * wide, to);
    }
  }

  size_t slots, capacity, wide, next_row = 0;
  uint32_t *counts, *places, *joined, *cells, *bases;
  uint8_t *times, *joined_times;  // of `wide` bytes each
};

}  // namespace spikewright
