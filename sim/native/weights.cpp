#include "weights.hpp"

#include <algorithm>
#include <cstring>

#include "neurons.hpp"

namespace spikewright {

namespace {

constexpr size_t kTileBytes = 64 * 1024;  // of int32 sums: they stay near while neurons take them
constexpr size_t kFewChannels = 16;       // below, windows are copied into rows for dense products
constexpr size_t kRepeatsFlat = 16, kRepeatsConv = 4;  // largest input that repeats its event
constexpr uint8_t kMiddle = 128;

size_t up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Hands out parts of one worker's scratch memory, or only adds them up where there is none.
class Carver {
 public:
  explicit Carver(uint8_t *base) : base_(base) {}
  template <typename T>
  T *take(size_t count) {
    uint8_t *found = base_ ? base_ + used_ : nullptr;
    used_ += up(count * sizeof(T) + kSlack, kSlack);
    return reinterpret_cast<T *>(found);
  }
  size_t used() const { return used_; }

 private:
  uint8_t *base_;
  size_t used_ = 0;
};

}  // namespace

// The events of the input rows that the window of the present output row reaches.
struct Weights::Ring {
  Ring(const Weights &w, size_t steps, Carver &carver) : slots((w.s_.kernel_y - 1) * w.s_.dilation_y + 1) {
    slots = std::min(slots, w.s_.height);
    const size_t all = slots * w.s_.width * steps;
    const size_t repeats = w.events_ == Events::repeated ? static_cast<size_t>(w.largest_) : 1;
    capacity = up(w.in_ * repeats + 16, 16);
    counts = carver.take<uint32_t>(all);
    places = carver.take<uint32_t>(all * capacity);
    times = carver.take<int32_t>(w.events_ == Events::scaled ? all * capacity : 0);
    cells = carver.take<uint32_t>(w.taps_);
    bases = carver.take<uint32_t>(w.taps_);
    joined = carver.take<uint32_t>(w.taps_ * capacity);
    joined_times = carver.take<int32_t>(w.events_ == Events::scaled ? w.taps_ * capacity : 0);
  }

  void join_times(size_t windows, size_t step) {
    int32_t *to = joined_times;
    for (size_t k = 0; k < windows; ++k) {
      const size_t cell = cells[k] + step;
      to = std::copy_n(times + cell * capacity, counts[cell], to);
    }
  }

