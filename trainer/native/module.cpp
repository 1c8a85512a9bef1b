// The only file that knows Python: addresses of torch's own memory, which the caller has checked.
#include <nanobind/nanobind.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "lif.hpp"

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
void run(uintptr_t x, int64_t x_step, uintptr_t grad, uintptr_t out, int64_t time_steps,
         int64_t count, int64_t split, const Constants &c, int threads) {
  const Call<Value> call{{reinterpret_cast<const Value *>(x), x_step},
                         {reinterpret_cast<const Value *>(grad), count},
                         {reinterpret_cast<Value *>(out), count},
                         time_steps, split, c};
  in_parts(count, threads, [&call, grad](int64_t begin, int64_t end) {
    grad ? backward(call, begin, end) : forward(call, begin, end);
  });
}

void lif(bool bfloat, uintptr_t x, int64_t x_step, uintptr_t grad, uintptr_t out,
         int64_t time_steps, int64_t count, int64_t split, float beta, float tau,
         float v_threshold, float v_reset, int kind, float width, float alpha, bool hard, bool at_threshold,
         bool decay_input, int threads) {
  const Constants c{beta,  tau,  v_threshold,  v_reset,    width,
                    alpha, Kind{kind}, hard, at_threshold, decay_input};
  nb::gil_scoped_release release;
  const auto chosen = bfloat ? run<bfloat16> : run<float>;
  chosen(x, x_step, grad, out, time_steps, count, split, c, threads);
}

template <typename Value>
void run_half(uintptr_t x, int64_t x_step, uintptr_t grad, uintptr_t out, const Slopes &s,
              int64_t time_steps, const Constants &c, int threads) {
  const Call<Value> call{{reinterpret_cast<const Value *>(x), x_step},
                         {reinterpret_cast<const Value *>(grad), s.count},
                         {reinterpret_cast<Value *>(out), s.count},
                         time_steps, s.count, c};
  in_parts(s.count, threads, [&call, &s](int64_t begin, int64_t end) {
    s.g ? carry(call, s, begin, end) : potentials(call, s, begin, end);
  });
}

// Constants in the order of `lif`; without a width, which belongs to the rectangle.
void half(bool bfloat, uintptr_t x, int64_t x_step, uintptr_t grad, uintptr_t out, uintptr_t y,
          uintptr_t g, int64_t time_steps, int64_t count, float beta, float tau,
          float v_threshold, float v_reset, bool hard, bool at_threshold, bool decay_input,
          int threads) {
  const Constants c{beta, tau,  v_threshold,  v_reset,    1.0f,
                    1.0f, Kind::rectangle, hard, at_threshold, decay_input};
  const Slopes s{reinterpret_cast<float *>(y), reinterpret_cast<const float *>(g), count};
  nb::gil_scoped_release release;
  const auto chosen = bfloat ? run_half<bfloat16> : run_half<float>;
  chosen(x, x_step, grad, out, s, time_steps, c, threads);
}

}  // namespace

NB_MODULE(_fused, m) {
  m.doc() = "The fused LIF neuron of the trainer.";
  m.def("lif", &lif,
        "Write `out` [time_steps, count] from `x`, or with `grad` the gradient of x; addresses.");
  m.def("half", &half,
        "Write y = u - v_threshold from `x`, or with `g` the gradient `out` from `grad`, y and g.");
}
