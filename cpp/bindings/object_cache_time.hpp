// The time of an ObjectCache: nanoseconds by the system's monotonic clock or by a clock that the user gave, and how a hit
// learns for a few nanoseconds that it is fresh.
//
// An entry's deadline is exact, to the nanosecond. Beside its key lies only the deadline's tick of 2^24 ns (17 ms). A
// hit compares that with the coarse clock, which the kernel moves on every 1 to 10 ms and which costs a third of the fine
// one; deadlines three ticks away or nearer are compared exactly, by the fine one.
//
// Threads: all of it needs the GIL. Failure: reading the user's clock runs Python code and may raise: read it before any
// structure is touched.
#pragma once

#include <dlfcn.h>
#include <pybind11/pybind11.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace sentinel::bindings::object_cache {

inline constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
inline constexpr std::uint32_t kNeverTick = std::numeric_limits<std::uint32_t>::max();
inline constexpr double kNanosecondsPerSecond = 1e9;

inline std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

inline std::int64_t read_system(clockid_t which) {
  timespec time{};
  clock_gettime(which, &time);
  return nanoseconds(time);
}

inline std::int64_t nanoseconds(double seconds) {
  const double wanted = seconds * kNanosecondsPerSecond;
  if (wanted >= static_cast<double>(kNever)) return kNever;
  if (wanted <= -static_cast<double>(kNever)) return -kNever;
  return static_cast<std::int64_t>(wanted);
}

inline std::int64_t plus(std::int64_t time, std::int64_t more) {
  std::int64_t sum = 0;
  return more == kNever || __builtin_add_overflow(time, more, &sum) ? kNever : sum;
}

inline double seconds_between(std::int64_t from, std::int64_t to) {
  return to == kNever ? std::numeric_limits<double>::infinity()
                      : static_cast<double>(to - from) / kNanosecondsPerSecond;
}

// The kernel's own clock_gettime, which it maps into every process and the C library calls: the way there through the
// library costs as much as half the answer. Where it is not found by this name it is the library's.
using GetTime = int (*)(clockid_t, timespec*);
inline const GetTime kernel_gettime = [] {
  void* mapped = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_NOLOAD);
  void* found = mapped == nullptr ? nullptr : dlsym(mapped, "__vdso_clock_gettime");
  return found == nullptr ? static_cast<GetTime>(clock_gettime) : reinterpret_cast<GetTime>(found);
}();

inline constexpr unsigned kTickBits = 24;
inline constexpr std::int64_t kUnsureTicks = 3;  // 50 ms: many times what the coarse clock lags

// Deadlines in more than two years are told apart from none, no more.
inline std::uint32_t tick_of(std::int64_t deadline) {
  if (deadline == kNever) return kNeverTick;
  constexpr std::int64_t kLast = kNeverTick - 1;
  return static_cast<std::uint32_t>(std::clamp(deadline >> kTickBits, std::int64_t{0}, kLast));
}

// Whether a deadline of that tick is surely yet to come; false says nothing.
inline bool surely_before(std::uint32_t deadline_tick) {
  timespec now{};
  kernel_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return deadline_tick > (nanoseconds(now) >> kTickBits) + kUnsureTicks;
}

// The user's clock, if there is one.
class Clock {
 public:
  void set_up(PyObject* own) { own_ = Py_XNewRef(own); }
  bool is_own() const { return own_ != nullptr; }

  // False with an exception set.
  bool read(std::int64_t& now, clockid_t system = CLOCK_MONOTONIC) const {
    if (own_ != nullptr) return read_own(now);
    now = read_system(system);
    return true;
  }

  int traverse(visitproc visit, void* arg) const {
    Py_VISIT(own_);
    return 0;
  }
  void let_go() { Py_CLEAR(own_); }

 private:
  bool read_own(std::int64_t& now) const {
    PyObject* clock = Py_NewRef(own_);
    PyObject* told = PyObject_CallNoArgs(clock);
    Py_DECREF(clock);
    if (told == nullptr) return false;
    const double seconds = PyFloat_AsDouble(told);
    Py_DECREF(told);
    if (seconds == -1.0 && PyErr_Occurred() != nullptr) return false;
    if (std::isnan(seconds)) {
      PyErr_SetString(PyExc_ValueError, "clock() must give seconds, not nan");
      return false;
    }
    now = nanoseconds(seconds);
    return true;
  }

  PyObject* own_ = nullptr;
};

}  // namespace sentinel::bindings::object_cache
