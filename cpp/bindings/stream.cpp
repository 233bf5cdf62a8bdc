// SSEParser, SSEEvent and ChatAccumulator: raw heap types, as a chunk of a stream takes a tenth of a microsecond.
//
// None of them holds an object that could refer back to it (only str, bytes and None), so none takes part in garbage
// collection. No Python code runs while a parser works: what is made in between is str and bytes, lists come after.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings/bindings.hpp"
#include "bindings/fast_type.hpp"
#include "sentinel/stream/chat_accumulator.hpp"
#include "sentinel/stream/sse_parser.hpp"

namespace py = pybind11;

namespace sentinel::bindings {
namespace {

using stream::ChatAccumulator;
using stream::ChatBounds;
using stream::JsonMember;
using stream::JsonValue;
using stream::SseEvent;
using stream::SseParser;
using stream::StreamFault;

// The bytes of an argument, borrowed for a call.
class Bytes {
 public:
  Bytes() = default;
  ~Bytes() {
    if (held_) PyBuffer_Release(&buffer_);
  }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  bool borrow(PyObject* given) {
    if (PyBytes_CheckExact(given)) {
      owner_ = given;
      view_ = {PyBytes_AS_STRING(given), static_cast<std::size_t>(PyBytes_GET_SIZE(given))};
      return true;
    }
    if (PyUnicode_Check(given)) {
      PyErr_SetString(PyExc_TypeError, "data must be bytes, not str");
      return false;
    }
    if (PyObject_GetBuffer(given, &buffer_, PyBUF_SIMPLE) < 0) return false;
    held_ = true;
    view_ = {static_cast<const char*>(buffer_.buf), static_cast<std::size_t>(buffer_.len)};
    return true;
  }

  std::string_view view() const { return view_; }
  PyObject* owner() const { return owner_; }  // the bytes object itself, if it is one

 private:
  Py_buffer buffer_{};
  std::string_view view_;
  PyObject* owner_ = nullptr;
  bool held_ = false;
};

bool is_ascii(std::string_view text) {
  unsigned char all = 0;
  for (const char c : text) all |= static_cast<unsigned char>(c);
  return all < 0x80;
}

PyObject* text_of(std::string_view utf8) {
  constexpr std::size_t kShort = 32;  // most deltas: making them takes less than the decoder's preparations
  if (utf8.size() > 1 && utf8.size() <= kShort && is_ascii(utf8)) {
    PyObject* const text = PyUnicode_New(static_cast<Py_ssize_t>(utf8.size()), 0x7F);
    if (text != nullptr) std::memcpy(PyUnicode_1BYTE_DATA(text), utf8.data(), utf8.size());
    return text;
  }
  return PyUnicode_DecodeUTF8(utf8.data(), static_cast<Py_ssize_t>(utf8.size()), "replace");
}

// Sets an exception of sentinel.errors, which is imported only here, where something has failed.
PyObject* raise_error(const char* name, const std::string& message) {
  PyObject* const errors = PyImport_ImportModule("sentinel.errors");
  PyObject* const type = errors == nullptr ? nullptr : PyObject_GetAttrString(errors, name);
  if (type != nullptr) PyErr_SetString(type, message.c_str());
  Py_XDECREF(type);
  Py_XDECREF(errors);
  return nullptr;
}

// A bound in bytes: 1 to 2**62. `bytes` is left as it is without an argument.
bool read_bound(PyObject* given, const char* name, std::size_t& bytes) {
  constexpr long long kMost = 1LL << 62;
  if (given == nullptr) return true;
  if (!PyLong_Check(given)) {
    PyErr_Format(PyExc_TypeError, "%s must be int, not %.100s", name, Py_TYPE(given)->tp_name);
    return false;
  }
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(given, &overflow);
  if (overflow != 0 || value < 1 || value > kMost) {
    PyErr_Format(PyExc_ValueError, "%s must be 1 to 2**62, not %R", name, given);
    return false;
  }
  bytes = static_cast<std::size_t>(value);
  return true;
}

// What is constructed by tp_new from (args, kwargs): as METH_FASTCALL | METH_KEYWORDS would pass them.
template <std::size_t kCount>
bool match_arguments(const Parameters<kCount>& parameters, PyObject* args, PyObject* kwargs,
                     std::array<PyObject*, kCount>& values) {
  std::vector<PyObject*> given;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); ++i) given.push_back(PyTuple_GET_ITEM(args, i));
  const Py_ssize_t positional = PyTuple_GET_SIZE(args);
  if (kwargs == nullptr || PyDict_GET_SIZE(kwargs) == 0)
    return parameters.match(given.data(), positional, nullptr, values);
  PyObject* const names = PySequence_Tuple(kwargs);
  if (names == nullptr) return false;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); ++i)
    given.push_back(PyDict_GetItem(kwargs, PyTuple_GET_ITEM(names, i)));
  const bool matched = parameters.match(given.data(), positional, names, values);
  Py_DECREF(names);
  return matched;
}

