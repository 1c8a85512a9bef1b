// The only file that knows Python: names, argument checks and the choice of a kernel table.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu.hpp"
#include "runner.hpp"

namespace nb = nanobind;
using namespace spikewright;

namespace {

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

bool isa_lent(const std::string &isa) { return lent(table_named(isa)); }

Choice choice_named(const std::string &name) {
  if (name == "auto") return Choice::automatic;
  if (name == "gather") return Choice::gather;
  if (name == "dense") return Choice::dense;
  throw std::invalid_argument("no such choice of arithmetic: " + name);
}

using IntArray = nb::ndarray<const int32_t, nb::c_contig, nb::device::cpu>;
using CodeArray = nb::ndarray<const int8_t, nb::c_contig, nb::device::cpu>;
using Target = nb::ndarray<int32_t, nb::c_contig, nb::device::cpu>;
using Values = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

Ints copied(const IntArray &a) { return Ints(a.data(), a.data() + a.size()); }

Array<const int32_t> pointed(const IntArray &a) { return {a.data(), a.size()}; }
Array<int32_t> pointed(const Target &a) { return {a.data(), a.size()}; }

Ints field(const nb::dict &d, const char *name) {
  if (!d.contains(name)) return {};
  return copied(nb::cast<IntArray>(d[name]));
}

template <typename T>
T value(const nb::dict &d, const char *name) {
  return nb::cast<T>(d[name]);
}

NeuronFields::Reset reset_named(const std::string &name) {
  if (name == "hard") return NeuronFields::Reset::hard;
  if (name == "soft") return NeuronFields::Reset::soft;
  if (name == "soft_after_decay") return NeuronFields::Reset::soft_after_decay;
  throw std::invalid_argument("no such reset: " + name);
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
  f.kind = reset_named(value<std::string>(d, "reset_kind"));
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

// positions, channels, kind: 0 uint8, 1 int8, 2 int32.
Map map_of(const std::vector<size_t> &v) {
  if (v.size() != 3 || v[2] > 2) throw std::invalid_argument("a map has 3 numbers");
  return {v[0], v[1], static_cast<Kind>(v[2])};
}

// One recorded node: its number, the order of its values or None, and the arrays [time, batch,
// size] to write, or None.
Recorded recorded_node(const nb::tuple &entry) {
  if (entry.size() != 5) throw std::invalid_argument("a recorded node has 5 entries");
  Recorded r{nb::cast<size_t>(entry[0]), {}, {}, {}, {}};
  if (!entry[1].is_none()) r.index = pointed(nb::cast<IntArray>(entry[1]));
  Array<int32_t> *slots[] = {&r.spikes, &r.v, &r.u};
  for (size_t k = 0; k < 3; ++k)
    if (!entry[k + 2].is_none()) *slots[k] = pointed(nb::cast<Target>(entry[k + 2]));
  return r;
}

Encoded encoded(const Values &x) {
  const nb::dlpack::dtype type = x.dtype();
  const bool is_unsigned = type.code != static_cast<uint8_t>(nb::dlpack::dtype_code::Int);
  const int item = type.bits / 8;
  const bool known = is_unsigned ? item == 1 : item == 1 || item == 4 || item == 8;
  if (!known) throw std::invalid_argument("x has a dtype the engine does not read");
  return {x.data(), x.size(), item, is_unsigned};
}

void run(Runner &runner, Values x, bool repeated, size_t time, size_t batch, Target y,
         const nb::list &recorded, bool traced, size_t threads) {
  std::vector<Recorded> pointers;
  for (nb::handle entry : recorded)
    pointers.push_back(recorded_node(nb::cast<nb::tuple>(entry)));
  const Encoded values = encoded(x);
  const Array<int32_t> target = pointed(y);
  nb::gil_scoped_release unlocked;
  runner.run(values, repeated, time, batch, target, pointers, traced, threads);
}

double step(Stream &stream, Values x, Target y) {
  const Encoded values = encoded(x);
  const Array<int32_t> target = pointed(y);
  nb::gil_scoped_release unlocked;
  return stream.step(values, target);
}

}  // namespace

NB_MODULE(_native, module) {
  module.doc() = "The native engine: integer graphs as plans of kernels.";
  module.def("isa_available", &isa_available,
             "Names of the instruction sets this CPU can run, plainest first.");
  module.def("isa_lent", &isa_lent,
             "Ask the system for what this table needs; False where it is refused.");
  nb::exception<ForkedInStep>(module, "ForkedInStepError", PyExc_RuntimeError);
  nb::class_<Plan>(module, "Plan")
      .def("__init__",
           [](Plan *self, const std::string &isa, const std::string &choice, bool halves,
              size_t steps) {
             const KernelTable &table = table_named(isa);
             if (!lent(table)) throw std::invalid_argument("the system does not lend " + isa);
             new (self) Plan(table, {choice_named(choice), halves, steps});
           })
      .def("add_input",
           [](Plan &p, const std::vector<size_t> &map, IntArray index) {
             return p.add_input(map_of(map), copied(index));
           })
      .def("add_weights",
           [](Plan &p, size_t from, const std::vector<size_t> &window, CodeArray w, size_t groups,
              int shift, int32_t largest) {
             if (!w.ndim()) throw std::invalid_argument("weights without an axis");
             return p.add_weights(from, window_of(window), w.shape(0), groups,
                                  {w.data(), w.size()}, shift, largest);
           })
      .def("add_pool",
           [](Plan &p, size_t from, const std::vector<size_t> &window, bool maximum, size_t kind) {
             return p.add_pool(from, window_of(window), maximum, map_of({1, 1, kind}).kind);
           })
      .def("add_permutation",
           [](Plan &p, size_t from, const std::vector<size_t> &map, IntArray index) {
             return p.add_permutation(from, map_of(map), copied(index));
           })
      .def("add_sum",
           [](Plan &p, const std::vector<size_t> &from, const std::vector<size_t> &map) {
             return p.add_sum(from, map_of(map));
           })
      .def("add_matmul",
           [](Plan &p, size_t a, size_t b, const std::vector<size_t> &shape,
              const std::vector<size_t> &strides, const std::vector<size_t> &map) {
             return p.add_matmul(a, b, shape, strides, map_of(map));
           })
      .def("add_scale",
           [](Plan &p, size_t from, const std::vector<size_t> &map, IntArray factor) {
             return p.add_scale(from, map_of(map), copied(factor));
           })
      .def("add_delay",
           [](Plan &p, const std::vector<size_t> &map, size_t steps) {
             return p.add_delay(map_of(map), steps);
           })
      .def("close_delay", &Plan::close_delay)
      .def("add_neuron",
           [](Plan &p, size_t from, const std::vector<size_t> &map, const nb::dict &d) {
             return p.add_neuron(from, map_of(map), neuron_fields(d));
           })
      .def("add_fused_neuron",
           [](Plan &p, size_t weights, const std::vector<size_t> &map, const nb::dict &d,
              const std::vector<size_t> &addend, IntArray factor) {
             return p.add_fused_neuron(weights, map_of(map), neuron_fields(d), addend,
                                       copied(factor));
           })
      .def("add_readout",
           [](Plan &p, size_t from, const nb::dict &d) { return p.add_readout(from, readout_fields(d)); })
      .def("mark_fixed", &Plan::mark_fixed)
      .def("set_output", &Plan::set_output)
      .def("constant_bytes", &Plan::constant_bytes)
      .def("state_bytes", &Plan::state_bytes)
      .def("workspace_bytes", &Plan::workspace_bytes);
  nb::class_<Runner>(module, "Runner")
      .def(nb::init<const Plan &>(), nb::keep_alive<1, 2>())
      .def("run", &run)
      .def("hold_next", &Runner::hold_next);
  nb::class_<Stream>(module, "Stream")
      .def(nb::init<const Plan &, size_t, size_t>(), nb::keep_alive<1, 2>())
      .def("step", &step)
      .def("hold_next", &Stream::hold_next);
}
