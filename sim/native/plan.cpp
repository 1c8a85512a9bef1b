// Plan: layout of the buffers, and the loops over steps and samples.
#include "plan.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace spikewright {

namespace {

class InputOp final : public Op {
 public:
  void run(Workspace &) const override {}
};

}  // namespace

size_t Plan::push(std::unique_ptr<Op> op, size_t size) {
  op->size = size;
  op->offset = values_;
  op->state_offset = states_;
  values_ += size;
  states_ += op->state_size;
  scratch_ = std::max(scratch_, op->scratch_size);
  bytes_ = std::max(bytes_, op->byte_size);
  halves_ = std::max(halves_, op->half_size);
  ops_.push_back(std::move(op));
  return ops_.size() - 1;
}

Source Plan::source(size_t node) const {
  const Op &op = *ops_.at(node);
  return {op.offset, op.size};
}

size_t Plan::add_input(size_t size) {
  if (!ops_.empty()) throw std::invalid_argument("the input is the first node of a plan");
  return push(std::make_unique<InputOp>(), size);
}

size_t Plan::workspace_bytes() const {
  return (values_ + states_ + scratch_) * sizeof(int32_t) + bytes_ + halves_ * sizeof(int16_t);
}

Workspace Plan::workspace() const {
  Workspace w{Ints(values_), Ints(states_), Ints(scratch_), Codes(bytes_),
              std::vector<int16_t>(halves_)};
  reset(w);
  return w;
}

void Plan::reset(Workspace &w) const {
  std::fill(w.state.begin(), w.state.end(), 0);
  for (const auto &op : ops_) op->reset(w);
}

void Plan::step(Workspace &w, const int32_t *x, bool first, bool repeated) const {
  const bool skip_fixed = repeated && !first;
  if (!skip_fixed) std::memcpy(w.values.data(), x, ops_.front()->size * sizeof(int32_t));
  for (const auto &op : ops_)
    if (!(skip_fixed && op->fixed)) op->run(w);
  for (const auto &op : ops_) op->finish_step(w);
}

void Plan::record(const Workspace &w, const Recorded &r, size_t place) const {
  const Op &op = *ops_[r.node];
  const size_t bytes = op.size * sizeof(int32_t);
  const int32_t *state = w.state.data() + op.state_offset;
  if (r.spikes) std::memcpy(r.spikes + place * op.size, w.values.data() + op.offset, bytes);
  if (r.v) std::memcpy(r.v + place * op.size, state, bytes);
  if (r.u) std::memcpy(r.u + place * op.size, state + op.size, bytes);
}

void Plan::run(Workspace &w, const int32_t *x, bool repeated, size_t time, size_t batch,
               size_t begin, size_t end, int32_t *y, const std::vector<Recorded> &recorded) const {
  const size_t in = ops_.front()->size;
  const Op &last = *ops_[output_];
  for (size_t sample = begin; sample < end; ++sample) {
    reset(w);
    for (size_t t = 0; t < time; ++t) {
      const size_t place = t * batch + sample;
      step(w, x + (repeated ? sample : place) * in, t == 0, repeated);
      std::memcpy(y + place * last.size, w.values.data() + last.offset,
                  last.size * sizeof(int32_t));
      for (const Recorded &r : recorded) record(w, r, place);
    }
  }
}

}  // namespace spikewright
