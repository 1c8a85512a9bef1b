// All products of a tile: frames within a border, rows of windows, the instruction set's own kernel.
#include <algorithm>
#include <cstring>

#include "neurons.hpp"
#include "weights_scratch.hpp"

namespace spikewright {

// One sample's frames as [row][phase][column][step][channel] within a border, so that all rows of a
// tile, (column, step) after (column, step), lie one channel count apart whatever the stride.
void Weights::pad(const Context &c, size_t sample, size_t steps) const {
  const size_t wide = s_.channels, cell = steps * wide, columns = padded_columns();
  const uint8_t zero = shifted_ ? kMiddle : 0;
  const auto [begin, end] = share(padded_rows(), c.worker, c.team.workers());
  for (size_t row = begin; row < end; ++row) {
    uint8_t *to = c.shared(number) + row * row_bytes(steps);
    const size_t y = row - s_.pad_y;  // wraps before the border
    if (y >= s_.height) {
      std::memset(to, zero, row_bytes(steps));
      continue;
    }
    for (size_t phase = 0; phase < s_.stride_x; ++phase)
      for (size_t k = 0; k < columns; ++k, to += cell) {
        const size_t x = k * s_.stride_x + phase - s_.pad_x;
        if (x >= s_.width) {
          std::memset(to, zero, cell);
          continue;
        }
        for (size_t t = 0; t < steps; ++t) {
          const uint8_t *from = x_.of(c, sample, t) + (y * s_.width + x) * wide;
          std::memcpy(to + t * wide, from, wide);
        }
        if (shifted_)
          for (size_t i = 0; i < cell; ++i) to[i] ^= kMiddle;
      }
  }
}

void Weights::dense(const Context &c, const Neurons *sink, size_t first, size_t samples,
                    size_t steps) const {
  const Cut cut = this->cut(samples, steps, columns_at_once(), c.at.frames[x_.node] == steps,
                            c.team.workers());
  const size_t at_once = columns_at_once() / kPanel;
  const size_t parts = up(out_panels_, at_once) / at_once;
  const auto [begin, end] = share(cut.tiles * parts, c.worker, c.team.workers());
  for (size_t g = 0; g < groups_; ++g)
    for (size_t unit = begin; unit < end; ++unit) {
      Tile tile = this->tile(cut, samples, unit / parts);
      tile.sample += first;
      dense_tile(c, sink, tile, g, unit % parts * at_once, steps);
    }
}

void Weights::dense_tile(const Context &c, const Neurons *sink, const Tile &tile, size_t g,
                         size_t panel, size_t steps) const {
  Carver carver(c.scratch());
  const size_t columns = columns_at_once();
  const Cut cut{tile.samples, tile.positions, 0, 0};
  int32_t *sums = carver.take<int32_t>(tile_rows(cut, steps) * columns);
  Dense d{};
  d.c = sums;
  d.c_stride = columns;
  d.chunks = chunks_;
  d.quads = quads_;
  d.panels = std::min(columns / kPanel, out_panels_ - panel);
  d.b = by_panel_.data() + (g * out_panels_ + panel) * chunks_ * quads_ * 64;
  d.init = shifted_ ? init_.data() + (g * out_panels_ + panel) * kPanel : nullptr;
  d.largest = largest_;
  d.is_signed = x_.map.kind == Kind::s8 && !shifted_;
  d.a_stride = columns_ ? chunks_ * quads_ * kQuad : s_.channels;
  lines(c, tile, d, g, steps);
  const size_t channel = panel * kPanel, channels = std::min(columns, out_ - channel);
  deliver(c, sink, tile, sums, columns, steps, g * out_ + channel, channels);
}

void Weights::lines(const Context &c, const Tile &tile, Dense &d, size_t g, size_t steps) const {
  if (flat_) {
    d.offsets = offsets_.data();
    const bool whole = tile.positions == s_.out_height * s_.out_width;
    const size_t rows = whole ? tile.samples * steps * tile.positions : tile.positions;
    for (size_t t = 0; t < (whole ? 1 : steps); ++t) {
      d.a = x_.of(c, tile.sample, t) + tile.position * s_.channels;
      d.rows = rows;
      k_.dense(&d);
      d.c += up(rows, 16) * d.c_stride;
    }
    return;
  }
  Carver after(c.scratch());
  after.take<int32_t>(tile_rows({1, tile.positions, 0, 0}, steps) * d.c_stride);
  uint8_t *copied = after.take<uint8_t>(
      columns_ ? up(s_.out_width * steps, 16) * chunks_ * quads_ * kQuad : 0);
  uint32_t *offsets = after.take<uint32_t>(std::max(chunks_, taps_));
  const size_t cell = steps * s_.channels, phase = padded_columns() * cell;
  const size_t parts = std::max<size_t>(1, chunks_ / taps_);
  auto offset_of = [&](size_t tap) {
    const size_t x = tap % s_.kernel_x * s_.dilation_x;
    return tap / s_.kernel_x * s_.dilation_y * row_bytes(steps) + x % s_.stride_x * phase +
           x / s_.stride_x * cell + g * in_;
  };
  for (size_t tap = 0; columns_ && tap < taps_; ++tap)
    offsets[tap] = static_cast<uint32_t>(offset_of(tap));
  for (size_t k = 0; !columns_ && k < chunks_; ++k)
    offsets[k] = static_cast<uint32_t>(offset_of(k / parts) + k % parts * quads_ * kQuad);
  const size_t rows = s_.out_width * steps;
  for (size_t y = tile.position / s_.out_width, n = 0; n < tile.positions / s_.out_width; ++n, ++y) {
    const uint8_t *base = c.shared(number) + y * s_.stride_y * row_bytes(steps);
    d.a = columns_ ? copied : base;
    d.offsets = columns_ ? offsets_.data() : offsets;
    d.rows = rows;
    if (columns_) copy_windows(base, offsets, copied, d.a_stride, rows);
    k_.dense(&d);
    d.c += up(rows, 16) * d.c_stride;
  }
}

// The windows of a line, each copied into one row. Four bytes go at once where there are fewer
// channels: what follows, in this row or the next, is overwritten by its own.
void Weights::copy_windows(const uint8_t *base, const uint32_t *offsets, uint8_t *to, size_t stride,
                           size_t rows) const {
  for (size_t r = 0; r < rows; ++r, to += stride, base += s_.channels)
    for (size_t tap = 0; tap < taps_; ++tap) {
      if (in_ <= 4)
        std::memcpy(to + tap * in_, base + offsets[tap], 4);
      else
        std::memcpy(to + tap * in_, base + offsets[tap], in_);
    }
}

}  // namespace spikewright
