#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "bindings/bindings.hpp"
#include "sentinel/limit/headroom.hpp"
#include "sentinel/limit/limit_table.hpp"
#include "sentinel/limit/rate.hpp"

namespace py = pybind11;

namespace sentinel::bindings {
namespace {

using limit::Bounds;
using limit::Cause;
using limit::Ending;
using limit::Grant;
using limit::Headroom;
using limit::LimitTable;
using limit::Rate;
using limit::Refusal;
using limit::View;
using limit::Want;

namespace typing = py::typing;
using ViewTuple = typing::Tuple<py::int_, py::int_, py::float_>;
using Outcome = typing::Tuple<typing::Optional<py::int_>, typing::Optional<py::float_>,
                              typing::Optional<ViewTuple>, typing::Optional<ViewTuple>>;

constexpr double kMaxSeconds = 1e11;

Instant at(double seconds) {
  if (!(seconds >= 0 && seconds <= kMaxSeconds)) throw py::value_error("seconds must be 0 to 1e11");
  const Duration since{std::llround(seconds * 1e6)};
  return {since, since};
}

double to_seconds(Duration duration) { return static_cast<double>(duration.count()) / 1e6; }

Duration from_seconds(double seconds) { return at(seconds).monotonic; }

Rate parse(std::string_view text) {
  auto rate = Rate::parse(text);
  if (!rate) throw py::value_error(rate.error().message);
  return *rate;
}

std::unique_ptr<LimitTable> make_table(std::size_t max_buckets, std::size_t max_reservations,
                                       double reservation_seconds, std::uint64_t seed) {
  Bounds bounds;
  bounds.max_buckets = max_buckets;
  bounds.max_reservations = max_reservations;
  bounds.reservation_ttl = from_seconds(reservation_seconds);
  bounds.shards = 1;  // every call holds the GIL, and one shard keeps max_buckets to the letter
  return std::make_unique<LimitTable>(bounds, seed);
}

using Costs = std::vector<std::pair<Rate, std::int64_t>>;

// The wants borrow `key`.
std::vector<Want> to_wants(const py::bytes& key, const Costs& costs) {
  std::vector<Want> wants;
  wants.reserve(costs.size());
  for (const auto& [rate, cost] : costs) wants.push_back({std::string_view(key), rate, cost});
  return wants;
}

ViewTuple from_view(const View& view) {
  return ViewTuple(py::make_tuple(view.limit, view.remaining, to_seconds(view.reset)));
}

py::object from_view(const std::optional<View>& view) {
  return view ? py::object(from_view(*view)) : py::object(py::none());
}

// (reservation or None, seconds to wait or None, requests, tokens)
Outcome outcome(py::object reservation, py::object wait, const Headroom& headroom) {
  return Outcome(py::make_tuple(std::move(reservation), std::move(wait), from_view(headroom.requests),
                                from_view(headroom.tokens)));
}

Outcome refused(const Refusal& refusal) {
  const double wait = refusal.cause == Cause::never ? INFINITY : to_seconds(refusal.retry_after);
  return outcome(py::none(), py::float_(wait), refusal.headroom);
}

Outcome reserve(LimitTable& self, const py::bytes& key, const Costs& costs, double now) {
  const auto taken = self.reserve(to_wants(key, costs), at(now));
  if (const auto* refusal = std::get_if<Refusal>(&taken)) return refused(*refusal);
  const Grant& grant = std::get<Grant>(taken);
  return outcome(py::int_(grant.reservation.id), py::none(), grant.headroom);
}

Outcome charge(LimitTable& self, const py::bytes& key, const Costs& costs, double now) {
  const auto taken = self.charge(to_wants(key, costs), at(now));
  if (const auto* refusal = std::get_if<Refusal>(&taken)) return refused(*refusal);
  return outcome(py::none(), py::none(), std::get<Headroom>(taken));
}

// Of money a grant tells nothing, as no header shows it: so more is asked for than may ever pass. The refusal says what
// is left and takes nothing.
ViewTuple look(LimitTable& self, const py::bytes& key, const Rate& rate, double now) {
  const Want never{std::string_view(key), rate, limit::kMaxAmount + 1};
  return from_view(std::get<Refusal>(self.charge({&never, 1}, at(now))).view);
}

bool settle(LimitTable& self, std::uint64_t reservation, std::int64_t tokens, std::int64_t micro_usd,
            double now) {
  return self.settle({reservation, {}}, {tokens, micro_usd}, at(now)) == Ending::done;
}

bool refund(LimitTable& self, std::uint64_t reservation, double now) {
  return self.refund({reservation, {}}, at(now)) == Ending::done;
}

}  // namespace

// No call here takes longer than giving the GIL back would: all keep it.
void bind_limit(py::module_& module) {
  py::class_<Rate>(module, "Rate", "What a rule allows, as \"100/min\" or \"5 usd/day burst 1\".")
      .def(py::init(&parse), py::arg("text"))
      .def_property_readonly("kind", [](const Rate& rate) { return limit::name_of(rate.kind()); })
      .def_property_readonly("period_seconds", [](const Rate& rate) { return to_seconds(rate.period()); });

  py::class_<LimitTable>(module, "LimitTable",
                         "Buckets by key. reserve and charge give (reservation or None, seconds to wait or "
                         "None if it passed, requests, tokens); each view is (limit, remaining, reset).")
      .def(py::init(&make_table), py::kw_only(), py::arg("max_buckets"), py::arg("max_reservations"),
           py::arg("reservation_seconds"), py::arg("seed"))
      .def("reserve", &reserve, py::arg("key"), py::arg("costs"), py::arg("now"),
           "Takes all costs or none, until settle, refund or expiry; an infinite wait never ends.")
      .def("charge", &charge, py::arg("key"), py::arg("costs"), py::arg("now"),
           "Takes all costs for good, or none; an infinite wait never ends.")
      .def("look", &look, py::arg("key"), py::arg("rate"), py::arg("now"),
           "What a bucket has left, of any kind.")
      .def("settle", &settle, py::arg("reservation"), py::arg("tokens"), py::arg("micro_usd"), py::arg("now"),
           "False if the reservation has ended before.")
      .def("refund", &refund, py::arg("reservation"), py::arg("now"),
           "False if the reservation has ended before.");

  module.def(
      "format_duration", [](double seconds) { return limit::format_duration(from_seconds(seconds)); },
      py::arg("seconds"), "As OpenAI writes durations in headers: 12ms, 1.5s, 6m0s.");
  module.def(
      "whole_seconds", [](double seconds) { return limit::retry_after_seconds(from_seconds(seconds)); },
      py::arg("seconds"), "For Retry-After: whole seconds, rounded up, at least 1.");
}

}  // namespace sentinel::bindings
