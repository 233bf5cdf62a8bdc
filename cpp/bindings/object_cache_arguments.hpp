// What the calls of ObjectCache are given, brought into the form in which the store takes it.
//
// Failure: false with a TypeError or ValueError that names the parameter. Threads: all of it needs the GIL. Reading a
// number or an iterable may run Python code, so it is read before the store is asked anything.
#pragma once

#include <pybind11/pybind11.h>

#include <array>

#include "bindings/object_cache_store.hpp"

namespace sentinel::bindings::object_cache {

// Of __init__; None is what is not given.
struct InitArguments {
  PyObject* max_entries = Py_None;
  PyObject* max_bytes = Py_None;
  PyObject* ttl = Py_None;
  PyObject* policy = nullptr;
  PyObject* weigh = Py_None;
  PyObject* clock = Py_None;
};

bool bounds_from(const InitArguments& given, Bounds& bounds);
bool callable_or_none(PyObject* object, const char* name);

// Of set, beyond the two that must be given: nullptr is what is not given.
struct SetOptions {
  PyObject* ttl = nullptr;
  PyObject* stale = nullptr;
  PyObject* tags = nullptr;
  PyObject* cost = nullptr;
};

bool terms_from(const SetOptions& options, Terms& terms);

}  // namespace sentinel::bindings::object_cache
