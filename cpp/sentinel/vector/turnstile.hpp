// A readers-writer lock through which nobody starves: who comes while a writer waits stands behind it. std::shared_mutex
// alone lets readers pass for ever where the system's lock prefers them.
#pragma once

#include <mutex>
#include <shared_mutex>

namespace sentinel::vector {

class Turnstile {
 public:
  void lock() {
    const std::lock_guard in_turn(turn_);
    held_.lock();
  }
  void unlock() { held_.unlock(); }
  void lock_shared() {
    const std::lock_guard in_turn(turn_);
    held_.lock_shared();
  }
  void unlock_shared() { held_.unlock_shared(); }

 private:
  std::mutex turn_;
  std::shared_mutex held_;
};

}  // namespace sentinel::vector
