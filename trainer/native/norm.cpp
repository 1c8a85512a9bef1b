#include "norm.hpp"

#include <algorithm>

#include "values.hpp"

namespace spikewright::trainer {
namespace {

constexpr int64_t CHUNK = 4096;  // values at a time, which stay in the first-level cache

// Moments of one chunk about its own mean, in float: few values, so nothing is lost.
template <typename V>
INLINE void chunk_moments(const V *x, int64_t channels, int64_t rows, float *__restrict mean,
                          float *__restrict m2) {
  std::fill_n(mean, channels, 0.0f);
  std::fill_n(m2, channels, 0.0f);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t c = 0; c < channels; ++c) mean[c] += read(x[row * channels + c]);
  for (int64_t c = 0; c < channels; ++c) mean[c] /= static_cast<float>(rows);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t c = 0; c < channels; ++c) {
      const float from = read(x[row * channels + c]) - mean[c];
      m2[c] += from * from;
    }
}

template <typename V>
INLINE void moments_of(const V *x, int64_t channels, int64_t rows, const Moments &into) {
  const int64_t step = std::max<int64_t>(1, CHUNK / channels);
  float mean[LANES], m2[LANES];
  double seen = 0;
  for (int64_t row = 0; row < rows; row += step) {
    const int64_t count = std::min(step, rows - row);
    chunk_moments(x + row * channels, channels, count, mean, m2);
    const double n = static_cast<double>(count), share = n / (seen + n);
    for (int64_t c = 0; c < channels; ++c) {
      const double gap = mean[c] - into.mean[c];
      into.mean[c] += gap * share;
      into.m2[c] += m2[c] + gap * gap * seen * share;
    }
    seen += n;
  }
}

template <typename V>
INLINE void centre_rows(V *dy, const V *x, const Affine &a, int64_t channels, int64_t rows) {
  for (int64_t row = 0; row < rows; ++row) {
    V *__restrict to = dy + row * channels;
    const V *from = x + row * channels;
    for (int64_t c = 0; c < channels; ++c)
      write(read(to[c]) * a.dy[c] + (read(from[c]) * a.x[c] + a.one[c]), to[c]);
  }
}

CLONES void moments_float(const float *x, int64_t channels, int64_t rows, const Moments &into) {
  moments_of(x, channels, rows, into);
}
CLONES void moments_bfloat16(const bfloat16 *x, int64_t channels, int64_t rows,
                             const Moments &into) {
  moments_of(x, channels, rows, into);
}
CLONES void centre_float(float *dy, const float *x, const Affine &a, int64_t channels,
                         int64_t rows) {
  centre_rows(dy, x, a, channels, rows);
}
CLONES void centre_bfloat16(bfloat16 *dy, const bfloat16 *x, const Affine &a, int64_t channels,
                            int64_t rows) {
  centre_rows(dy, x, a, channels, rows);
}

}  // namespace

void moments(const float *x, int64_t channels, int64_t rows, const Moments &into) {
  moments_float(x, channels, rows, into);
}
void moments(const bfloat16 *x, int64_t channels, int64_t rows, const Moments &into) {
  moments_bfloat16(x, channels, rows, into);
}
void centre(float *dy, const float *x, const Affine &a, int64_t channels, int64_t rows) {
  centre_float(dy, x, a, channels, rows);
}
void centre(bfloat16 *dy, const bfloat16 *x, const Affine &a, int64_t channels, int64_t rows) {
  centre_bfloat16(dy, x, a, channels, rows);
}

}  // namespace spikewright::trainer
