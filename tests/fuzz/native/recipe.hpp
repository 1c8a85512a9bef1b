// Reads what a plan is made of from bytes: numbers of seven bits a byte, arrays behind their length.
//
// A call is raw, and hands the engine whatever the bytes say, or fitted: sources that exist, arrays
// of the length that is asked for, windows over as many values as there are. Raw calls try the
// checks, fitted ones what lies behind them. A fitted call leaves what fits as it is, so that plans
// of real graphs (corpus.py writes them) stay what they are.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../../../sim/native/plan.hpp"

namespace spikewright::fuzz {

constexpr size_t kMostEntries = size_t{1} << 16;  // of an array that a call is fitted with

class Recipe {
 public:
  Recipe(const uint8_t *data, size_t size) : at_(data), end_(data + size) {}

  bool empty() const { return at_ == end_; }
  uint8_t byte() { return at_ == end_ ? 0 : *at_++; }
  size_t number() {
    size_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t b = byte();
      value |= size_t{b & 127u} << shift;
      if (b < 128) break;
    }
    return value;
  }
  int64_t signed_number() {
    const size_t n = number();
    return static_cast<int64_t>(n >> 1) ^ -static_cast<int64_t>(n & 1);
  }
  int32_t int32() { return static_cast<int32_t>(signed_number()); }
  size_t at_most(size_t most) { return number() % (most + 1); }

  Ints ints() {
    Ints values(std::min(number(), left()));
    for (int32_t &value : values) value = int32();
    return values;
  }
  std::vector<int8_t> codes() {
    std::vector<int8_t> values(std::min(number(), left()));
    for (int8_t &value : values) value = static_cast<int8_t>(byte());
    return values;
  }
  template <size_t N>
  std::vector<size_t> numbers() {
    std::vector<size_t> values(N);
    for (size_t &value : values) value = number();
    return values;
  }

 private:
  size_t left() const { return static_cast<size_t>(end_ - at_); }

  const uint8_t *at_, *end_;
};

// The entries over and over, n in all.
template <typename T>
std::vector<T> cycled(std::vector<T> values, size_t n) {
  const size_t given = values.size();
  if (given == n || n > kMostEntries) return values;
  if (!given) return std::vector<T>(n, 1);
  values.resize(n);
  for (size_t i = given; i < n; ++i) values[i] = values[i % given];
  return values;
}

// One entry a channel, one a value, or none, whichever is next to what is given.
inline Ints fitted(Ints values, const Map &map) {
  if (values.empty() || values.size() == map.size()) return values;
  return cycled(std::move(values), values.size() <= map.channels ? map.channels : map.size());
}

inline Ints order(Ints values, size_t n, size_t below) {
  Ints places = cycled(std::move(values), n);
  for (int32_t &place : places)
    place = static_cast<int32_t>(static_cast<uint32_t>(place) % std::max<size_t>(below, 1));
  return places;
}

inline size_t one_to(size_t value, size_t most) {
  return 1 <= value && value <= most ? value : 1 + value % most;
}

// A window over as many values as the map has, with small numbers.
inline Window fitted(Window w, const Map &from) {
  if (w.channels > kMostEntries || w.height > kMostEntries || w.width > kMostEntries ||
      w.channels * w.height * w.width != from.size())
    w.channels = from.channels, w.height = from.positions, w.width = 1;
  for (size_t *n : {&w.kernel_y, &w.kernel_x}) *n = one_to(*n, 7);
  for (size_t *n : {&w.stride_y, &w.stride_x, &w.dilation_y, &w.dilation_x}) *n = one_to(*n, 4);
  for (size_t *n : {&w.pad_y, &w.pad_x}) *n %= 8;
  w.out_height = one_to(w.out_height, 32);
  w.out_width = one_to(w.out_width, std::max<size_t>(w.width, 32));
  const bool by_position = w.kernel_y * w.kernel_x * w.stride_y * w.stride_x == 1 && !w.pad_y && !w.pad_x;
  if (by_position) w.out_height = w.height, w.out_width = w.width;
  return w;
}

inline Window window_of(const std::vector<size_t> &v) {
  return {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12]};
}

}  // namespace spikewright::fuzz
