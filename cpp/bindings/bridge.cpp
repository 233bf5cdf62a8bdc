#include <pybind11/pybind11.h>
#include <pybind11/typing.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings/bindings.hpp"
#include "sentinel/engine/bridge.hpp"
#include "sentinel/engine/engine.hpp"
#include "sentinel/engine/request.hpp"

namespace py = pybind11;

namespace sentinel::bindings {
namespace {

using engine::Bridge;
using engine::BridgeEvent;
using engine::Endpoint;
using engine::Engine;
using engine::HeaderView;
using engine::ProviderAnswer;
using engine::ProviderWork;
using engine::RequestHead;

namespace typing = py::typing;
using HeaderTuple = typing::Tuple<py::bytes, py::bytes>;
using Headers = typing::Iterable<HeaderTuple>;
using EventTuple =
    typing::Tuple<py::int_, py::int_, typing::Optional<py::bytes>, py::bytes, py::bool_, py::bool_>;
using WorkTuple = typing::Tuple<py::str, py::int_, py::str, py::str, py::str, py::str, py::bool_, py::bytes>;

// Below this a body is decided on faster than the GIL is given back and taken again.
constexpr std::size_t kLongBody = 16 * 1024;

std::string_view view(py::handle bytes) {
  char* data = nullptr;
  Py_ssize_t size = 0;
  if (PyBytes_AsStringAndSize(bytes.ptr(), &data, &size) != 0) throw py::error_already_set();
  return {data, static_cast<std::size_t>(size)};
}

py::bytes to_bytes(std::string_view text) { return {text.data(), text.size()}; }

// White space behind a value is none of it (RFC 9110, 5.5); some servers leave it on.
std::string_view without_trailing_space(std::string_view value) {
  while (value.ends_with(' ') || value.ends_with('\t')) value.remove_suffix(1);
  return value;
}

// Borrowed views into the caller's objects, which outlive the call.
std::vector<HeaderView> to_headers(const Headers& headers) {
  std::vector<HeaderView> views;
  views.reserve(24);
  for (const py::handle pair : headers) {
    const auto item = py::reinterpret_borrow<py::sequence>(pair);
    views.push_back({view(py::object(item[0])), without_trailing_space(view(py::object(item[1])))});
  }
  return views;
}

// The header fields as they stand in HTTP/1.1: one object instead of three for each of them.
py::bytes from_headers(const engine::HeaderList& headers) {
  std::size_t size = 0;
  for (const auto& [name, value] : headers) size += name.size() + value.size() + 4;
  PyObject* const bytes = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size));
  if (bytes == nullptr) throw py::error_already_set();
  char* at = PyBytes_AS_STRING(bytes);
  const auto put = [&at](std::string_view text) { at = std::copy(text.begin(), text.end(), at); };
  for (const auto& [name, value] : headers) {
    put(name);
    put(": ");
    put(value);
    put("\r\n");
  }
  return py::reinterpret_steal<py::bytes>(bytes);
}

// (id, status, header fields or None, body, more, close)
EventTuple from_event(const BridgeEvent& event) {
  py::object headers =
      event.headers.empty() ? py::object(py::none()) : py::object(from_headers(event.headers));
  return EventTuple(py::make_tuple(event.id, event.status, std::move(headers), to_bytes(event.body),
                                   event.more, event.close));
}

struct BorrowedHead {
  std::vector<HeaderView> headers;
  RequestHead head;
};

BorrowedHead to_head(Endpoint endpoint, std::string_view path, const py::bytes& query,
                     const Headers& headers) {
  BorrowedHead borrowed;
  borrowed.headers = to_headers(headers);
  borrowed.head = {endpoint, path, view(query), borrowed.headers, {}};
  return borrowed;
}

using Submitted = typing::Union<py::int_, EventTuple>;

Submitted from_submitted(const Bridge::Submitted& submitted) {
  if (const auto* id = std::get_if<std::uint64_t>(&submitted)) return Submitted(py::int_(*id));
  return Submitted(from_event(std::get<BridgeEvent>(submitted)));
}

// Calls `work`, which touches no Python object, without the GIL if `bytes` are many.
template <class Work>
auto unlocked_if_long(std::string_view bytes, Work work) {
  if (bytes.size() < kLongBody) return work();
  const py::gil_scoped_release unlocked;
  return work();
}

Submitted submit(Bridge& self, Endpoint endpoint, std::string_view path, const py::bytes& query,
                 const Headers& headers, const py::bytes& body, std::string_view peer) {
  BorrowedHead borrowed = to_head(endpoint, path, query, headers);
  borrowed.head.peer = peer;
  const std::string_view bytes = view(body);
  return from_submitted(unlocked_if_long(bytes, [&] { return self.submit(borrowed.head, bytes); }));
}

typing::Optional<Submitted> submit_wire(Bridge& self, const py::bytes& data, std::string_view peer,
                                        std::size_t most_body_bytes) {
  const std::string_view bytes = view(data);
  const auto submitted =
      unlocked_if_long(bytes, [&] { return self.submit_wire(bytes, peer, most_body_bytes); });
  if (!submitted) return typing::Optional<Submitted>(py::none());
  return typing::Optional<Submitted>(from_submitted(*submitted));
}

EventTuple refuse(Bridge& self, Endpoint endpoint, std::string_view path, const py::bytes& query,
                  const Headers& headers, ErrorCode code, std::string message, std::string param,
                  std::string_view peer) {
  BorrowedHead borrowed = to_head(endpoint, path, query, headers);
  borrowed.head.peer = peer;
  return from_event(self.refuse(borrowed.head, Error(code, std::move(message), std::move(param))));
}

