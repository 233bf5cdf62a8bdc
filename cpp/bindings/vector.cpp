#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings/bindings.hpp"
#include "sentinel/vector/flat_index.hpp"
#include "sentinel/vector/half.hpp"
#include "sentinel/vector/snapshot.hpp"

namespace py = pybind11;

namespace sentinel::bindings {
namespace {

using vector::FlatIndex;
using vector::Match;
using vector::Question;
using vector::SnapshotSource;

namespace typing = py::typing;
using MatchesTuple = typing::Tuple<typing::List<py::int_>, typing::List<py::float_>>;

template <class Number>
Number read(const std::uint8_t* from) {
  Number number;
  std::memcpy(&number, from, sizeof(number));
  return number;
}

// Numbers of a caller's buffer, one row after another: as they lie there if they are float32 without gaps, else a copy.
class Floats {
 public:
  explicit Floats(const py::buffer& given) : info_(given.request()) {
    if (info_.ndim < 1 || info_.ndim > 2) throw py::value_error("a buffer must have one or two dimensions");
    const bool aligned = reinterpret_cast<std::uintptr_t>(info_.ptr) % alignof(float) == 0;
    if (info_.format == "f" && aligned && dense()) {
      view_ = {static_cast<const float*>(info_.ptr), static_cast<std::size_t>(info_.size)};
      return;
    }
    copy();
    view_ = copied_;
  }
  std::span<const float> view() const { return view_; }

 private:
  bool dense() const {
    py::ssize_t step = info_.itemsize;
    for (auto axis = static_cast<std::size_t>(info_.ndim); axis-- > 0;) {
      if (info_.shape[axis] > 1 && info_.strides[axis] != step) return false;
      step *= info_.shape[axis];
    }
    return true;
  }

  void copy() {
    float (*convert)(const std::uint8_t*) = nullptr;
    if (info_.format == "f") convert = [](const std::uint8_t* from) { return read<float>(from); };
    if (info_.format == "d")
      convert = [](const std::uint8_t* from) { return static_cast<float>(read<double>(from)); };
    if (info_.format == "e")
      convert = [](const std::uint8_t* from) { return vector::from_half(read<std::uint16_t>(from)); };
    if (convert == nullptr) throw py::type_error("a buffer must be of format e, f or d, not " + info_.format);
    const bool flat = info_.ndim == 1;
    const py::ssize_t rows = flat ? 1 : info_.shape[0];
    const py::ssize_t row_step = flat ? 0 : info_.strides[0];
    const auto columns = info_.shape.back();
    const auto* first = static_cast<const std::uint8_t*>(info_.ptr);
    copied_.reserve(static_cast<std::size_t>(info_.size));
    for (py::ssize_t row = 0; row < rows; ++row) {
      for (py::ssize_t i = 0; i < columns; ++i)
        copied_.push_back(convert(first + row * row_step + i * info_.strides.back()));
    }
  }

  py::buffer_info info_;
  std::vector<float> copied_;
  std::span<const float> view_;
};

// Ids of a caller's buffer; only int64 in one piece.
class Ids {
 public:
  explicit Ids(const py::buffer& given) : info_(given.request()) {
    if (info_.itemsize != sizeof(std::int64_t) || (info_.format != "q" && info_.format != "l"))
      throw py::type_error("a buffer of ids must be int64");
    if (info_.ndim != 1 || (info_.shape[0] > 1 && info_.strides[0] != info_.itemsize))
      throw py::value_error("a buffer of ids must be one piece");
  }
  std::span<const std::int64_t> view() const {
    return {static_cast<const std::int64_t*>(info_.ptr), static_cast<std::size_t>(info_.size)};
  }

