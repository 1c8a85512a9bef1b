#include "cpu.hpp"

#if defined(SPIKEWRIGHT_X86_64) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#endif

namespace spikewright {

namespace {

#ifdef SPIKEWRIGHT_X86_64
// arch_prctl(2): what the kernel can lend, and the request for it; the tile registers' number.
constexpr int kLendable = 0x1021, kRequest = 0x1023, kTiles = 18;

bool has_amx() {
#ifdef __linux__
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;  // CPUID 7.0 EDX
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & (kTile | kInt8)) != (kTile | kInt8))
    return false;
  uint64_t lendable = 0;
  return syscall(SYS_arch_prctl, kLendable, &lendable) == 0 && lendable >> kTiles & 1;
#else
  return false;
#endif
}
#endif

}  // namespace

std::vector<const KernelTable *> available_tables() {
  std::vector<const KernelTable *> tables{&kernels_generic};
#ifdef SPIKEWRIGHT_X86_64
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    tables.push_back(&kernels_avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512vnni")) {
    tables.push_back(&kernels_avx512vnni);
    if (has_amx()) tables.push_back(&kernels_amx);
  }
#endif
  return tables;
}

bool lent(const KernelTable &table) {
#if defined(SPIKEWRIGHT_X86_64) && defined(__linux__)
  if (&table == &kernels_amx) return syscall(SYS_arch_prctl, kRequest, kTiles) == 0;
#else
  static_cast<void>(table);
#endif
  return true;
}

}  // namespace spikewright