typing::List<EventTuple> drain(Bridge& self) {
  const auto events = self.drain();
  typing::List<EventTuple> list(events.size());
  for (std::size_t i = 0; i < events.size(); ++i) list[i] = from_event(events[i]);
  return list;
}

std::string_view name(ProviderWork::Kind kind) {
  switch (kind) {
    case ProviderWork::Kind::serve: return "serve";
    case ProviderWork::Kind::resume: return "resume";
    case ProviderWork::Kind::withdraw: return "withdraw";
  }
  return "withdraw";
}

// (kind, call_id, upstream, endpoint, model, request_id, stream, body)
typing::List<WorkTuple> drain_provider(Bridge& self) {
  typing::List<WorkTuple> list;
  for (const auto& work : self.drain_provider()) {
    const auto& request = work.request;
    list.append(py::make_tuple(name(work.kind), request.call_id, request.upstream, request.endpoint,
                               request.model, request.request_id, request.stream, to_bytes(request.body)));
  }
  return list;
}

bool answer_head(Bridge& self, std::uint64_t call_id, int status, const Headers& headers) {
  ProviderAnswer answer;
  answer.status = status;
  for (const auto& header : to_headers(headers)) answer.headers.emplace_back(header.name, header.value);
  return self.answer(call_id, std::move(answer));
}

bool answer_data(Bridge& self, std::uint64_t call_id, const py::bytes& data) {
  ProviderAnswer answer;
  answer.data = view(data);
  return self.answer(call_id, std::move(answer));
}

void answer_end(Bridge& self, std::uint64_t call_id) {
  ProviderAnswer answer;
  answer.end = true;
  self.answer(call_id, std::move(answer));
}

void answer_failure(Bridge& self, std::uint64_t call_id, std::string message) {
  ProviderAnswer answer;
  answer.failure = std::move(message);
  self.answer(call_id, std::move(answer));
}

std::shared_ptr<Bridge> open_bridge(Engine& engine, bool serves_provider) {
  auto bridge = Bridge::open(engine, serves_provider);
  if (!bridge) throw std::runtime_error(bridge.error().message);
  return std::move(*bridge);
}

void bind_enums(py::module_& module) {
  py::enum_<Endpoint>(module, "Endpoint", "The governed endpoints.")
      .value("chat", Endpoint::chat)
      .value("completions", Endpoint::completions)
      .value("embeddings", Endpoint::embeddings)
      .value("responses", Endpoint::responses)
      .value("messages", Endpoint::messages)
      .value("query", Endpoint::query)
      .value("models", Endpoint::models);
  py::enum_<ErrorCode>(module, "ErrorCode", "The refusals a door makes itself.")
      .value("request_timeout", ErrorCode::request_timeout)
      .value("body_too_large", ErrorCode::body_too_large)
      .value("invalid_json", ErrorCode::invalid_json)
      .value("invalid_request", ErrorCode::invalid_request);
}

}  // namespace

void bind_bridge(py::module_& module) {
  bind_enums(module);
  py::class_<Bridge, std::shared_ptr<Bridge>>(
      module, "Bridge", "The engine's side of one asyncio loop; use it on that loop's thread.")
      .def(py::init(&open_bridge), py::arg("engine"), py::arg("serves_provider") = false,
           py::keep_alive<1, 2>())
      .def("fileno", &Bridge::descriptor, "Readable when drain() or drain_provider() has something.")
      .def("submit", &submit, py::arg("endpoint"), py::arg("path"), py::arg("query"), py::arg("headers"),
           py::arg("body"), py::arg("peer") = "",
           "An id, sent on by flush(), or at once the event that answers, its id 0.")
      .def("submit_wire", &submit_wire, py::arg("data"), py::arg("peer"), py::arg("most_body_bytes"),
           "submit() of a connection's bytes, if they are one whole request for a governed endpoint, else "
           "None. "
           "The bodies of its events are bytes for the connection, to be written as they are.")
      .def("flush", &Bridge::flush, "Sends on what was submitted since the last flush.")
      .def("refuse", &refuse, py::arg("endpoint"), py::arg("path"), py::arg("query"), py::arg("headers"),
           py::arg("code"), py::arg("message"), py::arg("param") = "", py::arg("peer") = "",
           "The event that answers a request which the door must refuse.")
      .def("drain", &drain, "Events (id, status or 0, header fields or None, body, more, close), in order.")
      .def("taken", &Bridge::taken, py::arg("id"), py::arg("bytes"), "The client's socket took these bytes.")
      .def("written", &Bridge::written, py::arg("id"), "The client's socket took all that was drained.")
      .def("cancel", &Bridge::cancel, py::arg("id"), "The client left.")
      .def("drain_provider", &drain_provider,
           "Provider work (kind, call_id, upstream, endpoint, model, request_id, stream, body).")
      .def("answer_head", &answer_head, py::arg("call_id"), py::arg("status"), py::arg("headers"))
      .def("answer_data", &answer_data, py::arg("call_id"), py::arg("data"),
           "False: wait for `resume` before handing over more.")
      .def("answer_end", &answer_end, py::arg("call_id"))
      .def("answer_failure", &answer_failure, py::arg("call_id"), py::arg("message"))
      .def("close", &Bridge::close, "Cancels what runs; idempotent.");
}

}  // namespace sentinel::bindings
