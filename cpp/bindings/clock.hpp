// The time of a call from Python: what the call says, else a clock that was given, else the one time.monotonic reads.
//
// Failure: false with an exception set. Reading a given clock runs Python code, so read it before any structure is
// touched. Threads: all of it needs the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <cmath>

#include "sentinel/base/clock.hpp"

namespace sentinel::bindings {

inline constexpr double kMaxSeconds = 1e11;

inline bool to_duration(double seconds, Duration& out) {
  if (!(seconds >= 0 && seconds <= kMaxSeconds)) {
    PyErr_SetString(PyExc_ValueError, "seconds must be 0 to 1e11");
    return false;
  }
  out = Duration{std::llround(seconds * 1e6)};
  return true;
}

// A number of seconds; `what` names it in the TypeError.
inline bool read_seconds(PyObject* seconds, const char* what, Duration& out) {
  if (PyFloat_CheckExact(seconds)) return to_duration(PyFloat_AS_DOUBLE(seconds), out);
  if (!PyFloat_Check(seconds) && !PyLong_Check(seconds)) {
    PyErr_Format(PyExc_TypeError, "%s must be seconds, not %s", what, Py_TYPE(seconds)->tp_name);
    return false;
  }
  const double value = PyFloat_AsDouble(seconds);
  if (value != -1.0 || PyErr_Occurred() == nullptr) return to_duration(value, out);
  if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return false;
  PyErr_Clear();  // an int that no float can hold is out of range as any other
  return to_duration(HUGE_VAL, out);
}

// Without a clock (nullptr) it is the one of time.monotonic.
inline bool read_clock(PyObject* clock, Duration& out) {
  if (clock == nullptr) {
    const auto elapsed = std::chrono::steady_clock::now().time_since_epoch();
    out = std::chrono::duration_cast<Duration>(elapsed);
    return true;
  }
  PyObject* told = PyObject_CallNoArgs(clock);
  if (told == nullptr) return false;
  const bool read = read_seconds(told, "now", out);
  Py_DECREF(told);
  return read;
}

inline bool read_now(PyObject* now, PyObject* clock, Duration& out) {
  return now != nullptr && now != Py_None ? read_seconds(now, "now", out) : read_clock(clock, out);
}

}  // namespace sentinel::bindings
