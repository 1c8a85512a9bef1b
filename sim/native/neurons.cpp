// The equations are those of export/ir/arith.py.
#include "neurons.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "weights.hpp"

namespace spikewright {

namespace {

using Reset = NeuronFields::Reset;

constexpr int kMostShiftOfSums = 30;     // beyond, sums that stay within int32 are all 0
constexpr size_t kPositionsAlone = 64;  // that a neuron without weights converts at a time

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

size_t bytes_of(const NeuronFields &f) {
  const Ints *arrays[] = {&f.threshold, &f.decay,   &f.current_decay, &f.bias, &f.bias_in,
                          &f.reset,     &f.initial, &f.minimum,       &f.leak};
  size_t total = 0;
  for (const Ints *a : arrays) total += a->size() * sizeof(int32_t);
  return total;
}

// Every field: state is v, then u, last spikes and hold, as far as the neuron has them.
class GeneralNeurons final : public Neurons {
 public:
  GeneralNeurons(const KernelTable &k, Arriving from, const Map &map, NeuronFields fields)
      : Neurons(k, std::move(from)), f_(std::move(fields)) {
    const size_t n = map.size();
    u_ = n;
    spikes_ = u_ + (f_.current_based ? n : 0);
    hold_ = spikes_ + (f_.kind == Reset::soft_after_decay ? n : 0);
    state_bytes = (hold_ + (f_.refractory ? n : 0)) * sizeof(int32_t);
    has_current = f_.current_based;
  }

  size_t constant_bytes() const override { return bytes_of(f_); }

  void reset(const Context &c, size_t sample) const override {
    int32_t *state = state_of(c, sample);
    std::memset(state, 0, state_bytes);
    for (size_t i = 0; i < map.size(); ++i) state[i] = at(f_.initial, i);
  }

  size_t advance(const Context &c, size_t sample, const Sums &s) const override {
    size_t spiked = 0;
    int32_t *state = state_of(c, sample);
    const size_t size = map.size();
    for (size_t p = 0; p < s.positions; ++p)
      for (size_t t = 0; t < c.steps; ++t)
        for (size_t k = 0; k < s.channels; ++k) {
          const size_t i = (s.position + p) * map.channels + s.channel + k;
          const int32_t acc = s.acc[p * s.acc_position + t * s.acc_step + k];
          const int32_t count = one(acc * (1 << s.shift), i, state);
          spiked += count != 0;
          uint8_t *frame = c.frame(number, map, sample, t);
          if (map.kind == Kind::i32)
            reinterpret_cast<int32_t *>(frame)[i] = count;
          else
            frame[i] = static_cast<uint8_t>(count);
          if (c.at.block.traced) {
            int32_t *trace = c.trace(size, sample, t);
            trace[i] = state[i];
            if (f_.current_based) trace[size + i] = state[u_ + i];
          }
        }
    return spiked;
  }

 private:
  int32_t *state_of(const Context &c, size_t sample) const {
    return reinterpret_cast<int32_t *>(c.state(number, state_bytes, sample));
  }

  // Entry i of an array of one entry a channel, a neuron, or none.
  int32_t at(const Ints &values, size_t i) const {
    if (values.empty()) return 0;
    return values.size() == map.channels ? values[i % map.channels] : values[i];
  }

  int32_t one(int32_t acc, size_t i, int32_t *state) const {
    const int64_t u = current(acc, i, state);
    const int64_t v = membrane(u, i, state);
    int32_t count = spikes(v, i);
    int64_t after = v;
    if (f_.kind == Reset::hard && count) after = at(f_.reset, i);
    if (f_.kind == Reset::soft) after = v - int64_t{count} * at(f_.threshold, i);
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
    if (!f_.leak.empty()) v = toward_zero(v, at(f_.leak, i));
    v += u + at(f_.bias, i);
    if (f_.kind == Reset::soft_after_decay)
      v -= int64_t{state[spikes_ + i]} * at(f_.threshold, i);
    v = clamp(v, f_.low, f_.high);
    return f_.minimum.empty() ? v : std::max<int64_t>(v, at(f_.minimum, i));
  }

