#include "bindings/object_cache_arguments.hpp"

#include <cstdint>
#include <string>

namespace sentinel::bindings::object_cache {
namespace {

bool refuse_seconds(const char* name, const char* rule, double seconds) {
  const std::string message = std::string(name) + " must be " + rule + ", not " + std::to_string(seconds);
  PyErr_SetString(PyExc_ValueError, message.c_str());
  return false;
}

bool seconds_from(PyObject* object, const char* name, double& seconds) {
  seconds = PyFloat_AsDouble(object);
  if (seconds != -1.0 || PyErr_Occurred() == nullptr) return true;
  if (PyErr_ExceptionMatches(PyExc_OverflowError) != 0)
    PyErr_Format(PyExc_ValueError, "%s must fit a float", name);
  return false;
}

bool ttl_from(PyObject* object, std::int64_t& ttl) {
  double seconds = 0;
  if (!seconds_from(object, "ttl", seconds)) return false;
  if (!(seconds > 0)) return refuse_seconds("ttl", "above 0 seconds", seconds);
  ttl = nanoseconds(seconds);
  return true;
}

bool tags_from(PyObject* tags, std::vector<std::string>& into) {
  if (tags == nullptr || tags == Py_None) return true;
  if (PyUnicode_Check(tags)) {
    PyErr_SetString(PyExc_TypeError, "tags must be an iterable of str, not one str");
    return false;
  }
  const auto listed = pybind11::reinterpret_steal<pybind11::object>(PySequence_Tuple(tags));
  if (!listed) return false;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(listed.ptr()); ++i) {
    Py_ssize_t size = 0;
    const char* text = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(listed.ptr(), i), &size);
    if (text == nullptr) return false;
    into.emplace_back(text, static_cast<std::size_t>(size));
  }
  return true;
}

bool stale_from(PyObject* object, std::int64_t& stale) {
  double seconds = 0;
  if (!seconds_from(object, "stale", seconds)) return false;
  if (!(seconds >= 0)) return refuse_seconds("stale", "0 seconds or more", seconds);
  stale = nanoseconds(seconds);
  return true;
}

bool cost_from(PyObject* object, double& seconds) {
  if (!seconds_from(object, "cost", seconds)) return false;
  return seconds >= 0 || refuse_seconds("cost", "0 seconds or more", seconds);
}

bool bound_from(PyObject* object, const char* name, std::uint64_t most, std::uint64_t& bound) {
  const long long given = PyLong_AsLongLong(object);
  if (given == -1 && PyErr_Occurred() != nullptr) return false;
  if (given >= 1 && static_cast<std::uint64_t>(given) <= most) {
    bound = static_cast<std::uint64_t>(given);
    return true;
  }
  PyErr_Format(PyExc_ValueError, "%s must be in 1..%llu, not %lld", name,
               static_cast<unsigned long long>(most), given);
  return false;
}

bool policy_from(PyObject* policy, bool& adaptive) {
  if (!PyUnicode_Check(policy)) {
    PyErr_Format(PyExc_TypeError, "policy must be a str, not %.100s", Py_TYPE(policy)->tp_name);
    return false;
  }
  adaptive = PyUnicode_CompareWithASCIIString(policy, "adaptive") == 0;
  if (adaptive || PyUnicode_CompareWithASCIIString(policy, "lru") == 0) return true;
  PyErr_Format(PyExc_ValueError, "policy must be 'adaptive' or 'lru', not %R", policy);
  return false;
}

}  // namespace

bool callable_or_none(PyObject* object, const char* name) {
  if (object == Py_None || PyCallable_Check(object) != 0) return true;
  PyErr_Format(PyExc_TypeError, "%s must be callable, not %.100s", name, Py_TYPE(object)->tp_name);
  return false;
}

bool bounds_from(const InitArguments& given, Bounds& bounds) {
  constexpr std::uint64_t kMostEntries = 1'000'000'000;
  constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 62U;
  if (given.max_entries == Py_None && given.max_bytes == Py_None) {
    PyErr_SetString(PyExc_ValueError, "max_entries or max_bytes must be given: None of both bounds nothing");
    return false;
  }
  if (given.max_entries != Py_None &&
      !bound_from(given.max_entries, "max_entries", kMostEntries, bounds.max_entries))
    return false;
  if (given.max_bytes != Py_None && !bound_from(given.max_bytes, "max_bytes", kMostBytes, bounds.max_bytes))
    return false;
  if (given.max_bytes == Py_None && given.weigh != Py_None) {
    PyErr_SetString(PyExc_ValueError, "weigh needs max_bytes, which is None");
    return false;
  }
  if (given.ttl != Py_None && !ttl_from(given.ttl, bounds.ttl)) return false;
  return given.policy == nullptr || policy_from(given.policy, bounds.adaptive);
}

bool terms_from(const SetOptions& options, Terms& terms) {
  if (options.ttl != nullptr && options.ttl != Py_None && !ttl_from(options.ttl, terms.ttl)) return false;
  if (options.stale != nullptr && !stale_from(options.stale, terms.stale)) return false;
  if (options.cost != nullptr && !cost_from(options.cost, terms.cost_seconds)) return false;
  return tags_from(options.tags, terms.tags);
}

}  // namespace sentinel::bindings::object_cache
