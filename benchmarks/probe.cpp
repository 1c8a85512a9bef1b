// See probe.py. Prints {"probe": …, "engine": …}, billions of additions a second; medians of
// interleaved runs, by the CPU's clock.
#include <immintrin.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <random>
#include <vector>

#include "aligned.hpp"
#include "kernels.h"

namespace {

constexpr size_t kOutputs = 256, kRuns = 31, kSums = 200, kEvents = 230;
constexpr size_t kRows = KIB * 1024 / kOutputs;

double seconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Load, widen, add: 256 channels at a time in registers (AVX2: twice 128).
#ifdef __AVX512BW__
using Sums = __m512i;
constexpr size_t kLanes = 32, kBlock = 8;
inline Sums added(Sums sums, const int8_t *w) {
  return _mm512_add_epi16(sums, _mm512_cvtepi8_epi16(_mm256_load_si256((const __m256i *)w)));
}
#else
using Sums = __m256i;
constexpr size_t kLanes = 16, kBlock = 8;
inline Sums added(Sums sums, const int8_t *w) {
  return _mm256_add_epi16(sums, _mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)w)));
}
#endif

int16_t probe(const int8_t *weights, const uint32_t *offsets) {
  int16_t kept = 0;
  for (size_t j = 0; j < kOutputs; j += kLanes * kBlock) {
    Sums sums[kBlock] = {};
    for (size_t e = 0; e < kEvents; ++e)
      for (size_t b = 0; b < kBlock; ++b)
        sums[b] = added(sums[b], weights + offsets[e] + j + b * kLanes);
    for (size_t b = 0; b < kBlock; ++b) {
      alignas(64) int16_t lanes[kLanes];
      __builtin_memcpy(lanes, &sums[b], sizeof lanes);
      kept = static_cast<int16_t>(kept + lanes[b]);
    }
  }
  return kept;
}

template <typename Work>
double timed(Work work) {
  const double began = seconds();
  for (size_t s = 0; s < kSums; ++s) work(s);
  return seconds() - began;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

}  // namespace

int main() {
  std::mt19937 random(1);
  spikewright::Lined<int8_t> weights(kRows * kOutputs + kSlack);
  for (int8_t &w : weights) w = static_cast<int8_t>(random());
  std::vector<uint32_t> offsets(kSums * kEvents);
  for (uint32_t &o : offsets) o = static_cast<uint32_t>(random() % kRows * kOutputs);
  std::vector<int32_t> out(kOutputs);
  std::vector<double> probes, engines;
  volatile int kept = 0;
  for (size_t run = 0; run < kRuns; ++run) {
    probes.push_back(timed([&](size_t s) { kept = kept + probe(weights.data(), &offsets[s * kEvents]); }));
    engines.push_back(timed([&](size_t s) {
      TABLE.gather(out.data(), weights.data(), &offsets[s * kEvents], kEvents, kOutputs);
      kept = kept + out[0];
    }));
  }
  const double additions = 1e-9 * kSums * kEvents * kOutputs;
  std::printf("{\"probe\": %.3f, \"engine\": %.3f}\n", additions / median(probes), additions / median(engines));
}
