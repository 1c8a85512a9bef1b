// Linear layers and convolutions: events are gathered row by row, or all is computed densely.
#include <algorithm>
#include <cstring>

#include "plan.hpp"

namespace spikewright {

namespace {

// Below this share of non-zero inputs, gathering events was faster than dense int8 dot products on
// the machines tried (AVX2 and AVX-512 VNNI); a measured choice belongs to the engine's next step.
constexpr double kGatherBelow = 0.25;

// Places turned at a time: their sums stay in the first-level cache meanwhile.
constexpr size_t kTile = 32;

bool sparse(const int32_t *x, size_t count) {
  size_t events = 0;
  for (size_t i = 0; i < count; ++i) events += x[i] != 0;
  return static_cast<double>(events) < kGatherBelow * static_cast<double>(count);
}

void shift_left(int32_t *y, size_t count, int shift) {
  if (shift == 0) return;
  for (size_t i = 0; i < count; ++i) y[i] *= 1 << shift;
}

class Linear final : public Op {
 public:
  Linear(const KernelTable &k, Choice choice, Source x, size_t rows, size_t in, size_t out,
         const int8_t *weight, int shift, Proven proven)
      : k_(k), choice_(proven.bytes ? choice : Choice::gather), x_(x), rows_(rows), in_(in),
        out_(out), shift_(shift), halves_(proven.halves), by_output_(weight, weight + in * out),
        by_input_(in * out), sums_(out) {
    for (size_t o = 0; o < out; ++o)
      for (size_t i = 0; i < in; ++i) {
        by_input_[i * out + o] = weight[o * in + i];
        sums_[o] += weight[o * in + i];
      }
    byte_size = proven.bytes ? in : 0;
    half_size = proven.halves ? out : 0;
  }

  void run(Workspace &w) const override {
    for (size_t row = 0; row < rows_; ++row) {
      const int32_t *x = x_.of(w) + row * in_;
      int32_t *y = out(w) + row * out_;
      const bool gather =
          choice_ == Choice::gather || (choice_ == Choice::automatic && sparse(x, in_));
      if (!gather)
        dense(x, y, w.bytes.data());
      else if (halves_)
        events16(x, y, w.halves.data());
      else
        events(x, y);
      shift_left(y, out_, shift_);
    }
  }

 private:
  void events16(const int32_t *x, int32_t *y, int16_t *sums) const {
    std::memset(sums, 0, out_ * sizeof(int16_t));
    for (size_t i = 0; i < in_; ++i)
      if (x[i]) k_.add_row16(sums, by_input_.data() + i * out_, x[i], out_);
    for (size_t o = 0; o < out_; ++o) y[o] = sums[o];
  }

  void events(const int32_t *x, int32_t *y) const {
    std::memset(y, 0, out_ * sizeof(int32_t));
    for (size_t i = 0; i < in_; ++i)
      if (x[i]) k_.add_row(y, by_input_.data() + i * out_, x[i], out_);
  }

  void dense(const int32_t *x, int32_t *y, int8_t *bytes) const {
    for (size_t i = 0; i < in_; ++i) bytes[i] = static_cast<int8_t>(x[i]);
    for (size_t o = 0; o < out_; ++o)
      y[o] = k_.dot(by_output_.data() + o * in_, bytes, sums_[o], in_);
  }

  const KernelTable &k_;
  Choice choice_;
  Source x_;
  size_t rows_, in_, out_;
  int shift_;
  bool halves_;
  Codes by_output_, by_input_;
  Ints sums_;
};

// One place along an axis that an input position reaches, and through which tap.
struct Reach {
  uint32_t place, tap;
};

// For each input position along one axis, the places that see it.
std::vector<std::vector<Reach>> reaches(size_t size, size_t kernel, size_t stride, size_t pad,
                                        size_t dilation, size_t places) {
  std::vector<std::vector<Reach>> found(size);
  for (size_t place = 0; place < places; ++place)
    for (size_t tap = 0; tap < kernel; ++tap) {
      const size_t read = place * stride + tap * dilation;
      if (read >= pad && read - pad < size)
        found[read - pad].push_back({static_cast<uint32_t>(place), static_cast<uint32_t>(tap)});
    }
  return found;
}

class Conv final : public Op {
 public:
  Conv(const KernelTable &k, Choice choice, Source x, const Window &window, size_t out_channels,
       size_t groups, const int8_t *weight, int shift, Proven proven)
      : k_(k), choice_(proven.bytes ? choice : Choice::gather), x_(x), s_(window), groups_(groups),
        in_(window.channels / groups), out_(out_channels / groups),
        taps_(window.kernel_y * window.kernel_x), places_(window.out_height * window.out_width),
        shift_(shift), halves_(proven.halves),
        by_output_(weight, weight + out_channels * in_ * taps_),
        by_input_(by_output_.size()), sums_(out_channels),
        rows_(reaches(window.height, window.kernel_y, window.stride_y, window.pad_y,
                      window.dilation_y, window.out_height)),
        columns_(reaches(window.width, window.kernel_x, window.stride_x, window.pad_x,
                         window.dilation_x, window.out_width)) {
    lay_out();
    (halves_ ? half_size : scratch_size) = places_ * out_;
    byte_size = proven.bytes ? in_ * taps_ : 0;
  }

