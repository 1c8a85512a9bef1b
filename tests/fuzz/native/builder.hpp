// Builds a plan call by call, and knows of each node what the next calls and the run must know.
#pragma once

#include <utility>

#include "recipe.hpp"

namespace spikewright::fuzz {

struct Node {
  Map map;
  int32_t largest;  // value, in truth
  bool neuron, has_current, taken;
};

class Builder {
 public:
  explicit Builder(Plan &plan) : plan_(plan) {}

  // One call as the recipe says; throws what the engine throws. False: the recipe ends the plan.
  bool call(Recipe &r) {
    const uint8_t code = r.byte();
    fit_ = code < 128;
    honest_ &= fit_;
    switch (code & 15) {
      case 0: input(r); break;
      case 1: weights(r); break;
      case 2: pool(r); break;
      case 3: permutation(r); break;
      case 4: sum(r); break;
      case 5: scale(r); break;
      case 6: matmul(r); break;
      case 7: delay(r); break;
      case 8: close_delay(r); break;
      case 9: neuron(r); break;
      case 10: fused(r); break;
      case 11: readout(r); break;
      case 12: plan_.mark_fixed(node(r)); break;
      default:
        plan_.set_output(node(r));
        return false;
    }
    return true;
  }

  const std::vector<Node> &nodes() const { return nodes_; }
  bool honest() const { return honest_; }  // no input is larger than the weights were told
  double work() const { return work_; }    // of one frame, in products and additions

 private:
  static constexpr int32_t kMost[] = {255, 128, INT32_MAX};

  Map map(Recipe &r) {
    const size_t positions = r.number(), channels = r.number();
    return {positions, channels, static_cast<Kind>(r.at_most(2))};
  }
  size_t node(Recipe &r) {
    const size_t given = r.number();
    return fit_ && !nodes_.empty() ? given % nodes_.size() : given;
  }
  Map map_at(size_t node) const { return node < nodes_.size() ? nodes_[node].map : Map{1, 1, Kind::u8}; }
  // A map of as many values as `like`.
  Map map_like(Map given, const Map &like) const {
    if (!fit_ || (given.positions <= kMostEntries && given.channels <= kMostEntries &&
                  given.size() == like.size()))
      return given;
    return {like.positions, like.channels, given.kind};
  }
  void made(Map map, double work, int32_t largest = -1) {
    nodes_.push_back({map, largest < 0 ? kMost[static_cast<int>(map.kind)] : largest, false, false, false});
    work_ += work;
  }
  static double size(const Map &m) { return double(m.positions) * double(m.channels); }

  void input(Recipe &r) {
    Map m = map(r);
    if (fit_) m.positions = one_to(m.positions, 256), m.channels = one_to(m.channels, 128);
    Ints index = r.ints();
    if (fit_ && !index.empty()) index = order(std::move(index), m.size(), m.size());
    plan_.add_input(m, std::move(index));
    made(m, size(m));
  }

  void weights(Recipe &r) {
    const size_t from = node(r);
    Window w = window_of(r.numbers<13>());
    size_t out = r.number(), groups = r.number();
    int shift = r.int32();
    int32_t largest = r.int32();
    std::vector<int8_t> codes = r.codes();
    if (fit_) {
      w = fitted(w, map_at(from));
      groups = one_to(groups, 4);
      if (w.channels % groups) groups = 1;
      out = one_to(out, 128);
      out = (out + groups - 1) / groups * groups;
      shift = std::min(std::abs(shift % 17), 16);
      if (from < nodes_.size()) largest = nodes_[from].largest;
      codes = cycled(std::move(codes), out * (w.channels / groups) * w.kernel_y * w.kernel_x);
    }
    plan_.add_weights(from, w, out, groups, {codes.data(), codes.size()}, shift, largest);
    const double taps = double(w.kernel_y) * double(w.kernel_x) * double(w.channels) / double(groups);
    made({w.out_height * w.out_width, out, Kind::i32},
         double(w.out_height) * double(w.out_width) * taps * double(out + 64 * groups));
  }

  void pool(Recipe &r) {
    const size_t from = node(r);
    Window w = window_of(r.numbers<13>());
    const bool maximum = r.byte() & 1;
    const Kind kind = static_cast<Kind>(r.at_most(2));
    if (fit_) w = fitted(w, map_at(from));
    plan_.add_pool(from, w, maximum, kind);
    const Map m{w.out_height * w.out_width, w.channels, kind};
    made(m, size(m) * double(w.kernel_y) * double(w.kernel_x));
  }

  void permutation(Recipe &r) {
    const size_t from = node(r);
    Map m = map(r);
    Ints index = r.ints();
    if (fit_) {
      m = map_like(m, map_at(from));
      m.kind = map_at(from).kind;
      index = order(std::move(index), m.size(), map_at(from).size());
    }
    plan_.add_permutation(from, m, std::move(index));
    made(m, size(m), from < nodes_.size() ? nodes_[from].largest : -1);
  }

  void sum(Recipe &r) {
    std::vector<size_t> from(r.at_most(4));
    for (size_t &one : from) one = node(r);
    Map m = map(r);
    if (fit_ && !from.empty()) {
      m = map_like(m, map_at(from.front()));
      for (size_t &one : from)
        if (map_at(one).size() != m.size()) one = from.front();
    }
    plan_.add_sum(from, m);
    made(m, size(m) * double(from.size()));
  }

  void scale(Recipe &r) {
    const size_t from = node(r);
    const Map m = map_like(map(r), map_at(from));
    Ints factor = r.ints();
    if (fit_ && factor.empty()) factor.push_back(3);
    plan_.add_scale(from, m, fit_ ? fitted(std::move(factor), m) : std::move(factor));
    made(m, size(m));
  }

