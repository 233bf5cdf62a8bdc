// What an entry of an ObjectCache weighs where bytes are bounded: what the user's `weigh(key, value)` says, else
// sys.getsizeof of both and what an entry takes here.
//
// Threads: all of it needs the GIL. Failure: weighing runs Python code and may raise: weigh before any structure is
// touched.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

namespace sentinel::bindings::object_cache {

class Scale {
 public:
  // Either may be nullptr; without both, only bytes objects weigh anything.
  void set_up(PyObject* weigh, PyObject* measure) {
    weigh_ = Py_XNewRef(weigh);
    measure_ = Py_XNewRef(measure);
  }

  // False with an exception set.
  bool weigh(PyObject* key, PyObject* value, std::uint64_t& weight) const {
    if (weigh_ != nullptr) return ask_user(key, value, weight);
    std::uint64_t key_bytes = 0;
    std::uint64_t value_bytes = 0;
    if (!measure(key, key_bytes) || !measure(value, value_bytes)) return false;
    weight = kEntryBytes + key_bytes + value_bytes;
    return true;
  }

  int traverse(visitproc visit, void* arg) const {
    Py_VISIT(weigh_);
    Py_VISIT(measure_);
    return 0;
  }

  void let_go() {
    Py_CLEAR(weigh_);
    Py_CLEAR(measure_);
  }

 private:
  static constexpr std::uint64_t kEntryBytes =
      96;  // slot, links, place in the table, sketch; deadline and its wheel

  bool ask_user(PyObject* key, PyObject* value, std::uint64_t& weight) const {
    PyObject* callable = Py_NewRef(weigh_);
    PyObject* const arguments[] = {key, value};
    PyObject* told = PyObject_Vectorcall(callable, arguments, 2, nullptr);
    Py_DECREF(callable);
    return told != nullptr && take_weight(told, weight);
  }

  bool measure(PyObject* object, std::uint64_t& bytes) const {
    if (PyBytes_CheckExact(object)) {
      bytes = static_cast<std::uint64_t>(PyBytes_GET_SIZE(object) + PyBytes_Type.tp_basicsize);
      return true;
    }
    if (measure_ == nullptr) return true;
    PyObject* told = PyObject_CallOneArg(measure_, object);
    return told != nullptr && take_weight(told, bytes);
  }

  // Consumes `told`.
  static bool take_weight(PyObject* told, std::uint64_t& weight) {
    const long long given = PyLong_AsLongLong(told);
    Py_DECREF(told);
    if (given == -1 && PyErr_Occurred() != nullptr) return false;
    if (given < 0) {
      PyErr_Format(PyExc_ValueError, "weigh() must give bytes, 0 or more, not %lld", given);
      return false;
    }
    weight = static_cast<std::uint64_t>(given);
    return true;
  }

  PyObject* weigh_ = nullptr;
  PyObject* measure_ = nullptr;  // sys.getsizeof
};

}  // namespace sentinel::bindings::object_cache
