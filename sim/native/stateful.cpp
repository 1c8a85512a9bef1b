// Ops with state: neurons, readouts, delays. The equations are those of export/ir/arith.py.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "plan.hpp"

namespace spikewright {

namespace {

int32_t at(const Ints &values, size_t i) { return values.empty() ? 0 : values[i]; }

int64_t clamp(int64_t x, int64_t low, int64_t high) { return std::min(std::max(x, low), high); }

// sign(x) * ((|x| * (4096 - d)) >> 12)
int64_t decayed(int64_t x, int64_t d) {
  const int64_t kept = (std::abs(x) * (4096 - d)) >> 12;
  return x < 0 ? -kept : kept;
}

int64_t toward_zero(int64_t x, int64_t amount) {
  const int64_t left = std::max<int64_t>(std::abs(x) - amount, 0);
  return x < 0 ? -left : left;
}

int64_t wrapped(int64_t x, int bits) {
  const int64_t half = int64_t{1} << (bits - 1);
  if (x > half) return x - 2 * half;
  if (x <= -half) return x + 2 * half;
  return x;
}

int64_t floor_division(int64_t a, int64_t b) {
  const int64_t q = a / b;
  return q - (a % b != 0 && (a < 0) != (b < 0));
}

using Reset = NeuronFields::Reset;

// Every field: state is v, then u, last spikes and hold, as far as the neuron has them.
class GeneralNeuron final : public Op {
 public:
  GeneralNeuron(Source x, NeuronFields fields) : x_(x), f_(std::move(fields)) {
    const size_t n = x.size;
    u_ = n;
    spikes_ = u_ + (f_.current_based ? n : 0);
    hold_ = spikes_ + (f_.kind == Reset::soft_after_decay ? n : 0);
    state_size = hold_ + (f_.refractory ? n : 0);
  }

  void reset(Workspace &w) const override {
    for (size_t i = 0; i < size; ++i) state(w)[i] = at(f_.initial, i);
  }

  void run(Workspace &w) const override {
    const int32_t *x = x_.of(w);
    int32_t *s = out(w);
    for (size_t i = 0; i < size; ++i) s[i] = advance(x[i], i, state(w));
  }

 private:
  int32_t advance(int32_t acc, size_t i, int32_t *state) const {
    const int64_t u = current(acc, i, state);
    const int64_t v = membrane(u, i, state);
    int32_t count = spikes(v, i);
    int64_t after = v;
    if (f_.kind == Reset::hard && count) after = at(f_.reset, i);
    if (f_.kind == Reset::soft) after = v - int64_t{count} * f_.threshold[i];
    if (f_.refractory) hold(i, state, count, after);
    state[i] = static_cast<int32_t>(after);
    if (f_.kind == Reset::soft_after_decay) state[spikes_ + i] = count;
    return count;
  }

  int64_t current(int32_t acc, size_t i, int32_t *state) const {
    const int64_t arrived = int64_t{acc} * (int64_t{1} << f_.shift) + at(f_.bias_in, i);
    if (!f_.current_based) return arrived;
    const int64_t total = decayed(state[u_ + i], at(f_.current_decay, i)) + arrived;
    const int64_t u = f_.wraps ? wrapped(total, f_.current_bits)
                               : clamp(total, f_.current_low, f_.current_high);
    state[u_ + i] = static_cast<int32_t>(u);
    return u;
  }

  int64_t membrane(int64_t u, size_t i, const int32_t *state) const {
    int64_t v = decayed(state[i], at(f_.decay, i));
    if (!f_.leak.empty()) v = toward_zero(v, f_.leak[i]);
    v += u + at(f_.bias, i);
    if (f_.kind == Reset::soft_after_decay) v -= int64_t{state[spikes_ + i]} * f_.threshold[i];
    v = clamp(v, f_.low, f_.high);
    return f_.minimum.empty() ? v : std::max<int64_t>(v, f_.minimum[i]);
  }

  int32_t spikes(int64_t v, size_t i) const {
    const int64_t threshold = f_.threshold[i];
    if (!(f_.inclusive ? v >= threshold : v > threshold)) return 0;
    if (f_.max_spikes == 1) return 1;
    const int64_t count = floor_division(f_.inclusive ? v : v - 1, threshold);
    return static_cast<int32_t>(std::min<int64_t>(count, f_.max_spikes));
  }

