// A value or an Error, for outcomes that are expected (GCC 12 has no std::expected).
//
// Contract: exactly one of the two is held; asking for the other is a broken promise (assert). Cost: one std::variant.
#pragma once

#include <cassert>
#include <utility>
#include <variant>

#include "sentinel/base/error.hpp"

namespace sentinel {

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : held_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit on purpose
  Result(Error error) : held_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit on purpose

  explicit operator bool() const { return held_.index() == 0; }
  T& operator*() & { return get(); }
  const T& operator*() const& { return get(); }
  T&& operator*() && { return std::move(get()); }
  T* operator->() { return &get(); }
  const T* operator->() const { return &get(); }
  Error& error() {
    assert(held_.index() == 1);
    return *std::get_if<1>(&held_);
  }
  const Error& error() const {
    assert(held_.index() == 1);
    return *std::get_if<1>(&held_);
  }

 private:
  T& get() {
    assert(held_.index() == 0);
    return *std::get_if<0>(&held_);
  }
  const T& get() const {
    assert(held_.index() == 0);
    return *std::get_if<0>(&held_);
  }
  std::variant<T, Error> held_;
};

struct Done {};  // the value of an operation that only succeeds or fails
using Status = Result<Done>;

}  // namespace sentinel
