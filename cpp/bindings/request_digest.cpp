// request_digest: one raw function, as it takes a few microseconds and is called for every request.
#include <pybind11/pybind11.h>

#include <array>
#include <new>
#include <string_view>

#include "bindings/bindings.hpp"
#include "bindings/fast_type.hpp"
#include "sentinel/cache/identity.hpp"
#include "sentinel/engine/endpoint.hpp"

namespace py = pybind11;

namespace sentinel::bindings {
namespace {

// A str or anything with bytes, borrowed for a call. False with an exception set.
class Body {
 public:
  Body() = default;
  ~Body() {
    if (held_) PyBuffer_Release(&buffer_);
  }
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;

  bool borrow(PyObject* given) {
    if (!PyUnicode_Check(given)) {
      if (PyObject_GetBuffer(given, &buffer_, PyBUF_SIMPLE) < 0) return false;
      held_ = true;
      view_ = {static_cast<const char*>(buffer_.buf), static_cast<std::size_t>(buffer_.len)};
      return true;
    }
    Py_ssize_t size = 0;
    const char* const data = PyUnicode_AsUTF8AndSize(given, &size);
    if (data != nullptr) view_ = {data, static_cast<std::size_t>(size)};
    return data != nullptr;
  }

  std::string_view view() const { return view_; }

 private:
  Py_buffer buffer_{};
  std::string_view view_;
  bool held_ = false;
};

// The endpoint of that name if its answers are cached; false with an exception set.
bool read_endpoint(PyObject* given, std::string_view& endpoint) {
  constexpr std::array kCached{engine::Endpoint::chat, engine::Endpoint::completions,
                               engine::Endpoint::embeddings};
  if (!PyUnicode_Check(given)) {
    PyErr_Format(PyExc_TypeError, "endpoint must be str, not %.100s", Py_TYPE(given)->tp_name);
    return false;
  }
  for (const engine::Endpoint known : kCached) {
    endpoint = engine::info(known).name;
    if (PyUnicode_CompareWithASCIIString(given, endpoint.data()) == 0) return true;
  }
  PyErr_Format(PyExc_ValueError,
               "endpoint must be /v1/chat/completions, /v1/completions or /v1/embeddings, not %R", given);
  return false;
}

PyObject* request_digest(PyObject* /*module*/, PyObject* const* given, Py_ssize_t count, PyObject* keywords) {
  static constexpr Parameters<2> kParameters("request_digest", {"body", "endpoint"}, 1, 1);
  std::array<PyObject*, 2> values{};
  std::string_view endpoint = engine::info(engine::Endpoint::chat).name;
  Body body;
  if (!kParameters.match(given, count, keywords, values) || !body.borrow(values[0])) return nullptr;
  if (values[1] != nullptr && !read_endpoint(values[1], endpoint)) return nullptr;
  try {
    thread_local cache::BodyReader reader;
    const auto digest = reader.identity({endpoint, {}, {}, {}, {}}, body.view());
    if (digest)
      return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(digest->data()),
                                       static_cast<Py_ssize_t>(digest->size()));
    PyErr_SetString(PyExc_ValueError, digest.error().message.c_str());
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  }
  return nullptr;
}

PyMethodDef request_digest_method = {
    "request_digest", as_method(request_digest), METH_FASTCALL | METH_KEYWORDS,
    "request_digest(body: bytes | bytearray | memoryview | str, *, endpoint: str = '/v1/chat/completions') "
    "-> "
    "bytes\n\n"
    "The 32 bytes by which the gateway's exact cache knows the request (SHA-256 of a canonical form).\n\n"
    "Bodies that differ in white space, key order, escapes, the writing of numbers, or in what does not "
    "change the\n"
    "answer (stream, stream_options, user, safety_identifier, metadata, prompt_cache_key) have the same.\n"
    "ValueError if the body is no JSON object in UTF-8, has a key twice or half of a surrogate pair."};

}  // namespace

void bind_request_digest(py::module_& module) {
  PyObject* const function =
      PyCFunction_NewEx(&request_digest_method, nullptr, py::str("sentinel._core").ptr());
  if (function == nullptr) throw py::error_already_set();
  module.add_object("request_digest", py::reinterpret_steal<py::object>(function));
}

}  // namespace sentinel::bindings
