// The buffers of a plan lie in one piece of memory, where a sanitizer sees no borders: its build
// leaves gaps between them and forbids those, so that a kernel that overruns a buffer is caught.
#pragma once

#include <cstddef>

#ifdef __has_feature  // clang's way to say what gcc says by a macro
#if __has_feature(address_sanitizer)
#define SPIKEWRIGHT_GAPS 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SPIKEWRIGHT_GAPS 1
#endif

#ifdef SPIKEWRIGHT_GAPS
#include <sanitizer/asan_interface.h>
#endif

namespace spikewright {

#ifdef SPIKEWRIGHT_GAPS
constexpr size_t kGap = 1024;
inline void forbid(const void *p, size_t bytes) { ASAN_POISON_MEMORY_REGION(p, bytes); }
inline void allow(const void *p, size_t bytes) { ASAN_UNPOISON_MEMORY_REGION(p, bytes); }
#else
constexpr size_t kGap = 0;
inline void forbid(const void *, size_t) {}
inline void allow(const void *, size_t) {}
#endif

}  // namespace spikewright
