// The kernel tables that this CPU and its operating system can run, plainest first.
#pragma once

#include <vector>

#include "kernels.h"

namespace spikewright {

std::vector<const KernelTable *> available_tables();

// Asks the system for what the table needs and a process has only on request (AMX's tiles on Linux);
// false where it is refused. Before the table's first use.
bool lent(const KernelTable &table);

}  // namespace spikewright
