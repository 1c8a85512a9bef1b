#include "event.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "require.hpp"

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

constexpr size_t kLongestLag = size_t{1} << 24;  // steps that a ring of lists is kept for

void check_starts(const int64_t *start, size_t count, size_t end) {
  require(start[0] == 0 && static_cast<size_t>(start[count]) == end, "rows that leave their array");
  for (size_t k = 0; k < count; ++k) require(start[k] <= start[k + 1], "rows that run backwards");
}

}  // namespace

void check(const Rows &now, const Rows &later, size_t longest_lag, size_t neurons, size_t cells) {
  require(now.sources == later.sources && neurons <= now.sources, "rows of unlike numbers of sources");
  require(longest_lag <= kLongestLag, "a lag of more than 16,777,216 steps");
  for (const Rows *rows : {&now, &later}) {
    check_starts(rows->start, rows->sources, rows->synapses);
    for (size_t s = 0; s < rows->synapses; ++s)
      require(static_cast<uint32_t>(rows->target[s]) < neurons + cells, "a synapse to no neuron");
  }
  for (size_t source = 0; source < neurons; ++source)
    for (int64_t s = now.start[source]; s < now.start[source + 1]; ++s)
      require(static_cast<size_t>(now.target[s]) > source, "a synapse that leads back at once");
  for (size_t s = 0; s < later.synapses; ++s)
    require(0 < later.lag[s] && static_cast<size_t>(later.lag[s]) <= longest_lag, "a lag out of range");
}

void check(const Events &events, size_t steps, size_t given, size_t sources) {
  check_starts(events.start, steps, given);
  for (size_t e = 0; e < given; ++e)
    require(static_cast<uint32_t>(events.source[e]) < sources, "an event of no source");
}

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
