// Raw heap types for the few calls that are too cheap for pybind11: a method called by METH_FASTCALL costs a sixth of
// what pybind11's dispatch does. Everything else is bound with pybind11.
//
// A type is a PyType_Spec whose object begins with PyObject_HEAD; `add_type` makes it and puts it into the module.
// A method's docstring begins with its signature, "get(self, key: object, default: object = None) -> object", which is
// what the stubs are written from.
//
// `Parameters` matches the arguments of a call to names, as Python does for `def f(a, b=None, *, c=None)`: borrowed
// references, nothing allocated unless the call is wrong. Failure: a TypeError that names function and argument.
// Threads: all of it needs the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <span>

namespace sentinel::bindings {

// A PyCFunction of another signature as a PyMethodDef wants it.
template <class Function>
PyCFunction as_method(Function* function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

// Makes the type and adds it to the module under its spec's name (after the last dot). Throws error_already_set.
inline PyTypeObject* add_type(pybind11::module_& module, PyType_Spec& spec) {
  PyObject* type = PyType_FromModuleAndSpec(module.ptr(), &spec, nullptr);
  if (type == nullptr) throw pybind11::error_already_set();
  auto* made = reinterpret_cast<PyTypeObject*>(type);
  const int added = PyModule_AddType(module.ptr(), made);
  Py_DECREF(type);  // the module keeps it
  if (added < 0) throw pybind11::error_already_set();
  return made;
}

// The names of a function's parameters: the first `required` must be given, those from `positional` on by name only.
template <std::size_t kCount>
class Parameters {
 public:
  constexpr Parameters(const char* function, std::array<const char*, kCount> names, std::size_t required,
                       std::size_t positional = kCount)
      : function_(function), names_(names), required_(required), positional_(positional) {}

  // Writes each given argument to its place in `values`, which the caller has filled with nullptr or defaults.
  // False with a TypeError set. `given` and `keywords` as METH_FASTCALL | METH_KEYWORDS passes them.
  bool match(PyObject* const* given, Py_ssize_t count, PyObject* keywords,
             std::array<PyObject*, kCount>& values) const {
    const auto positional = static_cast<std::size_t>(PyVectorcall_NARGS(static_cast<std::size_t>(count)));
    if (positional > positional_) return refuse_count(positional);
    std::array<bool, kCount> seen{};
    for (std::size_t i = 0; i < positional; ++i) {
      values[i] = given[i];
      seen[i] = true;
    }
    if (keywords != nullptr &&
        !match_keywords({given + positional, keyword_count(keywords)}, keywords, values, seen))
      return false;
    for (std::size_t i = 0; i < required_; ++i)
      if (!seen[i]) return refuse("missing argument", names_[i]);
    return true;
  }

 private:
  static std::size_t keyword_count(PyObject* keywords) {
    return static_cast<std::size_t>(PyTuple_GET_SIZE(keywords));
  }

  bool match_keywords(std::span<PyObject* const> given, PyObject* keywords,
                      std::array<PyObject*, kCount>& values, std::array<bool, kCount>& seen) const {
    for (std::size_t k = 0; k < given.size(); ++k) {
      PyObject* name = PyTuple_GET_ITEM(keywords, static_cast<Py_ssize_t>(k));
      const std::size_t place = place_of(name);
      if (place == kCount) return refuse("unexpected argument", PyUnicode_AsUTF8(name));
      if (seen[place]) return refuse("argument given twice:", names_[place]);
      values[place] = given[k];
      seen[place] = true;
    }
    return true;
  }

  std::size_t place_of(PyObject* name) const {
    for (std::size_t i = 0; i < kCount; ++i)
      if (PyUnicode_CompareWithASCIIString(name, names_[i]) == 0) return i;
    return kCount;
  }

  bool refuse(const char* what, const char* name) const {
    PyErr_Format(PyExc_TypeError, "%s(): %s '%s'", function_, what, name == nullptr ? "?" : name);
    return false;
  }

  bool refuse_count(std::size_t count) const {
    PyErr_Format(PyExc_TypeError, "%s() takes at most %zu positional arguments, not %zu", function_,
                 positional_, count);
    return false;
  }

  const char* function_;
  std::array<const char*, kCount> names_;
  std::size_t required_;
  std::size_t positional_;
};

}  // namespace sentinel::bindings
