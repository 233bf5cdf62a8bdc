// ObjectCache for other bindings: the library cache of Python objects, asked without a Python call.
//
// `sentinel._core.ObjectCache` is a raw heap type that Python classes derive from; it holds references to keys and
// values. These functions take any instance of it or of a subclass and do what its methods of the same name do.
// Contract: the hash is PyObject_Hash(key). They may run Python code (a key's __eq__, the finaliser of a value that
// leaves), always while the cache is whole, so that such code may call the cache again.
// Threads: all of it needs the GIL. Failure: as the C API, a Python exception is set.
#pragma once

#include <pybind11/pybind11.h>

namespace sentinel::bindings {

bool is_object_cache(PyObject* object);

// A new reference to the fresh value; nullptr with no exception set when there is none. Counts a hit or a miss.
PyObject* object_cache_get(PyObject* cache, PyObject* key, Py_hash_t hash);

}  // namespace sentinel::bindings
