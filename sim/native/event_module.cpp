// Event timing in Python: arrays that the caller has checked.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <vector>

#include "event.hpp"

namespace nb = nanobind;
using namespace spikewright::event;

namespace {

using Longs = nb::ndarray<const int64_t, nb::c_contig, nb::device::cpu>;
using Ints = nb::ndarray<const int32_t, nb::c_contig, nb::device::cpu>;
using IntsOut = nb::ndarray<int32_t, nb::c_contig, nb::device::cpu>;
using LongsOut = nb::ndarray<int64_t, nb::c_contig, nb::device::cpu>;

// fields: [neuron, 12] in the order of `Neuron`.
std::vector<Neuron> neurons_of(const Longs &fields) {
  std::vector<Neuron> found(fields.shape(0));
  for (size_t k = 0; k < found.size(); ++k) {
    const int64_t *f = fields.data() + 12 * k;
    found[k] = {f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8], f[9] != 0, f[10] != 0, f[11] != 0};
  }
  return found;
}

size_t run(const Longs &fields, const Longs &start, const Ints &target, const Ints &weight,
           const Longs &late_start, const Ints &late_target, const Ints &late_weight,
           const Ints &late_lag, size_t longest_lag, const Longs &event_start, const Ints &events,
           IntsOut counts, IntsOut v, LongsOut readout) {
  Machine machine(neurons_of(fields), {start.data(), target.data(), weight.data(), nullptr},
                  {late_start.data(), late_target.data(), late_weight.data(), late_lag.data()},
                  longest_lag);
  const size_t steps = counts.shape(0), samples = counts.shape(1);
  const size_t neurons = counts.shape(2), cells = readout.shape(2);
  nb::gil_scoped_release release;
  size_t longest = 0;
  for (size_t k = 0; k < samples; ++k) {
    const Record record{counts.data() + k * neurons, v.data() + k * neurons,
                        readout.data() + k * cells, samples * neurons, samples * cells};
    const Events given{event_start.data() + k * steps, events.data()};
    longest = std::max(longest, machine.run(steps, given, record));
  }
  return longest;
}

}  // namespace

NB_MODULE(_event, m) {
  m.doc() = "Event timing: one sample after the other, event by event.";
  m.def("run", &run,
        "Write counts and v [time, sample, neuron] and what reaches the readout [time, sample, "
        "cell]; return the longest that the queue was.");
}
