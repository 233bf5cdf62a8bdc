// The cache key of a call: the same for every way to write the same call.
//
// `CallShape` is what a function's signature says. Arguments are brought into the order of the parameters, with the
// defaults of those left out; extra positional ones follow, then extra keywords by name. So f(1), f(a=1) and f(1, b=2),
// where 2 is b's default, have one key, and the order of keywords does not matter. The key of a function with a single
// parameter is its argument; of every other it is a tuple. Arguments that compare equal are one argument, as in a dict.
//
// Cost: one tuple, nothing else, for calls of up to kInline parts. Failure: a Python exception is set; a call that the
// signature does not allow is told apart, as the function itself has the right words for it. Threads: needs the GIL.
#pragma once

#include <Python.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

namespace sentinel::bindings {

// How a call was passed, as vectorcall does.
struct Call {
  PyObject* const* arguments;
  std::size_t positional;
  PyObject* keywords;  // names of what follows the positional ones, or nullptr

  std::size_t keyword_count() const {
    return keywords == nullptr ? 0 : static_cast<std::size_t>(PyTuple_GET_SIZE(keywords));
  }
};

// The parts of a key, borrowed, and whose they are (borrowed names; nullptr for parts that are always hashable).
class KeyParts {
 public:
  explicit KeyParts(std::size_t most) {
    if (most <= kInline) return;
    large_.resize(2 * most);
    parts_ = large_.data();
    names_ = large_.data() + most;
  }
  KeyParts(const KeyParts&) = delete;
  KeyParts& operator=(const KeyParts&) = delete;

  void add(PyObject* part, PyObject* name) {
    parts_[count_] = part;
    names_[count_] = name;
    ++count_;
  }
  void put(std::size_t place, PyObject* part) { parts_[place] = part; }

  std::size_t count() const { return count_; }
  PyObject* part(std::size_t place) const { return parts_[place]; }
  PyObject* name(std::size_t place) const { return names_[place]; }

 private:
  static constexpr std::size_t kInline = 16;
  std::array<PyObject*, kInline> inline_parts_;
  std::array<PyObject*, kInline> inline_names_;
  std::vector<PyObject*> large_;
  PyObject** parts_ = inline_parts_.data();
  PyObject** names_ = inline_names_.data();
  std::size_t count_ = 0;
};

// What a function accepts. All references are borrowed from tuples that the owner keeps.
struct CallShape {
  PyObject* names = nullptr;  // tuple of str: the parameters, those that may be positional first
  PyObject* defaults =
      nullptr;                 // tuple, one for each: a 1-tuple with what stands for it if left out, or None
  std::size_t positional = 0;  // how many may be given by position
  std::size_t by_position_only = 0;
  bool extra_positional = false;
  bool extra_keywords = false;

  std::size_t count() const { return static_cast<std::size_t>(PyTuple_GET_SIZE(names)); }
  bool single() const { return count() == 1 && !extra_positional && !extra_keywords; }

  // How many parts `call` has at most.
  std::size_t most_parts(const Call& call) const {
    return count() + call.positional + 2 * call.keyword_count() + 2;
  }

  // Adds the call's parts. False, and no exception, if the function does not accept such a call.
  bool collect(const Call& call, PyObject* mark, KeyParts& parts) const {
    if (call.positional > positional && !extra_positional) return false;
    const std::size_t first = parts.count();
    for (std::size_t i = 0; i < count(); ++i)
      parts.add(i < positional && i < call.positional ? call.arguments[i] : nullptr, name_at(i));
    if (call.keywords != nullptr && !place_keywords(call, first, parts)) return false;
    if (!fill(first, parts)) return false;
    for (std::size_t i = positional; i < call.positional; ++i) parts.add(call.arguments[i], mark);
    if (extra_keywords && call.keywords != nullptr) add_extra_keywords(call, mark, parts);
    return true;
  }

 private:
  PyObject* name_at(std::size_t place) const {
    return PyTuple_GET_ITEM(names, static_cast<Py_ssize_t>(place));
  }

  static PyObject* keyword_at(const Call& call, std::size_t index) {
    return PyTuple_GET_ITEM(call.keywords, static_cast<Py_ssize_t>(index));
  }

  // The parameter that a keyword names, or count(). Names in code are interned, others are not.
  std::size_t place_of(PyObject* keyword) const {
    for (std::size_t i = by_position_only; i < count(); ++i)
      if (name_at(i) == keyword) return i;
    for (std::size_t i = by_position_only; i < count(); ++i)
      if (PyUnicode_Compare(name_at(i), keyword) == 0) return i;
    return count();
  }

  bool place_keywords(const Call& call, std::size_t first, KeyParts& parts) const {
    for (std::size_t k = 0; k < call.keyword_count(); ++k) {
      const std::size_t place = place_of(keyword_at(call, k));
      if (place == count()) {
        if (!extra_keywords) return false;
        continue;
      }
      if (parts.part(first + place) != nullptr) return false;
      parts.put(first + place, call.arguments[call.positional + k]);
    }
    return true;
  }

  bool fill(std::size_t first, KeyParts& parts) const {
    for (std::size_t i = 0; i < count(); ++i) {
      if (parts.part(first + i) != nullptr) continue;
      PyObject* stands = PyTuple_GET_ITEM(defaults, static_cast<Py_ssize_t>(i));
      if (stands == Py_None) return false;
      parts.put(first + i, PyTuple_GET_ITEM(stands, 0));
    }
    return true;
  }

  // After a mark that nothing else has: names and values, by name.
  void add_extra_keywords(const Call& call, PyObject* mark, KeyParts& parts) const {
    std::vector<std::size_t> extra;
    for (std::size_t k = 0; k < call.keyword_count(); ++k)
      if (place_of(keyword_at(call, k)) == count()) extra.push_back(k);
    std::sort(extra.begin(), extra.end(), [&call](std::size_t a, std::size_t b) {
      return PyUnicode_Compare(keyword_at(call, a), keyword_at(call, b)) < 0;
    });
    if (!extra.empty()) parts.add(mark, nullptr);
    for (const std::size_t k : extra) {
      parts.add(keyword_at(call, k), nullptr);
      parts.add(call.arguments[call.positional + k], keyword_at(call, k));
    }
  }
};

}  // namespace sentinel::bindings
