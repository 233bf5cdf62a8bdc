// ObjectCache for other bindings: the library cache of Python objects, asked without a Python call.
//
// `sentinel._core.ObjectCache` is a raw heap type that Python classes derive from; it holds references to keys and
// values. These functions take any instance of it or of a subclass and do what its methods of the same name do.
// Contract: the hash is PyObject_Hash(key). They may run Python code (a key's __eq__, the finaliser of a value that
// leaves), always while the cache is whole, so that such code may call the cache again.
// Threads: all of it needs the GIL. Failure: as the C API, a Python exception is set.
#pragma once

#include <pybind11/pybind11.h>

#include <limits>

namespace sentinel::bindings {

// What `ObjectCache.set` takes by name.
struct StoreOptions {
  double ttl_seconds = 0.0;    // 0: the cache's own time to live; infinity: none
  double stale_seconds = 0.0;  // how long it is kept beyond that, for `lookup`
  PyObject* tags = nullptr;    // any iterable of str, or nullptr
  double cost_seconds = 0.0;   // what computing the value took
};

inline constexpr double kNoExpirySeconds = std::numeric_limits<double>::infinity();

bool is_object_cache(PyObject* object);

// A new reference to the fresh value; nullptr with no exception set when there is none. Counts a hit or a miss.
PyObject* object_cache_get(PyObject* cache, PyObject* key, Py_hash_t hash);

// What `lookup` gives, without the tuple.
struct CachedObject {
  PyObject* value = nullptr;  // a new reference; nullptr: none is held
  double age_seconds = 0.0;
  double remaining_seconds = 0.0;  // negative: past its ttl and within its stale window; infinity: no expiry
  double cost_seconds = 0.0;
};

// 1 found (the caller owns `found.value`), 0 not, -1 with an exception set.
int object_cache_lookup(PyObject* cache, PyObject* key, Py_hash_t hash, CachedObject& found);

// 1 stored, 0 too heavy for the whole bound, -1 with an exception set.
int object_cache_set(PyObject* cache, PyObject* key, Py_hash_t hash, PyObject* value,
                     const StoreOptions& options = {});

}  // namespace sentinel::bindings