  int32_t spikes(int64_t v, size_t i) const {
    const int64_t threshold = at(f_.threshold, i);
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

  NeuronFields f_;
  size_t u_, spikes_, hold_;
};

// No current, single spikes, hard or soft reset: the instruction set's own kernel.
class PlainNeurons final : public Neurons {
 public:
  PlainNeurons(const KernelTable &k, Arriving from, const Map &map, NeuronFields fields)
      : Neurons(k, std::move(from)), f_(std::move(fields)), soft_(f_.kind == Reset::soft) {
    state_bytes = map.size() * sizeof(int32_t);
    bool by_neuron = false;
    for (const Ints *a : {&f_.threshold, &f_.decay, &f_.bias, &f_.bias_in, &f_.reset})
      by_neuron |= !a->empty() && a->size() != map.channels;
    const size_t n = by_neuron ? map.size() : map.channels;
    if (soft_) f_.reset = f_.threshold;
    if (f_.bias_in.empty()) f_.bias_in.assign(1, 0);
    for (Ints *a : {&f_.threshold, &f_.bias, &f_.bias_in, &f_.reset}) spread(*a, n);
    if (!f_.decay.empty()) spread(f_.decay, n);
    for (size_t i = 0; i < n; ++i) {
      f_.bias[i] += f_.bias_in[i];
      // v >= threshold is v > threshold - 1; v never reaches the least int32.
      if (f_.inclusive && f_.threshold[i] > INT32_MIN) --f_.threshold[i];
      if (!f_.decay.empty()) f_.decay[i] = 4096 - f_.decay[i];
    }
    f_.bias_in = {};
    parameter_position_ = by_neuron ? map.channels : 0;
  }

  static bool fits(const NeuronFields &f) {
    return !f.current_based && f.max_spikes == 1 && f.kind != Reset::soft_after_decay &&
           !f.refractory && f.leak.empty() && f.minimum.empty();
  }

  size_t constant_bytes() const override { return bytes_of(f_); }

  void reset(const Context &c, size_t sample) const override {
    int32_t *v = reinterpret_cast<int32_t *>(c.state(number, state_bytes, sample));
    if (f_.initial.empty() && !c.first) std::memset(v, 0, state_bytes);
    for (size_t i = 0; i < (f_.initial.empty() ? 0 : map.size()); ++i)
      v[i] = f_.initial[f_.initial.size() == map.channels ? i % map.channels : i];
  }

  size_t advance(const Context &c, size_t sample, const Sums &s) const override {
    const size_t first = s.position * map.channels + s.channel;
    const size_t constant = s.position * parameter_position_ + s.channel;
    Cells cells{};
    cells.acc = s.acc;
    cells.acc_position = s.acc_position;
    cells.acc_step = s.acc_step;
    int32_t *v = reinterpret_cast<int32_t *>(c.state(number, state_bytes, sample)) + first;
    cells.v = c.first && f_.initial.empty() ? nullptr : v;
    cells.after = c.last ? nullptr : v;
    cells.v_position = cells.spike_position = cells.trace_position = map.channels;
    cells.spikes = c.frame(number, map, sample, 0) + first;
    cells.spike_step = map.bytes();
    cells.trace = c.at.block.traced ? c.trace(map.size(), sample, 0) + first : nullptr;
    cells.trace_step = 2 * map.size();
    cells.threshold = f_.threshold.data() + constant;
    cells.bias = f_.bias.data() + constant;
    cells.reset = f_.reset.data() + constant;
    cells.kept = f_.decay.empty() ? nullptr : f_.decay.data() + constant;
    cells.parameter_position = parameter_position_;
    cells.low = f_.low;
    cells.high = f_.high;
    cells.shift = std::min(f_.shift + s.shift, kMostShiftOfSums);
    cells.soft = soft_;
    cells.positions = s.positions;
    cells.steps = c.steps;
    cells.channels = s.channels;
    return k_.cells(&cells);
  }

