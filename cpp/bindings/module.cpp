// The extension module: a list of what each folder binds.
#include <pybind11/pybind11.h>

#include "bindings/bindings.hpp"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The C++ engine of Sentinel. Import it through the sentinel packages, not directly.";
  sentinel::bindings::bind_base(module);
  sentinel::bindings::bind_engine(module);
  sentinel::bindings::bind_bridge(module);
  sentinel::bindings::bind_object_cache(module);
  sentinel::bindings::bind_cached_function(module);
  sentinel::bindings::bind_limit(module);
  sentinel::bindings::bind_circuit_breaker(module);
  sentinel::bindings::bind_tokens(module);
  sentinel::bindings::bind_stream(module);
  sentinel::bindings::bind_request_digest(module);
  sentinel::bindings::bind_vector(module);
  sentinel::bindings::bind_semantic(module);
}
