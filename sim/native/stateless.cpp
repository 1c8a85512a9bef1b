// Ops without weights and without state: pools, permutations, additions, factors.
#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "checks.hpp"

namespace spikewright {

namespace {

// Calls f with a pointer of the map's kind.
template <typename F>
void typed(Kind kind, uint8_t *values, F f) {
  if (kind == Kind::i32) f(reinterpret_cast<int32_t *>(values));
  if (kind == Kind::s8) f(reinterpret_cast<int8_t *>(values));
  if (kind == Kind::u8) f(values);
}

template <typename F>
void typed(Kind kind, const uint8_t *values, F f) {
  if (kind == Kind::i32) f(reinterpret_cast<const int32_t *>(values));
  if (kind == Kind::s8) f(reinterpret_cast<const int8_t *>(values));
  if (kind == Kind::u8) f(values);
}

// Runs work(sample, step, worker's share of rows) over the frames of op `number`.
template <typename Work>
void over_frames(const Context &c, size_t number, size_t rows, Work work) {
  const auto [begin, end] = share(rows, c.worker, c.team.workers());
  for (size_t sample = 0; sample < c.samples; ++sample)
    for (size_t t = 0; t < c.frames_of(number); ++t) work(sample, t, begin, end);
}

class Pool final : public Op {
 public:
  Pool(Source x, const Window &window, bool maximum) : x_(x), s_(window), maximum_(maximum) {
    stateless = true;
  }

  void run(const Context &c) const override {
    over_frames(c, number, s_.out_height, [&](size_t sample, size_t t, size_t begin, size_t end) {
      typed(x_.map.kind, x_.of(c, sample, t), [&](const auto *x) {
        typed(map.kind, c.frame(number, map, sample, t), [&](auto *y) {
          for (size_t row = begin; row < end; ++row)
            for (size_t column = 0; column < s_.out_width; ++column)
              window(x, y + (row * s_.out_width + column) * map.channels, row, column);
        });
      });
    });
  }

 private:
  template <typename X, typename Y>
  void window(const X *x, Y *y, size_t place_y, size_t place_x) const {
    const Y least = std::numeric_limits<Y>::lowest();
    std::fill_n(y, map.channels, maximum_ ? least : Y{0});
    for (size_t ky = 0; ky < s_.kernel_y; ++ky)
      for (size_t kx = 0; kx < s_.kernel_x; ++kx) {
        // Unsigned wrap-around makes a position before the border larger than the map.
        const size_t row = place_y * s_.stride_y + ky - s_.pad_y;
        const size_t column = place_x * s_.stride_x + kx - s_.pad_x;
        if (row >= s_.height || column >= s_.width) continue;
        const X *from = x + (row * s_.width + column) * map.channels;
        if (maximum_)
          for (size_t i = 0; i < map.channels; ++i) y[i] = std::max<Y>(y[i], static_cast<Y>(from[i]));
        else
          for (size_t i = 0; i < map.channels; ++i) y[i] = static_cast<Y>(y[i] + from[i]);
      }
  }

  Source x_;
  Window s_;
  bool maximum_;
};

class Permutation final : public Op {
 public:
  Permutation(Source x, Ints index) : x_(x), index_(std::move(index)) { stateless = true; }

  size_t constant_bytes() const override { return index_.size() * sizeof(int32_t); }

  void run(const Context &c) const override {
    over_frames(c, number, map.size(), [&](size_t sample, size_t t, size_t begin, size_t end) {
      typed(map.kind, c.frame(number, map, sample, t), [&](auto *y) {
        using Y = std::remove_reference_t<decltype(*y)>;
        const Y *x = reinterpret_cast<const Y *>(x_.of(c, sample, t));
        for (size_t i = begin; i < end; ++i) y[i] = x[index_[i]];
      });
    });
  }

 private:
  Source x_;
  Ints index_;
};

class Sum final : public Op {
 public:
  explicit Sum(std::vector<Source> sources) : sources_(std::move(sources)) { stateless = true; }

  void run(const Context &c) const override {
    over_frames(c, number, map.size(), [&](size_t sample, size_t t, size_t begin, size_t end) {
      typed(map.kind, c.frame(number, map, sample, t), [&](auto *y) {
        using Y = std::remove_reference_t<decltype(*y)>;
        for (const Source &source : sources_)
          typed(source.map.kind, source.of(c, sample, t), [&](const auto *x) {
            if (&source == &sources_.front())
              for (size_t i = begin; i < end; ++i) y[i] = static_cast<Y>(x[i]);
            else
              for (size_t i = begin; i < end; ++i) y[i] = static_cast<Y>(y[i] + x[i]);
          });
      });
    });
  }

 private:
  std::vector<Source> sources_;
};

class Scale final : public Op {  // one factor a channel, or one a value
 public:
  Scale(Source x, Ints factor) : x_(x), factor_(std::move(factor)) { stateless = true; }

  size_t constant_bytes() const override { return factor_.size() * sizeof(int32_t); }

  void run(const Context &c) const override {
    const bool whole = factor_.size() == map.size();
    over_frames(c, number, map.positions, [&](size_t sample, size_t t, size_t begin, size_t end) {
      typed(x_.map.kind, x_.of(c, sample, t), [&](const auto *x) {
        typed(map.kind, c.frame(number, map, sample, t), [&](auto *y) {
          using Y = std::remove_reference_t<decltype(*y)>;
          for (size_t p = begin; p < end; ++p) {
            const int32_t *factor = factor_.data() + (whole ? p * map.channels : 0);
            const size_t at = p * map.channels;
            for (size_t i = 0; i < map.channels; ++i)
              y[at + i] = static_cast<Y>(factor[i] * x[at + i]);
          }
        });
      });
    });
  }

 private:
  Source x_;
  Ints factor_;
};

}  // namespace

size_t Plan::add_pool(size_t from, const Window &window, bool maximum, Kind kind) {
  const Source x = source(from);
  check_window(window, x.map, window.channels);
  return push(std::make_unique<Pool>(x, window, maximum),
              {window.out_height * window.out_width, window.channels, kind}, {from});
}

size_t Plan::add_permutation(size_t from, Map map, Ints index) {
  const Source x = source(from);
  check_map(map);
  check_index(index, map.size(), x.map.size());
  require(map.kind == x.map.kind, "an order changes no value");
  return push(std::make_unique<Permutation>(x, std::move(index)), map, {from});
}

size_t Plan::add_sum(const std::vector<size_t> &nodes, Map map) {
  std::vector<Source> sources;
  for (size_t node : nodes) sources.push_back(source(node));
  check_map(map);
  require(!sources.empty(), "a sum of nothing");
  for (const Source &x : sources) require(x.map.size() == map.size(), "a sum of unlike sizes");
  return push(std::make_unique<Sum>(std::move(sources)), map, nodes);
}

size_t Plan::add_scale(size_t from, Map map, Ints factor) {
  const Source x = source(from);
  check_map(map);
  require(map.size() == x.map.size(), "factors of values of another size");
  require(factor.size() == map.channels || factor.size() == map.size(),
          "factors: one a channel or one a value");
  return push(std::make_unique<Scale>(x, std::move(factor)), map, {from});
}

}  // namespace spikewright
