// The only file that knows Python: names, argument checks and the choice of a kernel table.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.h"

namespace nb = nanobind;

namespace {

// The tables this CPU can run, plainest first.
std::vector<const KernelTable *> available_tables() {
  std::vector<const KernelTable *> tables{&kernels_generic};
#ifdef SPIKEWRIGHT_X86_64
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) tables.push_back(&kernels_avx2);
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

using Accumulator = nb::ndarray<int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Weights = nb::ndarray<const int8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void add_row(Accumulator accumulator, Weights weights, const std::string &isa) {
  if (accumulator.shape(0) != weights.shape(0))
    throw std::invalid_argument("accumulator and weights differ in length");
  const KernelTable &table = table_named(isa);
  nb::gil_scoped_release unlocked;
  table.add_row(accumulator.data(), weights.data(), weights.shape(0));
}

}  // namespace

NB_MODULE(_native, module) {
  module.doc() = "Integer kernels of the native engine.";
  module.def("isa_available", &isa_available,
             "Names of the instruction sets this CPU can run, plainest first.");
  module.def("add_row", &add_row, nb::arg("accumulator"), nb::arg("weights"), nb::arg("isa"),
             "Add one row of int8 weights to an int32 accumulator, in place.");
}
