#include "weights.hpp"

#include <algorithm>

#include "checks.hpp"
#include "neurons.hpp"
#include "weights_scratch.hpp"

namespace spikewright {

namespace {

constexpr size_t kTileBytes = 64 * 1024;    // of int32 sums: they stay near while neurons take them
constexpr size_t kFewWeights = 128 * 1024;  // bytes that two workers may both read
constexpr size_t kFewChannels = 16;         // below, windows are copied into rows for dense products
constexpr int32_t kCounted = 127;           // the largest input whose event a byte counts
constexpr double kScaledCost = 4;           // of an int32 product and addition, in int16 additions
constexpr double kBordered = 1.2;           // a convolution's products, with its copy in a border

}  // namespace

Weights::Weights(const KernelTable &k, Forced forced, Source x, bool counted, const Window &window,
                 size_t out_channels, size_t groups, const int8_t *weight, int shift,
                 int32_t largest)
    : k_(k), rates_(&rates_of(k)), forced_(forced), x_(x), counted_(counted), s_(window),
      groups_(groups), in_(window.channels / groups), out_(out_channels / groups), taps_(window.kernel_y * window.kernel_x), shift_(shift),
      largest_(largest) {
  stateless = true;
  const bool is_signed = x.map.kind == Kind::s8;
  const bool any = x.map.kind == Kind::i32;
  shifted_ = is_signed && k.signed_dense == kSignedShifted;
  has_dense_ = forced.choice != Choice::gather && !any &&
               (is_signed ? k.signed_dense != kSignedNever : largest <= k.dense_limit);
  const bool plain = taps_ == 1 && s_.stride_y == 1 && s_.stride_x == 1 && !s_.pad_y && !s_.pad_x;
  flat_ = plain && groups == 1 && !(shifted_ && has_dense_);
  columns_ = !flat_ && in_ < kFewChannels;
  const bool in_bytes = x.map.kind == Kind::u8 && largest <= kCounted && forced.halves;
  events_ = x.map.kind == Kind::u8 && largest <= 1 ? Events::single
            : in_bytes                             ? Events::counted
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

// Of a tile, where a line of the map is not longer.
size_t Weights::rows_aimed_at(size_t columns) const {
  return std::max<size_t>(16, kTileBytes / (columns * sizeof(int32_t)));
}

// `together`: the frames of one sample lie right behind those of the sample before. Workers take rows
// of their own where that reads few weights twice: what they write is then what they read later.
Weights::Cut Weights::cut(size_t samples, size_t steps, size_t columns, bool together,
                          size_t workers) const {
  const size_t rows = rows_aimed_at(columns);
  const size_t positions = s_.out_height * s_.out_width;
  Cut cut{1, 0, 0, 0};
  if (!flat_) {
    const size_t lines = std::max<size_t>(1, rows / up(s_.out_width * steps, 16));
    const size_t among = taps_ * in_ * event_row_ <= kFewWeights ? workers : 1;
    cut.positions = std::min(lines, up(s_.out_height, among) / among) * s_.out_width;
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

// At least `tile_rows` of every cut of up to b.samples and b.steps: the last block of a run has fewer
// steps, a repeated frame has one, and fewer steps may make a tile of more rows.
size_t Weights::most_tile_rows(const Block &b, size_t columns) const {
  if (!flat_) {
    const size_t line = up(s_.out_width * b.steps, 16);
    return std::min(std::max(rows_aimed_at(columns), line), s_.out_height * line);
  }
  size_t most = 0;
  for (size_t steps = 1; steps <= b.steps; ++steps)
    most = std::max(most, tile_rows(cut(b.samples, steps, columns, true, 1), steps));
  return most;
}

size_t Weights::scratch_bytes(const Block &b) const {
  const size_t slots = std::min((s_.kernel_y - 1) * s_.dilation_y + 1, s_.height);
  if (!flat_) product("cells of events", {slots, s_.width, b.steps}, kMostReach);
  Carver gathering(nullptr), multiplying(nullptr);
  gathering.take<int32_t>(most_tile_rows(b, event_row_) * event_row_);
  Ring ring(*this, flat_ ? 0 : b.steps, gathering);
  if (has_dense_) {
    const size_t columns = columns_at_once();
    multiplying.take<int32_t>(most_tile_rows(b, columns) * columns);
    const size_t rows = columns_ ? up(s_.out_width * b.steps, 16) : 0;
    multiplying.take<uint8_t>(product("windows", {rows, chunks_ * quads_ * kQuad}, kMostBytes));
    multiplying.take<uint32_t>(std::max(chunks_, taps_));
  }
  return std::max(gathering.used(), multiplying.used());
}

size_t Weights::shared_bytes(const Block &b) const {
  if (!has_dense_ || flat_) return 0;
  const size_t tall = (s_.kernel_y - 1) * s_.dilation_y + 1;
  product("what a window reaches over", {tall, row_bytes(b.steps)}, kMostReach);
  return padded_rows() * row_bytes(b.steps) + 4 * kSlack;
}

// ---- The choice ----

// How many inputs are not zero.
size_t Weights::events(const Context &c, size_t sample, size_t samples, size_t steps) const {
  size_t found = 0;
  for (size_t s = sample; s < sample + samples; ++s)
    if (counted_)
      for (size_t w = 0; w < c.team.workers(); ++w) found += c.spikes(x_.node, s, w);
    else
      for (size_t t = 0; t < steps; ++t) found += k_.count(x_.of(c, s, t), x_.map.bytes());
  return found;
}

bool Weights::gathers(const Context &c, size_t sample, size_t samples, size_t steps) const {
  if (!has_dense_) return true;
  if (forced_.choice != Choice::automatic) return forced_.choice == Choice::gather;
  const double events = static_cast<double>(this->events(c, sample, samples, steps));
  const Rates &rates = *rates_;
  const double lines = static_cast<double>(flat_ ? 1 : s_.out_height * samples);
  const double places = static_cast<double>(s_.out_height * s_.out_width);
  const double rows = places * static_cast<double>(samples * steps);
  const size_t line = static_cast<size_t>(rows / lines);
  const double inputs = static_cast<double>(s_.height * s_.width);
  const double fan_out = static_cast<double>(taps_) * places / inputs / static_cast<double>(groups_);
  const double additions = events * fan_out * static_cast<double>(event_row_) * static_cast<double>(groups_);
  const double cost = events_ == Events::scaled ? kScaledCost : 1;
  const double products = lines * static_cast<double>(up(line, k_.row_block) * chunks_ * quads_ *
                                                      kQuad * out_panels_ * kPanel * groups_);
  const double each_row = rows * static_cast<double>(groups_) * rates.row;
  const double bordered = flat_ ? 1 : kBordered;
  return additions * cost * rates.add + each_row * (1 + 0.2 * static_cast<double>(taps_)) <
         products * bordered * rates.product + each_row * 0.2;
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
    if (sample) c.team.wait();  // nobody reads the padded sample any more
    if (gathers(c, sample, 1, steps)) {
      gather(c, sink, sample, 1, steps);
      continue;
    }
    pad(c, sample, steps);
    c.team.wait();
    dense(c, sink, sample, 1, steps);
  }
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
