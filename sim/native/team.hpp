// The workers that run one plan together: each runs every op, takes its share, and waits at the end.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

#include "gate.hpp"

namespace spikewright {

class Team {
 public:
  // `threads`: of all teams that run at once.
  Team(size_t workers, size_t threads) : workers_(workers), looks_(looks_of(threads, kLooks)) {}

  size_t workers() const { return workers_; }

  // Returns when every worker has come here.
  void wait() {
    if (workers_ == 1) return;
    const size_t round = round_.now();
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 < workers_) {
      round_.past(round, looks_);
      return;
    }
    arrived_.store(0, std::memory_order_relaxed);
    round_.advance();
  }

 private:
  static constexpr size_t kLooks = 4000;  // a layer's shares seldom differ by more
  const size_t workers_, looks_;
  Gate round_;
  alignas(64) std::atomic<size_t> arrived_{0};
};

// The share [first, second) of `count` things that worker `worker` takes.
inline std::pair<size_t, size_t> share(size_t count, size_t worker, size_t workers) {
  return {count * worker / workers, count * (worker + 1) / workers};
}

}  // namespace spikewright