  size_t slots, capacity, next_row = 0;
  uint32_t *counts, *places, *joined, *cells, *bases;
  int32_t *times, *joined_times;
};

Weights::Weights(const KernelTable &k, Forced forced, Source x, const Window &window,
                 size_t out_channels, size_t groups, const int8_t *weight, int shift,
                 int32_t largest)
    : k_(k), rates_(&rates_of(k)), forced_(forced), x_(x), s_(window), groups_(groups), in_(window.channels / groups),
      out_(out_channels / groups), taps_(window.kernel_y * window.kernel_x), shift_(shift),
      largest_(largest) {
  const bool is_signed = x.map.kind == Kind::s8;
  const bool any = x.map.kind == Kind::i32;
  shifted_ = is_signed && k.signed_dense == kSignedShifted;
  has_dense_ = forced.choice != Choice::gather && !any &&
               (is_signed ? k.signed_dense != kSignedNever : largest <= k.dense_limit);
  const bool plain = taps_ == 1 && s_.stride_y == 1 && s_.stride_x == 1 && !s_.pad_y && !s_.pad_x;
  flat_ = plain && groups == 1 && !(shifted_ && has_dense_);
  columns_ = !flat_ && in_ < kFewChannels;
  const int32_t repeats = static_cast<int32_t>(flat_ ? kRepeatsFlat : kRepeatsConv);
  events_ = x.map.kind == Kind::u8 && largest <= 1         ? Events::single
            : x.map.kind == Kind::u8 && largest <= repeats ? Events::repeated
                                                           : Events::scaled;
  event_row_ = up(out_, kEventRow);
  out_panels_ = up(out_, kPanel) / kPanel;
  pack(weight);
}

void Weights::pack(const int8_t *weight) {
  pack_events(weight);
  if (has_dense_) pack_dense(weight);
  places_.resize(in_ + kSlack);
  for (size_t i = 0; i < in_; ++i) places_[i] = static_cast<uint32_t>(i * event_row_);
}

void Weights::pack_events(const int8_t *weight) {
  by_event_.resize(groups_ * taps_ * in_ * event_row_ + kSlack);
  for (size_t g = 0; g < groups_; ++g)
    for (size_t o = 0; o < out_; ++o)
      for (size_t i = 0; i < in_; ++i)
        for (size_t tap = 0; tap < taps_; ++tap)
          by_event_[((g * taps_ + tap) * in_ + i) * event_row_ + o] = code(weight, g, o, i, tap);
}

void Weights::pack_dense(const int8_t *weight) {
  const size_t length = columns_ ? taps_ * in_ : in_;  // of inputs that lie side by side
  const size_t parts = up(length, 64) / 64, part = up(up(length, parts) / parts, kQuad);
  quads_ = part / kQuad;
  chunks_ = columns_ ? parts : taps_ * parts;
  by_panel_.resize(groups_ * out_panels_ * chunks_ * quads_ * 64);
  init_.resize(shifted_ ? groups_ * out_panels_ * kPanel : 0);
  for (size_t g = 0; g < groups_; ++g)
    for (size_t o = 0; o < out_; ++o)
      for (size_t k = 0; k < chunks_; ++k)
        for (size_t j = 0; j < part; ++j) {
          const size_t at = columns_ ? k * part + j : k % parts * part + j;
          if (at >= length) continue;
          const size_t i = columns_ ? at % in_ : at, tap = columns_ ? at / in_ : k / parts;
          const int8_t w = code(weight, g, o, i, tap);
          const size_t panel = g * out_panels_ + o / kPanel;
          const size_t quad = (panel * chunks_ + k) * quads_ + j / kQuad;
          by_panel_[(quad * kPanel + o % kPanel) * kQuad + j % kQuad] = w;
          if (shifted_) init_[g * out_panels_ * kPanel + o] -= kMiddle * w;
        }
  for (size_t k = 0; k < chunks_; ++k) offsets_.push_back(static_cast<uint32_t>(k * part));
}

size_t Weights::constant_bytes() const {
  return by_event_.size() + by_panel_.size() +
         (init_.size() + places_.size()) * sizeof(int32_t);
}

// ---- Tiles ----

size_t Weights::padded_rows() const {
  return (s_.out_height - 1) * s_.stride_y + (s_.kernel_y - 1) * s_.dilation_y + 1;
}

size_t Weights::padded_columns() const {  // in each of stride_x phases
  const size_t all = (s_.out_width - 1) * s_.stride_x + (s_.kernel_x - 1) * s_.dilation_x + 1;
  return up(all, s_.stride_x) / s_.stride_x;
}

size_t Weights::row_bytes(size_t steps) const {
  return padded_columns() * s_.stride_x * steps * s_.channels;
}

// `together`: the frames of one sample lie right behind those of the sample before.
Weights::Cut Weights::cut(size_t samples, size_t steps, size_t columns, bool together) const {
  const size_t rows = std::max<size_t>(16, kTileBytes / (columns * sizeof(int32_t)));
  const size_t positions = s_.out_height * s_.out_width;
  Cut cut{1, 0, 0, 0};
  if (!flat_) {
    const size_t lines = std::max<size_t>(1, rows / up(s_.out_width * steps, 16));
    cut.positions = std::min(lines, s_.out_height) * s_.out_width;
  } else if (positions * steps <= rows) {
    cut.samples = together ? std::min(samples, rows / (positions * steps)) : 1;
    cut.positions = positions;
  } else {
    cut.positions = std::max<size_t>(1, rows / steps);
  }
  cut.tiles_a_sample_group = up(positions, cut.positions) / cut.positions;
  cut.tiles = up(samples, cut.samples) / cut.samples * cut.tiles_a_sample_group;
  return cut;
}

size_t Weights::tile_rows(const Cut &cut, size_t steps) const {
  if (!flat_) return cut.positions / s_.out_width * up(s_.out_width * steps, 16);
  if (cut.positions == s_.out_height * s_.out_width)
    return up(cut.samples * cut.positions * steps, 16);
  return up(cut.positions, 16) * steps;
}

Weights::Tile Weights::tile(const Cut &cut, size_t samples, size_t index) const {
  const size_t group = index / cut.tiles_a_sample_group * cut.samples;
  const size_t position = index % cut.tiles_a_sample_group * cut.positions;
  const size_t positions = s_.out_height * s_.out_width;
  return {group, std::min(cut.samples, samples - group), position,
          std::min(cut.positions, positions - position)};
}

size_t Weights::scratch_bytes(const Block &b) const {
  Carver gathering(nullptr), multiplying(nullptr);
  const size_t samples = flat_ ? b.samples : 1;
  gathering.take<int32_t>(tile_rows(cut(samples, b.steps, event_row_, true), b.steps) * event_row_);
  Ring ring(*this, flat_ ? 0 : b.steps, gathering);
  if (has_dense_) {
    const size_t columns = columns_at_once(), rows = tile_rows(cut(samples, b.steps, columns, true), b.steps);
    multiplying.take<int32_t>(rows * columns);
    multiplying.take<uint8_t>(columns_ ? up(s_.out_width * b.steps, 16) * chunks_ * quads_ * kQuad : 0);
    multiplying.take<uint32_t>(std::max(chunks_, taps_));
  }
  return std::max(gathering.used(), multiplying.used());
}

size_t Weights::shared_bytes(const Block &b) const {
  return has_dense_ && !flat_ ? padded_rows() * row_bytes(b.steps) + 4 * kSlack : 0;
}

// ---- The choice ----

bool Weights::gathers(const Context &c, size_t sample, size_t samples, size_t steps) const {
  if (!has_dense_) return true;
  if (forced_.choice != Choice::automatic) return forced_.choice == Choice::gather;
  double events = 0;
  for (size_t s = sample; s < sample + samples; ++s)
    for (size_t t = 0; t < steps; ++t)
      events += static_cast<double>(k_.count(x_.of(c, s, t), x_.map.bytes()));
  const Rates &rates = *rates_;
  const double lines = static_cast<double>(flat_ ? 1 : s_.out_height * samples);
  const double places = static_cast<double>(s_.out_height * s_.out_width);
  const double rows = places * static_cast<double>(samples * steps);
  const size_t line = static_cast<size_t>(rows / lines);
  const double inputs = static_cast<double>(s_.height * s_.width);
  const double fan_out = static_cast<double>(taps_) * places / inputs / static_cast<double>(groups_);
  const double additions = events * fan_out * static_cast<double>(event_row_) * static_cast<double>(groups_);
  const double products = lines * static_cast<double>(up(line, k_.row_block) * chunks_ * quads_ *
                                                      kQuad * out_panels_ * kPanel * groups_);
  const double each_row = rows * static_cast<double>(groups_) * rates.row;
  return additions * rates.add + each_row * (1 + 0.2 * static_cast<double>(taps_)) <
         products * rates.product + each_row * 0.2;
}

void Weights::compute(const Context &c, const Neurons *sink) const {
  const size_t steps = c.frames_of(number);
  if (flat_) {
    if (gathers(c, 0, c.samples, steps))
      gather(c, sink, 0, c.samples, steps);
    else
      dense(c, sink, 0, c.samples, steps);
    return;
  }
  for (size_t sample = 0; sample < c.samples; ++sample) {
    if (gathers(c, sample, 1, steps)) {
      gather(c, sink, sample, 1, steps);
      continue;
    }
    c.team.wait();
    pad(c, sample, steps);
    c.team.wait();
    dense(c, sink, sample, 1, steps);
  }
}

// ---- Dense ----

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
  const Cut cut = this->cut(samples, steps, columns_at_once(), c.at.frames[x_.node] == steps);
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

// ---- Events ----

void Weights::sum(int32_t *out, const int8_t *weights, const uint32_t *places, const int32_t *times,
                  size_t events, size_t count) const {
  if (events_ == Events::scaled)
    k_.gather_times(out, weights, places, times, events, count);
  else if (forced_.halves)
    k_.gather(out, weights, places, events, count);
  else
    k_.gather_wide(out, weights, places, events, count);
}

// The events of in_ inputs at x: where their rows of weights begin, and how often each counts.
size_t Weights::list(const uint8_t *x, uint32_t *places, int32_t *times) const {
  if (events_ == Events::single) return k_.events(places, x, places_.data(), in_);
  size_t found = 0;
  const int32_t *wide = reinterpret_cast<const int32_t *>(x);
  for (size_t i = 0; i < in_; ++i) {
    const int32_t value = x_.map.kind == Kind::i32  ? wide[i]
                          : x_.map.kind == Kind::s8 ? static_cast<int8_t>(x[i])
                                                    : x[i];
    if (!value) continue;
    if (events_ == Events::scaled) times[found] = value;
    for (int32_t n = events_ == Events::scaled ? 1 : value; n > 0; --n) places[found++] = places_[i];
  }
  return found;
}

void Weights::gather(const Context &c, const Neurons *sink, size_t first, size_t samples,
                     size_t steps) const {
  const Cut cut = this->cut(samples, steps, event_row_, c.at.frames[x_.node] == steps);
  // With fewer tiles than workers the output channels are shared instead.
  const size_t parts = cut.tiles < c.team.workers() ? std::min(c.team.workers(), event_row_ / kEventRow) : 1;
  const auto [begin, end] = share(cut.tiles * parts, c.worker, c.team.workers());
  for (size_t g = 0; g < groups_; ++g) {
    Carver carver(c.scratch());
    int32_t *sums = carver.take<int32_t>(tile_rows(cut, steps) * event_row_);
    Ring ring(*this, flat_ ? 0 : steps, carver);
    for (size_t unit = begin; unit < end; ++unit) {
      Tile tile = this->tile(cut, samples, unit / parts);
      tile.sample += first;
      const auto [from, to] = share(event_row_ / kEventRow, unit % parts, parts);
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
        if (events_ == Events::scaled) ring.join_times(windows, t);
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
                 ring.times + cell * ring.capacity));
      }
  ring.next_row = std::max(ring.next_row, end);
}