  void hold(size_t i, int32_t *state, int32_t &count, int64_t &after) const {
    int32_t &left = state[hold_ + i];
    if (left > 0) {
      count = 0;
      after = state[i];
    }
    left = count > 0 ? f_.refractory : std::max(left - 1, 0);
  }

  Source x_;
  NeuronFields f_;
  size_t u_, spikes_, hold_;
};

// No current, single spikes, hard reset: the instruction set's own kernel.
class PlainNeuronOp final : public Op {
 public:
  PlainNeuronOp(const KernelTable &k, Source x, NeuronFields fields)
      : k_(k), x_(x), f_(std::move(fields)) {
    state_size = x.size;
    auto array = [](const Ints &values) { return values.empty() ? nullptr : values.data(); };
    if (!f_.bias_in.empty()) {
      f_.bias.resize(x.size);
      for (size_t i = 0; i < x.size; ++i) f_.bias[i] += f_.bias_in[i];
    }
    p_ = {array(f_.threshold), array(f_.decay), array(f_.bias), array(f_.reset),
          f_.low,              f_.high,         f_.shift,       f_.inclusive};
  }

  static bool fits(const NeuronFields &f) {
    return !f.current_based && f.max_spikes == 1 && f.kind == Reset::hard && !f.refractory &&
           f.leak.empty() && f.minimum.empty();
  }

  void reset(Workspace &w) const override {
    for (size_t i = 0; i < size; ++i) state(w)[i] = at(f_.initial, i);
  }

  void run(Workspace &w) const override {
    k_.plain_neuron(&p_, x_.of(w), state(w), out(w), size);
  }

 private:
  const KernelTable &k_;
  Source x_;
  NeuronFields f_;
  PlainNeuron p_;
};

class Readout final : public Op {
 public:
  Readout(Source x, ReadoutFields fields) : x_(x), f_(std::move(fields)) {
    state_size = f_.accumulates ? x.size : 0;
  }

  void run(Workspace &w) const override {
    const int32_t *x = x_.of(w);
    if (!f_.accumulates) {
      std::memcpy(out(w), x, size * sizeof(int32_t));
      return;
    }
    for (size_t i = 0; i < size; ++i) {
      const int64_t kept = decayed(state(w)[i], at(f_.decay, i));
      const int64_t y = kept + int64_t{x[i]} * (int64_t{1} << f_.shift) + at(f_.bias, i);
      out(w)[i] = state(w)[i] = static_cast<int32_t>(clamp(y, f_.low, f_.high));
    }
  }

 private:
  Source x_;
  ReadoutFields f_;
};

// The state is the values of the last `steps` steps, oldest first.
class Delay final : public Op {
 public:
  Delay(size_t values, size_t steps) : steps_(steps) { state_size = values * steps; }

  void run(Workspace &w) const override {
    std::memcpy(out(w), state(w), size * sizeof(int32_t));
  }

  void finish_step(Workspace &w) const override {
    int32_t *stored = state(w);
    const size_t kept = (steps_ - 1) * size;
    std::memmove(stored, stored + size, kept * sizeof(int32_t));
    std::memcpy(stored + kept, from.of(w), size * sizeof(int32_t));
  }

  Source from{0, 0};

 private:
  size_t steps_;
};

}  // namespace

size_t Plan::add_neuron(size_t from, NeuronFields fields) {
  const Source x = source(from);
  if (PlainNeuronOp::fits(fields))
    return push(std::make_unique<PlainNeuronOp>(kernels_, x, std::move(fields)), x.size);
  return push(std::make_unique<GeneralNeuron>(x, std::move(fields)), x.size);
}

size_t Plan::add_readout(size_t from, ReadoutFields fields) {
  const Source x = source(from);
  return push(std::make_unique<Readout>(x, std::move(fields)), x.size);
}

size_t Plan::add_delay(size_t size, size_t steps) {
  return push(std::make_unique<Delay>(size, steps), size);
}

void Plan::close_delay(size_t delay, size_t from) {
  static_cast<Delay &>(*ops_.at(delay)).from = source(from);
}

}  // namespace spikewright
