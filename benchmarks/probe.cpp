// See probe.py. Prints {"single": …, "probe": …, "engine": …}, billions of additions (of products, with -DDENSE) a
// second; medians of interleaved runs, by the CPU's clock.
#include <immintrin.h>
#ifdef __AMX_INT8__
#include <sys/syscall.h>
#include <unistd.h>
#endif

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

// Two rows' bytes side by side, and one instruction that widens and adds both.
#ifdef __AVX512BW__
inline Sums loaded(const int8_t *w) { return _mm512_load_si512(w); }
inline Sums low_bytes(Sums x, Sums y) { return _mm512_unpacklo_epi8(x, y); }
inline Sums high_bytes(Sums x, Sums y) { return _mm512_unpackhi_epi8(x, y); }
inline Sums both_added(Sums sums, Sums ones, Sums x) {
  return _mm512_add_epi16(sums, _mm512_maddubs_epi16(ones, x));
}
inline Sums ones() { return _mm512_set1_epi8(1); }
#else
inline Sums loaded(const int8_t *w) { return _mm256_load_si256((const __m256i *)w); }
inline Sums low_bytes(Sums x, Sums y) { return _mm256_unpacklo_epi8(x, y); }
inline Sums high_bytes(Sums x, Sums y) { return _mm256_unpackhi_epi8(x, y); }
inline Sums both_added(Sums sums, Sums ones, Sums x) {
  return _mm256_add_epi16(sums, _mm256_maddubs_epi16(ones, x));
}
inline Sums ones() { return _mm256_set1_epi8(1); }
#endif

int16_t first_lanes(const Sums (&sums)[kBlock]) {
  int16_t kept = 0;
  for (size_t b = 0; b < kBlock; ++b) {
    alignas(64) int16_t lanes[kLanes];
    __builtin_memcpy(lanes, &sums[b], sizeof lanes);
    kept = static_cast<int16_t>(kept + lanes[b]);
  }
  return kept;
}

int16_t single(const int8_t *weights, const uint32_t *offsets) {
  int16_t kept = 0;
  for (size_t j = 0; j < kOutputs; j += kLanes * kBlock) {
    Sums sums[kBlock] = {};
    for (size_t e = 0; e < kEvents; ++e)
      for (size_t b = 0; b < kBlock; ++b)
        sums[b] = added(sums[b], weights + offsets[e] + j + b * kLanes);
    kept = static_cast<int16_t>(kept + first_lanes(sums));
  }
  return kept;
}

int16_t paired(const int8_t *weights, const uint32_t *offsets) {
  int16_t kept = 0;
  Sums factors = ones();
  __asm__ volatile("" : "+x"(factors));  // else the compiler might know that they are ones
  for (size_t j = 0; j < kOutputs; j += kLanes * kBlock) {
    Sums sums[kBlock] = {};
    for (size_t e = 0; e < kEvents; e += 2)
      for (size_t b = 0; b < kBlock; b += 2) {
        const Sums x = loaded(weights + offsets[e] + j + b * kLanes);
        const Sums y = loaded(weights + offsets[e + 1] + j + b * kLanes);
        sums[b] = both_added(sums[b], factors, low_bytes(x, y));
        sums[b + 1] = both_added(sums[b + 1], factors, high_bytes(x, y));
      }
    kept = static_cast<int16_t>(kept + first_lanes(sums));
  }
  return kept;
}

template <typename Work>
double timed(Work work) {
  const double began = seconds();
  for (size_t s = 0; s < kSums; ++s) work(s);
  return seconds() - began;
}

// The instructions of a dense product on registers alone: independent sums enough for their latency.
#ifdef __AMX_INT8__
constexpr double kProducts = 16 * 16 * 64;  // of one instruction
void multiply(size_t times) {
  struct alignas(64) {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } shapes;
  __asm__ volatile("" : : "r"(&shapes) : "memory");
  _tile_loadconfig(&shapes);
  for (size_t k = 0; k < times; k += 4) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  _tile_release();
}
#else
#ifdef __AVX512VNNI__
constexpr double kProducts = 64;
using Wide = __m512i;
inline Wide multiplied(Wide sums, Wide x, Wide w) { return _mm512_dpbusd_epi32(sums, x, w); }
#else
constexpr double kProducts = 32;
using Wide = __m256i;
inline Wide multiplied(Wide sums, Wide x, Wide w) {
  return _mm256_add_epi16(sums, _mm256_maddubs_epi16(x, w));
}
#endif
void multiply(size_t times) {
  Wide sums[12] = {}, x = {}, w = {};
  for (size_t k = 0; k < times; k += 12)
    for (Wide &sum : sums) {
      __asm__ volatile("" : "+x"(x), "+x"(w), "+x"(sum));  // else products are made once, before
      sum = multiplied(sum, x, w);
    }
  for (Wide &sum : sums) __asm__ volatile("" : "+x"(sum));
}
#endif

// A tile of 64 rows by all outputs, its weights in the first-level cache or near it.
void dense(const std::vector<uint8_t> &inputs, const int8_t *weights, std::vector<int32_t> &sums) {
  constexpr size_t kInputs = 384, kRows64 = 64;
  static const uint32_t offsets[] = {0, 64, 128, 192, 256, 320};
  Dense d{};
  d.c = sums.data();
  d.c_stride = TABLE.panels * kPanel;
  d.a = inputs.data();
  d.a_stride = kInputs;
  d.rows = kRows64;
  d.offsets = offsets;
  d.chunks = kInputs / 64;
  d.quads = 16;
  d.b = weights;
  d.panels = TABLE.panels;
  d.largest = 1;
  TABLE.dense(&d);
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
  std::vector<double> singles, probes, engines;
  volatile int kept = 0;
#ifdef DENSE
#ifdef __AMX_INT8__
  syscall(SYS_arch_prctl, 0x1023, 18);  // ARCH_REQ_XCOMP_PERM: the tile registers
#endif
  constexpr size_t kInputs = 384, kRows64 = 64, kTimes = 4080;
  const std::vector<uint8_t> inputs(kInputs * (kRows64 + 16), 1);
  std::vector<int32_t> tile((kRows64 + 16) * TABLE.panels * kPanel);
  weights.resize(kInputs * TABLE.panels * kPanel + kSlack);
  for (size_t run = 0; run < kRuns; ++run) {
    probes.push_back(timed([&](size_t) { multiply(kTimes); }));
    engines.push_back(timed([&](size_t) { dense(inputs, weights.data(), tile); }));
  }
  kept = kept + tile[0];
  const double most = 1e-9 * kSums * kTimes * kProducts;
  const double done = 1e-9 * kSums * kInputs * kRows64 * TABLE.panels * kPanel;
  std::printf("{\"probe\": %.3f, \"engine\": %.3f}\n", most / median(probes), done / median(engines));
  return 0;
#endif
  for (size_t run = 0; run < kRuns; ++run) {
    const auto events = [&](size_t s) { return &offsets[s * kEvents]; };
    singles.push_back(timed([&](size_t s) { kept = kept + single(weights.data(), events(s)); }));
    probes.push_back(timed([&](size_t s) { kept = kept + paired(weights.data(), events(s)); }));
    engines.push_back(timed([&](size_t s) {
      TABLE.gather(out.data(), weights.data(), &offsets[s * kEvents], kEvents, kOutputs);
      kept = kept + out[0];
    }));
  }
  const double additions = 1e-9 * kSums * kEvents * kOutputs;
  std::printf("{\"single\": %.3f, \"probe\": %.3f, \"engine\": %.3f}\n", additions / median(singles),
              additions / median(probes), additions / median(engines));
}
