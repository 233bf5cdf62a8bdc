// One function per folder; each converts, releases the GIL where work is long, and calls.
#pragma once

#include <pybind11/pybind11.h>

#include "sentinel/base/result.hpp"

namespace sentinel::bindings {

void bind_base(pybind11::module_& module);
void bind_engine(pybind11::module_& module);
void bind_bridge(pybind11::module_& module);
void bind_object_cache(pybind11::module_& module);
void bind_cached_function(pybind11::module_& module);
void bind_limit(pybind11::module_& module);
void bind_circuit_breaker(pybind11::module_& module);
void bind_tokens(pybind11::module_& module);
void bind_stream(pybind11::module_& module);
void bind_request_digest(pybind11::module_& module);
void bind_vector(pybind11::module_& module);
void bind_semantic(pybind11::module_& module);

// The ValueError that an Error of configuration is in Python.
inline void raise_if_failed(const Status& status) {
  if (!status) throw pybind11::value_error(status.error().message);
}

}  // namespace sentinel::bindings