 private:
  py::buffer_info info_;
};

template <class T>
T value_of(Result<T> result) {
  if (!result) throw py::value_error(result.error().message);
  return *std::move(result);
}

template <class Work>
auto unlocked(Work work) {
  const py::gil_scoped_release released;
  return work();
}

void add(FlatIndex& self, const py::buffer& ids, const py::buffer& vectors, std::string_view partition) {
  const Ids given_ids(ids);
  const Floats given(vectors);
  raise_if_failed(unlocked([&] { return self.add(given_ids.view(), given.view(), partition); }));
}

std::size_t remove(FlatIndex& self, const py::buffer& ids) {
  const Ids given(ids);
  return unlocked([&] { return self.remove(given.view()); });
}

MatchesTuple from_matches(const std::vector<Match>& matches) {
  typing::List<py::int_> ids(matches.size());
  typing::List<py::float_> scores(matches.size());
  for (std::size_t i = 0; i < matches.size(); ++i) {
    ids[i] = py::int_(matches[i].id);
    scores[i] = py::float_(static_cast<double>(matches[i].score));
  }
  return MatchesTuple(py::make_tuple(std::move(ids), std::move(scores)));
}

typing::List<MatchesTuple> search(const FlatIndex& self, const py::buffer& queries, std::size_t k,
                                  std::optional<std::string_view> partition, bool exact) {
  const Floats given(queries);
  const auto found =
      value_of(unlocked([&] { return self.search(given.view(), Question{k, partition, exact}); }));
  typing::List<MatchesTuple> answers(found.size());
  for (std::size_t i = 0; i < found.size(); ++i) answers[i] = from_matches(found[i]);
  return answers;
}

// The index may have grown between asking for the size and writing; then it is asked again.
py::bytes snapshot(const FlatIndex& self) {
  std::size_t size = unlocked([&] { return self.encode({}); });
  while (true) {
    auto bytes =
        py::reinterpret_steal<py::bytes>(PyBytes_FromStringAndSize(nullptr, static_cast<py::ssize_t>(size)));
    if (!bytes) throw py::error_already_set();
    const std::span out(reinterpret_cast<std::uint8_t*>(PyBytes_AS_STRING(bytes.ptr())), size);
    const std::size_t needed = unlocked([&] { return self.encode(out); });
    if (needed == size) return bytes;
    size = needed;
  }
}

// The bytes of an open file, from its beginning on.
class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}

  std::size_t size() {
    struct stat status{};
    if (::fstat(descriptor_, &status) != 0) fault_ = errno;
    return fault_ == 0 ? static_cast<std::size_t>(status.st_size) : 0;
  }
  bool read(std::span<std::uint8_t> to) {
    while (!to.empty()) {
      const ssize_t taken = ::pread(descriptor_, to.data(), to.size(), at_);
      if (taken < 0 && errno == EINTR) continue;
      if (taken < 0) fault_ = errno;
      if (taken <= 0) return false;
      to = to.subspan(static_cast<std::size_t>(taken));
      at_ += taken;
    }
    return true;
  }
  // OSError if the system did not let us read.
  void raise_if_failed() const {
    if (fault_ == 0) return;
    errno = fault_;
    PyErr_SetFromErrno(PyExc_OSError);
    throw py::error_already_set();
  }

 private:
  int descriptor_;
  off_t at_ = 0;
  int fault_ = 0;
};

std::unique_ptr<FlatIndex> load(int descriptor) {
  File file(descriptor);
  const SnapshotSource source{file.size(), [&file](std::span<std::uint8_t> to) { return file.read(to); }};
  auto loaded = unlocked([&] { return FlatIndex::decode(source); });
  file.raise_if_failed();
  return value_of(std::move(loaded));
}

}  // namespace

// A search of an instant is rare enough, and giving the GIL back cheap enough, that every call does; none touches a
// Python object while it holds the index's lock.
void bind_vector(py::module_& module) {
  py::class_<FlatIndex>(
      module, "VectorIndex",
      "Vectors by id, and the nearest by cosine; buffers are float16, float32 or float64 of whole "
      "rows, ids int64. For any thread.")
      .def(py::init([](std::size_t dimension) { return value_of(FlatIndex::make(dimension)); }),
           py::arg("dimension"))
      .def("add", &add, py::arg("ids"), py::arg("vectors"), py::arg("partition"))
      .def("remove", &remove, py::arg("ids"), "The number of those that were there.")
      .def("search", &search, py::arg("queries"), py::arg("k"), py::arg("partition"), py::arg("exact"),
           "For each query (ids, scores), best first.")
      .def("snapshot", &snapshot)
      .def_static("load", &load, py::arg("descriptor"),
                  "Of an open file, whole. ValueError if these are not a snapshot's bytes.")
      .def_property_readonly("dimension", &FlatIndex::dimension)
      .def("__len__", [](const FlatIndex& self) { return unlocked([&] { return self.size(); }); })
      .def(
          "__contains__",
          [](const FlatIndex& self, std::int64_t id) { return unlocked([&] { return self.contains(id); }); },
          py::arg("id"));
}

}  // namespace sentinel::bindings