// The function as Python may call it: memory that there is not is a MemoryError.
template <auto function, class... Arguments>
auto guarded(Arguments... arguments) -> decltype(function(arguments...)) {
  try {
    return function(arguments...);
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
}

// An __init__ that only carries a signature for the stubs: objects are made by tp_new.
PyObject* documented(PyObject* /*self*/, PyObject* /*args*/, PyObject* /*kwargs*/) { Py_RETURN_NONE; }

// Adds the type with properties whose docstrings, like those of its methods, begin with a typed signature; getsets have
// none. What Python adds by itself to the type's dictionary has none either, and is found in `object` as well.
PyTypeObject* add_documented_type(py::module_& module, PyType_Spec& spec, PyMethodDef* properties) {
  PyTypeObject* const type = add_type(module, spec);
  const py::handle handle(reinterpret_cast<PyObject*>(type));
  for (; properties->ml_name != nullptr; ++properties) {
    const auto getter = py::reinterpret_steal<py::object>(PyDescr_NewMethod(type, properties));
    if (!getter) throw py::error_already_set();
    handle.attr(properties->ml_name) = py::handle(reinterpret_cast<PyObject*>(&PyProperty_Type))(getter);
  }
  for (const char* name : {"__new__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"}) {
    if (PyDict_GetItemString(type->tp_dict, name) != nullptr) PyDict_DelItemString(type->tp_dict, name);
  }
  PyType_Modified(type);  // the slots stay as they are, which delattr would not leave alone
  return type;
}

template <class Object>
Object* self_as(PyObject* self) {
  return reinterpret_cast<Object*>(self);
}

// The pieces of one feed. Lists are made when the parser is at rest: making one can run finalisers.
class Pieces {
 public:
  Pieces() = default;
  ~Pieces() {
    for (std::size_t i = 0; i < std::min(count_, kFew); ++i) Py_XDECREF(few_[i]);
    for (PyObject* piece : more_) Py_DECREF(piece);
  }
  Pieces(const Pieces&) = delete;
  Pieces& operator=(const Pieces&) = delete;

  bool add(PyObject* piece) {  // takes the reference
    if (piece == nullptr) return false;
    if (count_ < kFew) {
      few_[count_] = piece;
    } else {
      more_.push_back(piece);
    }
    ++count_;
    return true;
  }

  bool empty() const { return count_ == 0; }

  PyObject* list() {
    PyObject* const made = PyList_New(static_cast<Py_ssize_t>(count_));
    if (made == nullptr) return nullptr;
    Py_ssize_t place = 0;
    for (std::size_t i = 0; i < std::min(count_, kFew); ++i) PyList_SET_ITEM(made, place++, few_[i]);
    for (PyObject* piece : more_) PyList_SET_ITEM(made, place++, piece);
    count_ = 0;
    more_.clear();
    return made;
  }

 private:
  static constexpr std::size_t kFew = 8;
  std::array<PyObject*, kFew> few_;
  std::vector<PyObject*> more_;
  std::size_t count_ = 0;
};

// SSEEvent

struct EventObject {
  PyObject_HEAD PyObject* event;
  PyObject* data;    // str; nullptr until somebody asks, then it stands in `source`
  PyObject* source;  // bytes, or nullptr
  const char* from;
  Py_ssize_t size;
  PyObject* id;
  PyObject* retry;  // int or None
};

PyTypeObject* event_type = nullptr;  // made once, when the module is imported

void event_dealloc(PyObject* self) {
  auto* const event = self_as<EventObject>(self);
  PyTypeObject* const type = Py_TYPE(self);
  Py_XDECREF(event->event);
  Py_XDECREF(event->data);
  Py_XDECREF(event->source);
  Py_XDECREF(event->id);
  Py_XDECREF(event->retry);
  type->tp_free(self);
  Py_DECREF(type);
}

EventObject* new_event() {
  return self_as<EventObject>(event_type->tp_alloc(event_type, 0));  // zeroed
}

// Borrowed.
PyObject* data_of(EventObject* event) {
  if (event->data == nullptr) {
    event->data = text_of({event->from, static_cast<std::size_t>(event->size)});
    if (event->data != nullptr) Py_CLEAR(event->source);
  }
  return event->data;
}

PyObject* event_data(PyObject* self, PyObject* /*none*/) {
  return Py_XNewRef(data_of(self_as<EventObject>(self)));
}

template <PyObject* EventObject::* member>
PyObject* event_member(PyObject* self, PyObject* /*none*/) {
  return Py_NewRef(self_as<EventObject>(self)->*member);
}

bool take_text(PyObject* given, const char* name, PyObject*& place) {
  if (!PyUnicode_Check(given)) {
    PyErr_Format(PyExc_TypeError, "%s must be str, not %.100s", name, Py_TYPE(given)->tp_name);
    return false;
  }
  place = PyUnicode_FromObject(given);  // a plain str, so that no cycle can begin here
  return place != nullptr;
}

bool take_retry(PyObject* given, PyObject*& place) {
  if (given != Py_None && !PyLong_Check(given)) {
    PyErr_Format(PyExc_TypeError, "retry must be int or None, not %.100s", Py_TYPE(given)->tp_name);
    return false;
  }
  place = given == Py_None ? Py_NewRef(given) : PyNumber_Long(given);
  return place != nullptr;
}

PyObject* event_new(PyTypeObject* /*type*/, PyObject* args, PyObject* kwargs) {
  static constexpr Parameters<4> kParameters("SSEEvent", {"event", "data", "id", "retry"}, 2);
  std::array<PyObject*, 4> values{nullptr, nullptr, nullptr, Py_None};
  if (!match_arguments(kParameters, args, kwargs, values)) return nullptr;
  EventObject* const event = new_event();
  if (event == nullptr) return nullptr;
  auto* const made = reinterpret_cast<PyObject*>(event);
  const bool with_id = values[2] != nullptr;
  if (!with_id) event->id = PyUnicode_New(0, 0);
  if (take_text(values[0], "event", event->event) && take_text(values[1], "data", event->data) &&
      (!with_id || take_text(values[2], "id", event->id)) && take_retry(values[3], event->retry))
    return made;
  Py_DECREF(made);
  return nullptr;
}

// (event, data, id, retry), a new tuple.
PyObject* event_fields(PyObject* self) {
  auto* const event = self_as<EventObject>(self);
  PyObject* const data = data_of(event);
  return data == nullptr ? nullptr : PyTuple_Pack(4, event->event, data, event->id, event->retry);
}

PyObject* event_compare(PyObject* self, PyObject* other, int operation) {
  if (!Py_IS_TYPE(other, event_type) || (operation != Py_EQ && operation != Py_NE))
    return Py_NewRef(Py_NotImplemented);
  PyObject* const left = event_fields(self);
  PyObject* const right = left == nullptr ? nullptr : event_fields(other);
  PyObject* const result = right == nullptr ? nullptr : PyObject_RichCompare(left, right, operation);
  Py_XDECREF(left);
  Py_XDECREF(right);
  return result;
}

Py_hash_t event_hash(PyObject* self) {
  PyObject* const fields = event_fields(self);
  if (fields == nullptr) return -1;
  const Py_hash_t hash = PyObject_Hash(fields);
  Py_DECREF(fields);
  return hash;
}

PyObject* event_repr(PyObject* self) {
  auto* const event = self_as<EventObject>(self);
  PyObject* const data = data_of(event);
  if (data == nullptr) return nullptr;
  return PyUnicode_FromFormat("SSEEvent(event=%R, data=%R, id=%R, retry=%R)", event->event, data, event->id,
                              event->retry);
}

PyObject* event_reduce(PyObject* self, PyObject* /*none*/) {
  PyObject* const fields = event_fields(self);
  return fields == nullptr ? nullptr : Py_BuildValue("(ON)", event_type, fields);
}

PyObject* event_equal(PyObject* self, PyObject* other) { return event_compare(self, other, Py_EQ); }

PyObject* event_hash_method(PyObject* self, PyObject* /*none*/) {
  const Py_hash_t hash = event_hash(self);
  return hash == -1 ? nullptr : PyLong_FromSsize_t(hash);
}

PyObject* event_repr_method(PyObject* self, PyObject* /*none*/) { return event_repr(self); }

PyMethodDef event_properties[] = {
    {"event", event_member<&EventObject::event>, METH_NOARGS,
     "event(self) -> str\n\nThe type: \"message\" when the stream names none."},
    {"data", event_data, METH_NOARGS,
     "data(self) -> str\n\nThe data lines joined by line feeds; decoded when first asked for."},
    {"id", event_member<&EventObject::id>, METH_NOARGS,
     "id(self) -> str\n\nThe last event id so far, empty when there is none."},
    {"retry", event_member<&EventObject::retry>, METH_NOARGS,
     "retry(self) -> int | None\n\nThe reconnection time in milliseconds that this event carried."},
    {nullptr, nullptr, 0, nullptr}};

PyMethodDef event_methods[] = {
    {"__init__", as_method(documented), METH_VARARGS | METH_KEYWORDS | METH_COEXIST,
     "__init__(self, event: str, data: str, id: str = '', retry: int | None = None) -> None"},
    {"__eq__", event_equal, METH_O | METH_COEXIST, "__eq__(self, other: object) -> bool"},
    {"__hash__", event_hash_method, METH_NOARGS | METH_COEXIST, "__hash__(self) -> int"},
    {"__repr__", event_repr_method, METH_NOARGS | METH_COEXIST, "__repr__(self) -> str"},
    {"__reduce__", event_reduce, METH_NOARGS,
     "__reduce__(self) -> tuple[typing.Any, ...]\n\nFor pickle and copy."},
    {nullptr, nullptr, 0, nullptr}};

PyType_Slot event_slots[] = {
    {Py_tp_doc,
     const_cast<char*>("One server-sent event, immutable: compares, hashes and matches by its fields.")},
    {Py_tp_new, reinterpret_cast<void*>(guarded<event_new, PyTypeObject*, PyObject*, PyObject*>)},
    {Py_tp_dealloc, reinterpret_cast<void*>(event_dealloc)},
    {Py_tp_richcompare, reinterpret_cast<void*>(event_compare)},
    {Py_tp_hash, reinterpret_cast<void*>(event_hash)},
    {Py_tp_repr, reinterpret_cast<void*>(event_repr)},
    {Py_tp_methods, event_methods},
    {0, nullptr}};

PyType_Spec event_spec{"sentinel._core.SSEEvent", sizeof(EventObject), 0, Py_TPFLAGS_DEFAULT, event_slots};

// SSEParser

struct ParserState {
  explicit ParserState(std::size_t max_event_bytes) : parser(max_event_bytes) {}

  SseParser parser;
  std::string fault;  // set once the stream cannot be read further
  bool closed = false;
  std::string id;               // what id_text is of
  PyObject* id_text = nullptr;  // str
  PyObject* message = nullptr;  // the str "message"
};

struct ParserObject {
  PyObject_HEAD ParserState* state;
};

void parser_dealloc(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  if (ParserState* const state = self_as<ParserObject>(self)->state) {
    Py_XDECREF(state->id_text);
    Py_XDECREF(state->message);
    delete state;
  }
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* parser_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  static constexpr Parameters<1> kParameters("SSEParser", {"max_event_bytes"}, 0);
  std::array<PyObject*, 1> values{};
  std::size_t max_event_bytes = std::size_t{1} << 20;
  if (!match_arguments(kParameters, args, kwargs, values) ||
      !read_bound(values[0], "max_event_bytes", max_event_bytes))
    return nullptr;
  PyObject* const self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  auto* const state = new (std::nothrow) ParserState(max_event_bytes);
  self_as<ParserObject>(self)->state = state;
  if (state != nullptr) {
    state->id_text = PyUnicode_New(0, 0);
    state->message = PyUnicode_InternFromString("message");
    if (state->id_text != nullptr && state->message != nullptr) return self;
  } else {
    PyErr_NoMemory();
  }
  Py_DECREF(self);
  return nullptr;
}

bool note_id(ParserState& state, std::string_view id) {
  if (state.id == id) return true;
  PyObject* const text = text_of(id);
  if (text == nullptr) return false;
  state.id.assign(id);
  Py_SETREF(state.id_text, text);
  return true;
}

PyObject* retry_of(const std::optional<std::uint64_t>& retry_ms) {
  return retry_ms ? PyLong_FromUnsignedLongLong(*retry_ms) : Py_NewRef(Py_None);
}

// An event that takes up much of its chunk keeps the chunk and is decoded when asked for.
constexpr std::size_t kWorthKeeping = 4;

PyObject* make_event(ParserState& state, const SseEvent& event, const Bytes& chunk) {
  EventObject* const made = new_event();
  if (made == nullptr) return nullptr;
  const std::string_view whole = chunk.view();
  const bool in_chunk = chunk.owner() != nullptr && event.data.data() >= whole.data() &&
                        event.data.data() + event.data.size() <= whole.data() + whole.size();
  if (in_chunk && event.data.size() >= whole.size() / kWorthKeeping) {
    made->source = Py_NewRef(chunk.owner());
    made->from = event.data.data();
    made->size = static_cast<Py_ssize_t>(event.data.size());
  } else {
    made->data = text_of(event.data);
  }
  made->event = event.event == "message" ? Py_NewRef(state.message) : text_of(event.event);
  made->id = Py_NewRef(state.id_text);
  made->retry = retry_of(event.retry_ms);
  const bool whole_event =
      (made->data != nullptr || made->source != nullptr) && made->event != nullptr && made->retry != nullptr;
  if (whole_event) return reinterpret_cast<PyObject*>(made);
  Py_DECREF(reinterpret_cast<PyObject*>(made));
  return nullptr;
}

Status out_of_memory() { return Error{ErrorCode::internal_error, "out of memory"}; }

// Feeds what `self` is given and hands every event with data to `take`, which is false with an exception set.
// False with an exception set. A fault after some event is kept for the next call, so that no event is lost.
template <class Take>
bool feed_parser(ParserState& state, std::string_view chunk, Take take) {
  if (!state.fault.empty()) return raise_error("StreamTooLarge", state.fault) != nullptr;
  if (state.closed) {
    PyErr_SetString(PyExc_ValueError, "feed() after close()");
    return false;
  }
  std::size_t events = 0;
  const auto on_event = [&](const SseEvent& event) -> Status {
    if (!note_id(state, event.id)) return out_of_memory();
    if (!event.has_data) return Done{};
    ++events;
    if (!take(event)) return out_of_memory();
    return Done{};
  };
  const Status status = state.parser.feed(chunk, on_event);
  if (status) return true;
  if (PyErr_Occurred() != nullptr) return false;
  state.fault = status.error().message;
  return events > 0 || raise_error("StreamTooLarge", state.fault) != nullptr;
}

PyObject* parser_feed(PyObject* self, PyObject* data) {
  Bytes bytes;
  if (!bytes.borrow(data)) return nullptr;
  ParserState& state = *self_as<ParserObject>(self)->state;
  Pieces events;
  const auto take = [&](const SseEvent& event) { return events.add(make_event(state, event, bytes)); };
  return feed_parser(state, bytes.view(), take) ? events.list() : nullptr;
}

PyObject* parser_feed_data(PyObject* self, PyObject* data) {
  Bytes bytes;
  if (!bytes.borrow(data)) return nullptr;
  Pieces payloads;
  const auto take = [&](const SseEvent& event) {
    return payloads.add(
        PyBytes_FromStringAndSize(event.data.data(), static_cast<Py_ssize_t>(event.data.size())));
  };
  return feed_parser(*self_as<ParserObject>(self)->state, bytes.view(), take) ? payloads.list() : nullptr;
}

PyObject* parser_feed_count(PyObject* self, PyObject* data) {
  Bytes bytes;
  if (!bytes.borrow(data)) return nullptr;
  std::size_t count = 0;
  const auto take = [&](const SseEvent&) { return ++count != 0; };
  return feed_parser(*self_as<ParserObject>(self)->state, bytes.view(), take) ? PyLong_FromSize_t(count)
                                                                              : nullptr;
}

PyObject* parser_close(PyObject* self, PyObject* /*none*/) {
  ParserState& state = *self_as<ParserObject>(self)->state;
  state.closed = true;
  if (state.fault.empty()) Py_RETURN_NONE;
  return raise_error("StreamTooLarge", state.fault);
}

PyObject* parser_last_event_id(PyObject* self, PyObject* /*none*/) {
  return Py_NewRef(self_as<ParserObject>(self)->state->id_text);
}

PyObject* parser_retry(PyObject* self, PyObject* /*none*/) {
  return retry_of(self_as<ParserObject>(self)->state->parser.retry_ms());
}

PyObject* parser_pending_bytes(PyObject* self, PyObject* /*none*/) {
  return PyLong_FromSize_t(self_as<ParserObject>(self)->state->parser.pending_bytes());
}

PyMethodDef parser_methods[] = {
    {"__init__", as_method(documented), METH_VARARGS | METH_KEYWORDS | METH_COEXIST,
     "__init__(self, max_event_bytes: int = 1048576) -> None"},
    {"feed", guarded<parser_feed, PyObject*, PyObject*>, METH_O,
     "feed(self, data: bytes | bytearray | memoryview) -> list[SSEEvent]\n\n"
     "The events that these bytes complete, in order.\n\n"
     "StreamTooLarge if an event is larger than max_event_bytes; events before it come first, the next call "
     "raises."},
    {"feed_data", guarded<parser_feed_data, PyObject*, PyObject*>, METH_O,
     "feed_data(self, data: bytes | bytearray | memoryview) -> list[bytes]\n\n"
     "Like feed, but only the data of each event, as the bytes that came (they may not be UTF-8)."},
    {"feed_count", guarded<parser_feed_count, PyObject*, PyObject*>, METH_O,
     "feed_count(self, data: bytes | bytearray | memoryview) -> int\n\n"
     "Like feed, but only how many events these bytes complete."},
    {"close", guarded<parser_close, PyObject*, PyObject*>, METH_NOARGS,
     "close(self) -> None\n\n"
     "The stream has ended: an event without its blank line is dropped, as the standard says.\n\n"
     "StreamTooLarge if that ended it. May be called again."},
    {nullptr, nullptr, 0, nullptr}};

PyMethodDef parser_properties[] = {
    {"last_event_id", parser_last_event_id, METH_NOARGS,
     "last_event_id(self) -> str\n\nThe last id of a finished block, for Last-Event-ID."},
    {"retry", parser_retry, METH_NOARGS,
     "retry(self) -> int | None\n\nThe reconnection time in milliseconds, if one was given."},
    {"pending_bytes", parser_pending_bytes, METH_NOARGS,
     "pending_bytes(self) -> int\n\nHow many bytes of an unfinished block are held."},
    {nullptr, nullptr, 0, nullptr}};

PyType_Slot parser_slots[] = {
    {Py_tp_doc, const_cast<char*>("Server-sent events out of bytes, cut anywhere (WHATWG HTML, section "
                                  "9.2.6). One stream, one thread at a time.")},
    {Py_tp_new, reinterpret_cast<void*>(guarded<parser_new, PyTypeObject*, PyObject*, PyObject*>)},
    {Py_tp_dealloc, reinterpret_cast<void*>(parser_dealloc)},
    {Py_tp_methods, parser_methods},
    {0, nullptr}};

PyType_Spec parser_spec{"sentinel._core.SSEParser", sizeof(ParserObject), 0, Py_TPFLAGS_DEFAULT,
                        parser_slots};

// ChatAccumulator

PyObject* to_python(const JsonValue& value);

PyObject* to_list(const JsonValue::Array& items) {
  PyObject* const list = PyList_New(static_cast<Py_ssize_t>(items.size()));
  if (list == nullptr) return nullptr;
  Py_ssize_t place = 0;
  for (const JsonValue& item : items) {
    PyObject* const made = to_python(item);
    if (made == nullptr) {
      Py_DECREF(list);
      return nullptr;
    }
    PyList_SET_ITEM(list, place++, made);
  }
  return list;
}

PyObject* to_dict(const JsonValue::Object& members) {
  PyObject* const dict = PyDict_New();
  for (const JsonMember& member : members) {
    if (dict == nullptr) return nullptr;
    PyObject* const key = text_of(member.key);
    PyObject* const made = key == nullptr ? nullptr : to_python(member.value);
    const bool set = made != nullptr && PyDict_SetItem(dict, key, made) == 0;
    Py_XDECREF(key);
    Py_XDECREF(made);
    if (!set) {
      Py_DECREF(dict);
      return nullptr;
    }
  }
  return dict;
}

PyObject* to_python(const JsonValue& value) {
  if (const auto* text = value.as<std::string>()) return text_of(*text);
  if (const auto* members = value.as<JsonValue::Object>()) return to_dict(*members);
  if (const auto* items = value.as<JsonValue::Array>()) return to_list(*items);
  if (const auto* truth = value.as<bool>()) return PyBool_FromLong(*truth);
  if (const auto* whole = value.as<std::int64_t>()) return PyLong_FromLongLong(*whole);
  if (const auto* large = value.as<std::uint64_t>()) return PyLong_FromUnsignedLongLong(*large);
  if (const auto* real = value.as<double>()) return PyFloat_FromDouble(*real);
  return Py_NewRef(Py_None);
}

// A copy, as making a dict can run finalisers, and those can feed.
PyObject* copy_to_python(const JsonValue* value) {
  return value == nullptr ? Py_NewRef(Py_None) : to_python(JsonValue(*value));
}

struct ChatState {
  explicit ChatState(ChatBounds bounds) : accumulator(bounds) {}

  ChatAccumulator accumulator;
  std::string text;  // of the feed under way
};

struct ChatObject {
  PyObject_HEAD ChatState* state;
};

ChatAccumulator& accumulator_of(PyObject* self) { return self_as<ChatObject>(self)->state->accumulator; }

void chat_dealloc(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  delete self_as<ChatObject>(self)->state;
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* chat_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  static constexpr Parameters<2> kParameters("ChatAccumulator", {"max_event_bytes", "max_kept_bytes"}, 0, 0);
  std::array<PyObject*, 2> values{};
  ChatBounds bounds;
  if (!match_arguments(kParameters, args, kwargs, values) ||
      !read_bound(values[0], "max_event_bytes", bounds.max_event_bytes) ||
      !read_bound(values[1], "max_kept_bytes", bounds.max_kept_bytes))
    return nullptr;
  PyObject* const self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  auto* const state = new (std::nothrow) ChatState(bounds);
  self_as<ChatObject>(self)->state = state;
  if (state != nullptr) return self;
  Py_DECREF(self);
  return PyErr_NoMemory();
}

PyObject* raise_fault(StreamFault fault, const std::string& message) {
  switch (fault) {
    case StreamFault::too_large: return raise_error("StreamTooLarge", message);
    case StreamFault::provider: return raise_error("StreamFailed", message);
    case StreamFault::cut: return raise_error("StreamCut", message);
    case StreamFault::malformed:
    case StreamFault::none: break;
  }
  return raise_error("StreamError", message);
}

PyObject* chat_feed(PyObject* self, PyObject* data) {
  Bytes bytes;
  if (!bytes.borrow(data)) return nullptr;
  thread_local stream::JsonParser json;  // 60 KB that one stream at a time needs, for one event
  ChatState& state = *self_as<ChatObject>(self)->state;
  state.text.clear();
  const Status status = state.accumulator.feed(bytes.view(), json, state.text);
  if (!status && state.text.empty()) return raise_fault(state.accumulator.fault(), status.error().message);
  return text_of(state.text);
}

PyObject* chat_close(PyObject* self, PyObject* /*none*/) {
  ChatAccumulator& accumulator = accumulator_of(self);
  const Status status = accumulator.close();
  if (!status) return raise_fault(accumulator.fault(), status.error().message);
  Py_RETURN_NONE;
}

PyObject* chat_message(PyObject* self, PyObject* /*none*/) {
  return to_python(accumulator_of(self).message());
}

PyObject* chat_choices(PyObject* self, PyObject* /*none*/) {
  return to_python(accumulator_of(self).choices());
}

PyObject* chat_completion(PyObject* self, PyObject* /*none*/) {
  return to_python(accumulator_of(self).completion());
}

PyObject* chat_usage(PyObject* self, PyObject* /*none*/) {
  return copy_to_python(accumulator_of(self).usage());
}

PyObject* chat_finish_reason(PyObject* self, PyObject* /*none*/) {
  return copy_to_python(accumulator_of(self).finish_reason());
}

PyObject* chat_complete(PyObject* self, PyObject* /*none*/) {
  return PyBool_FromLong(accumulator_of(self).complete());
}

PyMethodDef chat_methods[] = {
    {"__init__", as_method(documented), METH_VARARGS | METH_KEYWORDS | METH_COEXIST,
     "__init__(self, *, max_event_bytes: int = 1048576, max_kept_bytes: int = 16777216) -> None"},
    {"feed", guarded<chat_feed, PyObject*, PyObject*>, METH_O,
     "feed(self, data: bytes | bytearray | memoryview) -> str\n\n"
     "Take bytes of the stream in; the text that they add to the first choice's content.\n\n"
     "StreamFailed if the provider reports an error, StreamTooLarge past a bound, StreamError if an event is "
     "no JSON\n"
     "object. Text before a fault comes first; the next call raises."},
    {"close", guarded<chat_close, PyObject*, PyObject*>, METH_NOARGS,
     "close(self) -> None\n\n"
     "The bytes have ended: StreamCut unless the stream is complete, or the fault there was."},
    {nullptr, nullptr, 0, nullptr}};

PyMethodDef chat_properties[] = {
    {"message", guarded<chat_message, PyObject*, PyObject*>, METH_NOARGS,
     "message(self) -> dict[str, typing.Any]\n\nThe first choice's message so far, as a plain call has it."},
    {"choices", guarded<chat_choices, PyObject*, PyObject*>, METH_NOARGS,
     "choices(self) -> list[dict[str, typing.Any]]\n\nAll choices so far, by index."},
    {"completion", guarded<chat_completion, PyObject*, PyObject*>, METH_NOARGS,
     "completion(self) -> dict[str, typing.Any]\n\nThe whole chat.completion so far."},
    {"usage", guarded<chat_usage, PyObject*, PyObject*>, METH_NOARGS,
     "usage(self) -> dict[str, typing.Any] | None\n\nWhat the provider says was used."},
    {"finish_reason", guarded<chat_finish_reason, PyObject*, PyObject*>, METH_NOARGS,
     "finish_reason(self) -> str | None\n\nWhy the first choice ended."},
    {"complete", chat_complete, METH_NOARGS,
     "complete(self) -> bool\n\nWhether the stream's end ([DONE]) was read."},
    {nullptr, nullptr, 0, nullptr}};

PyType_Slot chat_slots[] = {
    {Py_tp_doc,
     const_cast<char*>(
         "A chat completion put together from the bytes of its stream. One stream, one thread at a time.")},
    {Py_tp_new, reinterpret_cast<void*>(guarded<chat_new, PyTypeObject*, PyObject*, PyObject*>)},
    {Py_tp_dealloc, reinterpret_cast<void*>(chat_dealloc)},
    {Py_tp_methods, chat_methods},
    {0, nullptr}};

PyType_Spec chat_spec{"sentinel._core.ChatAccumulator", sizeof(ChatObject), 0, Py_TPFLAGS_DEFAULT,
                      chat_slots};

}  // namespace

void bind_stream(py::module_& module) {
  event_type = add_documented_type(module, event_spec, event_properties);
  py::handle(reinterpret_cast<PyObject*>(event_type)).attr("__match_args__") =
      py::make_tuple("event", "data", "id", "retry");
  add_documented_type(module, parser_spec, parser_properties);
  add_documented_type(module, chat_spec, chat_properties);
}

}  // namespace sentinel::bindings