 private:
  // One entry a channel or a neuron, n in all.
  static void spread(Ints &values, size_t n) {
    if (values.empty()) values.assign(1, 0);
    const size_t given = values.size();
    values.resize(n);
    for (size_t i = given; i < n; ++i) values[i] = values[i % given];
  }

  NeuronFields f_;
  bool soft_;
  size_t parameter_position_ = 0;
};

}  // namespace

void Neurons::run(const Context &c) const {
  for (size_t sample = 0; sample < c.samples; ++sample) c.spikes(number, sample, c.worker) = 0;
  if (from_.weights)
    from_.weights->compute(c, this);
  else
    run_alone(c);
}

void Neurons::take(const Context &c, size_t sample, int32_t *acc, Sums sums) const {
  const Source &x = from_.addend.x;
  if (from_.addend.given) {
    const Ints &factor = from_.addend.factor;
    const size_t first = sums.position * map.channels + sums.channel;
    Joining j{};
    j.acc = acc;
    j.acc_position = sums.acc_position;
    j.acc_step = sums.acc_step;
    j.shift = sums.shift;
    j.x = x.of(c, sample, 0) + first * width_of(x.map.kind);
    j.x_position = map.channels;
    j.x_step = c.frames_of(x.node) == 1 ? 0 : map.size();
    const bool by_neuron = factor.size() == map.size();
    j.factor = factor.empty() ? nullptr : factor.data() + (by_neuron ? first : sums.channel);
    j.factor_position = by_neuron ? map.channels : 0;
    j.positions = sums.positions;
    j.steps = c.steps;
    j.channels = sums.channels;
    k_.join_sums(&j);
    sums.shift = 0;
  }
  sums.acc = acc;
  c.spikes(number, sample, c.worker) += advance(c, sample, sums);
}

size_t Neurons::scratch_bytes(const Block &b) const {
  if (from_.weights || from_.x.map.kind == Kind::i32) return 0;
  return std::min(kPositionsAlone, map.positions) * map.channels * b.steps * sizeof(int32_t);
}

void Neurons::run_alone(const Context &c) const {
  const Source &source = from_.x;
  const auto [begin, end] = share(map.positions, c.worker, c.team.workers());
  const size_t row = map.channels, frames = c.frames_of(source.node);
  const size_t step = frames == 1 ? 0 : map.size();
  for (size_t sample = 0; sample < c.samples; ++sample) {
    if (source.map.kind == Kind::i32) {
      const int32_t *acc = reinterpret_cast<const int32_t *>(source.of(c, sample, 0));
      c.spikes(number, sample, c.worker) +=
          advance(c, sample, {acc + begin * row, row, step, begin, end - begin, 0, row, 0});
      continue;
    }
    int32_t *wide = reinterpret_cast<int32_t *>(c.scratch());
    for (size_t p = begin; p < end; p += kPositionsAlone) {
      const size_t count = std::min(kPositionsAlone, end - p) * row;
      for (size_t t = 0; t < frames; ++t) {
        const uint8_t *x = source.of(c, sample, t) + p * row;
        for (size_t i = 0; i < count; ++i)
          wide[t * count + i] = value_at(source.map.kind, x, i);
      }
      c.spikes(number, sample, c.worker) +=
          advance(c, sample, {wide, row, frames == 1 ? 0 : count, p, count / row, 0, row, 0});
    }
  }
}

std::unique_ptr<Neurons> make_neurons(const KernelTable &k, Arriving from, const Map &map,
                                      NeuronFields fields) {
  if (PlainNeurons::fits(fields))
    return std::make_unique<PlainNeurons>(k, std::move(from), map, std::move(fields));
  return std::make_unique<GeneralNeurons>(k, std::move(from), map, std::move(fields));
}

}  // namespace spikewright
