// A counter that threads wait for: they look at it for a while, then sleep until it moves.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>

namespace spikewright {

// Looks before sleep: none where threads outnumber cores, as each look keeps another from its work.
inline size_t looks_of(size_t threads, size_t looks) {
  return threads <= std::thread::hardware_concurrency() ? looks : 0;
}

class Gate {
 public:
  size_t now() const { return value_.load(std::memory_order_acquire); }

  void advance() {
    value_.fetch_add(1);
    if (!sleepers_.load()) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    moved_.notify_all();
  }

  // Returns the value once it is another than `seen`; after `looks` looks it sleeps. A look takes
  // 10 to 50 ns; a thread that went on looking might keep the core from the one it waits for.
  size_t past(size_t seen, size_t looks) {
    for (; looks; --looks, relax())
      if (const size_t value = now(); value != seen) return value;
    ++sleepers_;  // before the last look, as `advance` looks for sleepers after it moved
    std::unique_lock<std::mutex> lock(mutex_);
    moved_.wait(lock, [&] { return value_.load() != seen; });
    --sleepers_;
    return now();
  }

 private:
  static void relax() {
#ifdef SPIKEWRIGHT_X86_64
    __builtin_ia32_pause();
#endif
  }

  alignas(64) std::atomic<size_t> value_{0};
  alignas(64) std::atomic<size_t> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable moved_;
};

}  // namespace spikewright
