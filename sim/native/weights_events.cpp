// The rows of weights of a tile's events, added up.
#include <algorithm>

#include "neurons.hpp"
#include "weights_scratch.hpp"

namespace spikewright {

void Weights::sum(int32_t *out, const int8_t *weights, const uint32_t *places, const uint8_t *times,
                  size_t events, size_t count) const {
  if (events_ == Events::scaled)
    k_.gather_times(out, weights, places, reinterpret_cast<const int32_t *>(times), events, count);
  else if (events_ == Events::counted)
    k_.gather_counted(out, weights, places, times, largest_, events, count);
  else if (forced_.halves)
    k_.gather(out, weights, places, events, count);
  else
    k_.gather_wide(out, weights, places, events, count);
}

// The events of in_ inputs at x: where their rows of weights begin, and how often each counts.
size_t Weights::list(const uint8_t *x, uint32_t *places, uint8_t *times) const {
  if (events_ == Events::single) return k_.events(places, x, places_.data(), in_);
  if (events_ == Events::counted) return k_.counted_events(places, times, x, places_.data(), in_);
  size_t found = 0;
  int32_t *factors = reinterpret_cast<int32_t *>(times);
  for (size_t i = 0; i < in_; ++i) {
    const int32_t value = value_at(x_.map.kind, x, i);
    if (!value) continue;
    factors[found] = value;
    places[found++] = places_[i];
  }
  return found;
}

void Weights::gather(const Context &c, const Neurons *sink, size_t first, size_t samples,
                     size_t steps) const {
  const Cut cut = this->cut(samples, steps, event_row_, c.at.frames[x_.node] == steps,
                            c.team.workers());
  // With fewer tiles than workers the output channels are shared instead.
  const size_t workers = c.team.workers(), rows = event_row_ / kEventRow;
  const size_t parts = cut.tiles < workers ? std::min(workers, rows) : 1;
  const auto [begin, end] = share(cut.tiles * parts, c.worker, workers);
  for (size_t g = 0; g < groups_; ++g) {
    Carver carver(c.scratch());
    int32_t *sums = carver.take<int32_t>(tile_rows(cut, steps) * event_row_);
    Ring ring(*this, flat_ ? 0 : steps, carver);
    for (size_t unit = begin; unit < end; ++unit) {
      Tile tile = this->tile(cut, samples, unit / parts);
      tile.sample += first;
      const auto [from, to] = share(rows, unit % parts, parts);
      const size_t channel = from * kEventRow, end_channel = std::min(to * kEventRow, out_);
      if (parts > 1 || tile.position == 0) ring.next_row = 0;
      if (flat_)
        gather_flat(c, ring, sums, tile, channel, to * kEventRow, steps);
      else
        gather_conv(c, ring, sums, tile, g, channel, to * kEventRow, steps);
      if (channel < end_channel)
        deliver(c, sink, tile, sums + channel, event_row_, steps, g * out_ + channel,
                end_channel - channel);
    }
  }
}

void Weights::gather_flat(const Context &c, Ring &ring, int32_t *sums, const Tile &tile, size_t from,
                          size_t to, size_t steps) const {
  const bool whole = tile.positions == s_.out_height * s_.out_width;
  const size_t step = whole ? tile.positions : up(tile.positions, 16), width = width_of(x_.map.kind);
  for (size_t s = 0; s < tile.samples; ++s)
    for (size_t t = 0; t < steps; ++t)
      for (size_t p = 0; p < tile.positions; ++p) {
        const uint8_t *x = x_.of(c, tile.sample + s, t) + (tile.position + p) * in_ * width;
        const size_t events = list(x, ring.joined, ring.joined_times);
        sum(sums + ((s * steps + t) * step + p) * event_row_ + from, by_event_.data() + from,
            ring.joined, ring.joined_times, events, to - from);
      }
}

void Weights::gather_conv(const Context &c, Ring &ring, int32_t *sums, const Tile &tile, size_t g,
                          size_t from, size_t to, size_t steps) const {
  const size_t line = up(s_.out_width * steps, 16);
  const int8_t *weights = by_event_.data() + g * taps_ * in_ * event_row_ + from;
  for (size_t n = 0; n < tile.positions / s_.out_width; ++n) {
    const size_t y = tile.position / s_.out_width + n;
    list_rows(c, ring, tile.sample, g, y, steps);
    for (size_t x = 0; x < s_.out_width; ++x) {
      const size_t windows = reach(ring, y, x, steps);
      for (size_t t = 0; t < steps; ++t) {
        const size_t events = k_.join(ring.joined, ring.places, ring.counts, ring.capacity,
                                      ring.cells, ring.bases, windows, t);
        if (ring.wide) ring.join_times(windows, t);
        sum(sums + (n * line + x * steps + t) * event_row_ + from, weights, ring.joined,
            ring.joined_times, events, to - from);
      }
    }
  }
}

// Finds the cells of the ring that output (y, x) sees, and through which tap; returns how many.
size_t Weights::reach(Ring &ring, size_t y, size_t x, size_t steps) const {
  size_t found = 0;
  for (size_t ky = 0; ky < s_.kernel_y; ++ky) {
    const size_t row = y * s_.stride_y + ky * s_.dilation_y - s_.pad_y;  // wraps before the border
    if (row >= s_.height) continue;
    const size_t line = row % ring.slots * s_.width;
    for (size_t kx = 0; kx < s_.kernel_x; ++kx) {
      const size_t column = x * s_.stride_x + kx * s_.dilation_x - s_.pad_x;
      if (column >= s_.width) continue;
      ring.cells[found] = static_cast<uint32_t>((line + column) * steps);
      ring.bases[found++] = static_cast<uint32_t>((ky * s_.kernel_x + kx) * in_ * event_row_);
    }
  }
  return found;
}

// Lists the events of the input rows that output row y reaches and that are not listed yet.
void Weights::list_rows(const Context &c, Ring &ring, size_t sample, size_t g, size_t y,
                        size_t steps) const {
  const size_t reach = y * s_.stride_y + (s_.kernel_y - 1) * s_.dilation_y + 1;
  const size_t end = std::min(reach > s_.pad_y ? reach - s_.pad_y : 0, s_.height);
  const size_t top = y * s_.stride_y > s_.pad_y ? y * s_.stride_y - s_.pad_y : 0;
  const size_t width = width_of(x_.map.kind);
  for (size_t row = std::max(ring.next_row, top); row < end; ++row)
    for (size_t column = 0; column < s_.width; ++column)
      for (size_t t = 0; t < steps; ++t) {
        const size_t cell = (row % ring.slots * s_.width + column) * steps + t;
        const size_t at = (row * s_.width + column) * s_.channels + g * in_;
        ring.counts[cell] = static_cast<uint32_t>(
            list(x_.of(c, sample, t) + at * width, ring.places + cell * ring.capacity,
                 ring.times + cell * ring.capacity * ring.wide));
      }
  ring.next_row = std::max(ring.next_row, end);
}

}  // namespace spikewright
