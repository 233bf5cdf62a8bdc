#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings/bindings.hpp"
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

namespace typing = py::typing;
using MessageTuple = typing::Tuple<py::str, py::str, typing::Optional<py::str>>;

// Below this a text is counted about as fast as the GIL is given back and taken again.
constexpr std::size_t kLongText = 16 * 1024;

// A str as UTF-8, borrowed from the object, which keeps it. Halves of surrogate pairs, which UTF-8 cannot have, become
// what tiktoken makes of them: a pair is the character it stands for, a lone half is U+FFFD.
class Text {
 public:
  explicit Text(py::handle given) : str_(py::reinterpret_borrow<py::object>(given)) {
    if (!borrow()) {
      if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) throw py::error_already_set();
      PyErr_Clear();
      str_ = str_.attr("encode")("utf-16", "surrogatepass").attr("decode")("utf-16", "replace");
      if (!borrow()) throw py::error_already_set();
    }
    if (view_.size() > std::numeric_limits<std::uint32_t>::max())
      throw py::value_error("text must be shorter than 4 GiB");
  }
  std::string_view view() const { return view_; }

 private:
  bool borrow() {
    Py_ssize_t size = 0;
    const char* data = PyUnicode_AsUTF8AndSize(str_.ptr(), &size);
    if (data != nullptr) view_ = {data, static_cast<std::size_t>(size)};
    return data != nullptr;
  }

  py::object str_;
  std::string_view view_;
};

// Calls `work`, which touches no Python object, without the GIL if `bytes` are many.
template <class Work>
auto unlocked_if_long(std::size_t bytes, Work work) {
  if (bytes < kLongText) return work();
  const py::gil_scoped_release unlocked;
  return work();
}

std::unique_ptr<Encoding> load(EncodingName name, const py::bytes& packed) {
  const auto bytes = static_cast<std::string_view>(packed);
  auto loaded = unlocked_if_long(bytes.size(), [&] { return Encoding::load(name, bytes); });
  if (!loaded) throw py::value_error(loaded.error().message);
  return std::make_unique<Encoding>(*std::move(loaded));
}

std::size_t count(const Encoding& self, const py::str& text) {
  const Text utf8(text);
  return unlocked_if_long(utf8.view().size(), [&] { return self.count_utf8(utf8.view()); });
}

std::optional<std::size_t> count_till_limit(const Encoding& self, const py::str& text, std::size_t limit) {
  const Text utf8(text);
  return unlocked_if_long(utf8.view().size(), [&] { return self.count_utf8_till_limit(utf8.view(), limit); });
}

std::vector<TokenId> encode(const Encoding& self, const py::str& text) {
  const Text utf8(text);
  return unlocked_if_long(utf8.view().size(), [&] { return self.encode_utf8(utf8.view()); });
}

py::bytes decode(const Encoding& self, const std::vector<TokenId>& ids) {
  const auto text = self.decode(ids);
  if (!text) throw py::value_error(text.error().message);
  return {text->data(), text->size()};
}

std::size_t count_messages(const Encoding& self, const ModelChoice& model,
                           const typing::Iterable<MessageTuple>& messages) {
  std::vector<Text> texts;  // keeps the views below alive
  std::vector<Message> views;
  std::size_t bytes = 0;
  const auto borrow = [&](const py::object& str) {
    bytes += texts.emplace_back(str).view().size();
    return texts.back().view();
  };
  for (const py::handle item : messages) {
    const auto parts = py::reinterpret_borrow<py::sequence>(item);
    const py::object name = parts[2];
    Message message{borrow(parts[0]), borrow(parts[1])};
    if (!name.is_none()) message.name = borrow(name);
    views.push_back(message);
  }
  return unlocked_if_long(bytes, [&] { return tokens::count_messages(self, model.overhead, views); });
}

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

  py::class_<Encoding>(module, "Encoding", "A vocabulary and its rules; immutable, for any thread.")
      .def(py::init(&load), py::arg("name"), py::arg("packed_vocabulary"))
      .def("count", &count, py::arg("text"))
      .def("count_till_limit", &count_till_limit, py::arg("text"), py::arg("limit"),
           "The count, or None if it is above the limit.")
      .def("encode", &encode, py::arg("text"))
      .def("decode", &decode, py::arg("ids"), "The tokens' bytes. ValueError if an id is no token.")
      .def("count_messages", &count_messages, py::arg("model"), py::arg("messages"),
           "Tokens of messages (role, content, name or None) with the model's overhead.");
}

}  // namespace sentinel::bindings
