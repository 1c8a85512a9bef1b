#include "runner.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <new>
#include <tuple>

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

struct Runner::Own {
  const pid_t process = getpid();
  std::mutex mutex;
  std::vector<Memory> memories;  // kept between runs, one a team
  Pool pool;
  // Of the last run: over many steps it costs a good part of what a small network takes.
  std::tuple<size_t, size_t, size_t, bool, bool> laid_out_for;
  Layout at;

  const Layout &layout(const Plan &plan, size_t samples, size_t time, size_t workers, bool repeated,
                       bool traced) {
    const auto wanted = std::make_tuple(samples, time, workers, repeated, traced);
    if (wanted != laid_out_for) {  // which holds no workers at first
      at = plan.layout(samples, time, workers, repeated, traced);
      laid_out_for = wanted;
    }
    return at;
  }
};

Runner::Runner(const Plan &plan) : plan_(plan), own_(new Own) {}

Runner::~Runner() {
  if (Own *own = own_.load(); own->process == getpid()) delete own;
}

// What a parent had is left as it was: it may be half changed.
Runner::Own &Runner::own() {
  Own *found = own_.load();
  if (found->process == getpid()) return *found;
  Own *fresh = new Own;
  if (own_.compare_exchange_strong(found, fresh)) return *fresh;
  delete fresh;
  return *found;
}

void Runner::run(const Encoded &x, bool repeated, size_t time, size_t batch,
                 const Array<int32_t> &y, const std::vector<Recorded> &recorded, bool traced,
                 size_t threads) {
  plan_.check_run(x, repeated, time, batch, y, recorded, traced, threads);
  Own &own = this->own();
  const std::lock_guard<std::mutex> lock(own.mutex);
  const size_t teams = std::max<size_t>(1, std::min(threads, batch));
  const size_t workers = std::max<size_t>(1, threads / teams);
  const size_t samples = (batch + teams - 1) / teams;
  const Layout &at = own.layout(plan_, samples, time, workers, repeated, traced);
  if (own.memories.size() < teams) own.memories.resize(teams);
  for (size_t k = 0; k < teams; ++k) at.forbid_gaps(own.memories[k].at_least(at.total));
  std::vector<std::unique_ptr<Team>> all;
  for (size_t k = 0; k < teams; ++k) all.push_back(std::make_unique<Team>(workers, teams * workers));
  std::atomic<size_t> taken{0};
  own.pool.run(teams * workers, [&](size_t thread) {
    if (!thread) hold_.pass();
    const size_t team = thread / workers;
    auto work = [&](size_t begin, size_t end) {
      plan_.run(own.memories[team].at_least(0), at, *all[team], thread % workers, x, time, batch, begin,
                end, y.data, recorded);
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

Stream::Stream(const Plan &plan, size_t batch, size_t threads)
    : plan_(plan), batch_(batch), at_(plan.layout(batch, 1, threads, false, false, true)),
      team_(std::make_unique<Team>(threads, threads)), process_(getpid()) {
  const Context c{at_, memory_.at_least(at_.total), batch_, 1, 0, *team_, false, false};
  at_.forbid_gaps(c.memory);
  plan_.reset(c);
}

// In a child, those who waited in the team never leave it, and its destructor would wait for them.
Stream::~Stream() {
  if (process_.load() != getpid()) static_cast<void>(team_.release());
}

// Another thread of the child may have checked in between, and be in a step of its own.
void Stream::check_whole() {
  pid_t parent = process_.load();
  if (parent == getpid()) return;
  if (inside_.load() && process_.load() != getpid())
    throw ForkedInStep("the process forked while another thread was in a step");
  process_.compare_exchange_strong(parent, getpid());
}

double Stream::step(const Encoded &x, const Array<int32_t> &y) {
  plan_.check_run(x, false, 1, batch_, y, {}, false, team_->workers());
  check_whole();
  struct Inside {
    std::atomic<size_t> &count;
    explicit Inside(std::atomic<size_t> &c) : count(c) { ++count; }
    ~Inside() { --count; }
  } inside(inside_);
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto began = std::chrono::steady_clock::now();
  pool_.run(team_->workers(), [&](size_t worker) {
    const Context c{at_, memory_.at_least(0), batch_, 1, worker, *team_, false, false};
    if (!worker) {
      plan_.load(c, x, batch_, 0, 0);
      hold_.pass();
    }
    team_->wait();
    plan_.advance(c, false, nullptr, batch_, 0, 0);
    if (!worker) plan_.store(c, y.data, batch_, 0, 0);
  });
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - began;
  return took.count();
}

}  // namespace spikewright
