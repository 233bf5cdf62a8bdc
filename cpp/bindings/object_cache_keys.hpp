// The keys of an ObjectCache: their hashes, and when two of them are equal.
//
// Two str, two int and two tuples of the very same parts are compared without running Python code; everything else is
// asked by `==`. Most hits do not compare: they are asked with the very object that is held.
//
// Contract: as a dict has it, identity comes before equality. Keys that are compared here have equal hashes.
// Threads: all of it needs the GIL. Failure: hash_of and ask may run Python code and leave an exception set.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sentinel::bindings::object_cache {

// A str that was ever hashed has its hash with it. False: ask hash_of.
[[gnu::always_inline]] inline bool hash_at_once(PyObject* key, Py_hash_t& hash) {
  if (!PyUnicode_CheckExact(key)) return false;
  hash = reinterpret_cast<PyASCIIObject*>(key)->hash;
  return hash != -1;
}

inline bool hash_of(PyObject* key, Py_hash_t& hash) {
  if (hash_at_once(key, hash)) return true;
  hash = PyObject_Hash(key);
  return hash != -1;
}

template <class Word>
[[gnu::always_inline]] inline bool words_differ(const char* left, const char* right) {
  Word one;
  Word other;
  std::memcpy(&one, left, sizeof one);
  std::memcpy(&other, right, sizeof other);
  return one != other;
}

inline constexpr Py_ssize_t kShort = 32;

// At most kShort bytes, without a call: memcmp costs more than most comparisons of keys.
[[gnu::always_inline]] inline bool short_bytes_equal(const char* left, const char* right, std::size_t size) {
  using Eight = std::uint64_t;
  using Four = std::uint32_t;
  if (size >= 8) {
    for (std::size_t at = 0; at + 8 < size; at += 8)
      if (words_differ<Eight>(left + at, right + at)) return false;
    return !words_differ<Eight>(left + size - 8, right + size - 8);
  }
  if (size >= 4)
    return !words_differ<Four>(left, right) && !words_differ<Four>(left + size - 4, right + size - 4);
  for (std::size_t at = 0; at < size; ++at)
    if (left[at] != right[at]) return false;
  return true;
}

inline bool both_str(PyObject* left, PyObject* right) {
  return PyUnicode_CheckExact(left) && PyUnicode_CheckExact(right);
}

// What most str keys are, compared without a call. False says nothing.
[[gnu::always_inline]] inline bool short_ascii_equal(PyObject* left, PyObject* right) {
  if (!both_str(left, right)) return false;
  const auto* one = reinterpret_cast<const PyASCIIObject*>(left);
  const auto* other = reinterpret_cast<const PyASCIIObject*>(right);
  if (one->length != other->length || one->length > kShort) return false;
  const bool known = one->state.ascii && one->state.compact && other->state.ascii && other->state.compact;
  return known &&
         short_bytes_equal(reinterpret_cast<const char*>(one + 1), reinterpret_cast<const char*>(other + 1),
                           static_cast<std::size_t>(one->length));
}

inline bool str_equal(PyObject* left, PyObject* right) {
  const Py_ssize_t length = PyUnicode_GET_LENGTH(left);
  if (length != PyUnicode_GET_LENGTH(right) || PyUnicode_KIND(left) != PyUnicode_KIND(right)) return false;
  const auto size = static_cast<std::size_t>(length) * static_cast<std::size_t>(PyUnicode_KIND(left));
  return std::memcmp(PyUnicode_DATA(left), PyUnicode_DATA(right), size) == 0;
}

// Keys that compare without running Python code: both str, or both int.
inline bool asks_no_python(PyObject* left, PyObject* right) {
  return both_str(left, right) || (PyLong_CheckExact(left) && PyLong_CheckExact(right));
}

inline bool equal_plainly(PyObject* left, PyObject* right) {
  return PyLong_CheckExact(left) ? PyObject_RichCompareBool(left, right, Py_EQ) == 1 : str_equal(left, right);
}

// Tuples of the very same parts, as the keys of calls are, need no comparison by Python.
inline bool same_parts(PyObject* held, PyObject* key) {
  if (!PyTuple_CheckExact(held) || !PyTuple_CheckExact(key)) return false;
  const auto* one = reinterpret_cast<const PyTupleObject*>(held);
  const auto* other = reinterpret_cast<const PyTupleObject*>(key);
  if (one->ob_base.ob_size != other->ob_base.ob_size) return false;
  for (Py_ssize_t i = 0; i < one->ob_base.ob_size; ++i)
    if (one->ob_item[i] != other->ob_item[i]) return false;
  return true;
}

// 1 equal, 0 not, -1 with an exception set. May run Python code.
inline int ask(PyObject* held, PyObject* key) {
  Py_INCREF(held);
  const int equal = PyObject_RichCompareBool(held, key, Py_EQ);
  Py_DECREF(held);
  return equal;
}

}  // namespace sentinel::bindings::object_cache
