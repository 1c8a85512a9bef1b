// Holds a thread in the midst of a step or a run, for tests of what a fork finds there.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace spikewright {

class Hold {
 public:
  // The next to pass writes a byte to `file`, a socket, and waits for one from it.
  void next(int file) { file_.store(file); }

  void pass() {
    if (file_.load(std::memory_order_relaxed) >= 0) wait(file_.exchange(-1));
  }

 private:
  static void wait(int file) {
    char byte = 0;
    if (write(file, &byte, 1) != 1) return;
    while (read(file, &byte, 1) < 0 && errno == EINTR) {
    }
  }

  std::atomic<int> file_{-1};
};

}  // namespace spikewright
