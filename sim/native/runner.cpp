#include "runner.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <new>

namespace spikewright {

void Memory::Free::operator()(uint8_t *p) const {
  ::operator delete[](p, std::align_val_t{64});
}

uint8_t *Memory::at_least(size_t bytes) {
  if (bytes > bytes_) {
    held_.reset();
    bytes_ = 0;  // should there be no memory, the next run asks again
    held_.reset(new (std::align_val_t{64}) uint8_t[bytes]());
    bytes_ = bytes;
  }
  return held_.get();
}

void Runner::run(const Encoded &x, bool repeated, size_t time, size_t batch, int32_t *y,
                 const std::vector<Recorded> &recorded, bool traced, size_t threads) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const size_t teams = std::max<size_t>(1, std::min(threads, batch));
  const size_t workers = std::max<size_t>(1, threads / teams);
  const Layout at = plan_.layout((batch + teams - 1) / teams, time, workers, repeated, traced);
  if (memories_.size() < teams) memories_.resize(teams);
  for (size_t k = 0; k < teams; ++k) memories_[k].at_least(at.total);
  std::vector<std::unique_ptr<Team>> all;
  for (size_t k = 0; k < teams; ++k) all.push_back(std::make_unique<Team>(workers, teams * workers));
  std::atomic<size_t> taken{0};
  pool_.run(teams * workers, [&](size_t thread) {
    const size_t team = thread / workers;
    auto work = [&](size_t begin, size_t end) {
      plan_.run(memories_[team].at_least(0), at, *all[team], thread % workers, x, time, batch, begin,
                end, y, recorded);
    };
    if (workers > 1) {  // there are as many teams as samples
      work(team, team + 1);
      return;
    }
    for (size_t begin = 0; begin < batch;) {
      begin = taken.fetch_add(at.block.samples, std::memory_order_relaxed);
      if (begin < batch) work(begin, std::min(begin + at.block.samples, batch));
    }
  });
}

Stream::Stream(const Plan &plan, size_t batch)
    : plan_(plan), batch_(batch), at_(plan.layout(batch, 1, 1, false, false, true)) {
  const Context c{at_, memory_.at_least(at_.total), batch_, 1, 0, team_, false, false};
  plan_.reset(c);
}

double Stream::step(const Encoded &x, int32_t *y) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto began = std::chrono::steady_clock::now();
  const Context c{at_, memory_.at_least(at_.total), batch_, 1, 0, team_, false, false};
  plan_.load(c, x, batch_, 0, 0);
  plan_.advance(c, false, nullptr, batch_, 0, 0);
  plan_.store(c, y, batch_, 0, 0);
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - began;
  return took.count();
}

}  // namespace spikewright
