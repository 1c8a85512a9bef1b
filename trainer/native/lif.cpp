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

INLINE float clamped(float y, const Constants &c) {
  const float value = y / c.width + 0.5f;
  return value < 0.0f ? 0.0f : (value > 1.0f ? 1.0f : value);
}

template <typename V, bool hard, bool ge, bool decay, bool path_b>
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
      write(path_b ? clamped(y, c) : gate, out[i]);
    }
  }
}

// du[t] = grad[t] g(y[t]) + beta r[t] du[t+1], r = 0 behind a hard reset, else 1; u is computed
// again from x, which costs less than reading it back.
template <typename V, bool hard, bool ge, bool decay>
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
  const float slope = 1.0f / c.width, half = c.width / 2;
  for (int64_t t = call.time_steps - 1; t >= 0; --t) {
    const V *grad = call.grad_out.data + t * call.grad_out.step + begin;
    V *out = call.out.data + t * call.out.step + begin;
    for (int64_t i = 0; i < count; ++i) {
      const float at = y[t * BLOCK + i];
      const float inside = std::fabs(at) < half ? slope : 0.0f;
      const float kept = hard ? du[i] * (1.0f - fires<ge>(at)) : du[i];
      du[i] = read(grad[i]) * inside + kept * c.beta;
      write(decay ? du[i] / c.tau : du[i], out[i]);
    }
  }
}

template <typename V, bool hard, bool ge, bool decay>
INLINE void forward_range(const Call<V> &call, int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end;) {
    const bool path_b = at >= call.split;
    const int64_t stop = std::min({at + BLOCK, end, path_b ? end : call.split});
    if (path_b)
      forward_block<V, hard, ge, decay, true>(call, at, stop);
    else
      forward_block<V, hard, ge, decay, false>(call, at, stop);
    at = stop;
  }
}

template <typename V, bool hard, bool ge, bool decay>
INLINE void backward_range(const Call<V> &call, int64_t begin, int64_t end) {
  std::vector<float> y(static_cast<size_t>(call.time_steps * BLOCK));
  for (int64_t at = begin; at < end; at += BLOCK)
    backward_block<V, hard, ge, decay>(call, at, std::min(at + BLOCK, end), y.data());
}

#define CHOOSE(RANGE)                                                                     \
  const int which = call.c.hard * 4 + call.c.at_threshold * 2 + call.c.decay_input;       \
  switch (which) {                                                                        \
    case 0: return RANGE<V, false, false, false>(call, begin, end);                       \
    case 1: return RANGE<V, false, false, true>(call, begin, end);                        \
    case 2: return RANGE<V, false, true, false>(call, begin, end);                        \
    case 3: return RANGE<V, false, true, true>(call, begin, end);                         \
    case 4: return RANGE<V, true, false, false>(call, begin, end);                        \
    case 5: return RANGE<V, true, false, true>(call, begin, end);                         \
    case 6: return RANGE<V, true, true, false>(call, begin, end);                         \
    default: return RANGE<V, true, true, true>(call, begin, end);                         \
  }

template <typename V>
INLINE void choose_forward(const Call<V> &call, int64_t begin, int64_t end) {
  CHOOSE(forward_range)
}

template <typename V>
INLINE void choose_backward(const Call<V> &call, int64_t begin, int64_t end) {
  CHOOSE(backward_range)
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

}  // namespace spikewright::trainer
