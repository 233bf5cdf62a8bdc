#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "bindings/bindings.hpp"
#include "sentinel/engine/engine.hpp"

namespace py = pybind11;

namespace sentinel::bindings {
namespace {

using engine::DrainState;
using engine::Engine;
using engine::EngineOptions;

Duration from_seconds(double seconds) { return Duration{static_cast<std::int64_t>(seconds * 1e6)}; }

std::unique_ptr<Engine> start_engine(std::string snapshot, const py::bytes& pepper, std::string data_dir,
                                     std::string usage_database, std::string vocabulary_directory,
                                     std::size_t loops, std::uint64_t seed, const std::string& log_level,
                                     double log_sample, int log_descriptor, double drain_delay_seconds,
                                     double drain_timeout_seconds,
                                     std::optional<std::shared_ptr<ManualClock>> clock) {
  const auto level = log::level_named(log_level);
  if (!level) throw py::value_error("log_level: no such level \"" + log_level + "\"");
  EngineOptions options;
  options.snapshot = std::move(snapshot);
  options.pepper = pepper;
  options.data_dir = std::move(data_dir);
  options.usage_database = std::move(usage_database);
  options.vocabulary_directory = std::move(vocabulary_directory);
  options.loops = loops;
  options.seed = seed;
  options.log_descriptor = log_descriptor;
  options.log = {*level, log_sample};
  options.drain_delay = from_seconds(drain_delay_seconds);
  options.drain_timeout = from_seconds(drain_timeout_seconds);
  options.manual_clock = std::move(clock).value_or(nullptr);
  const py::gil_scoped_release unlocked;
  auto started = Engine::start(std::move(options));
  if (!started) throw py::value_error(started.error().message);
  return std::move(*started);
}

py::typing::Dict<py::str, py::int_> ledger(const Engine& self) {
  const auto stats = self.ledger();
  py::typing::Dict<py::str, py::int_> counts;
  counts["accepted"] = stats.accepted;
  counts["committed"] = stats.committed;
  counts["replayed"] = stats.replayed;
  counts["rejected"] = stats.rejected;
  counts["failures"] = stats.failures;
  counts["lost"] = stats.lost;
  counts["pending"] = stats.pending;
  counts["failing"] = stats.failing;
  return counts;
}

py::typing::Dict<py::str, py::int_> cache_stats(Engine& self) {
  const auto stats = self.cache().stats();
  py::typing::Dict<py::str, py::int_> counts;
  counts["entries"] = stats.entries;
  counts["bytes"] = stats.bytes;
  counts["hits"] = stats.hits;
  counts["misses"] = stats.misses;
  counts["stored"] = stats.stored;
  counts["evicted"] = stats.evicted;
  counts["expired"] = stats.expired;
  counts["refused"] = stats.refused;
  counts["erased"] = stats.erased;
  return counts;
}

std::size_t erase_cached(Engine& self, const std::string& by, const std::string& value) {
  const py::gil_scoped_release unlocked;
  cache::ExactCache& kept = self.cache();
  if (by == "key") return kept.erase(value);
  if (by == "pattern") return kept.erase_matching(value);
  if (by == "tag") return kept.erase_tag(value);
  if (by == "account") return kept.erase_account(value);
  return kept.clear();
}

const char* name_of(resilience::BreakerState state) {
  switch (state) {
    case resilience::BreakerState::closed: return "closed";
    case resilience::BreakerState::half_open: return "half_open";
    case resilience::BreakerState::open: return "open";
  }
  return "closed";
}

const char* name_of(resilience::BreakerMode mode) {
  switch (mode) {
    case resilience::BreakerMode::automatic: return "automatic";
    case resilience::BreakerMode::forced_open: return "forced_open";
    case resilience::BreakerMode::forced_closed: return "forced_closed";
  }
  return "automatic";
}

py::typing::List<py::typing::Dict<py::str, py::object>> breakers(Engine& self) {
  py::typing::List<py::typing::Dict<py::str, py::object>> list;
  for (const engine::TargetStatus& status : self.health_table().statuses(self.clock().now())) {
    if (!status.has_breaker) continue;
    py::typing::Dict<py::str, py::object> item;
    item["target"] = py::str(status.target);
    item["state"] = py::str(name_of(status.state));
    item["mode"] = py::str(name_of(status.mode));
    item["calls"] = py::int_(status.counts.calls);
    item["failed"] = py::int_(status.counts.failed);
    item["slow"] = py::int_(status.counts.slow);
    item["refused"] = py::int_(status.refused);
    list.append(item);
  }
  return list;
}

bool force_breaker(Engine& self, const std::string& target, const std::string& mode) {
  using resilience::BreakerMode;
  for (const auto known : {BreakerMode::automatic, BreakerMode::forced_open, BreakerMode::forced_closed}) {
    if (mode == name_of(known)) return self.health_table().force(target, known);
  }
  throw py::value_error("mode: must be automatic, forced_open or forced_closed");
}

void log_event(Engine& self, const std::string& level_name, const std::string& event,
               const std::vector<std::pair<std::string, std::string>>& fields) {
  const auto level = log::level_named(level_name);
  if (!level) throw py::value_error("level: no such level \"" + level_name + "\"");
  const std::vector<log::Field> views(fields.begin(), fields.end());
  const py::gil_scoped_release unlocked;
  self.log_event(*level, event, views);
}

bool flush(Engine& self, double timeout_seconds) {
  const py::gil_scoped_release unlocked;
  return self.flush(std::chrono::milliseconds{static_cast<std::int64_t>(timeout_seconds * 1e3)});
}

}  // namespace

void bind_engine(py::module_& module) {
  py::enum_<DrainState>(module, "DrainState", "The steps of stopping, in order.")
      .value("serving", DrainState::serving)
      .value("announced", DrainState::announced)
      .value("refusing", DrainState::refusing)
      .value("aborting", DrainState::aborting)
      .value("stopped", DrainState::stopped);

  using Unlocked = py::call_guard<py::gil_scoped_release>;
  py::class_<Engine>(module, "Engine", "The engine of one process. ValueError where a document is wrong.")
      .def(py::init(&start_engine), py::kw_only(), py::arg("snapshot"), py::arg("pepper"),
           py::arg("data_dir"), py::arg("usage_database") = "", py::arg("vocabulary_directory") = "",
           py::arg("loops") = 1, py::arg("seed") = 0, py::arg("log_level") = "info",
           py::arg("log_sample") = 1.0, py::arg("log_descriptor") = 2, py::arg("drain_delay_seconds") = 0.0,
           py::arg("drain_timeout_seconds") = 30.0, py::arg("clock") = py::none())
      .def(
          "configure", [](Engine& self, const std::string& text) { raise_if_failed(self.configure(text)); },
          py::arg("snapshot"), "Swaps the configuration, whole or not at all.")
      .def(
          "put_keys", [](Engine& self, const std::string& text) { raise_if_failed(self.put_keys(text)); },
          py::arg("document"), "Adds or replaces keys by id.")
      .def(
          "replace_keys",
          [](Engine& self, const std::string& text) { raise_if_failed(self.replace_keys(text)); },
          py::arg("document"), "Puts these keys and revokes every other; running streams of those end.")
      .def("remove_key", &Engine::remove_key, py::arg("key_id"), "Revokes a key; False if it is not known.")
      .def("metrics", &Engine::metrics, Unlocked(), "All metrics in Prometheus' text format 0.0.4.")
      .def_property_readonly("in_flight", &Engine::in_flight,
                             "Exchanges that have begun and are not settled.")
      .def("ledger", &ledger, "Counts of the usage ledger: accepted, committed, pending, rejected, ...")
      .def(
          "address_wait",
          [](Engine& self, const std::string& peer, const std::string& forwarded_for) {
            const Status taken = self.take_address(peer, forwarded_for);
            return taken ? std::int64_t{0} : std::max<std::int64_t>(taken.error().retry_after_seconds, 1);
          },
          py::arg("peer"), py::arg("forwarded_for") = "",
          "Takes one request of this address's limit: 0, or after how many seconds it may come again.")
      .def("cache_stats", &cache_stats, "Counts of the kept answers: entries, bytes, hits, misses, ...")
      .def("erase_cached", &erase_cached, py::arg("by"), py::arg("value") = "",
           "Forgets kept answers by key, pattern, tag or account, or all of them; how many went.")
      .def("breakers", &breakers, "The circuit breaker of every target that has one.")
      .def("force_breaker", &force_breaker, py::arg("target"), py::arg("mode"),
           "automatic, forced_open or forced_closed; False if there is no such target.")
      .def("flush", &flush, py::arg("timeout_seconds") = 5.0, "Waits until all records so far are stored.")
      .def("log_event", &log_event, py::arg("level"), py::arg("event"), py::arg("fields"),
           "Writes one JSON log line, redacted.")
      .def("begin_drain", &Engine::begin_drain, Unlocked(), py::arg("with_delay"),
           "Starts the drain; with_delay=False skips the time in which it still serves.")
      .def_property_readonly("drain_state", &Engine::drain_state)
      .def_property_readonly("alive", &Engine::alive, "False once closed, and in a forked child.")
      .def("tick", &Engine::tick, Unlocked(), "Tells the loops that the manual clock has moved.")
      .def("close", &Engine::close, Unlocked(),
           "Ends running exchanges, stores records, joins threads; idempotent.");
}

}  // namespace sentinel::bindings
