// The buffers of a plan lie in one piece of memory, where a sanitizer sees no borders: its build
// leaves gaps between them and forbids those, so that a kernel that overruns a buffer is caught.
#pragma once

#include <cstddef>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace spikewright {

#ifdef __SANITIZE_ADDRESS__
constexpr size_t kGap = 1024;
inline void forbid(const void *p, size_t bytes) { ASAN_POISON_MEMORY_REGION(p, bytes); }
inline void allow(const void *p, size_t bytes) { ASAN_UNPOISON_MEMORY_REGION(p, bytes); }
#else
constexpr size_t kGap = 0;
inline void forbid(const void *, size_t) {}
inline void allow(const void *, size_t) {}
#endif

}  // namespace spikewright
