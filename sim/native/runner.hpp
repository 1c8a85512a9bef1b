// Memory and threads around a plan: whole runs, and streams that keep their state between steps.
//
// A fork copies memory and locks, not the threads that use them: a child whose parent was running at
// that moment would wait for a lock that nobody holds any more. So each process has its own.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <stdexcept>

#include "hold.hpp"
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

// A child of a process that was in a step when it forked: the state is half advanced.
struct ForkedInStep : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Runner {
 public:
  explicit Runner(const Plan &plan);
  ~Runner();

  const Plan &plan() const { return plan_; }
  // Samples over threads; where there are fewer samples than threads, rows of each layer.
  void run(const Encoded &x, bool repeated, size_t time, size_t batch, const Array<int32_t> &y,
           const std::vector<Recorded> &recorded, bool traced, size_t threads);
  // The next run stays in its midst (see `Hold`).
  void hold_next(int file) { hold_.next(file); }

 private:
  struct Own;  // of one process
  Own &own();

  const Plan &plan_;
  Hold hold_;
  std::atomic<Own *> own_;
};

class Stream {
 public:
  // `threads`: over the rows of each layer.
  Stream(const Plan &plan, size_t batch, size_t threads);
  ~Stream();

  const Plan &plan() const { return plan_; }
  size_t batch() const { return batch_; }
  // Advances every sample by one step; returns the nanoseconds it took. Throws ForkedInStep, and
  // std::system_error where the system starts no more threads: no state has changed then.
  double step(const Encoded &x, const Array<int32_t> &y);
  // The next step stays between its input and its first layer (see `Hold`).
  void hold_next(int file) { hold_.next(file); }

 private:
  void check_whole();

  const Plan &plan_;
  size_t batch_;
  Layout at_;
  Memory memory_;
  std::unique_ptr<Team> team_;
  Pool pool_;
  Hold hold_;
  std::atomic<pid_t> process_;
  std::atomic<size_t> inside_{0};  // threads in `step`, or waiting there
  std::mutex mutex_;
};

}  // namespace spikewright
