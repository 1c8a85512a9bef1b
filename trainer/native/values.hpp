// Values of a tensor in memory, float or bfloat16, and how a function is built for several CPUs.
#pragma once

#include <cstring>

#include "lif.hpp"

#if defined(__x86_64__) && defined(__GNUC__) && defined(__linux__)
#define CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define CLONES
#endif
#define INLINE inline __attribute__((always_inline))

namespace spikewright::trainer {

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

// What `value` is once it was stored as a V.
template <typename V>
INLINE float stored(float value) {
  V kept;
  write(value, kept);
  return read(kept);
}

}  // namespace spikewright::trainer
