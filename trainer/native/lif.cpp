// Compiled without contraction to fused multiply-add, so that every step rounds as torch's does.
#include "lif.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__) && defined(__linux__)
#define CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define CLONES
#endif
#define INLINE inline __attribute__((always_inline))

namespace spikewright::trainer {
namespace {

constexpr int64_t BLOCK = 256;  // neurons at a time: all their steps stay in the first-level cache

INLINE float read(float value) { return value; }

INLINE float read(bfloat16 value) {
  const uint32_t bits = uint32_t{value.bits} << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

INLINE void write(float value, float &to) { to = value; }

// Round to nearest, ties to even; NaN stays NaN.
INLINE void write(float value, bfloat16 &to) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  to.bits = static_cast<uint16_t>(value == value ? rounded : 0x7fc0);
}

template <bool decay>
INLINE float charge(float x, float v, const Constants &c) {
  if (decay) return v + (x - v) / c.tau;
  return x + v * c.beta;
}

template <bool at_threshold>
INLINE float fires(float y) {
  return (at_threshold ? y >= 0.0f : y > 0.0f) ? 1.0f : 0.0f;
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

template <typename V, Kind kind, bool hard, bool ge, bool decay, bool path_b>
INLINE void forward_block(const Call<V> &call, int64_t begin, int64_t end) {
  const Constants c = call.c;
  float v[BLOCK] = {};
  for (int64_t t = 0; t < call.time_steps; ++t) {
    const V *x = call.x.data + t * call.x.step + begin;
    V *out = call.out.data + t * call.out.step + begin;
    for (int64_t i = 0; i < end - begin; ++i) {
      const float u = charge<decay>(read(x[i]), v[i], c);
      const float y = u - c.v_threshold;
      const float gate = fires<ge>(y);
      v[i] = discharge<hard>(u, gate, c);
      write(path_b ? antiderivative<kind>(y, c) : gate, out[i]);
    }
  }
}

// du[t] = grad[t] g(y[t]) + beta r[t] du[t+1], r = 0 behind a hard reset, else 1; u is computed
// again from x, which costs less than reading it back.
template <typename V, Kind kind, bool hard, bool ge, bool decay>
INLINE void backward_block(const Call<V> &call, int64_t begin, int64_t end, float *y) {
  const Constants c = call.c;
  const int64_t count = end - begin;
  float v[BLOCK] = {}, du[BLOCK] = {};
  for (int64_t t = 0; t < call.time_steps; ++t) {
    const V *x = call.x.data + t * call.x.step + begin;
    for (int64_t i = 0; i < count; ++i) {
      const float u = charge<decay>(read(x[i]), v[i], c);
      y[t * BLOCK + i] = u - c.v_threshold;
      v[i] = discharge<hard>(u, fires<ge>(y[t * BLOCK + i]), c);
    }
  }
  for (int64_t t = call.time_steps - 1; t >= 0; --t) {
    const V *grad = call.grad_out.data + t * call.grad_out.step + begin;
    V *out = call.out.data + t * call.out.step + begin;
    for (int64_t i = 0; i < count; ++i) {
      const float at = y[t * BLOCK + i];
      const float kept = hard ? du[i] * (1.0f - fires<ge>(at)) : du[i];
      du[i] = read(grad[i]) * slope<kind>(at, c) + kept * c.beta;
      write(decay ? du[i] / c.tau : du[i], out[i]);
    }
  }
}

template <typename V, Kind kind, bool hard, bool ge, bool decay>
INLINE void potentials_range(const Call<V> &call, const Slopes &s, int64_t begin, int64_t end) {
  const Constants c = call.c;
  for (int64_t at = begin; at < end; at += BLOCK) {
    const int64_t count = std::min(BLOCK, end - at);
    float v[BLOCK] = {};
    for (int64_t t = 0; t < call.time_steps; ++t) {
      const V *x = call.x.data + t * call.x.step + at;
      float *y = s.y + t * s.count + at;
      for (int64_t i = 0; i < count; ++i) {
        const float u = charge<decay>(read(x[i]), v[i], c);
        y[i] = u - c.v_threshold;
        v[i] = discharge<hard>(u, fires<ge>(y[i]), c);
      }
    }
  }
}

template <typename V, Kind kind, bool hard, bool ge, bool decay>
INLINE void carry_range(const Call<V> &call, const Slopes &s, int64_t begin, int64_t end) {
  const Constants c = call.c;
  for (int64_t at = begin; at < end; at += BLOCK) {
    const int64_t count = std::min(BLOCK, end - at);
    float du[BLOCK] = {};
    for (int64_t t = call.time_steps - 1; t >= 0; --t) {
      const V *grad = call.grad_out.data + t * call.grad_out.step + at;
      const float *y = s.y + t * s.count + at, *g = s.g + t * s.count + at;
      V *out = call.out.data + t * call.out.step + at;
      for (int64_t i = 0; i < count; ++i) {
        const float kept = hard ? du[i] * (1.0f - fires<ge>(y[i])) : du[i];
        du[i] = read(grad[i]) * g[i] + kept * c.beta;
        write(decay ? du[i] / c.tau : du[i], out[i]);
      }
    }
  }
}

template <typename V, Kind kind, bool hard, bool ge, bool decay>
INLINE void forward_range(const Call<V> &call, int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end;) {
    const bool path_b = at >= call.split;
    const int64_t stop = std::min({at + BLOCK, end, path_b ? end : call.split});
    if (path_b)
      forward_block<V, kind, hard, ge, decay, true>(call, at, stop);
    else
      forward_block<V, kind, hard, ge, decay, false>(call, at, stop);
    at = stop;
  }
}

template <typename V, Kind kind, bool hard, bool ge, bool decay>
INLINE void backward_range(const Call<V> &call, int64_t begin, int64_t end) {
  std::vector<float> y(static_cast<size_t>(call.time_steps * BLOCK));
  for (int64_t at = begin; at < end; at += BLOCK)
    backward_block<V, kind, hard, ge, decay>(call, at, std::min(at + BLOCK, end), y.data());
}

#define CHOOSE_FOR(RANGE, KIND, ...)                                                  \
  switch (call.c.hard * 4 + call.c.at_threshold * 2 + call.c.decay_input) {           \
    case 0: return RANGE<V, KIND, false, false, false>(__VA_ARGS__);                  \
    case 1: return RANGE<V, KIND, false, false, true>(__VA_ARGS__);                   \
    case 2: return RANGE<V, KIND, false, true, false>(__VA_ARGS__);                   \
    case 3: return RANGE<V, KIND, false, true, true>(__VA_ARGS__);                    \
    case 4: return RANGE<V, KIND, true, false, false>(__VA_ARGS__);                   \
    case 5: return RANGE<V, KIND, true, false, true>(__VA_ARGS__);                    \
    case 6: return RANGE<V, KIND, true, true, false>(__VA_ARGS__);                    \
    default: return RANGE<V, KIND, true, true, true>(__VA_ARGS__);                    \
  }
#define CHOOSE(RANGE, ...)                                                            \
  switch (call.c.kind) {                                                              \
    case Kind::sigmoid: CHOOSE_FOR(RANGE, Kind::sigmoid, __VA_ARGS__)                 \
    case Kind::atan: CHOOSE_FOR(RANGE, Kind::atan, __VA_ARGS__)                       \
    default: CHOOSE_FOR(RANGE, Kind::rectangle, __VA_ARGS__)                          \
  }

template <typename V>
INLINE void choose_forward(const Call<V> &call, int64_t begin, int64_t end) {
  CHOOSE(forward_range, call, begin, end)
}

template <typename V>
INLINE void choose_backward(const Call<V> &call, int64_t begin, int64_t end) {
  CHOOSE(backward_range, call, begin, end)
}

template <typename V>
INLINE void choose_potentials(const Call<V> &call, const Slopes &s, int64_t begin, int64_t end) {
  CHOOSE_FOR(potentials_range, Kind::rectangle, call, s, begin, end)
}

template <typename V>
INLINE void choose_carry(const Call<V> &call, const Slopes &s, int64_t begin, int64_t end) {
  CHOOSE_FOR(carry_range, Kind::rectangle, call, s, begin, end)
}

// Clones need names of their own: gcc makes none of overloads of one name.
CLONES void forward_float(const Call<float> &call, int64_t begin, int64_t end) {
  choose_forward(call, begin, end);
}
CLONES void forward_bfloat16(const Call<bfloat16> &call, int64_t begin, int64_t end) {
  choose_forward(call, begin, end);
}
CLONES void backward_float(const Call<float> &call, int64_t begin, int64_t end) {
  choose_backward(call, begin, end);
}
CLONES void backward_bfloat16(const Call<bfloat16> &call, int64_t begin, int64_t end) {
  choose_backward(call, begin, end);
}

CLONES void potentials_float(const Call<float> &call, const Slopes &s, int64_t begin,
                             int64_t end) {
  choose_potentials(call, s, begin, end);
}
CLONES void potentials_bfloat16(const Call<bfloat16> &call, const Slopes &s, int64_t begin,
                                int64_t end) {
  choose_potentials(call, s, begin, end);
}
CLONES void carry_float(const Call<float> &call, const Slopes &s, int64_t begin,
                        int64_t end) {
  choose_carry(call, s, begin, end);
}
CLONES void carry_bfloat16(const Call<bfloat16> &call, const Slopes &s, int64_t begin,
                           int64_t end) {
  choose_carry(call, s, begin, end);
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
