// The encodings as a raw type (fast_type.hpp): counting a short text takes less than pybind11's dispatch.
#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings/bindings.hpp"
#include "bindings/fast_type.hpp"
#include "sentinel/tokens/encoding.hpp"
#include "sentinel/tokens/models.hpp"

namespace py = pybind11;

namespace sentinel::bindings {
namespace {

using tokens::Encoding;
using tokens::EncodingName;
using tokens::Message;
using tokens::MessageOverhead;
using tokens::ModelChoice;
using tokens::ModelRules;
using tokens::TokenId;

// Below this a text is counted about as fast as the GIL is given back and taken again.
constexpr std::size_t kLongText = 16 * 1024;

[[noreturn]] void refuse_type(const std::string& what, const char* wanted, py::handle given) {
  throw py::type_error(what + " must be " + wanted + ", not " + Py_TYPE(given.ptr())->tp_name);
}

// A str as UTF-8, borrowed from the object, which keeps it. Halves of surrogate pairs, which UTF-8 cannot have, become
// what tiktoken makes of them: a pair is the character it stands for, a lone half is U+FFFD.
class Text {
 public:
  explicit Text(py::handle given) {
    if (!PyUnicode_Check(given.ptr())) refuse_type("text", "str", given);
    if (!borrow(given)) repair(given);
    if (view_.size() > std::numeric_limits<std::uint32_t>::max())
      throw py::value_error("text must be shorter than 4 GiB");
  }
  std::string_view view() const { return view_; }

 private:
  bool borrow(py::handle str) {
    Py_ssize_t size = 0;
    const char* data = PyUnicode_AsUTF8AndSize(str.ptr(), &size);
    if (data != nullptr) view_ = {data, static_cast<std::size_t>(size)};
    return data != nullptr;
  }
  void repair(py::handle str) {
    if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) throw py::error_already_set();
    PyErr_Clear();
    repaired_ = str.attr("encode")("utf-16", "surrogatepass").attr("decode")("utf-16", "replace");
    if (!borrow(repaired_)) throw py::error_already_set();
  }