  void matmul(Recipe &r) {
    size_t a = node(r), b = node(r);
    std::vector<size_t> shape = r.numbers<4>(), strides = r.numbers<9>();
    Map m = map(r);
    if (fit_) m.kind = Kind::i32;
    plan_.add_matmul(a, b, shape, strides, m);
    made(m, size(m) + double(shape[0]) * double(shape[1]) * double(shape[2]) * double(shape[3]));
  }

  void delay(Recipe &r) {
    Map m = map(r);
    size_t steps = r.number();
    if (fit_) m.positions = one_to(m.positions, 256), m.channels = one_to(m.channels, 128);
    if (fit_) steps = one_to(steps, 16);
    plan_.add_delay(m, steps);
    made(m, size(m) * double(steps));
  }

  void close_delay(Recipe &r) {
    const size_t a = node(r), b = node(r);
    plan_.close_delay(a, b);
  }

  NeuronFields fields(Recipe &r, const Map &m) {
    NeuronFields f{};
    for (Ints *values : {&f.threshold, &f.decay, &f.current_decay, &f.bias, &f.bias_in, &f.reset,
                         &f.initial, &f.minimum, &f.leak}) {
      *values = r.ints();
      if (fit_) *values = fitted(std::move(*values), m);
    }
    for (int32_t *value : {&f.low, &f.high, &f.current_low, &f.current_high, &f.current_bits,
                           &f.shift, &f.max_spikes, &f.refractory})
      *value = r.int32();
    const uint8_t flags = r.byte();
    f.current_based = flags & 1, f.wraps = flags & 2, f.inclusive = flags & 4;
    f.kind = static_cast<NeuronFields::Reset>((flags >> 3) % 3);
    if (fit_) repair(f);
    return f;
  }
  static void repair(NeuronFields &f) {
    for (Ints *decays : {&f.decay, &f.current_decay})
      for (int32_t &d : *decays)
        if (d < 0 || d > 4096) d = static_cast<int32_t>(static_cast<uint32_t>(d) % 4097);
    for (int32_t &leak : f.leak) leak &= INT32_MAX;
    if (f.low > f.high) std::swap(f.low, f.high);
    if (f.current_low > f.current_high) std::swap(f.current_low, f.current_high);
    if (f.current_bits < 2 || f.current_bits > 30) f.current_bits = 2 + (f.current_bits & 15);
    if (f.shift < 0 || f.shift > 16) f.shift = f.shift & 15;
    if (f.max_spikes < 1 || f.max_spikes > 1 << 15) f.max_spikes = 1 + (f.max_spikes & 1023);
    if (f.refractory < 0 || f.refractory > 1 << 15) f.refractory = f.refractory & 15;
    if (f.max_spikes == 1) return;
    if (f.threshold.empty()) f.max_spikes = 1;
    for (int32_t &threshold : f.threshold) threshold = std::max(threshold, 1);
  }
  void made_neurons(const Map &m, const NeuronFields &f) {
    made(m, 8 * size(m), std::min(f.max_spikes, kMost[static_cast<int>(m.kind)]));
    nodes_.back().neuron = true;
    nodes_.back().has_current = f.current_based;
  }
  void take_kind(Map &m, const NeuronFields &f) const {
    if (fit_ && f.max_spikes <= 255) m.kind = Kind::u8;
    if (fit_ && f.max_spikes > 255) m.kind = Kind::i32;
  }

  void neuron(Recipe &r) {
    const size_t from = node(r);
    Map m = map_like(map(r), map_at(from));
    NeuronFields f = fields(r, m);
    take_kind(m, f);
    plan_.add_neuron(from, m, f);
    made_neurons(m, f);
  }

  void fused(Recipe &r) {
    const size_t from = node(r);
    Map m = map(r);
    if (fit_) m = {map_at(from).positions, map_at(from).channels, m.kind};
    NeuronFields f = fields(r, m);
    take_kind(m, f);
    std::vector<size_t> addend(r.at_most(2));
    for (size_t &one : addend) one = node(r);
    Ints factor = r.ints();
    if (fit_) {
      addend.resize(std::min<size_t>(addend.size(), 1));
      const Map other = addend.empty() ? m : map_at(addend.front());
      if (other.size() != m.size() || other.kind == Kind::s8) addend.clear();
      if (addend.empty() || other.kind == Kind::i32) factor.clear();
      else if (factor.empty()) factor.push_back(1);
      factor = fitted(std::move(factor), m);
    }
    plan_.add_fused_neuron(from, m, f, addend, factor);
    nodes_.at(from).taken = true;
    made_neurons(m, f);
  }

  void readout(Recipe &r) {
    const size_t from = node(r);
    const Map m = map_at(from);
    ReadoutFields f{r.ints(), r.ints(), r.int32(), r.int32(), r.int32(), (r.byte() & 1) != 0};
    if (fit_) {
      for (Ints *values : {&f.bias, &f.decay})
        if (!values->empty()) *values = cycled(std::move(*values), m.size());
      for (int32_t &d : f.decay)
        if (d < 0 || d > 4096) d = static_cast<int32_t>(static_cast<uint32_t>(d) % 4097);
      if (f.low > f.high) std::swap(f.low, f.high);
      if (f.shift < 0 || f.shift > 16) f.shift &= 15;
    }
    plan_.add_readout(from, f);
    made({m.positions, m.channels, Kind::i32}, size(m));
  }

  Plan &plan_;
  std::vector<Node> nodes_;
  bool fit_ = true, honest_ = true;
  double work_ = 0;
};

}  // namespace spikewright::fuzz
