// Ops with state that are no neurons: readouts and delays.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "checks.hpp"

namespace spikewright {

namespace {

int32_t at(const Ints &values, size_t i) { return values.empty() ? 0 : values[i]; }

class Readout final : public Op {
 public:
  Readout(Source x, ReadoutFields fields) : x_(x), f_(std::move(fields)) {
    state_bytes = f_.accumulates ? x.map.size() * sizeof(int32_t) : 0;
  }

  size_t constant_bytes() const override {
    return (f_.bias.size() + f_.decay.size()) * sizeof(int32_t);
  }

  void reset(const Context &c, size_t sample) const override {
    std::memset(c.state(number, state_bytes, sample), 0, state_bytes);
  }

  void run(const Context &c) const override {
    if (c.worker) return;
    for (size_t sample = 0; sample < c.samples; ++sample) {
      int32_t *y = reinterpret_cast<int32_t *>(c.state(number, state_bytes, sample));
      for (size_t t = 0; t < c.steps; ++t) {
        const uint8_t *x = x_.of(c, sample, t);
        int32_t *out = reinterpret_cast<int32_t *>(c.frame(number, map, sample, t));
        for (size_t i = 0; i < map.size(); ++i) {
          const int32_t arrived = value_at(x_.map.kind, x, i);
          out[i] = f_.accumulates ? (y[i] = next(y[i], arrived, i)) : arrived;
        }
      }
    }
  }

 private:
  int32_t next(int32_t y, int32_t x, size_t i) const {
    const int64_t size = (std::abs(int64_t{y}) * (4096 - at(f_.decay, i))) >> 12;
    const int64_t kept = y < 0 ? -size : size;
    const int64_t sum = kept + int64_t{x} * (int64_t{1} << f_.shift) + at(f_.bias, i);
    return static_cast<int32_t>(std::min<int64_t>(std::max<int64_t>(sum, f_.low), f_.high));
  }

  Source x_;
  ReadoutFields f_;
};

// The state is the values of the last `steps` steps, oldest first. One step at a time.
class Delay final : public Op {
 public:
  Delay(const Map &values, size_t steps) : steps_(steps) { state_bytes = values.bytes() * steps; }

  void reset(const Context &c, size_t sample) const override {
    std::memset(c.state(number, state_bytes, sample), 0, state_bytes);
  }

  void run(const Context &c) const override {
    if (c.worker) return;
    for (size_t sample = 0; sample < c.samples; ++sample)
      std::memcpy(c.frame(number, map, sample, 0), c.state(number, state_bytes, sample),
                  map.bytes());
  }

  void finish_step(const Context &c) const override {
    if (c.worker) return;
    for (size_t sample = 0; sample < c.samples; ++sample) {
      uint8_t *stored = c.state(number, state_bytes, sample);
      const size_t kept = (steps_ - 1) * map.bytes();
      std::memmove(stored, stored + map.bytes(), kept);
      store(stored + kept, from.of(c, sample, 0));
    }
  }

  Source from{0, {}};

 private:
  // The bounds decide how wide the delayed values are; sums lie as int32, however small they are.
  void store(uint8_t *to, const uint8_t *x) const {
    if (from.map.kind == map.kind) {
      std::memcpy(to, x, map.bytes());
      return;
    }
    for (size_t i = 0; i < map.size(); ++i) {
      const int32_t value = value_at(from.map.kind, x, i);
      if (map.kind == Kind::i32)
        reinterpret_cast<int32_t *>(to)[i] = value;
      else
        to[i] = static_cast<uint8_t>(value);
    }
  }

  size_t steps_;
};

}  // namespace

size_t Plan::add_readout(size_t from, ReadoutFields fields) {
  const Source x = source(from);
  check_readout(x.map, fields);
  Map map = x.map;
  map.kind = Kind::i32;
  return push(std::make_unique<Readout>(x, std::move(fields)), map, {from});
}

size_t Plan::add_delay(Map map, size_t steps) {
  require(!ops_.empty(), "the input is the first node of a plan");
  check_map(map);
  require(steps, "a delay of 0 steps");
  product("what a delay stores", {map.bytes(), steps}, kMostBytes);
  delays_.push_back(push(std::make_unique<Delay>(map, steps), map, {}));
  return delays_.back();
}

void Plan::close_delay(size_t delay, size_t from) {
  Delay *closed = dynamic_cast<Delay *>(&unfinished(delay));
  const Source x = source(from);
  require(closed && closed->reads.empty(), "only a delay is closed, and once");
  require(x.map.size() == closed->map.size(), "a delay of values of another size");
  closed->from = x;
  closed->reads.push_back(from);
}

}  // namespace spikewright
