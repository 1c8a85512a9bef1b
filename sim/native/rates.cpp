// What a gathered addition and a dense product cost on this machine: measured once for each table.
#include <atomic>
#include <chrono>

#include "weights.hpp"

namespace spikewright {

namespace {

constexpr int kRepeats = 9;
constexpr double kRow = 25.0;  // ns to begin one row of sums; a fifth more for each tap's list

template <typename Work>
double least_ns(Work work) {
  double least = 1e30;
  for (int k = 0; k < kRepeats; ++k) {
    const auto began = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - began;
    least = took.count() < least ? took.count() : least;
  }
  return least;
}

// On weights that leave the first-level cache, as those of a wide layer do.
Rates measured(const KernelTable &k) {
  constexpr size_t kOutputs = 128, kInputs = 2048, kRows = 64;
  const Codes weights(kOutputs * kInputs + kSlack, 1);
  std::vector<uint32_t> places(kInputs / 10);
  Ints sums(kRows * kOutputs);
  const double gathering = least_ns([&] {
    for (size_t r = 0; r < kRows; ++r) {
      for (size_t e = 0; e < places.size(); ++e)
        places[e] = static_cast<uint32_t>((e * 10 + (e + r) * 7 % 10) * kOutputs);
      k.gather(sums.data(), weights.data(), places.data(), places.size(), kOutputs);
    }
  });
  const std::vector<uint8_t> inputs(kInputs * kRows + kSlack, 1);
  std::vector<uint32_t> offsets;
  for (uint32_t at = 0; at < kInputs; at += 64) offsets.push_back(at);
  Dense d{};
  d.c = sums.data();
  d.c_stride = kOutputs;
  d.a = inputs.data();
  d.a_stride = kInputs;
  d.rows = kRows;
  d.offsets = offsets.data();
  d.chunks = offsets.size();
  d.quads = 16;
  d.b = weights.data();
  d.panels = k.panels;
  d.largest = 1;
  const double multiplying = least_ns([&] { k.dense(&d); });
  const double added = static_cast<double>(kRows * places.size() * kOutputs);
  const double multiplied = static_cast<double>(kRows * kInputs * k.panels * kPanel);
  return {gathering / added, multiplying / multiplied, kRow};
}

}  // namespace

// A list without a lock, which a fork might copy held; its few entries live as long as the process.
const Rates &rates_of(const KernelTable &k) {
  struct Known {
    const KernelTable *table;
    Rates rates;
    Known *next;
  };
  static std::atomic<Known *> first{nullptr};
  for (const Known *known = first.load(); known; known = known->next)
    if (known->table == &k) return known->rates;
  Known *fresh = new Known{&k, measured(k), first.load()};
  while (!first.compare_exchange_weak(fresh->next, fresh)) {
  }
  return fresh->rates;
}

}  // namespace spikewright
