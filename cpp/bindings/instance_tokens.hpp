// Names for objects that do not keep them alive: each object has a token of its own for as long as it lives.
//
// Contract: `token_of` gives the same str for the same object until that dies, and never again afterwards, also when
// another object gets its address: a weak reference's callback forgets it before the memory is free, and an entry whose
// reference died without that call is not believed. `gone` is called with the token of what died. Cost: one hash lookup by address; the first time a weak reference and a str.
// Re-entrancy: Python code runs (collector, callbacks) only while the maps are whole. Threads: needs the GIL.
#pragma once

#include <Python.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>

namespace sentinel::bindings {

class InstanceTokens {
 public:
  InstanceTokens() = default;
  InstanceTokens(const InstanceTokens&) = delete;
  InstanceTokens& operator=(const InstanceTokens&) = delete;
  ~InstanceTokens() { clear(); }

  // A new reference; nullptr without an exception if nothing weak can point to the object, with one on other failures.
  // `callback` is called with the dead reference, and passes it to `forget`.
  PyObject* token_of(PyObject* object, PyObject* prefix, PyObject* callback) {
    Recent& recent = recent_[place_of(object)];
    if (recent.object == object && points_to(recent.reference, object)) return Py_NewRef(recent.token);
    const auto found = instances_.find(object);
    if (found == instances_.end()) return admit(object, prefix, callback);
    if (!points_to(found->second.reference, object)) {
      drop(found);
      return admit(object, prefix, callback);
    }
    recent = {object, found->second.token, found->second.reference};
    return Py_NewRef(recent.token);
  }

  // The token of a reference that died, a new reference; nullptr if it is none of ours.
  PyObject* forget(PyObject* reference) {
    const auto found = objects_.find(reference);
    if (found == objects_.end()) return nullptr;
    const auto instance = instances_.find(found->second);
    PyObject* token = instance->second.token;
    recent_[place_of(found->second)] = {};
    instances_.erase(instance);
    objects_.erase(found);
    Py_DECREF(reference);  // its caller has another
    return token;
  }

  int traverse(visitproc visit, void* arg) const {
    for (const auto& [object, instance] : instances_) Py_VISIT(instance.reference);
    return 0;
  }

  void clear() {
    recent_ = {};
    auto instances = std::move(instances_);
    instances_.clear();
    objects_.clear();
    for (const auto& [object, instance] : instances) {
      Py_DECREF(instance.reference);
      Py_DECREF(instance.token);
    }
  }

 private:
  struct Instance {
    PyObject* reference;
    PyObject* token;
  };

  // Those asked for lately, by address: so that a method called again and again costs no search.
  struct Recent {
    PyObject* object = nullptr;
    PyObject* token = nullptr;  // borrowed from instances_, as is the reference
    PyObject* reference = nullptr;
  };

  using Instances = std::unordered_map<PyObject*, Instance>;

  static constexpr std::size_t kRecent = 32;

  static std::size_t place_of(PyObject* object) {
    return (reinterpret_cast<std::uintptr_t>(object) >> 4) % kRecent;  // objects lie 16 bytes apart
  }

  static bool points_to(PyObject* reference, PyObject* object) {
#if PY_VERSION_HEX >= 0x030D0000
    PyObject* target = nullptr;
    if (PyWeakref_GetRef(reference, &target) < 0) PyErr_Clear();
    Py_XDECREF(target);  // never the last one: whoever asks has it too
    return target == object;
#else
    return PyWeakref_GET_OBJECT(reference) == object;
#endif
  }

  // An entry that the collector left behind: it clears weak references within garbage without a call, and a finaliser
  // may bring that garbage back.
  void drop(Instances::iterator found) {
    const Instance dead = found->second;
    recent_[place_of(found->first)] = {};
    objects_.erase(dead.reference);
    instances_.erase(found);
    Py_DECREF(dead.reference);
    Py_DECREF(dead.token);
  }

  PyObject* admit(PyObject* object, PyObject* prefix, PyObject* callback) {
    PyObject* reference = PyWeakref_NewRef(object, callback);
    if (reference == nullptr) {
      if (PyErr_ExceptionMatches(PyExc_TypeError)) PyErr_Clear();
      return nullptr;
    }
    PyObject* token = PyUnicode_FromFormat("%U instance %zu", prefix, ++made_);
    if (token == nullptr) {
      Py_DECREF(reference);
      return nullptr;
    }
    return keep(object, {reference, token});
  }

  // The collector may have run meanwhile, and code of others in it, which asked for the same object.
  PyObject* keep(PyObject* object, Instance made) {
    const auto [place, fresh] = instances_.try_emplace(object, made);
    PyObject* token = Py_NewRef(place->second.token);
    if (fresh) {
      objects_.emplace(made.reference, object);
    } else {
      Py_DECREF(made.reference);
      Py_DECREF(made.token);
    }
    return token;
  }

  std::array<Recent, kRecent> recent_{};
  Instances instances_;
  std::unordered_map<PyObject*, PyObject*> objects_;  // by reference
  std::size_t made_ = 0;
};

}  // namespace sentinel::bindings