  py::object repaired_;
  std::string_view view_;
};

// Calls `work`, which touches no Python object, without the GIL if `bytes` are many.
template <class Work>
auto unlocked_if_long(std::size_t bytes, Work work) {
  if (bytes < kLongText) return work();
  const py::gil_scoped_release unlocked;
  return work();
}

// The raw type: a method's `self` and arguments are its caller's for as long as it runs, also without the GIL.
struct EncodingObject {
  PyObject_HEAD std::unique_ptr<Encoding> encoding;
};

const Encoding& encoding_of(PyObject* self) { return *reinterpret_cast<EncodingObject*>(self)->encoding; }

// What `work` returns, or nullptr with the Python exception set for what it throws.
template <class Work>
PyObject* guarded(Work work) {
  try {
    return work();
  } catch (py::error_already_set& raised) {
    raised.restore();
  } catch (const py::builtin_exception& refused) {
    refused.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  }
  return nullptr;
}

PyObject* make(PyTypeObject* type, PyObject* arguments, PyObject* keywords) {
  static constexpr std::array<const char*, 3> kNames{"name", "packed_vocabulary", nullptr};
  PyObject* name = nullptr;
  PyObject* packed = nullptr;
  if (PyArg_ParseTupleAndKeywords(arguments, keywords, "OS:Encoding", const_cast<char**>(kNames.data()),
                                  &name, &packed) == 0)
    return nullptr;
  return guarded([&]() -> PyObject* {
    if (!py::isinstance<EncodingName>(name)) refuse_type("name", "EncodingName", name);
    const auto encoding_name = py::handle(name).cast<EncodingName>();
    const std::string_view bytes(PyBytes_AS_STRING(packed),
                                 static_cast<std::size_t>(PyBytes_GET_SIZE(packed)));
    auto loaded = unlocked_if_long(bytes.size(), [&] { return Encoding::load(encoding_name, bytes); });
    if (!loaded) throw py::value_error(loaded.error().message);
    auto encoding = std::make_unique<Encoding>(*std::move(loaded));
    PyObject* self = type->tp_alloc(type, 0);
    if (self == nullptr) throw py::error_already_set();
    std::construct_at(&reinterpret_cast<EncodingObject*>(self)->encoding, std::move(encoding));
    return self;
  });
}

// Says in a stub how an encoding is made, which `make` has done by then.
PyObject* init(PyObject*, PyObject*, PyObject*) { return Py_NewRef(Py_None); }

void destroy(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  std::destroy_at(&reinterpret_cast<EncodingObject*>(self)->encoding);
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* count(PyObject* self, PyObject* const* given, Py_ssize_t number, PyObject* keywords) {
  static constexpr Parameters<1> kParameters("count", {"text"}, 1);
  std::array<PyObject*, 1> values{};
  if (!kParameters.match(given, number, keywords, values)) return nullptr;
  return guarded([&] {
    const Text text(values[0]);
    return PyLong_FromSize_t(
        unlocked_if_long(text.view().size(), [&] { return encoding_of(self).count_utf8(text.view()); }));
  });
}

std::size_t limit_of(py::handle given) {
  if (!PyLong_Check(given.ptr())) refuse_type("limit", "int", given);
  int overflow = 0;
  const long long limit = PyLong_AsLongLongAndOverflow(given.ptr(), &overflow);
  if (overflow == 0 && limit >= 0) return static_cast<std::size_t>(limit);
  PyErr_Format(PyExc_ValueError, "limit must be 0 to 2**63 - 1, not %R", given.ptr());
  throw py::error_already_set();
}

PyObject* count_till_limit(PyObject* self, PyObject* const* given, Py_ssize_t number, PyObject* keywords) {
  static constexpr Parameters<2> kParameters("count_till_limit", {"text", "limit"}, 2);
  std::array<PyObject*, 2> values{};
  if (!kParameters.match(given, number, keywords, values)) return nullptr;
  return guarded([&] {
    const std::size_t limit = limit_of(values[1]);
    const Text text(values[0]);
    const auto tokens = unlocked_if_long(
        text.view().size(), [&] { return encoding_of(self).count_utf8_till_limit(text.view(), limit); });
    return tokens ? PyLong_FromSize_t(*tokens) : Py_NewRef(Py_None);
  });
}

PyObject* encode(PyObject* self, PyObject* const* given, Py_ssize_t number, PyObject* keywords) {
  static constexpr Parameters<1> kParameters("encode", {"text"}, 1);
  std::array<PyObject*, 1> values{};
  if (!kParameters.match(given, number, keywords, values)) return nullptr;
  return guarded([&] {
    const Text text(values[0]);
    const std::vector<TokenId> ids =
        unlocked_if_long(text.view().size(), [&] { return encoding_of(self).encode_utf8(text.view()); });
    auto list = py::reinterpret_steal<py::object>(PyList_New(static_cast<Py_ssize_t>(ids.size())));
    if (!list) throw py::error_already_set();
    for (std::size_t at = 0; at < ids.size(); ++at) {
      PyObject* id = PyLong_FromUnsignedLong(ids[at]);
      if (id == nullptr) throw py::error_already_set();
      PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(at), id);
    }
    return list.release().ptr();
  });
}

TokenId id_of(const Encoding& encoding, py::handle given, std::size_t place) {
  const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(given.ptr()));
  if (!number) {
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
    PyErr_Clear();
    refuse_type("ids[" + std::to_string(place) + "]", "int", given);
  }
  int overflow = 0;
  const long long id = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
  if (overflow == 0 && id >= 0 && static_cast<unsigned long long>(id) < encoding.vocabulary().size())
    return static_cast<TokenId>(id);
  PyErr_Format(PyExc_ValueError, "ids[%zu] is no token of this encoding: %R", place, number.ptr());
  throw py::error_already_set();
}

PyObject* decode(PyObject* self, PyObject* const* given, Py_ssize_t number, PyObject* keywords) {
  static constexpr Parameters<1> kParameters("decode", {"ids"}, 1);
  std::array<PyObject*, 1> values{};
  if (!kParameters.match(given, number, keywords, values)) return nullptr;
  return guarded([&] {
    const py::handle sequence = values[0];
    const bool text = PyUnicode_Check(sequence.ptr()) || PyBytes_Check(sequence.ptr());
    if (text || PySequence_Check(sequence.ptr()) == 0) refuse_type("ids", "a list of int", sequence);
    // A copy, as an id's own __index__ may change the sequence.
    const auto ids = py::reinterpret_steal<py::tuple>(PySequence_Tuple(sequence.ptr()));
    if (!ids) throw py::error_already_set();
    const Encoding& encoding = encoding_of(self);
    std::string bytes;
    for (std::size_t at = 0; at < ids.size(); ++at) {
      PyObject* id = PyTuple_GET_ITEM(ids.ptr(), static_cast<Py_ssize_t>(at));
      bytes.append(encoding.vocabulary().bytes_of(id_of(encoding, id, at)));
    }
    return PyBytes_FromStringAndSize(bytes.data(), static_cast<Py_ssize_t>(bytes.size()));
  });
}

