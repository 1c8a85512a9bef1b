// Compiled without contraction to fused multiply-add, so that every step rounds as torch's does.
#include "lif.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "values.hpp"

namespace spikewright::trainer {
namespace {

constexpr int64_t BLOCK = 256;  // neurons at a time: all their steps stay in the first-level cache

template <bool decay>
INLINE float charge(float x, float v, const Constants &c) {
  if (decay) return v + (x - v) / c.tau;
  return x + v * c.beta;
}

INLINE float fires(float y, const Constants &c) {
  const float tie = c.at_threshold ? 1.0f : 0.0f;
  return (y > 0.0f ? 1.0f : 0.0f) + (y == 0.0f ? tie : 0.0f);
}

template <bool hard>
INLINE float discharge(float u, float gate, const Constants &c) {
  if (!hard) return u - gate * c.v_threshold;
  return u * (1.0f - gate) + gate * c.v_reset;
}

// exp(x) to 2 ulp for |x| < 87, without branches: 2^n times a polynomial, with the coefficients of
// Cephes' expf (S. Moshier, 1989). The library's function would not be vectorised.
INLINE float exponential(float x) {
  x = x < -87.0f ? -87.0f : (x > 87.0f ? 87.0f : x);
  const int32_t n = static_cast<int32_t>(x * 1.44269504f + (x < 0.0f ? -0.5f : 0.5f));
  const float whole = static_cast<float>(n);
  const float r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t bits = (n + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

INLINE float logistic(float x) { return 1.0f / (1.0f + exponential(-x)); }

// G(y), for the kinds that have one here.
template <Kind kind>
INLINE float antiderivative(float y, const Constants &c) {
  if (kind == Kind::sigmoid) return logistic(c.alpha * y);
  const float value = y / c.width + 0.5f;
  return value < 0.0f ? 0.0f : (value > 1.0f ? 1.0f : value);
}

// g(y), each operation rounded as trainer/surrogate.py's.
template <Kind kind>
INLINE float slope(float y, const Constants &c) {
  if (kind == Kind::sigmoid) {
    const float level = logistic(c.alpha * y);
    return c.alpha * level * (1.0f - level);
  }
  if (kind == Kind::atan) {
    const float q = static_cast<float>(1.5707963267948966 * c.alpha) * y;
    return 1.0f / (1.0f + q * q) * (c.alpha / 2);
  }
  return std::fabs(y) < c.width / 2 ? 1.0f / c.width : 0.0f;
}

// The constants of a Norm, repeated over a block whose first element belongs to channel 0.
struct Tiled {
  float gain[LANES], offset[LANES], mean[LANES];
  int64_t block;

  explicit Tiled(const Norm &norm)
      : block(norm.channels * std::max<int64_t>(1, BLOCK / norm.channels)) {
    for (int64_t i = 0; i < block; ++i) {
      gain[i] = norm.gain[i % norm.channels];
      offset[i] = norm.offset[i % norm.channels];
      mean[i] = norm.mean[i % norm.channels];
    }
  }
  template <typename V>
  INLINE float current(V x, int64_t i) const {
    return stored<V>(read(x) * gain[i] + offset[i]);
  }
};

// No BatchNorm: currents are read as they are.
struct Bare {
  static constexpr int64_t block = BLOCK;
  template <typename V>
  INLINE float current(V x, int64_t) const {
    return read(x);
  }
};

// A loop over the neurons of a block is compiled for each kind of reset and of leak; BODY is one.
#define FOR_EACH_STEP(C, BODY, ...)                            \
  switch ((C).hard * 2 + (C).decay_input) {                    \
    case 0: BODY<V, false, false>(__VA_ARGS__); break;         \
    case 1: BODY<V, false, true>(__VA_ARGS__); break;          \
    case 2: BODY<V, true, false>(__VA_ARGS__); break;          \
    default: BODY<V, true, true>(__VA_ARGS__);                 \
  }

template <typename V, bool hard, bool decay, typename Source>
INLINE void spikes_block(const Call<V> &call, const Source &source, int64_t begin, int64_t count) {
  const Constants c = call.c;
  float v[LANES];
  std::fill_n(v, count, 0.0f);
  for (int64_t t = 0; t < call.time_steps; ++t) {
    const V *x = call.x.data + t * call.x.step + begin;
    V *__restrict out = call.out.data + t * call.out.step + begin;
    for (int64_t i = 0; i < count; ++i) {
      const float u = charge<decay>(source.current(x[i], i), v[i], c);
      const float gate = fires(u - c.v_threshold, c);
      v[i] = discharge<hard>(u, gate, c);
      write(gate, out[i]);
    }
  }
}

// y[t * stride + i] = u[t] - v_threshold. The backward pass computes u again from x, which costs
// less than reading it back.
template <typename V, bool hard, bool decay, typename Source>
INLINE void potentials_block(const Call<V> &call, const Source &source, int64_t begin,
                             int64_t count, float *__restrict y, int64_t stride) {
  const Constants c = call.c;
  float v[LANES];
  std::fill_n(v, count, 0.0f);
  for (int64_t t = 0; t < call.time_steps; ++t) {
    const V *x = call.x.data + t * call.x.step + begin;
    for (int64_t i = 0; i < count; ++i) {
      const float u = charge<decay>(source.current(x[i], i), v[i], c);
      y[t * stride + i] = u - c.v_threshold;
      v[i] = discharge<hard>(u, fires(u - c.v_threshold, c), c);
    }
  }
}

// du[t] = grad[t] g[t] + beta r[t] du[t+1], r = 0 behind a hard reset, else 1.
template <bool hard>
INLINE float carried(float grad, float y, float g, float du, const Constants &c) {
  const float kept = hard ? du * (1.0f - fires(y, c)) : du;
  return grad * g + kept * c.beta;
}

template <typename V, bool hard, bool decay>
INLINE void carry_block(const Call<V> &call, int64_t begin, int64_t count, const float *y,
                        const float *g, int64_t stride) {
  const Constants c = call.c;
  float du[LANES];
  std::fill_n(du, count, 0.0f);
  for (int64_t t = call.time_steps - 1; t >= 0; --t) {
    const V *grad = call.grad_out.data + t * call.grad_out.step + begin;
    V *__restrict out = call.out.data + t * call.out.step + begin;
    for (int64_t i = 0; i < count; ++i) {
      du[i] = carried<hard>(read(grad[i]), y[t * stride + i], g[t * stride + i], du[i], c);
      write(decay ? du[i] / c.tau : du[i], out[i]);
    }
  }
}

// The same where one frame x serves every step: the gradients of the steps are summed.
template <typename V, bool hard, bool decay>
INLINE void carry_to_frame(const Call<V> &call, int64_t begin, int64_t count, const float *y,
                           const float *g, int64_t stride) {
  const Constants c = call.c;
  float du[LANES], total[LANES];
  std::fill_n(du, count, 0.0f);
  std::fill_n(total, count, 0.0f);
  for (int64_t t = call.time_steps - 1; t >= 0; --t) {
    const V *grad = call.grad_out.data + t * call.grad_out.step + begin;
    for (int64_t i = 0; i < count; ++i) {
      du[i] = carried<hard>(read(grad[i]), y[t * stride + i], g[t * stride + i], du[i], c);
      total[i] += decay ? du[i] / c.tau : du[i];
    }
  }
  V *__restrict out = call.out.data + begin;
  for (int64_t i = 0; i < count; ++i) write(total[i], out[i]);
}

template <Kind kind>
INLINE void slopes_block(const float *y, float *__restrict g, int64_t count, const Constants &c) {
  for (int64_t i = 0; i < count; ++i) g[i] = slope<kind>(y[i], c);
}

INLINE void slopes(const float *y, float *g, int64_t count, const Constants &c) {
  switch (c.kind) {
    case Kind::sigmoid: return slopes_block<Kind::sigmoid>(y, g, count, c);
    case Kind::atan: return slopes_block<Kind::atan>(y, g, count, c);
    default: return slopes_block<Kind::rectangle>(y, g, count, c);
  }
}

template <typename V, Kind kind>
INLINE void analog_block(const Call<V> &call, int64_t begin, int64_t count, const float *y) {
  const Constants c = call.c;
  for (int64_t t = 0; t < call.time_steps; ++t) {
    V *__restrict out = call.out.data + t * call.out.step + begin;
    for (int64_t i = 0; i < count; ++i) write(antiderivative<kind>(y[t * count + i], c), out[i]);
  }
}

template <typename V, typename Source>
INLINE void forward_range(const Call<V> &call, const Source &source, int64_t begin, int64_t end) {
  std::vector<float> y;
  for (int64_t at = begin; at < end;) {
    const bool path_b = at >= call.split;
    const int64_t stop = std::min({at + source.block, end, path_b ? end : call.split});
    const int64_t count = stop - at;
    if (!path_b) {
      FOR_EACH_STEP(call.c, spikes_block, call, source, at, count)
    } else {
      y.resize(static_cast<size_t>(call.time_steps * count));
      FOR_EACH_STEP(call.c, potentials_block, call, source, at, count, y.data(), count)
      if (call.c.kind == Kind::sigmoid)
        analog_block<V, Kind::sigmoid>(call, at, count, y.data());
      else
        analog_block<V, Kind::rectangle>(call, at, count, y.data());
    }
    at = stop;
  }
}

template <typename V>
INLINE void backward_range(const Call<V> &call, int64_t begin, int64_t end) {
  std::vector<float> y(static_cast<size_t>(call.time_steps * BLOCK)), g(y.size());
  for (int64_t at = begin; at < end; at += BLOCK) {
    const int64_t count = std::min(BLOCK, end - at);
    FOR_EACH_STEP(call.c, potentials_block, call, Bare{}, at, count, y.data(), count)
    slopes(y.data(), g.data(), call.time_steps * count, call.c);
    FOR_EACH_STEP(call.c, carry_block, call, at, count, y.data(), g.data(), count)
  }
}

// Add up what was just written for a block, each channel apart; `plain` and `centred` are lanes.
template <typename V>
INLINE void add_sums(const Call<V> &call, const Tiled &tiled, int64_t begin, int64_t count,
                     double *__restrict plain, double *__restrict centred) {
  float own_plain[LANES], own_centred[LANES];
  std::fill_n(own_plain, count, 0.0f);
  std::fill_n(own_centred, count, 0.0f);
  const int64_t frames = call.x.step == 0 ? 1 : call.time_steps;
  for (int64_t t = 0; t < frames; ++t) {
    const V *x = call.x.data + t * call.x.step + begin;
    const V *dx = call.out.data + t * call.out.step + begin;
    for (int64_t i = 0; i < count; ++i) {
      own_plain[i] += read(dx[i]);
      own_centred[i] += read(dx[i]) * (read(x[i]) - tiled.mean[i]);
    }
  }
  for (int64_t i = 0; i < count; ++i) plain[i] += own_plain[i];
  for (int64_t i = 0; i < count; ++i) centred[i] += own_centred[i];
}

template <typename V>
INLINE void backward_range(const Call<V> &call, const Tiled &tiled, const Sums &sums,
                           int64_t channels, int64_t begin, int64_t end) {
  std::vector<float> y(static_cast<size_t>(call.time_steps * tiled.block)), g(y.size());
  std::vector<double> plain(LANES), centred(LANES);
  for (int64_t at = begin; at < end; at += tiled.block) {
    const int64_t count = std::min(tiled.block, end - at);
    FOR_EACH_STEP(call.c, potentials_block, call, tiled, at, count, y.data(), count)
    slopes(y.data(), g.data(), call.time_steps * count, call.c);
    if (call.x.step == 0) {
      FOR_EACH_STEP(call.c, carry_to_frame, call, at, count, y.data(), g.data(), count)
    } else {
      FOR_EACH_STEP(call.c, carry_block, call, at, count, y.data(), g.data(), count)
    }
    add_sums(call, tiled, at, count, plain.data(), centred.data());
  }
  for (int64_t i = 0; i < tiled.block; ++i) {
    sums.plain[i % channels] += plain[i];
    sums.centred[i % channels] += centred[i];
  }
}

template <typename V>
INLINE void potentials_range(const Call<V> &call, const Slopes &s, int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end; at += BLOCK) {
    const int64_t count = std::min(BLOCK, end - at);
    FOR_EACH_STEP(call.c, potentials_block, call, Bare{}, at, count, s.y + at, s.count)
  }
}

template <typename V>
INLINE void carry_range(const Call<V> &call, const Slopes &s, int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end; at += BLOCK) {
    const int64_t count = std::min(BLOCK, end - at);
    FOR_EACH_STEP(call.c, carry_block, call, at, count, s.y + at, s.g + at, s.count)
  }
}

// Clones need names of their own: gcc makes none of overloads of one name.
CLONES void forward_float(const Call<float> &call, int64_t begin, int64_t end) {
  forward_range(call, Bare{}, begin, end);
}
CLONES void forward_bfloat16(const Call<bfloat16> &call, int64_t begin, int64_t end) {
  forward_range(call, Bare{}, begin, end);
}
CLONES void backward_float(const Call<float> &call, int64_t begin, int64_t end) {
  backward_range(call, begin, end);
}
CLONES void backward_bfloat16(const Call<bfloat16> &call, int64_t begin, int64_t end) {
  backward_range(call, begin, end);
}

CLONES void normed_forward_float(const Call<float> &call, const Norm &norm, int64_t begin,
                                 int64_t end) {
  forward_range(call, Tiled(norm), begin, end);
}
CLONES void normed_forward_bfloat16(const Call<bfloat16> &call, const Norm &norm, int64_t begin,
                                    int64_t end) {
  forward_range(call, Tiled(norm), begin, end);
}
CLONES void normed_backward_float(const Call<float> &call, const Norm &norm, const Sums &sums,
                                  int64_t begin, int64_t end) {
  backward_range(call, Tiled(norm), sums, norm.channels, begin, end);
}
CLONES void normed_backward_bfloat16(const Call<bfloat16> &call, const Norm &norm,
                                     const Sums &sums, int64_t begin, int64_t end) {
  backward_range(call, Tiled(norm), sums, norm.channels, begin, end);
}

CLONES void potentials_float(const Call<float> &call, const Slopes &s, int64_t begin,
                             int64_t end) {
  potentials_range(call, s, begin, end);
}
CLONES void potentials_bfloat16(const Call<bfloat16> &call, const Slopes &s, int64_t begin,
                                int64_t end) {
  potentials_range(call, s, begin, end);
}
CLONES void carry_float(const Call<float> &call, const Slopes &s, int64_t begin,
                        int64_t end) {
  carry_range(call, s, begin, end);
}
CLONES void carry_bfloat16(const Call<bfloat16> &call, const Slopes &s, int64_t begin,
                           int64_t end) {
  carry_range(call, s, begin, end);
}

}  // namespace

void forward(const Call<float> &call, int64_t begin, int64_t end) {
  forward_float(call, begin, end);
}
void forward(const Call<bfloat16> &call, int64_t begin, int64_t end) {
  forward_bfloat16(call, begin, end);
}
void backward(const Call<float> &call, int64_t begin, int64_t end) {
  backward_float(call, begin, end);
}
void backward(const Call<bfloat16> &call, int64_t begin, int64_t end) {
  backward_bfloat16(call, begin, end);
}
void forward(const Call<float> &call, const Norm &norm, int64_t begin, int64_t end) {
  normed_forward_float(call, norm, begin, end);
}
void forward(const Call<bfloat16> &call, const Norm &norm, int64_t begin, int64_t end) {
  normed_forward_bfloat16(call, norm, begin, end);
}
void backward(const Call<float> &call, const Norm &norm, const Sums &sums, int64_t begin,
              int64_t end) {
  normed_backward_float(call, norm, sums, begin, end);
}
void backward(const Call<bfloat16> &call, const Norm &norm, const Sums &sums, int64_t begin,
              int64_t end) {
  normed_backward_bfloat16(call, norm, sums, begin, end);
}
void potentials(const Call<float> &call, const Slopes &s, int64_t begin, int64_t end) {
  potentials_float(call, s, begin, end);
}
void potentials(const Call<bfloat16> &call, const Slopes &s, int64_t begin, int64_t end) {
  potentials_bfloat16(call, s, begin, end);
}
void carry(const Call<float> &call, const Slopes &s, int64_t begin, int64_t end) {
  carry_float(call, s, begin, end);
}
void carry(const Call<bfloat16> &call, const Slopes &s, int64_t begin, int64_t end) {
  carry_bfloat16(call, s, begin, end);
}

}  // namespace spikewright::trainer
