// Event timing in Python: arrays, and the checks that they fit one another.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <vector>

#include "event.hpp"
#include "require.hpp"

namespace nb = nanobind;
using spikewright::require;
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

Rows rows_of(const Longs &start, const Ints &target, const Ints &weight, const Ints *lag) {
  require(start.size() > 0, "rows without a start");
  require(weight.size() == target.size() && (!lag || lag->size() == target.size()),
          "synapses of unlike numbers");
  return {start.data(), target.data(), weight.data(), lag ? lag->data() : nullptr,
          start.size() - 1, target.size()};
}

size_t run(const Longs &fields, const Longs &start, const Ints &target, const Ints &weight,
           const Longs &late_start, const Ints &late_target, const Ints &late_weight,
           const Ints &late_lag, size_t longest_lag, const Longs &event_start, const Ints &events,
           IntsOut counts, IntsOut v, LongsOut readout) {
  const Rows now = rows_of(start, target, weight, nullptr);
  const Rows later = rows_of(late_start, late_target, late_weight, &late_lag);
  for (const auto *array : {&counts, &v}) require(array->ndim() == 3, "[time, sample, neuron] has 3 axes");
  require(readout.ndim() == 3 && fields.ndim() == 2 && fields.shape(1) == 12, "axes of the wrong number");
  const size_t steps = counts.shape(0), samples = counts.shape(1);
  const size_t neurons = counts.shape(2), cells = readout.shape(2);
  require(fields.shape(0) == neurons && v.size() == counts.size() && v.shape(2) == neurons &&
              readout.shape(0) == steps && readout.shape(1) == samples,
          "arrays of unlike sizes");
  require(event_start.size() == steps * samples + 1, "one start of events a step and sample, and the end");
  check(now, later, longest_lag, neurons, cells);
  check({event_start.data(), events.data()}, steps * samples, events.size(), now.sources);
  Machine machine(neurons_of(fields), now, later, longest_lag);
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
