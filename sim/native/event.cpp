#include "event.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace spikewright::event {

namespace {

constexpr int64_t kDecayOne = 4096;

int64_t signed_like(int64_t x, int64_t magnitude) { return x < 0 ? -magnitude : magnitude; }

// decay and leak_toward_zero of export/ir/arith.py
int64_t relaxed(int64_t v, const Neuron &n) {
  if (n.decay) v = signed_like(v, (std::abs(v) * (kDecayOne - n.decay)) >> 12);
  if (n.leak) v = signed_like(v, std::max<int64_t>(std::abs(v) - n.leak, 0));
  return v;
}

}  // namespace

Machine::Machine(std::vector<Neuron> neurons, Rows now, Rows later, size_t longest_lag)
    : neurons_(std::move(neurons)), now_(now), later_(later), v_(neurons_.size()),
      due_(longest_lag + 1) {}

size_t Machine::run(size_t time_steps, const Events &events, const Record &record) {
  longest_ = 0;
  for (auto &spans : due_) spans.clear();
  for (size_t k = 0; k < neurons_.size(); ++k) v_[k] = neurons_[k].initial;
  for (size_t t = 0; t < time_steps; ++t) {
    counts_ = record.counts + t * record.step;
    readout_ = record.readout + t * record.readout_step;
    time_reference();
    auto &spans = due_[t % due_.size()];
    for (const Span &span : spans) apply(later_, span.begin, span.end);
    spans.clear();
    drain(t);
    for (int64_t e = events.start[t]; e < events.start[t + 1]; ++e) {
      queue_.push_back(events.source[e]);
      drain(t);
    }
    int32_t *v = record.v + t * record.step;
    for (size_t k = 0; k < v_.size(); ++k) v[k] = static_cast<int32_t>(v_[k]);
  }
  return longest_;
}

void Machine::time_reference() {
  for (size_t k = 0; k < neurons_.size(); ++k) {
    const Neuron &n = neurons_[k];
    const int64_t v = relaxed(v_[k], n);
    if (n.biased)
      fire(k, std::clamp(v + n.bias, n.low, n.high));
    else
      v_[k] = v;
  }
}

void Machine::fire(size_t neuron, int64_t v) {
  const Neuron &n = neurons_[neuron];
  const bool fires = n.at_threshold ? v >= n.threshold : v > n.threshold;
  v_[neuron] = !fires ? v : n.hard ? n.reset : v - n.threshold;
  if (!fires) return;
  ++counts_[neuron];
  queue_.push_back(static_cast<int32_t>(neuron));
}

void Machine::apply(const Rows &rows, int64_t begin, int64_t end) {
  const size_t neurons = neurons_.size();
  for (int64_t s = begin; s < end; ++s) {
    const size_t target = static_cast<size_t>(rows.target[s]);
    if (target >= neurons) {
      readout_[target - neurons] += rows.weight[s];
      continue;
    }
    const Neuron &n = neurons_[target];
    const int64_t v = std::clamp(v_[target] + rows.weight[s], n.low, n.high);
    fire(target, std::max(v, n.minimum));
  }
}

void Machine::drain(size_t step) {
  while (head_ < queue_.size()) {
    longest_ = std::max(longest_, queue_.size() - head_);
    const size_t source = static_cast<size_t>(queue_[head_++]);
    apply(now_, now_.start[source], now_.start[source + 1]);
    // A row's synapses come path by path; those of one path share a lag.
    for (int64_t s = later_.start[source]; s < later_.start[source + 1];) {
      int64_t end = s + 1;
      while (end < later_.start[source + 1] && later_.lag[end] == later_.lag[s]) ++end;
      due_[(step + static_cast<size_t>(later_.lag[s])) % due_.size()].push_back({s, end});
      s = end;
    }
  }
  queue_.clear();
  head_ = 0;
}

}  // namespace spikewright::event