// ---- What becomes of the sums ----

void Weights::deliver(const Context &c, const Neurons *sink, const Tile &tile, int32_t *acc,
                      size_t columns, size_t steps, size_t channel, size_t channels) const {
  if (!flat_) {
    const size_t line = up(s_.out_width * steps, 16) * columns;
    for (size_t n = 0; n < tile.positions / s_.out_width; ++n)
      deliver_some(c, sink, tile.sample, acc + n * line,
                   {nullptr, steps * columns, columns, tile.position + n * s_.out_width,
                    s_.out_width, channel, channels, shift_});
    return;
  }
  const bool whole = tile.positions == s_.out_height * s_.out_width;
  const size_t step = (whole ? tile.positions : up(tile.positions, 16)) * columns;
  for (size_t s = 0; s < tile.samples; ++s)
    deliver_some(c, sink, tile.sample + s, acc + s * steps * step,
                 {nullptr, columns, step, tile.position, tile.positions, channel,
                  channels, shift_});
}

void Weights::deliver_some(const Context &c, const Neurons *sink, size_t sample, int32_t *acc,
                           const Sums &sums) const {
  if (sink) {
    sink->take(c, sample, acc, sums);
    return;
  }
  for (size_t t = 0; t < c.frames_of(number); ++t) {
    int32_t *frame = reinterpret_cast<int32_t *>(c.frame(number, map, sample, t));
    for (size_t p = 0; p < sums.positions; ++p) {
      const int32_t *from = acc + p * sums.acc_position + t * sums.acc_step;
      int32_t *to = frame + (sums.position + p) * map.channels + sums.channel;
      for (size_t i = 0; i < sums.channels; ++i) to[i] = from[i] * (1 << shift_);
    }
  }
}

}  // namespace spikewright
