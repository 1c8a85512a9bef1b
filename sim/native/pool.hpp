// Threads that wait for work: kept between runs, because starting one costs what a small network takes.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace spikewright {

// Not for two callers at once.
class Pool {
 public:
  Pool();
  ~Pool();

  // Runs work(0) here and work(1) … work(count - 1) on other threads; returns when all have ended.
  void run(size_t count, const std::function<void(size_t)> &work);

 private:
  class Threads;
  void forget_those_of_a_parent();

  std::unique_ptr<Threads> threads_;
};

}  // namespace spikewright
