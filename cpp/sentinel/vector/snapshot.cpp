#include "sentinel/vector/snapshot.hpp"

#include <array>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "sentinel/base/utf8.hpp"
#include "sentinel/vector/flat_index.hpp"

namespace sentinel::vector {
namespace {

static_assert(std::endian::native == std::endian::little, "snapshots are copied as they lie in memory");

constexpr std::string_view kMagic = "SNTVEC";
constexpr std::uint16_t kVersion = 1;
constexpr std::size_t kHeadBytes = 6 + 2 + 4 + 4;
constexpr std::size_t kPartitionHeadBytes = 4 + 8 + 8;
constexpr std::size_t kChecksumBytes = 8;

Error fault(std::string_view why) {
  return {ErrorCode::invalid_request, "vector snapshot: " + std::string(why)};
}

std::size_t bytes_of(std::size_t dimension, const Partition& partition) {
  std::size_t bytes = kPartitionHeadBytes + partition.name().size();
  bytes += partition.size() * (sizeof(std::int64_t) + dimension * sizeof(float));
  if (partition.sketch().trained_rows() > 0)
    bytes += dimension * sizeof(float) + partition.sketch().blocks().size();
  return bytes;
}

class Writer {
 public:
  explicit Writer(std::span<std::uint8_t> out) : rest_(out) {}

  std::size_t left() const { return rest_.size(); }
  void bytes(const void* from, std::size_t size) {
    assert(size <= rest_.size());
    if (size > 0) std::memcpy(rest_.data(), from, size);
    rest_ = rest_.subspan(size);
  }
  template <class Integer>
  void integer(Integer value) {
    bytes(&value, sizeof(value));
  }

 private:
  std::span<std::uint8_t> rest_;
};

// Takes from the front; the caller has made sure that it is there.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}

  std::size_t left() const { return rest_.size(); }
  std::span<const std::uint8_t> bytes(std::size_t size) {
    assert(size <= rest_.size());
    const auto taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }
  void copy(void* to, std::size_t size) {
    const auto taken = bytes(size);
    if (size > 0) std::memcpy(to, taken.data(), size);
  }
  template <class Integer>
  Integer integer() {
    Integer value;
    copy(&value, sizeof(value));
    return value;
  }

 private:
  std::span<const std::uint8_t> rest_;
};

void write_partition(Writer& writer, std::size_t dimension, const Partition& partition) {
  const Sketch& sketch = partition.sketch();
  writer.integer(static_cast<std::uint32_t>(partition.name().size()));
  writer.integer(static_cast<std::uint64_t>(partition.size()));
  writer.integer(static_cast<std::uint64_t>(sketch.trained_rows()));
  writer.bytes(partition.name().data(), partition.name().size());
  writer.bytes(partition.ids().data(), partition.ids().size_bytes());
  for (std::size_t row = 0; row < partition.size(); ++row)
    writer.bytes(partition.row(row), dimension * sizeof(float));
  if (sketch.trained_rows() == 0) return;
  writer.bytes(sketch.centre().data(), sketch.centre().size_bytes());
  writer.bytes(sketch.blocks().data(), sketch.blocks().size());
}

Status read_rows(Reader& reader, std::size_t dimension, const Kernels& kernels, Partition& partition) {
  constexpr float kRounding = 1e-3F;
  const std::size_t stride = padded(dimension);
  for (std::size_t place = 0; place < partition.size(); ++place) {
    float* row = partition.row_to_write(place);
    reader.copy(row, dimension * sizeof(float));
    std::fill(row + dimension, row + stride, 0.0F);
    float squares = 0;
    kernels.dots(row, row, 1, stride, &squares);
    if (!(std::fabs(squares - 1) < kRounding)) return fault("a vector that is not of length 1");
  }
  return Done{};
}

Status read_sketch(Reader& reader, std::size_t dimension, std::size_t trained_rows, Partition& partition) {
  Sketch& sketch = partition.sketch_to_write();
  const std::size_t blocks = sketch.block_bytes(partition.size());
  if (reader.left() < dimension * sizeof(float) + blocks) return fault("a sketch is cut off");
  std::vector<float> centre(dimension);
  reader.copy(centre.data(), dimension * sizeof(float));
  for (const float value : centre) {
    if (!(std::fabs(value) <= 1.001F)) return fault("a sketch's centre is not among its vectors");
  }
  sketch.restore(centre, trained_rows, partition.size(), reader.bytes(blocks));
  return Done{};
}

Result<Partition> read_partition(Reader& reader, std::size_t dimension, const Kernels& kernels) {
  if (reader.left() < kPartitionHeadBytes) return fault("a partition is cut off");
  const auto name_bytes = reader.integer<std::uint32_t>();
  const auto rows = reader.integer<std::uint64_t>();
  const auto trained_rows = reader.integer<std::uint64_t>();
  if (name_bytes > kMaxPartitionBytes) return fault("a partition's name is too long");
  if (rows == 0 || rows > kMaxRows || trained_rows > kMaxRows)
    return fault("a partition's size is out of bounds");
  const std::size_t row_bytes = sizeof(std::int64_t) + dimension * sizeof(float);
  if (reader.left() < name_bytes || (reader.left() - name_bytes) / row_bytes < rows)
    return fault("a partition is cut off");
  const auto name = reader.bytes(name_bytes);
  Partition partition(std::string(name.begin(), name.end()), dimension);
  if (!utf8::valid(partition.name())) return fault("a partition's name is not UTF-8");
  std::vector<std::int64_t> ids(rows);
  reader.copy(ids.data(), rows * sizeof(std::int64_t));
  partition.restore_ids(std::move(ids));
  if (auto read = read_rows(reader, dimension, kernels, partition); !read) return read.error();
  if (trained_rows == 0) return partition;
  if (auto read = read_sketch(reader, dimension, trained_rows, partition); !read) return read.error();
  return partition;
}

// What can be told without believing any number in it.
Status check_frame(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kMagic.size() || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0)
    return fault("these are not a vector index's bytes");
  if (bytes.size() < kHeadBytes + kChecksumBytes) return fault("cut off");
  Reader reader(bytes.subspan(kMagic.size()));
  const auto version = reader.integer<std::uint16_t>();
  if (version != kVersion)
    return fault("version " + std::to_string(version) + ", this reads " + std::to_string(kVersion));
  Reader end(bytes.last(kChecksumBytes));
  if (end.integer<std::uint64_t>() != checksum(bytes.first(bytes.size() - kChecksumBytes)))
    return fault("cut off or damaged, the checksum differs");
  return Done{};
}

}  // namespace

