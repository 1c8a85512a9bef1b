// The kernel tables that this CPU and its operating system can run, plainest first.
#pragma once

#include <vector>

#include "kernels.h"

namespace spikewright {

std::vector<const KernelTable *> available_tables();

}  // namespace spikewright
