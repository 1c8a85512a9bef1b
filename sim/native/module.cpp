// The only file that knows Python: names, argument checks and the choice of a kernel table.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "plan.hpp"

namespace nb = nanobind;
using namespace spikewright;

namespace {

// The tables this CPU can run, plainest first.
std::vector<const KernelTable *> available_tables() {
  std::vector<const KernelTable *> tables{&kernels_generic};
#ifdef SPIKEWRIGHT_X86_64
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    tables.push_back(&kernels_avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512vnni"))
    tables.push_back(&kernels_avx512vnni);
#endif
  return tables;
}

std::vector<std::string> isa_available() {
  std::vector<std::string> names;
  for (const KernelTable *table : available_tables()) names.emplace_back(table->name);
  return names;
}

const KernelTable &table_named(const std::string &isa) {
  for (const KernelTable *table : available_tables())
    if (isa == table->name) return *table;
  throw std::invalid_argument("instruction set not available on this CPU: " + isa);
}

Choice choice_named(const std::string &name) {
  if (name == "auto") return Choice::automatic;
  if (name == "gather") return Choice::gather;
  if (name == "dense") return Choice::dense;
  throw std::invalid_argument("no such choice of arithmetic: " + name);
}

using IntArray = nb::ndarray<const int32_t, nb::c_contig, nb::device::cpu>;
using CodeArray = nb::ndarray<const int8_t, nb::c_contig, nb::device::cpu>;
using Target = nb::ndarray<int32_t, nb::c_contig, nb::device::cpu>;

Ints copied(const IntArray &a) { return Ints(a.data(), a.data() + a.size()); }

Ints field(const nb::dict &d, const char *name) {
  if (!d.contains(name)) return {};
  return copied(nb::cast<IntArray>(d[name]));
}

template <typename T>
T value(const nb::dict &d, const char *name) {
  return nb::cast<T>(d[name]);
}

NeuronFields neuron_fields(const nb::dict &d) {
  NeuronFields f{};
  f.threshold = field(d, "threshold");
  f.decay = field(d, "decay");
  f.current_decay = field(d, "current_decay");
  f.bias = field(d, "bias");
  f.bias_in = field(d, "bias_in");
  f.reset = field(d, "reset");
  f.initial = field(d, "initial");
  f.minimum = field(d, "minimum");
  f.leak = field(d, "leak");
  f.low = value<int32_t>(d, "low");
  f.high = value<int32_t>(d, "high");
  f.current_low = value<int32_t>(d, "current_low");
  f.current_high = value<int32_t>(d, "current_high");
  f.current_bits = value<int32_t>(d, "current_bits");
  f.shift = value<int32_t>(d, "shift");
  f.max_spikes = value<int32_t>(d, "max_spikes");
  f.refractory = value<int32_t>(d, "refractory");
  f.current_based = value<bool>(d, "current_based");
  f.wraps = value<bool>(d, "wraps");
  f.inclusive = value<bool>(d, "inclusive");
  const std::string kind = value<std::string>(d, "reset_kind");
  f.kind = kind == "hard"   ? NeuronFields::Reset::hard
           : kind == "soft" ? NeuronFields::Reset::soft
                            : NeuronFields::Reset::soft_after_decay;
  return f;
}

ReadoutFields readout_fields(const nb::dict &d) {
  return {field(d, "bias"),           field(d, "decay"),          value<int32_t>(d, "low"),
          value<int32_t>(d, "high"), value<int32_t>(d, "shift"), value<bool>(d, "accumulates")};
}

Window window_of(const std::vector<size_t> &v) {
  if (v.size() != 13) throw std::invalid_argument("a window has 13 numbers");
  return {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12]};
}

// One recorded node: its number and the arrays [time, batch, size] to write, or None.
Recorded recorded_node(const nb::tuple &entry) {
  Recorded r{nb::cast<size_t>(entry[0]), nullptr, nullptr, nullptr};
  int32_t **slots[] = {&r.spikes, &r.v, &r.u};
  for (size_t k = 0; k < 3; ++k)
    if (!entry[k + 1].is_none()) *slots[k] = nb::cast<Target>(entry[k + 1]).data();
  return r;
}

void run(const Plan &plan, IntArray x, bool repeated, size_t time, size_t batch, Target y,
         const nb::list &recorded, size_t threads) {
  const size_t frames = repeated ? batch : time * batch;
  if (x.size() != frames * plan.size_of(0)) throw std::invalid_argument("x has the wrong size");
  std::vector<Recorded> pointers;
  for (nb::handle entry : recorded)
    pointers.push_back(recorded_node(nb::cast<nb::tuple>(entry)));
  nb::gil_scoped_release unlocked;
  const size_t workers = std::max<size_t>(1, std::min(threads, batch));
  auto work = [&](size_t worker) {
    Workspace w = plan.workspace();
    plan.run(w, x.data(), repeated, time, batch, batch * worker / workers,
             batch * (worker + 1) / workers, y.data(), pointers);
  };
  std::vector<std::thread> pool;
  for (size_t k = 1; k < workers; ++k) pool.emplace_back(work, k);
  work(0);
  for (std::thread &thread : pool) thread.join();
}

// Streaming: one workspace a sample, kept between steps.
class Stream {
 public:
  Stream(const Plan &plan, size_t batch) : plan_(plan) {
    for (size_t k = 0; k < batch; ++k) samples_.push_back(plan.workspace());
  }

