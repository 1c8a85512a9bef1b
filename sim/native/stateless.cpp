// Ops without weights and without state: pools, permutations, additions, products, factors.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

#include "plan.hpp"

namespace spikewright {

namespace {

class Pool final : public Op {
 public:
  Pool(Source x, const Window &window, bool maximum) : x_(x), s_(window), maximum_(maximum) {}

  void run(Workspace &w) const override {
    const int32_t *x = x_.of(w);
    int32_t *y = out(w);
    for (size_t c = 0; c < s_.channels; ++c, x += s_.height * s_.width)
      for (size_t row = 0; row < s_.out_height; ++row)
        for (size_t column = 0; column < s_.out_width; ++column) *y++ = window(x, row, column);
  }

 private:
  int32_t window(const int32_t *x, size_t place_y, size_t place_x) const {
    int32_t found = maximum_ ? std::numeric_limits<int32_t>::min() : 0;
    for (size_t ky = 0; ky < s_.kernel_y; ++ky)
      for (size_t kx = 0; kx < s_.kernel_x; ++kx) {
        // Unsigned wrap-around makes a position before the border larger than the map.
        const size_t row = place_y * s_.stride_y + ky - s_.pad_y;
        const size_t column = place_x * s_.stride_x + kx - s_.pad_x;
        if (row >= s_.height || column >= s_.width) continue;
        const int32_t value = x[row * s_.width + column];
        found = maximum_ ? std::max(found, value) : found + value;
      }
    return found;
  }

  Source x_;
  Window s_;
  bool maximum_;
};

class Gather final : public Op {
 public:
  Gather(Source x, Ints index) : x_(x), index_(std::move(index)) {}

  void run(Workspace &w) const override {
    const int32_t *x = x_.of(w);
    int32_t *y = out(w);
    for (size_t i = 0; i < size; ++i) y[i] = x[index_[i]];
  }

 private:
  Source x_;
  Ints index_;
};

class Sum final : public Op {
 public:
  explicit Sum(std::vector<Source> sources) : sources_(std::move(sources)) {}

  void run(Workspace &w) const override {
    int32_t *y = out(w);
    std::memcpy(y, sources_.front().of(w), size * sizeof(int32_t));
    for (size_t k = 1; k < sources_.size(); ++k) {
      const int32_t *x = sources_[k].of(w);
      for (size_t i = 0; i < size; ++i) y[i] += x[i];
    }
  }

 private:
  std::vector<Source> sources_;
};

class Scale final : public Op {
 public:
  Scale(Source x, Ints factor) : x_(x), factor_(std::move(factor)) {}

  void run(Workspace &w) const override {
    const int32_t *x = x_.of(w);
    int32_t *y = out(w);
    for (size_t i = 0; i < size; ++i) y[i] = factor_[i] * x[i];
  }

 private:
  Source x_;
  Ints factor_;
};

// Row by row: each non-zero of a adds a row of b. A transposed b is laid out anew first.
class MatMul final : public Op {
 public:
  MatMul(const KernelTable &k, Source a, Source b, size_t batch, size_t rows, size_t inner,
         size_t columns, bool transpose_b)
      : k_(k), a_(a), b_(b), batch_(batch), rows_(rows), inner_(inner), columns_(columns),
        transpose_b_(transpose_b) {
    scratch_size = transpose_b ? inner * columns : 0;
  }

  void run(Workspace &w) const override {
    std::memset(out(w), 0, size * sizeof(int32_t));
    for (size_t n = 0; n < batch_; ++n) {
      const int32_t *a = a_.of(w) + n * rows_ * inner_;
      const int32_t *b = b_.of(w) + n * inner_ * columns_;
      if (transpose_b_) b = turned(b, w.scratch.data());
      product(a, b, out(w) + n * rows_ * columns_);
    }
  }

 private:
  const int32_t *turned(const int32_t *b, int32_t *scratch) const {
    for (size_t c = 0; c < columns_; ++c)
      for (size_t i = 0; i < inner_; ++i) scratch[i * columns_ + c] = b[c * inner_ + i];
    return scratch;
  }

  void product(const int32_t *a, const int32_t *b, int32_t *y) const {
    for (size_t r = 0; r < rows_; ++r, y += columns_)
      for (size_t i = 0; i < inner_; ++i, ++a)
        if (*a) k_.add_scaled(y, b + i * columns_, *a, columns_);
  }

  const KernelTable &k_;
  Source a_, b_;
  size_t batch_, rows_, inner_, columns_;
  bool transpose_b_;
};

}  // namespace

size_t Plan::add_pool(size_t from, const Window &window, bool maximum) {
  return push(std::make_unique<Pool>(source(from), window, maximum),
              window.channels * window.out_height * window.out_width);
}

size_t Plan::add_gather(size_t from, Ints index) {
  const size_t size = index.size();
  return push(std::make_unique<Gather>(source(from), std::move(index)), size);
}

size_t Plan::add_sum(const std::vector<size_t> &nodes) {
  std::vector<Source> sources;
  for (size_t node : nodes) sources.push_back(source(node));
  const size_t size = sources.at(0).size;
  return push(std::make_unique<Sum>(std::move(sources)), size);
}

size_t Plan::add_matmul(size_t a, size_t b, size_t batch, size_t rows, size_t inner,
                        size_t columns, bool transpose_b) {
  return push(std::make_unique<MatMul>(kernels_, source(a), source(b), batch, rows, inner, columns,
                                       transpose_b),
              batch * rows * columns);
}

size_t Plan::add_scale(size_t from, Ints factor) {
  const size_t size = factor.size();
  return push(std::make_unique<Scale>(source(from), std::move(factor)), size);
}

}  // namespace spikewright
