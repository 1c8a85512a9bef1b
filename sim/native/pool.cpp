#include "pool.hpp"

#include <unistd.h>

#include <thread>
#include <vector>

#include "gate.hpp"

namespace spikewright {

namespace {

constexpr size_t kLooks = 10000;  // up to half a millisecond: a caller from Python comes back within that

}  // namespace

class Pool::Threads {
 public:
  ~Threads() {
    ends_ = true;
    begun_.advance();
    for (std::thread &thread : threads_) thread.join();
  }

  void run(size_t count, const std::function<void(size_t)> &work) {
    work_ = &work;
    count_ = count;
    looks_ = looks_of(count, kLooks);
    while (threads_.size() + 1 < count)
      threads_.emplace_back(&Threads::serve, this, threads_.size() + 1, begun_.now(), looks_);
    busy_.store(threads_.size(), std::memory_order_relaxed);
    const size_t ended = ended_.now();
    begun_.advance();
    work(0);
    ended_.past(ended, looks_);
  }

  const pid_t process = getpid();

 private:
  // `round` and `looks` as they are at the start: should the system refuse the next thread, the
  // caller writes the members again while this one may not have looked yet.
  void serve(size_t thread, size_t round, size_t looks) {
    for (;;) {
      round = begun_.past(round, looks);
      if (ends_) return;
      looks = looks_;
      if (thread < count_) (*work_)(thread);
      if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) ended_.advance();
    }
  }

  std::vector<std::thread> threads_;
  const std::function<void(size_t)> *work_ = nullptr;
  size_t count_ = 0, looks_ = 0;
  bool ends_ = false;
  Gate begun_, ended_;
  alignas(64) std::atomic<size_t> busy_{0};
};

Pool::Pool() = default;

Pool::~Pool() { forget_those_of_a_parent(); }

// A process made by fork has the memory of its parent's threads and not the threads.
void Pool::forget_those_of_a_parent() {
  if (threads_ && threads_->process != getpid()) static_cast<void>(threads_.release());
}

void Pool::run(size_t count, const std::function<void(size_t)> &work) {
  if (count == 1) {
    work(0);
    return;
  }
  forget_those_of_a_parent();
  if (!threads_) threads_ = std::make_unique<Threads>();
  threads_->run(count, work);
}

}  // namespace spikewright
