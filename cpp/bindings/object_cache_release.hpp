// References that a change of an ObjectCache gives up, and drops when the cache is whole again: dropping one may run
// Python code, which may call the cache.
//
// Contract: `reserve(n)` before the change, then `add` for the two of each entry cannot fail. Made on the stack, before
// what it refers to is changed. Cost: the first eight take no memory. Failure: reserve may throw bad_alloc.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

namespace sentinel::bindings::object_cache {

class Release {
 public:
  Release() = default;
  Release(const Release&) = delete;
  Release& operator=(const Release&) = delete;
  ~Release() {
    for (std::size_t i = 0; i < count_; ++i) Py_DECREF(first_[i]);
    for (PyObject* object : more_) Py_DECREF(object);
  }

  void reserve(std::size_t entries) {
    const std::size_t wanted = more_.size() + 2 * entries;
    if (count_ + 2 * entries <= first_.size() || wanted <= more_.capacity()) return;
    more_.reserve(std::max({std::size_t{64}, wanted, more_.size() * 2}));
  }

  [[gnu::always_inline]] void add(PyObject* object) {
    if (count_ < first_.size()) [[likely]] {
      first_[count_++] = object;
    } else {
      more_.push_back(object);
    }
  }

 private:
  std::size_t count_ = 0;
  std::array<PyObject*, 8> first_;
  std::vector<PyObject*> more_;
};

}  // namespace sentinel::bindings::object_cache
