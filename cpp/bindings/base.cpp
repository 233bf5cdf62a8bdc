#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <string_view>

#include "bindings/bindings.hpp"
#include "sentinel/base/clock.hpp"
#include "sentinel/base/digest.hpp"
#include "sentinel/base/redact.hpp"
#include "sentinel/base/utf8.hpp"

namespace py = pybind11;

namespace sentinel::bindings {
namespace {

py::bytes key_digest(std::string_view pepper, std::string_view credential) {
  const Digest digest = Hmac(pepper).digest(credential);
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

Duration from_seconds(double seconds) {
  if (!(seconds >= 0 && seconds <= 1e9)) throw py::value_error("seconds must be 0 to 1e9");
  return Duration{static_cast<std::int64_t>(seconds * 1e6)};
}

}  // namespace

void bind_base(py::module_& module) {
  py::class_<ManualClock, std::shared_ptr<ManualClock>>(
      module, "ManualClock", "A clock that only moves when it is told to; for tests.")
      .def(py::init<>())
      .def(
          "advance", [](ManualClock& clock, double seconds) { clock.advance(from_seconds(seconds)); },
          py::arg("seconds"), "Moves the clock; engines that use it must be ticked to notice.")
      .def_property_readonly(
          "now_seconds",
          [](const ManualClock& clock) { return static_cast<double>(clock.now().monotonic.count()) / 1e6; },
          "Seconds since the clock was made.");

  module.def("key_digest", &key_digest, py::arg("pepper"), py::arg("credential"),
             "HMAC-SHA-256 of a credential under the pepper, 32 bytes (RFC 2104).");
  module.def("redact", &redact, py::arg("text"),
             "The text with e-mail addresses, card, SSN and phone numbers and keys replaced by marks.");
  module.def(
      "truncate_utf8",
      [](std::string_view text, std::size_t most) { return std::string(utf8::truncate(text, most)); },
      py::arg("text"), py::arg("max_bytes"),
      "The text cut to at most max_bytes of UTF-8, never inside a character.");
}

}  // namespace sentinel::bindings
