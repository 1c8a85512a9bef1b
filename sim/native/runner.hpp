// Memory and threads around a plan: whole runs, and streams that keep their state between steps.
#pragma once

#include <memory>
#include <mutex>

#include "plan.hpp"
#include "pool.hpp"

namespace spikewright {

// Memory aligned to cache lines.
class Memory {
 public:
  uint8_t *at_least(size_t bytes);

 private:
  struct Free {
    void operator()(uint8_t *p) const;
  };
  std::unique_ptr<uint8_t[], Free> held_;
  size_t bytes_ = 0;
};

class Runner {
 public:
  explicit Runner(const Plan &plan) : plan_(plan) {}

  const Plan &plan() const { return plan_; }
  // Samples over threads; where there are fewer samples than threads, rows of each layer.
  void run(const Encoded &x, bool repeated, size_t time, size_t batch, int32_t *y,
           const std::vector<Recorded> &recorded, bool traced, size_t threads);

 private:
  const Plan &plan_;
  std::mutex mutex_;
  std::vector<Memory> memories_;  // kept between runs, one a team
  Pool pool_;
};

class Stream {
 public:
  Stream(const Plan &plan, size_t batch);

  const Plan &plan() const { return plan_; }
  size_t batch() const { return batch_; }
  // Advances every sample by one step; returns the nanoseconds it took.
  double step(const Encoded &x, int32_t *y);

 private:
  const Plan &plan_;
  size_t batch_;
  Layout at_;
  Memory memory_;
  Team team_{1, 1};
  std::mutex mutex_;
};

}  // namespace spikewright
