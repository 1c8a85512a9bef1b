// The only file that knows Python: addresses of torch's own memory, which the caller has checked.
#include <nanobind/nanobind.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "lif.hpp"
#include "norm.hpp"

namespace nb = nanobind;
using namespace spikewright::trainer;

namespace {

// Run work(begin, end) over [0, count) in `threads` equal parts.
template <typename Work>
void in_parts(int64_t count, int threads, const Work &work) {
  const int64_t part = (count + threads - 1) / threads;
  std::vector<std::thread> others;
  for (int k = 1; k < threads; ++k)
    others.emplace_back(work, std::min(k * part, count), std::min((k + 1) * part, count));
  work(0, std::min(part, count));
  for (std::thread &other : others) other.join();
}

template <typename Value>
Call<Value> call_of(uintptr_t x, int64_t x_step, uintptr_t grad, uintptr_t out,
                    int64_t time_steps, int64_t count, int64_t split, const Constants &c) {
  return {{reinterpret_cast<const Value *>(x), x_step},
          {reinterpret_cast<const Value *>(grad), count},
          {reinterpret_cast<Value *>(out), count},
          time_steps, split, c};
}

template <typename Value>
void run(uintptr_t x, int64_t x_step, uintptr_t grad, uintptr_t out, int64_t time_steps,
         int64_t count, int64_t split, const Constants &c, int threads) {
  const auto call = call_of<Value>(x, x_step, grad, out, time_steps, count, split, c);
  in_parts(count, threads, [&call, grad](int64_t begin, int64_t end) {
    grad ? backward(call, begin, end) : forward(call, begin, end);
  });
}

void lif(bool bfloat, uintptr_t x, int64_t x_step, uintptr_t grad, uintptr_t out,
         int64_t time_steps, int64_t count, int64_t split, const Constants &c, int threads) {
  nb::gil_scoped_release release;
  const auto chosen = bfloat ? run<bfloat16> : run<float>;
  chosen(x, x_step, grad, out, time_steps, count, split, c, threads);
}

template <typename Value>
void run_half(uintptr_t x, int64_t x_step, uintptr_t grad, uintptr_t out, const Slopes &s,
              int64_t time_steps, const Constants &c, int threads) {
  const auto call = call_of<Value>(x, x_step, grad, out, time_steps, s.count, s.count, c);
  in_parts(s.count, threads, [&call, &s](int64_t begin, int64_t end) {
    s.g ? carry(call, s, begin, end) : potentials(call, s, begin, end);
  });
}

void half(bool bfloat, uintptr_t x, int64_t x_step, uintptr_t grad, uintptr_t out, uintptr_t y,
          uintptr_t g, int64_t time_steps, int64_t count, const Constants &c, int threads) {
  const Slopes s{reinterpret_cast<float *>(y), reinterpret_cast<const float *>(g), count};
  nb::gil_scoped_release release;
  const auto chosen = bfloat ? run_half<bfloat16> : run_half<float>;
  chosen(x, x_step, grad, out, s, time_steps, c, threads);
}

// Sums over rows are taken in so many parts, whatever the number of threads: equal bits.
constexpr int64_t PARTS = 32;

// Run work(part, begin, end) over [0, rows) in PARTS parts.
template <typename Work>
void in_fixed_parts(int64_t rows, int threads, const Work &work) {
  const int64_t size = (rows + PARTS - 1) / PARTS;
  in_parts(PARTS, threads, [&work, rows, size](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part)
      work(part, std::min(part * size, rows), std::min((part + 1) * size, rows));
  });
}

template <typename Value>
void run_moments(uintptr_t x, int64_t channels, int64_t rows, const Moments &into, int threads) {
  std::vector<double> means(PARTS * channels), m2s(PARTS * channels);
  const Value *data = reinterpret_cast<const Value *>(x);
  in_fixed_parts(rows, threads, [&](int64_t part, int64_t begin, int64_t end) {
    const Moments own{&means[part * channels], &m2s[part * channels]};
    moments(data + begin * channels, channels, end - begin, own);
  });
  double seen = 0;
  const int64_t size = (rows + PARTS - 1) / PARTS;
  for (int64_t part = 0; part * size < rows; ++part) {
    const double n = static_cast<double>(std::min(size, rows - part * size));
    for (int64_t c = 0; c < channels; ++c) {
      const double gap = means[part * channels + c] - into.mean[c];
      into.mean[c] += gap * n / (seen + n);
      into.m2[c] += m2s[part * channels + c] + gap * gap * seen * n / (seen + n);
    }
    seen += n;
  }
}

