// Memory for arrays that are looked into at random: large ones in huge pages where the system has them for who asks, so
// that a look costs no walk through page tables beside its cache line.
//
// Contract: an allocator as std::vector wants it. Below two megabytes it is operator new; from there on a multiple of two
// megabytes, of which as ever only what is touched is taken, but a huge page at a time. Failure: bad_alloc.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <new>

namespace sentinel::bindings::object_cache {

template <class T>
struct HugePages {
  using value_type = T;

  HugePages() = default;
  template <class Other>
  HugePages(const HugePages<Other>&) {}  // NOLINT: allocators convert

  T* allocate(std::size_t count) {
    const std::size_t bytes = count * sizeof(T);
    if (bytes < kPage) return static_cast<T*>(::operator new(bytes, std::align_val_t{alignof(T)}));
    const std::size_t whole = (bytes + kPage - 1) / kPage * kPage;
    void* memory = whole < bytes ? nullptr : std::aligned_alloc(kPage, whole);
    if (memory == nullptr) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    madvise(memory, whole, MADV_HUGEPAGE);  // a wish: that it is refused changes nothing
#endif
    return static_cast<T*>(memory);
  }

  void deallocate(T* memory, std::size_t count) {
    if (count * sizeof(T) < kPage) return ::operator delete(memory, std::align_val_t{alignof(T)});
    std::free(memory);
  }

  template <class Other>
  bool operator==(const HugePages<Other>&) const {
    return true;
  }

 private:
  static constexpr std::size_t kPage = std::size_t{1} << 21U;
};

}  // namespace sentinel::bindings::object_cache