std::size_t count_of_messages(const Encoding& encoding, const ModelChoice& model, py::handle messages) {
  std::deque<Text> texts;  // keeps the views below alive
  std::vector<py::object> items;
  std::vector<Message> views;
  std::size_t bytes = 0;
  const auto borrow = [&](const py::object& str) {
    bytes += texts.emplace_back(items.emplace_back(str)).view().size();
    return texts.back().view();
  };
  for (const py::handle item : py::iter(messages)) {
    const auto parts = py::reinterpret_borrow<py::sequence>(item);
    const py::object name = parts[2];
    Message message{borrow(parts[0]), borrow(parts[1])};
    if (!name.is_none()) message.name = borrow(name);
    views.push_back(message);
  }
  return unlocked_if_long(bytes, [&] { return tokens::count_messages(encoding, model.overhead, views); });
}

PyObject* count_messages(PyObject* self, PyObject* const* given, Py_ssize_t number, PyObject* keywords) {
  static constexpr Parameters<2> kParameters("count_messages", {"model", "messages"}, 2);
  std::array<PyObject*, 2> values{};
  if (!kParameters.match(given, number, keywords, values)) return nullptr;
  return guarded([&] {
    if (!py::isinstance<ModelChoice>(values[0])) refuse_type("model", "ModelChoice", values[0]);
    const auto& model = py::handle(values[0]).cast<const ModelChoice&>();
    return PyLong_FromSize_t(count_of_messages(encoding_of(self), model, values[1]));
  });
}

constexpr int kFast = METH_FASTCALL | METH_KEYWORDS;

std::array<PyMethodDef, 7> methods{{
    {"__init__", as_method(&init), METH_VARARGS | METH_KEYWORDS | METH_COEXIST,
     "__init__(self, name: EncodingName, packed_vocabulary: bytes) -> None\n\n"
     "ValueError if the vocabulary is damaged."},
    {"count", as_method(&count), kFast, "count(self, text: str) -> int\n\nThe number of tokens."},
    {"count_till_limit", as_method(&count_till_limit), kFast,
     "count_till_limit(self, text: str, limit: int) -> int | None\n\nThe count, or None if it is above the "
     "limit."},
    {"encode", as_method(&encode), kFast, "encode(self, text: str) -> list[int]\n\nThe token ids."},
    {"decode", as_method(&decode), kFast,
     "decode(self, ids: collections.abc.Sequence[typing.SupportsIndex]) -> bytes\n\n"
     "The tokens' bytes. ValueError if an id is no token."},
    {"count_messages", as_method(&count_messages), kFast,
     "count_messages(self, model: ModelChoice, "
     "messages: collections.abc.Iterable[tuple[str, str, str | None]]) -> int\n\n"
     "Tokens of messages (role, content, name or None) with the model's overhead."},
    {nullptr, nullptr, 0, nullptr},
}};

constexpr const char* kDoc = "A vocabulary and its rules; immutable, for any thread.";

std::array<PyType_Slot, 5> slots{{
    {Py_tp_doc, const_cast<char*>(kDoc)},
    {Py_tp_new, reinterpret_cast<void*>(&make)},
    {Py_tp_dealloc, reinterpret_cast<void*>(&destroy)},
    {Py_tp_methods, methods.data()},
    {0, nullptr},
}};

PyType_Spec spec{"sentinel._core.Encoding", sizeof(EncodingObject), 0,
                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, slots.data()};

}  // namespace

void bind_tokens(py::module_& module) {
  py::enum_<EncodingName>(module, "EncodingName", "The encodings whose vocabularies are in the package.")
      .value("o200k_base", EncodingName::o200k_base)
      .value("cl100k_base", EncodingName::cl100k_base);

  py::class_<ModelChoice>(module, "ModelChoice", "What a model's texts and messages are counted with.")
      .def_readonly("encoding", &ModelChoice::encoding)
      .def_readonly("estimated", &ModelChoice::estimated, "Whether the model is one that no rule covers.");
  module.def(
      "choose_encoding",
      [rules = ModelRules::standard()](std::string_view model) { return rules.choose(model); },
      py::arg("model"), "The encoding of a model, by its name.");

  PyTypeObject* type = add_type(module, spec);
  // `__init__` has the signature that stubs are written from, `__new__` would have another without names.
  if (PyDict_DelItemString(type->tp_dict, "__new__") < 0) throw py::error_already_set();
  PyType_Modified(type);
}

}  // namespace sentinel::bindings