void norm_moments(bool bfloat, uintptr_t x, int64_t channels, int64_t rows, uintptr_t mean,
                  uintptr_t m2, int threads) {
  const Moments into{reinterpret_cast<double *>(mean), reinterpret_cast<double *>(m2)};
  nb::gil_scoped_release release;
  const auto chosen = bfloat ? run_moments<bfloat16> : run_moments<float>;
  chosen(x, channels, rows, into, threads);
}

template <typename Value>
void run_normed(uintptr_t x, int64_t x_step, uintptr_t grad, uintptr_t out, int64_t time_steps,
                int64_t count, int64_t split, const Constants &c, const Norm &norm,
                const Sums &sums, int threads) {
  const auto call = call_of<Value>(x, x_step, grad, out, time_steps, count, split, c);
  const int64_t channels = norm.channels;
  std::vector<double> plain(PARTS * channels), centred(PARTS * channels);
  in_fixed_parts(count / channels, threads, [&](int64_t part, int64_t begin, int64_t end) {
    const Sums own{&plain[part * channels], &centred[part * channels]};
    grad ? backward(call, norm, own, begin * channels, end * channels)
         : forward(call, norm, begin * channels, end * channels);
  });
  if (!grad) return;
  for (int64_t i = 0; i < PARTS * channels; ++i) {
    sums.plain[i % channels] += plain[i];
    sums.centred[i % channels] += centred[i];
  }
}

void norm_lif(bool bfloat, uintptr_t x, int64_t x_step, uintptr_t grad, uintptr_t out,
              int64_t time_steps, int64_t count, int64_t split, const Constants &c, uintptr_t gain,
              uintptr_t offset, uintptr_t mean, int64_t channels, uintptr_t plain,
              uintptr_t centred, int threads) {
  const auto floats = [](uintptr_t at) { return reinterpret_cast<const float *>(at); };
  const Norm norm{floats(gain), floats(offset), floats(mean), channels};
  const Sums sums{reinterpret_cast<double *>(plain), reinterpret_cast<double *>(centred)};
  nb::gil_scoped_release release;
  const auto chosen = bfloat ? run_normed<bfloat16> : run_normed<float>;
  chosen(x, x_step, grad, out, time_steps, count, split, c, norm, sums, threads);
}

template <typename Value>
void run_centre(uintptr_t dy, uintptr_t x, const Affine &a, int64_t channels, int64_t rows,
                int threads) {
  Value *to = reinterpret_cast<Value *>(dy);
  const Value *from = reinterpret_cast<const Value *>(x);
  in_parts(rows, threads, [&](int64_t begin, int64_t end) {
    centre(to + begin * channels, from + begin * channels, a, channels, end - begin);
  });
}

void norm_centre(bool bfloat, uintptr_t dy, uintptr_t x, uintptr_t of_dy, uintptr_t of_x,
                 uintptr_t one, int64_t channels, int64_t rows, int threads) {
  const auto floats = [](uintptr_t at) { return reinterpret_cast<const float *>(at); };
  nb::gil_scoped_release release;
  const auto chosen = bfloat ? run_centre<bfloat16> : run_centre<float>;
  chosen(dy, x, {floats(of_dy), floats(of_x), floats(one)}, channels, rows, threads);
}

}  // namespace

NB_MODULE(_fused, m) {
  m.doc() = "The fused LIF neuron of the trainer, alone and behind a BatchNorm.";
  m.attr("LANES") = LANES;
  nb::class_<Constants>(m, "Constants", "The constants of a neuron; `width` or `alpha`, by kind.")
      .def("__init__", [](Constants *c, float beta, float tau, float v_threshold, float v_reset,
                          int kind, float width, float alpha, bool hard, bool at_threshold,
                          bool decay_input) {
        new (c) Constants{beta,  tau,        v_threshold, v_reset,      width,
                          alpha, Kind{kind}, hard,        at_threshold, decay_input};
      });
  m.def("lif", &lif,
        "Write `out` [time_steps, count] from `x`, or with `grad` the gradient of x; addresses.");
  m.def("half", &half,
        "Write y = u - v_threshold from `x`, or with `g` the gradient `out` from `grad`, y and g.");
  m.def("norm_moments", &norm_moments,
        "Add mean and sum of squares about it of each channel of x [rows, channels]; from zeros.");
  m.def("norm_lif", &norm_lif,
        "As `lif` on x * gain + offset; the gradient is that of the currents, its sums are added.");
  m.def("norm_centre", &norm_centre, "dy = dy * of_dy + x * of_x + one of each channel, in place.");
}
