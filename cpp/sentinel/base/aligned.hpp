// A std::vector whose elements begin on a cache line, as the kernels need it, and are left as they come when it grows:
// what is read from a snapshot or a caller would otherwise be written twice. A big one begins on a huge page and asks the
// system for such: a scan that looks up an address for every 4 KiB is a fifth slower.
//
// Contract: elements made by resize() hold no value until they are written. For trivial types only.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <new>
#include <type_traits>
#include <vector>

namespace sentinel {

template <class T>
class CacheLineAllocator {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  using value_type = T;

  CacheLineAllocator() = default;
  template <class Other>
  CacheLineAllocator(const CacheLineAllocator<Other>& /*other*/) {}  // NOLINT: as allocators convert

  T* allocate(std::size_t count) {
    if (count > static_cast<std::size_t>(-1) / 2 / sizeof(T)) throw std::bad_array_new_length();
    void* memory = ::operator new(count * sizeof(T), alignment_of(count));
    if (is_big(count)) ::madvise(memory, count * sizeof(T), MADV_HUGEPAGE);  // only advice: it may be refused
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t count) noexcept { ::operator delete(memory, alignment_of(count)); }

  template <class U>
  void construct(U* /*place*/) noexcept {}  // resize() leaves the memory as it is
  template <class U, class... Values>
  void construct(U* place, Values&&... values) {
    ::new (static_cast<void*>(place)) U(static_cast<Values&&>(values)...);
  }

  friend bool operator==(const CacheLineAllocator&, const CacheLineAllocator&) { return true; }

 private:
  static constexpr std::size_t kLine = 64;
  static constexpr std::size_t kHugePage = std::size_t{2} << 20U;

  static constexpr bool is_big(std::size_t count) { return count * sizeof(T) >= 2 * kHugePage; }
  static constexpr std::align_val_t alignment_of(std::size_t count) {
    return std::align_val_t{is_big(count) ? kHugePage : kLine};
  }
};

template <class T>
using AlignedVector = std::vector<T, CacheLineAllocator<T>>;

// Room for `size` elements, so that growing step by step to n elements still moves O(n) of them.
template <class Vector>
void grow(Vector& vector, std::size_t size) {
  if (vector.capacity() < size) vector.reserve(std::max(size, 2 * vector.capacity()));
}

}  // namespace sentinel
