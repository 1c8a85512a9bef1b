// A libFuzzer target: bytes make a plan, which runs on several tables and choices of arithmetic, over
// threads, blocks of steps and as a stream. All must write the same spikes, states and outputs, and
// nothing beyond their arrays; what does not fit is refused by std::invalid_argument and no other way.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "../../../sim/native/cpu.hpp"
#include "../../../sim/native/runner.hpp"
#include "builder.hpp"

using namespace spikewright;
using namespace spikewright::fuzz;

namespace {

constexpr double kMostWork = 2e7;      // products and additions of a run
constexpr size_t kMostMemory = 1 << 25;

struct Way {  // in which the same plan runs
  const KernelTable *table;
  Choice choice;
  bool halves;
  size_t steps, threads;
  bool stream;
};

// What became of the plans, printed at the end: a fuzzer that is refused everything tests nothing.
struct Census {
  size_t run = 0, refused = 0, left_out = 0;
  ~Census() { std::fprintf(stderr, "plans: %zu run, %zu refused, %zu left out\n", run, refused, left_out); }
};
enum class Fate { run, refused, left_out };

struct Values {
  std::vector<int32_t> y;
  std::vector<std::vector<int32_t>> recorded;
};

struct Run {  // as the bytes behind a plan say
  bool repeated, raw;
  size_t time, batch, record;
  std::vector<uint8_t> x;

  explicit Run(Recipe &r) {
    const uint8_t flags = r.byte();
    repeated = flags & 1, raw = flags & 128;
    time = raw ? r.number() : 1 + r.at_most(11);
    batch = raw ? r.number() : 1 + r.at_most(4);
    record = r.number();
    while (!r.empty()) x.push_back(r.byte());
    if (x.empty()) x.push_back(1);
  }
};

// What is written where: all spikes, and v and u where there are any.
std::vector<Recorded> recordings(const std::vector<Node> &nodes, const Run &run, Values &values) {
  std::vector<Recorded> all;
  values.recorded.reserve(3 * nodes.size());
  auto space = [&](size_t size) -> Array<int32_t> {
    values.recorded.emplace_back(run.time * run.batch * size);
    return {values.recorded.back().data(), values.recorded.back().size()};
  };
  for (size_t k = 0; k < nodes.size(); ++k) {
    const Node &node = nodes[k];
    if (node.taken || !(run.record >> (k % 64) & 1)) continue;
    Recorded r{k, {}, space(node.map.size()), {}, {}};
    if (node.neuron) r.v = space(node.map.size());
    if (node.has_current) r.u = space(node.map.size());
    all.push_back(r);
  }
  return all;
}

Encoded encoded(const Plan &plan, const Run &run, bool repeated, std::vector<uint8_t> &x) {
  x.resize((repeated ? 1 : run.time) * run.batch * plan.map_of(0).size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = run.x[i % run.x.size()];
  return {x.data(), x.size(), 1, plan.map_of(0).kind != Kind::s8};
}

void stream(const Plan &plan, const Way &way, const Run &run, Values &values) {
  Stream session(plan, run.batch, way.threads);
  std::vector<uint8_t> x;
  const Encoded all = encoded(plan, run, false, x);
  const size_t in = run.batch * plan.map_of(0).size();
  const size_t out = run.batch * plan.map_of(plan.output()).size();
  for (size_t t = 0; t < run.time; ++t)
    session.step({x.data() + t * in, in, 1, all.is_unsigned}, {values.y.data() + t * out, out});
}

// Left out: what would take too long, or too much memory, or has no output.
Fate go(Recipe recipe, const Way &way, Values &values, bool &honest, bool &is_fixed) {
  Plan plan(*way.table, {way.choice, way.halves, way.steps});
  Builder builder(plan);
  while (builder.call(recipe))
    if (recipe.empty()) return Fate::left_out;
  Run run(recipe);
  honest = builder.honest();
  if (run.raw) {  // sizes that do not fit what is given
    int32_t y[4];
    uint8_t x[4] = {};
    Runner(plan).run({x, 4, 1, true}, run.repeated, run.time, run.batch, {y, 4}, {}, false, way.threads);
    return Fate::left_out;
  }
  if (builder.work() * double(run.time * run.batch) > kMostWork) return Fate::left_out;
  if (plan.workspace_bytes(run.batch, run.time) > kMostMemory) return Fate::left_out;
  values.y.assign(run.time * run.batch * plan.map_of(plan.output()).size(), 0);
  if (way.stream) {
    stream(plan, way, run, values);
    return Fate::run;
  }
  const std::vector<Recorded> recorded = recordings(builder.nodes(), run, values);
  std::vector<uint8_t> x;
  Encoded given = encoded(plan, run, run.repeated, x);
  try {
    Runner runner(plan);
    runner.run(given, run.repeated, run.time, run.batch, {values.y.data(), values.y.size()},
               recorded, true, way.threads);
    is_fixed = run.repeated;
  } catch (const std::invalid_argument &) {
    if (!run.repeated) throw;
    Runner(plan).run(encoded(plan, run, false, x), false, run.time, run.batch,
                     {values.y.data(), values.y.size()}, recorded, true, way.threads);
  }
  return Fate::run;
}

Fate attempt(const Recipe &recipe, const Way &way, Values &values, bool &honest, bool &is_fixed) {
  try {
    return go(recipe, way, values, honest, is_fixed);
  } catch (const std::invalid_argument &) {
    return Fate::refused;
  }
}

void compare(const char *what, const std::vector<int32_t> &a, const std::vector<int32_t> &b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i]) {
      std::fprintf(stderr, "two ways of one plan differ in %s, value %zu of %zu: %d and %d\n",
                   what, i, a.size(), a[i], b[i]);
      std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const std::vector<const KernelTable *> tables = available_tables();
  if (size < 4) return 0;
  Recipe recipe(data, size);
  const uint8_t table = recipe.byte(), flags = recipe.byte();
  const KernelTable *other = tables[table % tables.size()];
  if (!lent(*other)) other = tables.front();
  const size_t steps = flags & 8 ? 1u + (flags >> 4) : 0u, threads = 1u + (flags >> 1 & 3) % 3;
  const Way plain{tables.front(), Choice::gather, false, 0, 1, false};
  Values first;
  bool honest = true, is_fixed = false;
  static Census census;
  const Fate fate = attempt(recipe, plain, first, honest, is_fixed);
  census.run += fate == Fate::run, census.refused += fate == Fate::refused;
  census.left_out += fate == Fate::left_out;
  for (const Way &way :
       {Way{other, Choice::dense, (flags & 1) != 0, steps, threads, false},
        Way{other, Choice::automatic, true, 0, 1, true}}) {
    if (way.stream && is_fixed) continue;  // it repeats no frame
    Values values;
    bool fixed = false;
    const Fate other_fate = attempt(recipe, way, values, honest, fixed);
    // One way may need more memory than the other.
    if (fate != Fate::run || other_fate != Fate::run || !honest) continue;
    compare("the output", first.y, values.y);
    for (size_t k = 0; !way.stream && k < first.recorded.size(); ++k)
      compare(("recording " + std::to_string(k)).c_str(), first.recorded[k], values.recorded[k]);
  }
  return 0;
}
