#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings/bindings.hpp"
#include "sentinel/semantic/replay.hpp"

namespace py = pybind11;

namespace sentinel::bindings {
namespace {

namespace typing = py::typing;
using namespace semantic;
using Members = typing::Dict<py::str, py::object>;

// A recorded stream in memory of its own, so that a replay touches nothing of Python.
struct Stream {
  std::size_t dimension = 0;
  std::vector<std::string> texts;
  std::vector<std::string> partitions;
  std::vector<std::uint64_t> answers;
  std::vector<float> vectors;
  std::vector<bool> beyond;  // the embedder's window; empty: none is

  ReplayRow row(std::size_t place) const {
    return {texts[place], partitions.empty() ? std::string_view() : std::string_view(partitions[place]),
            std::span(vectors).subspan(place * dimension, dimension), answers[place],
            !beyond.empty() && beyond[place]};
  }
};

std::vector<float> floats_of(const py::buffer& given, std::size_t rows, std::size_t dimension) {
  const py::buffer_info info = given.request();
  if (info.format != "f" || info.ndim != 2 || info.shape[0] != static_cast<py::ssize_t>(rows) ||
      info.shape[1] != static_cast<py::ssize_t>(dimension))
    throw py::value_error("vectors must be a buffer of float32 of shape (rows, dimension)");
  if (info.strides[1] != info.itemsize || info.strides[0] != info.itemsize * info.shape[1])
    throw py::value_error("vectors must be a buffer without gaps");
  const auto* first = static_cast<const float*>(info.ptr);
  return {first, first + rows * dimension};
}

std::unique_ptr<Stream> make_stream(std::vector<std::string> texts, const py::buffer& vectors,
                                    std::vector<std::uint64_t> answers, std::vector<std::string> partitions,
                                    std::vector<bool> beyond, std::size_t dimension) {
  if (answers.size() != texts.size()) throw py::value_error("answers must be as many as texts");
  if (!beyond.empty() && beyond.size() != texts.size())
    throw py::value_error("beyond_window must be as many as texts, or none");
  if (!partitions.empty() && partitions.size() != texts.size())
    throw py::value_error("partitions must be as many as texts, or none");
  auto stream = std::make_unique<Stream>();
  stream->vectors = floats_of(vectors, texts.size(), dimension);
  stream->dimension = dimension;
  stream->texts = std::move(texts);
  stream->partitions = std::move(partitions);
  stream->answers = std::move(answers);
  stream->beyond = std::move(beyond);
  return stream;
}

Of of_named(std::string_view name) {
  if (name == "hits") return Of::hits;
  if (name == "requests") return Of::requests;
  throw py::value_error("of must be 'hits' or 'requests', not '" + std::string(name) + "'");
}

std::unique_ptr<Replay> make_replay(std::size_t dimension, std::optional<float> fixed_threshold,
                                    bool exact_only, double max_error, std::string_view of,
                                    double judge_error, std::size_t max_entries, std::uint64_t seed) {
  ReplayOptions options;
  options.policy.dimension = dimension;
  options.policy.max_entries = max_entries;
  options.policy.seed = seed;
  options.policy.mode = fixed_threshold ? Mode::fixed : Mode::serve;
  options.policy.fixed_threshold = fixed_threshold.value_or(1.0F);
  options.bound = {max_error, of_named(of)};
  options.exact_only = exact_only;
  options.judge_error = judge_error;
  options.seed = seed;
  auto made = Replay::make(options);
  if (!made) throw py::value_error(made.error().message);
  return *std::move(made);
}

void run(Replay& self, const Stream& stream, const std::vector<std::uint32_t>& places) {
  const py::gil_scoped_release released;
  for (const std::uint32_t place : places) {
    if (place >= stream.texts.size()) throw py::index_error("a place is beyond the stream's rows");
    const auto served = self.offer(stream.row(place));
    if (!served) throw py::value_error(served.error().message);
  }
}

Members counts(const Replay& self) {
  const ReplayCounts& counted = self.counts();
  Members members;
  members["requests"] = counted.requests;
  members["exact_hits"] = counted.exact_hits;
  members["semantic_hits"] = counted.semantic_hits;
  members["wrong_hits"] = counted.wrong_hits;
  members["judge_calls"] = counted.judge_calls;
  members["audit_calls"] = counted.audit_calls;
  members["first_hit"] = counted.first_hit;
  members["worst_window"] = counted.worst_window;
  return members;
}

typing::List<py::str> names_of(VetoSet vetoes) {
  typing::List<py::str> names;
  for (std::size_t i = 0; i < kVetoes; ++i) {
    if (vetoes.has(static_cast<Veto>(i))) names.append(py::str(std::string(name_of(static_cast<Veto>(i)))));
  }
  return names;
}

// What a decision was made of, for people.
Members explained(const Decision& decision, bool served) {
  Members members;
  members["served"] = served;
  members["reason"] = std::string(name_of(decision.reason));
  members["similarity"] = decision.similarity;
  members["score"] = decision.score;
  members["threshold"] = decision.threshold;
  VetoSet vetoes = decision.vetoes;
  if (vetoes.empty() && decision.reason == Reason::vetoed && !decision.candidates.empty())
    vetoes = decision.candidates.front().vetoes;
  members["vetoes"] = names_of(vetoes);
  return members;
}

Members probe(Replay& self, const Stream& stored, const Stream& asked, std::size_t place) {
  if (place >= stored.texts.size() || place >= asked.texts.size())
    throw py::index_error("a place is beyond the stream's rows");
  bool served = false;
  const auto decision = self.probe(stored.row(place), asked.row(place), served);
  if (!decision) throw py::value_error(decision.error().message);
  return explained(*decision, served);
}

Members status(const Replay& self) {
  const PromiseStatus now = self.status();
  Members members;
  members["state"] = std::string(name_of(now.state));
  members["halted_because"] = now.halted_because;
  members["threshold"] = now.threshold;
  members["running_error"] = now.running_error;
  members["tightening"] = now.tightening;
  members["outcomes"] = now.outcomes;
  members["entries"] = self.policy().entries();
  members["groups"] = self.policy().groups();
  return members;
}

}  // namespace

void bind_semantic(py::module_& module) {
  py::class_<Stream>(module, "SemanticStream", "A recorded stream: texts, vectors, answer ids, partitions.")
      .def(py::init(&make_stream), py::arg("texts"), py::arg("vectors"), py::arg("answers"),
           py::arg("partitions"), py::arg("beyond_window"), py::arg("dimension"))
      .def("__len__", [](const Stream& self) { return self.texts.size(); });
  py::class_<Replay>(module, "SemanticReplay",
                     "What the semantic policy would have done with a stream. For one thread at a time.")
      .def(py::init(&make_replay), py::kw_only(), py::arg("dimension"), py::arg("fixed_threshold"),
           py::arg("exact_only"), py::arg("max_error"), py::arg("of"), py::arg("judge_error"),
           py::arg("max_entries"), py::arg("seed"))
      .def("run", &run, py::arg("stream"), py::arg("places"),
           "Offers the rows at these places, in this order.")
      .def("probe", &probe, py::arg("stored"), py::arg("asked"), py::arg("place"),
           "Whether the asked row would be served from the stored one, and why.")
      .def("counts", &counts)
      .def("status", &status)
      .def_static("shuffled", &Replay::shuffled, py::arg("rows"), py::arg("seed"));
}

}  // namespace sentinel::bindings
