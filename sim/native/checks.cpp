#include "checks.hpp"

#include <algorithm>

#include "weights.hpp"

namespace spikewright {

namespace {

// The ranges of export/ir/check.py.
constexpr int32_t kMostShift = 16, kLeastBits = 2, kMostBits = 30, kMostSpikes = 1 << 15,
                  kMostRefractory = 1 << 15, kDecayOne = 4096;
constexpr size_t kMostPadded = size_t{1} << 36;  // values of a frame within its border

bool within(int32_t low, const Ints &values, int32_t high) {
  return std::all_of(values.begin(), values.end(),
                     [=](int32_t x) { return low <= x && x <= high; });
}

// One entry a channel, one a value, or none.
void check_entries(const char *what, const Ints &values, const Map &map) {
  const size_t n = values.size();
  if (n != 0 && n != map.channels && n != map.size())
    throw std::invalid_argument(std::string(what) + ": " + std::to_string(n) +
                                " entries, not one a channel, one a neuron or none");
}

// The last entry that strides reach.
size_t last_of(std::initializer_list<std::pair<size_t, size_t>> axes) {
  size_t last = 0;
  for (const auto &[length, stride] : axes)
    last += product("an operand's reach", {length - 1, stride}, kMostValues);
  return last;
}

}  // namespace

void check_map(const Map &map) {
  require(map.positions && map.channels, "a map of no values");
  product("a map's values", {map.positions, map.channels}, kMostValues);
}

void check_index(const Ints &index, size_t size, size_t below) {
  require(index.size() == size, "an order of another length than its map");
  require(within(0, index, static_cast<int32_t>(below - 1)), "an order that leaves its map");
}

void check_window(const Window &w, const Map &from, size_t out_channels) {
  for (size_t n : {w.channels, w.height, w.width, w.kernel_y, w.kernel_x, w.stride_y, w.stride_x,
                   w.dilation_y, w.dilation_x, w.out_height, w.out_width, out_channels}) {
    require(n, "a window with a number of 0");
    require_at_most("a window's number", n, kMostValues);
  }
  require_at_most("padding", std::max(w.pad_y, w.pad_x), kMostValues);
  require(product("a window's map", {w.channels, w.height, w.width}, kMostValues) == from.size(),
          "a window over another number of values than its source has");
  check_map({w.out_height * w.out_width, out_channels, Kind::i32});
  product("a kernel", {w.kernel_y, w.kernel_x}, kMostValues);
}

void check_weights(const Window &w, const Map &from, size_t out_channels, size_t groups,
                   size_t weights, int shift, int32_t largest) {
  check_window(w, from, out_channels);
  require(groups && w.channels % groups == 0 && out_channels % groups == 0,
          "groups that do not divide the channels");
  const size_t in = w.channels / groups, out = out_channels / groups;
  const size_t taps = w.kernel_y * w.kernel_x;
  require(product("weights", {out_channels, in, taps}, kMostBytes) == weights,
          "weights of another number than their window asks for");
  require(0 <= shift && shift <= kMostShift && largest >= 0, "a weight shift or input out of range");
  product("bytes of one layer's weights, which offsets of 32 bits reach",
          {taps, in, (out + kEventRow - 1) / kEventRow * kEventRow}, kMostReach);
  const size_t rows = (w.out_height - 1) * w.stride_y + (w.kernel_y - 1) * w.dilation_y + 1;
  const size_t columns = (w.out_width - 1) * w.stride_x + (w.kernel_x - 1) * w.dilation_x + 1;
  product("a frame within its border", {rows, columns + w.stride_x, w.channels}, kMostPadded);
  const bool by_position = taps == 1 && w.stride_y == 1 && w.stride_x == 1 && !w.pad_y && !w.pad_x;
  require(!by_position || (w.out_height == w.height && w.out_width == w.width),
          "a product by position of another size than its map");
}

void check_matmul(const Map &a, const Map &b, const std::vector<size_t> &shape,
                  const std::vector<size_t> &s, const Map &map) {
  require(shape.size() == 4 && s.size() == 9, "a product has 4 sizes and 9 strides");
  for (size_t n : shape) require(n && n <= kMostValues, "a product's size is out of range");
  const size_t batch = shape[0], rows = shape[1], inner = shape[2], columns = shape[3];
  check_map(map);
  require(map.kind == Kind::i32, "a product's values are int32");
  require(last_of({{batch, s[0]}, {rows, s[1]}, {inner, s[2]}}) < a.size() &&
              last_of({{batch, s[3]}, {inner, s[4]}, {columns, s[5]}}) < b.size() &&
              last_of({{batch, s[6]}, {rows, s[7]}, {columns, s[8]}}) < map.size(),
          "strides that leave an operand");
}

void check_neuron(const Map &from, const Map &map, const NeuronFields &f) {
  check_map(map);
  require(map.size() == from.size(), "another number of neurons than arriving sums");
  const std::pair<const char *, const Ints *> arrays[] = {
      {"threshold", &f.threshold}, {"decay", &f.decay},     {"current_decay", &f.current_decay},
      {"bias", &f.bias},           {"bias_in", &f.bias_in}, {"reset", &f.reset},
      {"initial", &f.initial},     {"minimum", &f.minimum}, {"leak", &f.leak}};
  for (const auto &[name, values] : arrays) check_entries(name, *values, map);
  require(within(0, f.decay, kDecayOne) && within(0, f.current_decay, kDecayOne),
          "a decay is 0 to 4096");
  require(within(0, f.leak, INT32_MAX), "a leak is not negative");
  require(f.low <= f.high && f.current_low <= f.current_high, "limits the wrong way round");
  require(kLeastBits <= f.current_bits && f.current_bits <= kMostBits, "bits out of range");
  require(0 <= f.shift && f.shift <= kMostShift, "a shift out of range");
  require(1 <= f.max_spikes && f.max_spikes <= kMostSpikes, "spikes a step out of range");
  require(0 <= f.refractory && f.refractory <= kMostRefractory, "refractory steps out of range");
  if (f.max_spikes == 1) {
    require(map.kind == Kind::u8, "single spikes are uint8");
    return;
  }
  require(!f.threshold.empty() && within(1, f.threshold, INT32_MAX),
          "several spikes a step need a threshold of 1 or more");
}

void check_readout(const Map &from, const ReadoutFields &f) {
  require((f.bias.empty() || f.bias.size() == from.size()) &&
              (f.decay.empty() || f.decay.size() == from.size()),
          "a readout's bias and decay have one entry a value or none");
  require(within(0, f.decay, kDecayOne), "a decay is 0 to 4096");
  require(f.low <= f.high && 0 <= f.shift && f.shift <= kMostShift, "a readout's limits or shift");
}

}  // namespace spikewright