std::uint64_t checksum(std::span<const std::uint8_t> bytes) {
  constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15U;
  constexpr std::size_t kLanes = 4;
  constexpr std::size_t kStep = kLanes * sizeof(std::uint64_t);
  std::array<std::uint64_t, kLanes> lanes{1, 2, 3, 4};
  const auto take = [&](const std::uint8_t* from) {
    std::array<std::uint64_t, kLanes> words;
    std::memcpy(words.data(), from, kStep);
    for (std::size_t i = 0; i < kLanes; ++i) lanes[i] = std::rotl(lanes[i] ^ words[i], 29) * kOdd;
  };
  const std::size_t whole = bytes.size() / kStep * kStep;
  for (std::size_t at = 0; at < whole; at += kStep) take(bytes.data() + at);
  if (whole < bytes.size()) {
    std::array<std::uint8_t, kStep> last{};
    std::memcpy(last.data(), bytes.data() + whole, bytes.size() - whole);
    take(last.data());
  }
  std::uint64_t sum = bytes.size();
  for (const std::uint64_t lane : lanes) {
    sum = std::rotl(sum ^ lane, 29) * kOdd;
    sum ^= sum >> 32U;
  }
  return sum;
}

std::size_t snapshot_bytes(std::size_t dimension, std::span<const Partition* const> partitions) {
  std::size_t bytes = kHeadBytes + kChecksumBytes;
  for (const Partition* partition : partitions) bytes += bytes_of(dimension, *partition);
  return bytes;
}

void write_snapshot(std::size_t dimension, std::span<const Partition* const> partitions,
                    std::span<std::uint8_t> out) {
  Writer writer(out);
  writer.bytes(kMagic.data(), kMagic.size());
  writer.integer(kVersion);
  writer.integer(static_cast<std::uint32_t>(dimension));
  writer.integer(static_cast<std::uint32_t>(partitions.size()));
  for (const Partition* partition : partitions) write_partition(writer, dimension, *partition);
  writer.integer(checksum(out.first(out.size() - kChecksumBytes)));
  assert(writer.left() == 0);
}

Result<SavedIndex> read_snapshot(std::span<const std::uint8_t> bytes, const Kernels& kernels) {
  if (auto framed = check_frame(bytes); !framed) return framed.error();
  Reader reader(bytes.first(bytes.size() - kChecksumBytes).subspan(kMagic.size() + sizeof(kVersion)));
  SavedIndex saved{reader.integer<std::uint32_t>(), {}};
  if (saved.dimension == 0 || saved.dimension > kMaxDimension) return fault("the dimension is out of bounds");
  const auto partitions = reader.integer<std::uint32_t>();
  for (std::uint32_t i = 0; i < partitions; ++i) {
    auto partition = read_partition(reader, saved.dimension, kernels);
    if (!partition) return partition.error();
    if (i > 0 && partition->name() <= saved.partitions.back().name())
      return fault("partitions are not in the order of their names");
    saved.partitions.push_back(*std::move(partition));
  }
  if (reader.left() > 0) return fault("there are bytes behind the last partition");
  return saved;
}

}  // namespace sentinel::vector
