// A list with room for a whole path of limits, on the stack and not initialised: a path has few wants, and clearing room
// for the longest at every call would cost more than the call.
//
// Contract: T is trivially copyable and destructible; at most kMaxWants are added, the caller sees to it. Cost: none
// beyond the values added. Thread rule: one owner. Failure rule: one too many is an assert.
#pragma once

#include <cassert>
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>

namespace sentinel::limit {

inline constexpr std::size_t kMaxWants = 56;

template <class T>
class PathList {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  PathList() = default;
  PathList(const PathList&) = delete;
  PathList& operator=(const PathList&) = delete;

  void add(const T& value) {
    assert(size_ < kMaxWants);
    std::construct_at(data() + size_++, value);
  }
  void clear() { size_ = 0; }
  std::size_t size() const { return size_; }

  T& operator[](std::size_t index) { return data()[index]; }
  const T& operator[](std::size_t index) const { return data()[index]; }
  std::span<const T> all() const { return {data(), size_}; }

 private:
  T* data() { return reinterpret_cast<T*>(room_); }
  const T* data() const { return reinterpret_cast<const T*>(room_); }

  alignas(T) std::byte room_[kMaxWants * sizeof(T)];
  std::size_t size_ = 0;
};

}  // namespace sentinel::limit
