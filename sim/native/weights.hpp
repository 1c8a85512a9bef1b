// Linear layers and convolutions: events are gathered row by row, or all is computed densely.
#pragma once

#include "plan.hpp"

namespace spikewright {

class Neurons;
struct Sums;

// Nanoseconds of one addition of a gathered weight, one dense product, and one row of sums.
struct Rates {
  double add, product, row;
};
// Measured once for each table.
const Rates &rates_of(const KernelTable &k);

class Weights final : public Op {
 public:
  // `counted`: x are the spikes of neurons that count them.
  Weights(const KernelTable &k, Forced forced, Source x, bool counted, const Window &window,
          size_t out_channels, size_t groups, const int8_t *weight, int shift, int32_t largest);

  // Sums into the values of this op.
  void run(const Context &c) const override {
    if (!empty) compute(c, nullptr);
  }
  // Sums tile by tile into `sink`, or into the values of this op.
  void compute(const Context &c, const Neurons *sink) const;
  size_t scratch_bytes(const Block &b) const override;
  size_t shared_bytes(const Block &b) const override;
  size_t constant_bytes() const override;

 private:
  // How an event counts: once; 1 to 127 times, in a byte; any number of times, in an int32.
  enum class Events { single, counted, scaled };
  struct Tile {  // samples x positions that are computed together
    size_t sample, samples, position, positions;
  };
  struct Cut {  // how large tiles are
    size_t samples, positions, tiles_a_sample_group, tiles;
  };
  struct Ring;

  void pack(const int8_t *weight);
  void pack_events(const int8_t *weight);
  void pack_dense(const int8_t *weight);
  int8_t code(const int8_t *weight, size_t g, size_t o, size_t i, size_t tap) const {
    return weight[((g * out_ + o) * in_ + i) * taps_ + tap];
  }

  size_t row_bytes(size_t steps) const;
  size_t padded_rows() const;
  size_t padded_columns() const;
  size_t tile_rows(const Cut &cut, size_t steps) const;
  size_t rows_aimed_at(size_t columns) const;
  size_t most_tile_rows(const Block &b, size_t columns) const;
  Cut cut(size_t samples, size_t steps, size_t columns, bool together, size_t workers) const;
  Tile tile(const Cut &cut, size_t samples, size_t index) const;
  size_t columns_at_once() const { return columns_ ? out_panels_ * kPanel : k_.panels * kPanel; }

  size_t events(const Context &c, size_t sample, size_t samples, size_t steps) const;
  bool gathers(const Context &c, size_t sample, size_t samples, size_t steps) const;
  void pad(const Context &c, size_t sample, size_t steps) const;
  void dense(const Context &c, const Neurons *sink, size_t first, size_t samples,
             size_t steps) const;
  void dense_tile(const Context &c, const Neurons *sink, const Tile &tile, size_t g, size_t panel,
                  size_t steps) const;
  void lines(const Context &c, const Tile &tile, struct Dense &d, size_t g, size_t steps) const;
  void copy_windows(const uint8_t *base, const uint32_t *offsets, uint8_t *to, size_t stride,
                    size_t rows) const;
  void gather(const Context &c, const Neurons *sink, size_t first, size_t samples,
              size_t steps) const;
  void gather_flat(const Context &c, Ring &ring, int32_t *sums, const Tile &tile, size_t from,
                   size_t to, size_t steps) const;
  void gather_conv(const Context &c, Ring &ring, int32_t *sums, const Tile &tile, size_t g,
                   size_t from, size_t to, size_t steps) const;
  size_t reach(Ring &ring, size_t y, size_t x, size_t steps) const;
  void list_rows(const Context &c, Ring &ring, size_t sample, size_t g, size_t y,
                 size_t steps) const;
  size_t list(const uint8_t *x, uint32_t *places, uint8_t *times) const;
  void sum(int32_t *out, const int8_t *weights, const uint32_t *places, const uint8_t *times,
           size_t events, size_t count) const;
  size_t bytes_of_times() const {
    return events_ == Events::single ? 0 : events_ == Events::counted ? 1 : sizeof(int32_t);
  }
  void deliver(const Context &c, const Neurons *sink, const Tile &tile, int32_t *acc,
               size_t columns, size_t steps, size_t channel, size_t channels) const;
  void deliver_some(const Context &c, const Neurons *sink, size_t sample, int32_t *acc,
                    const Sums &sums) const;

  const KernelTable &k_;
  const Rates *rates_;
  Forced forced_;
  Source x_;
  bool counted_;
  Window s_;
  size_t groups_, in_, out_, taps_;
  int shift_;
  int32_t largest_;
  bool flat_;      // a linear layer or its like: rows of inputs are read where they lie
  bool columns_ = false;  // few input channels: windows are copied into rows
  bool shifted_ = false;  // int8 inputs get 128 added
  bool has_dense_ = false;
  Events events_;
  size_t event_row_, out_panels_, chunks_, quads_;
  Codes by_event_;  // [group][tap][in][event_row]
  Codes by_panel_;  // [group][panel][chunk][quad][16][4]
  Ints init_;       // what takes the 128 away again
  std::vector<uint32_t> places_, offsets_;
};

}  // namespace spikewright