  void step(IntArray x, Target y) {
    const size_t in = plan_.size_of(0), out = plan_.size_of(plan_.output());
    if (x.size() != in * samples_.size()) throw std::invalid_argument("x has the wrong size");
    if (y.size() != out * samples_.size()) throw std::invalid_argument("y has the wrong size");
    nb::gil_scoped_release unlocked;
    for (size_t k = 0; k < samples_.size(); ++k) {
      plan_.step(samples_[k], x.data() + k * in, true, false);
      const int32_t *found = samples_[k].values.data() + plan_.offset_of(plan_.output());
      std::copy(found, found + out, y.data() + k * out);
    }
  }

 private:
  const Plan &plan_;
  std::vector<Workspace> samples_;
};

}  // namespace

NB_MODULE(_native, module) {
  module.doc() = "The native engine: integer graphs as plans of kernels.";
  module.def("isa_available", &isa_available,
             "Names of the instruction sets this CPU can run, plainest first.");
  nb::class_<Plan>(module, "Plan")
      .def("__init__",
           [](Plan *self, const std::string &isa, const std::string &choice) {
             new (self) Plan(table_named(isa), choice_named(choice));
           })
      .def("add_input", &Plan::add_input)
      .def("add_linear",
           [](Plan &p, size_t from, size_t rows, CodeArray w, int shift, bool bytes, bool halves) {
             return p.add_linear(from, rows, w.shape(1), w.shape(0), w.data(), shift,
                                 {bytes, halves});
           })
      .def("add_conv",
           [](Plan &p, size_t from, const std::vector<size_t> &window, CodeArray w, size_t groups,
              int shift, bool bytes, bool halves) {
             return p.add_conv(from, window_of(window), w.shape(0), groups, w.data(), shift,
                               {bytes, halves});
           })
      .def("add_pool",
           [](Plan &p, size_t from, const std::vector<size_t> &window, bool maximum) {
             return p.add_pool(from, window_of(window), maximum);
           })
      .def("add_gather", [](Plan &p, size_t from, IntArray i) { return p.add_gather(from, copied(i)); })
      .def("add_sum", &Plan::add_sum)
      .def("add_matmul", &Plan::add_matmul)
      .def("add_scale", [](Plan &p, size_t from, IntArray f) { return p.add_scale(from, copied(f)); })
      .def("add_delay", &Plan::add_delay)
      .def("close_delay", &Plan::close_delay)
      .def("add_neuron",
           [](Plan &p, size_t from, const nb::dict &d) { return p.add_neuron(from, neuron_fields(d)); })
      .def("add_readout",
           [](Plan &p, size_t from, const nb::dict &d) { return p.add_readout(from, readout_fields(d)); })
      .def("mark_fixed", &Plan::mark_fixed)
      .def("set_output", &Plan::set_output)
      .def("workspace_bytes", &Plan::workspace_bytes)
      .def("run", &run);
  nb::class_<Stream>(module, "Stream")
      .def(nb::init<const Plan &, size_t>(), nb::keep_alive<1, 2>())
      .def("step", &Stream::step);
}