  void run(Workspace &w) const override {
    const int32_t *x = x_.of(w);
    int32_t *y = out(w);
    const size_t map = in_ * s_.height * s_.width;
    for (size_t g = 0; g < groups_; ++g) {
      const int32_t *part = x + g * map;
      int32_t *result = y + g * out_ * places_;
      const bool gather =
          choice_ == Choice::gather || (choice_ == Choice::automatic && sparse(part, map));
      if (!gather)
        dense(g, part, result, w.bytes.data());
      else if (halves_)
        events(g, part, result, w.halves.data(), k_.add_row16);
      else
        events(g, part, result, w.scratch.data(), k_.add_row);
    }
    shift_left(y, size, shift_);
  }

 private:
  // Weights as [group][in][tap][out], so that one event adds contiguous output channels.
  void lay_out() {
    for (size_t g = 0; g < groups_; ++g)
      for (size_t o = 0; o < out_; ++o)
        for (size_t i = 0; i < in_; ++i)
          for (size_t t = 0; t < taps_; ++t) {
            const int8_t code = by_output_[((g * out_ + o) * in_ + i) * taps_ + t];
            by_input_[((g * in_ + i) * taps_ + t) * out_ + o] = code;
            sums_[g * out_ + o] += code;
          }
  }

  // Sums lie as [place][out] while events arrive, and are turned to [out][place] at the end.
  template <typename Sum, typename AddRow>
  void events(size_t g, const int32_t *x, int32_t *y, Sum *sums, AddRow add_row) const {
    std::memset(sums, 0, places_ * out_ * sizeof(Sum));
    for (size_t c = 0; c < in_; ++c) {
      const int8_t *weights = by_input_.data() + (g * in_ + c) * taps_ * out_;
      for (size_t row = 0; row < s_.height; ++row)
        for (size_t column = 0; column < s_.width; ++column, ++x)
          if (*x) event(weights, row, column, *x, sums, add_row);
    }
    for (size_t first = 0; first < places_; first += kTile)
      for (size_t o = 0; o < out_; ++o)
        for (size_t p = first; p < std::min(first + kTile, places_); ++p)
          y[o * places_ + p] = sums[p * out_ + o];
  }

  template <typename Sum, typename AddRow>
  void event(const int8_t *weights, size_t row, size_t column, int32_t times, Sum *sums,
             AddRow add_row) const {
    for (const Reach &r : rows_[row])
      for (const Reach &c : columns_[column])
        add_row(sums + (r.place * s_.out_width + c.place) * out_,
                weights + (r.tap * s_.kernel_x + c.tap) * out_, times, out_);
  }

  void dense(size_t g, const int32_t *x, int32_t *y, int8_t *patch) const {
    const size_t length = in_ * taps_;
    for (size_t p = 0; p < places_; ++p) {
      gather_patch(x, p / s_.out_width, p % s_.out_width, patch);
      for (size_t o = 0; o < out_; ++o) {
        const size_t row = g * out_ + o;
        y[o * places_ + p] = k_.dot(by_output_.data() + row * length, patch, sums_[row], length);
      }
    }
  }

  void gather_patch(const int32_t *x, size_t place_y, size_t place_x, int8_t *patch) const {
    for (size_t c = 0; c < in_; ++c)
      for (size_t ky = 0; ky < s_.kernel_y; ++ky)
        for (size_t kx = 0; kx < s_.kernel_x; ++kx) {
          // Unsigned wrap-around makes a position before the border larger than the map.
          const size_t row = place_y * s_.stride_y + ky * s_.dilation_y - s_.pad_y;
          const size_t column = place_x * s_.stride_x + kx * s_.dilation_x - s_.pad_x;
          const bool inside = row < s_.height && column < s_.width;
          *patch++ = inside ? static_cast<int8_t>(x[(c * s_.height + row) * s_.width + column]) : 0;
        }
  }

  const KernelTable &k_;
  Choice choice_;
  Source x_;
  Window s_;
  size_t groups_, in_, out_, taps_, places_;
  int shift_;
  bool halves_;
  Codes by_output_, by_input_;
  Ints sums_;
  std::vector<std::vector<Reach>> rows_, columns_;
};

}  // namespace

size_t Plan::add_linear(size_t from, size_t rows, size_t in, size_t out, const int8_t *weight,
                        int shift, Proven proven) {
  return push(std::make_unique<Linear>(kernels_, choice_, source(from), rows, in, out, weight,
                                       shift, proven),
              rows * out);
}

size_t Plan::add_conv(size_t from, const Window &window, size_t out_channels, size_t groups,
                      const int8_t *weight, int shift, Proven proven) {
  return push(std::make_unique<Conv>(kernels_, choice_, source(from), window, out_channels, groups,
                                     weight, shift, proven),
              out_channels * window.out_height * window.out_width);
}

}  // namespace spikewright
