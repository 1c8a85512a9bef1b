// Vectors that begin at a cache line, so that no vector load of a packed row straddles two.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace spikewright {

template <typename T>
struct LineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};

  LineAllocator() = default;
  template <typename U>
  LineAllocator(const LineAllocator<U> &) {}
  T *allocate(size_t count) { return static_cast<T *>(::operator new(count * sizeof(T), kLine)); }
  void deallocate(T *p, size_t) { ::operator delete(p, kLine); }
  template <typename U>
  bool operator==(const LineAllocator<U> &) const { return true; }
  template <typename U>
  bool operator!=(const LineAllocator<U> &) const { return false; }
};

template <typename T>
using Lined = std::vector<T, LineAllocator<T>>;

}  // namespace spikewright
