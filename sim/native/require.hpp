// Refusals of what does not fit: Python sees a ValueError.
#pragma once

#include <stdexcept>

namespace spikewright {

// Throws std::invalid_argument.
inline void require(bool holds, const char *reason) {
  if (!holds) throw std::invalid_argument(reason);
}

}  // namespace spikewright
