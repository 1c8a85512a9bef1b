// Plan: where the buffers lie, and the loops over ops, steps and samples.
#include "plan.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <type_traits>

#include "checks.hpp"
#include "neurons.hpp"
#include "weights.hpp"

namespace spikewright {

namespace {

constexpr size_t kFrameBytes = 800 * 1024;  // of the largest op's frames that a block may hold
constexpr size_t kSampleBytes = 256 * 1024;

class InputOp final : public Op {
 public:
  InputOp() { stateless = true; }
  void run(const Context &) const override {}
};

// Places of buffers whose lives overlap, first fit.
class Places {
 public:
  size_t take(size_t bytes, size_t from, size_t to) {
    size_t at = 0;
    for (bool moved = true; moved;) {
      moved = false;
      for (const Used &u : used_)
        if (u.from <= to && from <= u.to && at < u.end && u.begin < at + bytes) {
          at = u.end;
          moved = true;
        }
    }
    used_.push_back({at, at + bytes, from, to});
    end_ = std::max(end_, at + bytes);
    return at;
  }
  size_t end() const { return end_; }

 private:
  struct Used {
    size_t begin, end, from, to;
  };
  std::vector<Used> used_;
  size_t end_ = 0;
};

void check_addend(const Map &map, const Addend &addend) {
  const Map &from = addend.x.map;
  const size_t factors = addend.factor.size();
  require(from.size() == map.size(), "another branch of another size");
  require(from.kind == Kind::i32 ? factors == 0
                                 : from.kind == Kind::u8 &&
                                       (factors == map.channels || factors == map.size()),
          "another branch is int32, or uint8 with a factor a channel or a neuron");
}

template <typename T>
void copy_in(const T *x, const Map &map, const Ints &index, uint8_t *to) {
  const size_t n = map.size();
  auto fill = [&](auto *y) {
    using Y = std::remove_reference_t<decltype(*y)>;
    if (index.empty())
      for (size_t i = 0; i < n; ++i) y[i] = static_cast<Y>(x[i]);
    else
      for (size_t i = 0; i < n; ++i) y[i] = static_cast<Y>(x[index[i]]);
  };
  if (map.kind == Kind::i32)
    fill(reinterpret_cast<int32_t *>(to));
  else
    fill(to);
}

}  // namespace

Plan::Plan(const KernelTable &kernels, Forced forced) : kernels_(kernels), forced_(forced) {
  require_at_most("forced steps", forced.steps, kMostSteps);
}

Plan::~Plan() = default;

Op &Plan::unfinished(size_t node) const {
  require(!finished_, "the plan has its output already");
  require(node < ops_.size(), "no such node in the plan");
  return *ops_[node];
}

Source Plan::source(size_t node) const {
  const Op &op = unfinished(node);
  require(!op.empty, "a node whose sums a neuron takes as they come has no values to read");
  return {node, op.map};
}

size_t Plan::push(std::unique_ptr<Op> op, Map map, std::vector<size_t> reads) {
  op->map = map;
  op->number = ops_.size();
  op->reads = std::move(reads);
  ops_.push_back(std::move(op));
  return ops_.size() - 1;
}

size_t Plan::add_input(Map map, Ints index) {
  require(ops_.empty(), "the input is the first node of a plan");
  check_map(map);
  if (!index.empty()) check_index(index, map.size(), map.size());
  input_index_ = std::move(index);
  return push(std::make_unique<InputOp>(), map, {});
}

size_t Plan::add_weights(size_t from, const Window &window, size_t out_channels, size_t groups,
                         Array<const int8_t> weight, int shift, int32_t largest) {
  const Source x = source(from);
  check_weights(window, x.map, out_channels, groups, weight.size, shift, largest);
  return push(std::make_unique<Weights>(kernels_, forced_, x, ops_[from]->counts_spikes, window,
                                        out_channels, groups, weight.data, shift, largest),
              {window.out_height * window.out_width, out_channels, Kind::i32}, {from});
}

size_t Plan::add_neuron(size_t from, Map map, NeuronFields fields) {
  const Source x = source(from);
  check_neuron(x.map, map, fields);
  auto op = make_neurons(kernels_, {x, nullptr, {}}, map, std::move(fields));
  return push(std::move(op), map, {from});
}

size_t Plan::add_fused_neuron(size_t weights, Map map, NeuronFields fields,
                              const std::vector<size_t> &addend, Ints factor) {
  Op &before = unfinished(weights);
  const Weights *taken = dynamic_cast<const Weights *>(&before);
  require(taken && !before.empty && !before.fixed, "only the sums of weights are taken, and once");
  for (const auto &op : ops_)
    for (size_t read : op->reads) require(read != weights, "sums that another node reads too");
  require(map.positions == before.map.positions && map.channels == before.map.channels,
          "a neuron laid out otherwise than the sums it takes");
  check_neuron(before.map, map, fields);
  std::vector<size_t> reads = before.reads;
  Arriving arriving{source(weights), taken, {}};
  if (!addend.empty()) {
    require(addend.size() == 1 && addend.front() != weights, "a neuron takes one other branch");
    arriving.addend = Addend{true, source(addend.front()), std::move(factor)};
    check_addend(map, arriving.addend);
    reads.push_back(addend.front());
  }
  before.empty = true;
  return push(make_neurons(kernels_, std::move(arriving), map, std::move(fields)), map,
              std::move(reads));
}

void Plan::mark_fixed(size_t node) {
  Op &op = unfinished(node);
  require(op.stateless && !op.empty, "only a node without state is the same at every step");
  for (size_t read : op.reads) require(ops_[read]->fixed, "a fixed node reads one that changes");
  op.fixed = true;
}

void Plan::set_output(size_t node) {
  require(source(node).map.kind == Kind::i32, "the output's values are int32");
  for (size_t delay : delays_) require(!ops_[delay]->reads.empty(), "a delay that nothing feeds");
  for (const auto &op : ops_)  // they read the frames of all steps as one
    require(!dynamic_cast<const Weights *>(op.get()) || op->fixed == ops_[op->reads[0]]->fixed,
            "weights that change behind a node that does not");
  finished_ = true;
  output_ = node;
  last_use_.assign(ops_.size(), 0);
  for (size_t k = 0; k < ops_.size(); ++k) {
    last_use_[k] = std::max(last_use_[k], k + 1);  // what was recorded may be read meanwhile
    for (size_t read : ops_[k]->reads) last_use_[read] = std::max(last_use_[read], k);
  }
  for (size_t delay : delays_) last_use_[ops_[delay]->reads.front()] = ops_.size();
  last_use_[output_] = ops_.size();
}

size_t Plan::constant_bytes() const {
  size_t total = input_index_.size() * sizeof(int32_t);
  for (const auto &op : ops_) total += op->constant_bytes();
  return total;
}

size_t Plan::state_bytes() const {
  size_t total = 0;
  for (const auto &op : ops_) total += op->state_bytes;
  return total;
}

// As many steps as keep the largest layer's frames in the caches; one where a loop needs each.
size_t Plan::steps_at_once(size_t time) const {
  size_t largest = 1;
  for (const auto &op : ops_)
    if (!op->empty) largest = std::max(largest, op->map.bytes());
  size_t steps = std::max<size_t>(1, kFrameBytes / largest);
  if (forced_.steps) steps = forced_.steps;
  return recurrent() ? 1 : std::min(time, steps);
}

size_t Plan::samples_at_once(size_t samples, size_t steps) const {
  size_t largest = 1;
  for (const auto &op : ops_)
    if (!op->empty) largest = std::max(largest, op->map.bytes());
  const size_t most = std::max<size_t>(1, std::min(samples, kSampleBytes / (largest * steps)));
  const size_t blocks = (samples + most - 1) / most;
  return (samples + blocks - 1) / blocks;  // of equal size, so that threads get equal shares
}

Layout Plan::layout(size_t samples, size_t time, size_t workers, bool repeated, bool traced,
                    bool together) const {
  require(finished_, "the plan has no output yet");
  require(samples && time && workers, "no samples, no steps or no threads");
  product("values", {samples, time}, kMostBytes);
  require_at_most("threads", workers, kMostThreads);
  const size_t steps = steps_at_once(time);
  const size_t at_once = together ? samples : samples_at_once(samples, steps);
  const Block block{at_once, steps, workers, repeated, traced};
  Layout at{block, {}, {}, {}, {}, {}, 0, 0, 0, 0, {}};
  Places places;
  size_t states = 0, widest = 64, shared = 0, trace = 0;
  for (size_t k = 0; k < ops_.size(); ++k) {
    const Op &op = *ops_[k];
    const bool stays = repeated && op.fixed;
    at.frames.push_back(stays ? 1 : steps);
    const size_t frames = product("a layer's frames", {block.samples, at.frames[k]}, kMostBytes);
    const size_t values = product("a layer's bytes", {frames, op.map.bytes()}, kMostBytes);
    const size_t bytes = op.empty ? 0 : values + kSlack;
    const bool alone = stays || kGap;  // gaps stay where they are
    at.values.push_back(places.take(line_bytes(bytes) + kGap, alone ? 0 : k,
                                    alone ? ops_.size() : last_use_[k]));
    at.gaps.push_back(at.values.back() + line_bytes(bytes));
    at.state.push_back(states);
    states += line_bytes(product("a layer's state", {block.samples, op.state_bytes}, kMostBytes)) + kGap;
    widest = std::max(widest, op.map.channels);
    shared = std::max(shared, op.shared_bytes(block));
    at.scratch_bytes = std::max(at.scratch_bytes, line_bytes(op.scratch_bytes(block) + kSlack));
    require_at_most("scratch bytes", at.scratch_bytes, kMostBytes);
    if (op.state_bytes && traced)
      trace = std::max(trace, product("a layer's trace", {frames, 2 * op.map.size(), sizeof(int32_t)},
                                      kMostBytes));
  }
  for (size_t k = 0; k < ops_.size(); ++k) {
    at.state[k] += line_bytes(places.end());
    at.gaps.push_back(at.state[k] + line_bytes(block.samples * ops_[k]->state_bytes));
  }
  const size_t after_state = line_bytes(places.end()) + states;
  at.shared.assign(ops_.size(), after_state);
  size_t end = after_state + line_bytes(shared + kSlack);
  auto leave_gap = [&] {
    at.gaps.push_back(end);
    end += kGap;
  };
  leave_gap();
  for (const auto &op : ops_) {
    at.spikes.push_back(end);
    if (!op->counts_spikes) continue;
    end += workers * line_bytes(at_once * sizeof(size_t));
    leave_gap();
  }
  at.scratch = end;
  for (size_t worker = 0; worker < workers; ++worker) {
    end += at.scratch_bytes;
    leave_gap();
  }
  at.trace = end;
  // Dense tiles read up to 15 rows past the last.
  at.total = at.trace + (traced ? line_bytes(trace) : 0) + 16 * widest + 1024;
  return at;
}

size_t Plan::workspace_bytes(size_t samples, size_t time) const {
  return layout(samples, time, 1, false, false).total;
}

void Plan::reset(const Context &c) const {
  for (const auto &op : ops_)
    if (op->state_bytes)
      for (size_t sample = 0; sample < c.samples; ++sample) op->reset(c, sample);
}

void Plan::load(const Context &c, const Encoded &x, size_t batch, size_t sample,
                size_t step) const {
  const Map &map = ops_.front()->map;
  for (size_t t = 0; t < c.frames_of(0); ++t)
    for (size_t s = 0; s < c.samples; ++s) {
      const size_t at = ((step + t) * batch + sample + s) * map.size();
      uint8_t *to = c.frame(0, map, s, t);
      if (x.item == 1 && map.kind != Kind::i32 && input_index_.empty())
        std::memcpy(to, static_cast<const uint8_t *>(x.data) + at, map.size());
      else if (x.item == 1 && x.is_unsigned)
        copy_in(static_cast<const uint8_t *>(x.data) + at, map, input_index_, to);
      else if (x.item == 1)
        copy_in(static_cast<const int8_t *>(x.data) + at, map, input_index_, to);
      else if (x.item == 4)
        copy_in(static_cast<const int32_t *>(x.data) + at, map, input_index_, to);
      else
        copy_in(static_cast<const int64_t *>(x.data) + at, map, input_index_, to);
    }
}

void Plan::advance(const Context &c, bool skip_fixed, const std::vector<Recorded> *recorded,
                   size_t batch, size_t sample, size_t step) const {
  for (const auto &op : ops_) {
    if (op->empty) continue;
    if (!skip_fixed || !op->fixed) {
      op->run(c);
      c.team.wait();
    }
    if (!recorded) continue;
    for (const Recorded &r : *recorded)
      if (r.node == op->number) {
        if (c.worker == 0) record(c, r, batch, sample, step);
        c.team.wait();
      }
  }
  if (delays_.empty()) return;
  for (size_t delay : delays_) ops_[delay]->finish_step(c);
  c.team.wait();
}

void Plan::store(const Context &c, int32_t *y, size_t batch, size_t sample, size_t step) const {
  const Map &map = ops_[output_]->map;
  for (size_t t = 0; t < c.steps; ++t)
    for (size_t s = 0; s < c.samples; ++s)
      std::memcpy(y + ((step + t) * batch + sample + s) * map.size(),
                  c.frame(output_, map, s, t), map.bytes());
}

void Plan::check_run(const Encoded &x, bool repeated, size_t time, size_t batch,
                     const Array<int32_t> &y, const std::vector<Recorded> &recorded, bool traced,
                     size_t threads) const {
  require(finished_, "the plan has no output yet");
  require(time && batch && threads, "no samples, no steps or no threads");
  require_at_most("threads", threads, kMostThreads);
  const size_t frames = product("frames", {time, batch}, kMostBytes);
  const size_t given = repeated ? batch : frames;
  require(x.size == product("x", {given, map_of(0).size()}, kMostBytes), "x has the wrong size");
  require(y.size == product("y", {frames, map_of(output_).size()}, kMostBytes),
          "y has the wrong size");
  require(!repeated || ops_.front()->fixed, "one frame for all steps, where the input may change");
  for (const Recorded &r : recorded) check_recorded(r, frames, traced);
}

void Plan::check_recorded(const Recorded &r, size_t frames, bool traced) const {
  require(r.node < ops_.size() && !ops_[r.node]->empty, "no such node to record");
  const Op &op = *ops_[r.node];
  const size_t size = product("a recording", {frames, op.map.size()}, kMostBytes);
  for (const Array<int32_t> *a : {&r.spikes, &r.v, &r.u})
    require(!a->data || a->size == size, "a recording has the wrong size");
  require(!(r.v.data || r.u.data) || (traced && op.counts_spikes), "v and u of a traced neuron only");
  require(!r.u.data || op.has_current, "u of a neuron without a current");
  if (!r.index.data) return;
  require(r.index.size == op.map.size(), "an order of another length than its map");
  for (size_t i = 0; i < r.index.size; ++i)
    require(static_cast<uint32_t>(r.index.data[i]) < r.index.size, "an order that leaves its map");
}

void Plan::record(const Context &c, const Recorded &r, size_t batch, size_t sample,
                  size_t step) const {
  const Op &op = *ops_[r.node];
  const size_t n = op.map.size();
  for (size_t t = 0; t < c.steps; ++t)
    for (size_t s = 0; s < c.samples; ++s) {
      const size_t at = ((step + t) * batch + sample + s) * n;
      const uint8_t *spikes = c.frame(r.node, op.map, s, t);
      const int32_t *trace = c.trace(n, s, t);
      for (size_t i = 0; i < n; ++i) {
        const size_t to = at + (r.index.data ? static_cast<size_t>(r.index.data[i]) : i);
        if (r.spikes.data) r.spikes.data[to] = value_at(op.map.kind, spikes, i);
        if (r.v.data) r.v.data[to] = trace[i];
        if (r.u.data) r.u.data[to] = trace[n + i];
      }
    }
}

void Plan::run(uint8_t *memory, const Layout &at, Team &team, size_t worker, const Encoded &x,
               size_t time, size_t batch, size_t begin, size_t end, int32_t *y,
               const std::vector<Recorded> &recorded) const {
  for (size_t sample = begin; sample < end; sample += at.block.samples) {
    const size_t samples = std::min(at.block.samples, end - sample);
    for (size_t t = 0; t < time; t += at.block.steps) {
      const size_t steps = std::min(at.block.steps, time - t);
      const Context c{at, memory, samples, steps, worker, team, t == 0, t + steps == time};
      const bool again = at.block.repeated && t > 0;
      if (worker == 0 && t == 0) reset(c);
      if (worker == 0 && !again) load(c, x, batch, sample, at.block.repeated ? 0 : t);
      team.wait();
      advance(c, again, recorded.empty() ? nullptr : &recorded, batch, sample, t);
      if (worker == 0) store(c, y, batch, sample, t);
      team.wait();
    }
  }
}

}  // namespace spikewright
