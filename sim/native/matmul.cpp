// Products of two activations (attention): each event of one operand adds a row of the other.
#include <algorithm>
#include <cstring>

#include "checks.hpp"

namespace spikewright {

namespace {

// How one operand lies: entry (batch, row, column) at batch * b + row * r + column * c.
struct Strides {
  size_t b, r, c;
};

// y[r][c] = sum over i of a[r][i] * b[i][c]. Rows of y and of b must lie without gaps; where they do
// not, the transposed product is computed (of swapped operands), or a copy is made.
class MatMul final : public Op {
 public:
  MatMul(const KernelTable &k, Source a, Source b, const std::vector<size_t> &shape,
         const std::vector<size_t> &s)
      : k_(k), a_(a), b_(b), batch_(shape[0]), rows_(shape[1]), inner_(shape[2]),
        columns_(shape[3]), of_a_{s[0], s[1], s[2]}, of_b_{s[3], s[4], s[5]},
        of_y_{s[6], s[7], s[8]} {
    stateless = true;
    if (of_y_.c != 1 || (of_b_.c != 1 && of_a_.r == 1 && of_y_.r == 1)) swap_operands();
  }

  size_t scratch_bytes(const Block &) const override {
    return (columns_ + inner_ * columns_) * sizeof(int32_t) + 2 * kSlack;
  }

  void run(const Context &c) const override {
    const auto [begin, end] = share(batch_, c.worker, c.team.workers());
    for (size_t sample = 0; sample < c.samples; ++sample)
      for (size_t t = 0; t < c.frames_of(number); ++t)
        for (size_t n = begin; n < end; ++n) one(c, sample, t, n);
  }

 private:
  void swap_operands() {  // y^T = b^T a^T
    std::swap(a_, b_);
    std::swap(rows_, columns_);
    std::swap(of_a_, of_b_);
    for (Strides *s : {&of_a_, &of_b_, &of_y_}) std::swap(s->r, s->c);
  }

  void one(const Context &c, size_t sample, size_t t, size_t n) const {
    const uint8_t *a = a_.of(c, sample, t), *b = b_.of(c, sample, t);
    const size_t of_a = n * of_a_.b, of_b = n * of_b_.b;
    int32_t *y = reinterpret_cast<int32_t *>(c.frame(number, map, sample, t)) + n * of_y_.b;
    int32_t *row = reinterpret_cast<int32_t *>(c.scratch());
    const bool bytes = b_.map.kind == Kind::u8 && of_b_.c == 1;
    const bool wide = b_.map.kind == Kind::i32 && of_b_.c == 1;
    int32_t *copy = row + columns_ + kSlack / 4;
    if (!bytes && !wide)
      for (size_t i = 0; i < inner_; ++i)
        for (size_t j = 0; j < columns_; ++j)
          copy[i * columns_ + j] = value_at(b_.map.kind, b, of_b + i * of_b_.r + j * of_b_.c);
    const int32_t *ints = wide ? reinterpret_cast<const int32_t *>(b) + of_b : copy;
    const size_t step = wide ? of_b_.r : columns_;
    for (size_t r = 0; r < rows_; ++r) {
      int32_t *sums = of_y_.c == 1 ? y + r * of_y_.r : row;
      std::memset(sums, 0, columns_ * sizeof(int32_t));
      for (size_t i = 0; i < inner_; ++i) {
        const int32_t times = value_at(a_.map.kind, a, of_a + r * of_a_.r + i * of_a_.c);
        if (!times) continue;
        if (bytes)
          k_.add_bytes(sums, b + of_b + i * of_b_.r, times, columns_);
        else
          k_.add_scaled(sums, ints + i * step, times, columns_);
      }
      if (of_y_.c != 1)
        for (size_t j = 0; j < columns_; ++j) y[r * of_y_.r + j * of_y_.c] = sums[j];
    }
  }

  const KernelTable &k_;
  Source a_, b_;
  size_t batch_, rows_, inner_, columns_;
  Strides of_a_, of_b_, of_y_;
};

}  // namespace

size_t Plan::add_matmul(size_t a, size_t b, const std::vector<size_t> &shape,
                        const std::vector<size_t> &strides, Map map) {
  const Source left = source(a), right = source(b);
  check_matmul(left.map, right.map, shape, strides, map);
  return push(std::make_unique<MatMul>(kernels_, left, right, shape, strides), map, {a, b});
}

}  // namespace spikewright
