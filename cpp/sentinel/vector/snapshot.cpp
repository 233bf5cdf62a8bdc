#include "sentinel/vector/snapshot.hpp"

#include <algorithm>
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
constexpr std::size_t kPartBytes =
    256 * 1024;  // read and checked together: of a size that a near cache holds
constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15U;

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

// Takes from the front, all but the checksum; the caller has made sure that it is there. A source that fails gives zeros.
class Reader {
 public:
  explicit Reader(const SnapshotSource& source)
      : source_(source), left_(source.size - std::min(source.size, kChecksumBytes)) {}

  std::size_t left() const { return left_; }
  bool failed() const { return failed_; }
  void copy(void* to, std::size_t size) {
    assert(size <= left_);
    auto* place = static_cast<std::uint8_t*>(to);
    for (std::size_t part = 0; size > 0; size -= part, place += part) {
      part = std::min(size, kPartBytes);
      left_ -= part;
      take({place, part});
      sum_.add({place, part});
    }
  }
  template <class Integer>
  Integer integer() {
    Integer value;
    copy(&value, sizeof(value));
    return value;
  }
  // Reads all that is left; whether the checksum behind it is that of all before.
  bool sum_agrees() {
    std::vector<std::uint8_t> part(std::min(left_, kPartBytes));
    while (left_ > 0) copy(part.data(), std::min(left_, kPartBytes));
    std::uint64_t given = 0;
    take({reinterpret_cast<std::uint8_t*>(&given), sizeof(given)});
    return !failed_ && given == sum_.value();
  }

 private:
  void take(std::span<std::uint8_t> to) {
    if (!failed_ && source_.read(to)) return;
    failed_ = true;
    std::fill(to.begin(), to.end(), std::uint8_t{0});
  }

  const SnapshotSource& source_;
  std::size_t left_;
  bool failed_ = false;
  Checksum sum_;
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

// Puts rows that lie without padding where they belong, from the last on, as they make room for each other.
void spread(float* rows, std::size_t count, std::size_t dimension) {
  const std::size_t stride = padded(dimension);
  if (stride == dimension) return;
  for (std::size_t row = count; row-- > 0;) {
    std::memmove(rows + row * stride, rows + row * dimension, dimension * sizeof(float));
    std::fill(rows + row * stride + dimension, rows + (row + 1) * stride, 0.0F);
  }
}

Status read_rows(Reader& reader, std::size_t dimension, const Kernels& kernels, Partition& partition) {
  constexpr float kRounding = 1e-3F;
  const std::size_t stride = padded(dimension);
  const std::size_t together = std::max<std::size_t>(1, kPartBytes / (stride * sizeof(float)));
  for (std::size_t first = 0; first < partition.size(); first += together) {
    const std::size_t count = std::min(together, partition.size() - first);
    float* rows = partition.row_to_write(first);
    reader.copy(rows, count * dimension * sizeof(float));
    spread(rows, count, dimension);
    for (const float* row = rows; row < rows + count * stride; row += stride) {
      float squares = 0;
      kernels.dots(row, row, 1, stride, &squares);
      if (!(std::fabs(squares - 1) < kRounding)) return fault("a vector that is not of length 1");
    }
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
  const auto to_fill = sketch.restore(centre, trained_rows, partition.size());
  reader.copy(to_fill.data(), to_fill.size());
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
  std::string name(name_bytes, '\0');
  reader.copy(name.data(), name.size());
  Partition partition(std::move(name), dimension);
  if (!utf8::valid(partition.name())) return fault("a partition's name is not UTF-8");
  std::vector<std::int64_t> ids(rows);
  reader.copy(ids.data(), rows * sizeof(std::int64_t));
  partition.restore_ids(std::move(ids));
  if (auto read = read_rows(reader, dimension, kernels, partition); !read) return read.error();
  if (trained_rows == 0) return partition;
  if (auto read = read_sketch(reader, dimension, trained_rows, partition); !read) return read.error();
  return partition;
}

Result<SavedIndex> read_body(Reader& reader, const Kernels& kernels) {
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

}  // namespace

void Checksum::take(Lanes& lanes, const std::uint8_t* step) {
  Lanes words;
  std::memcpy(words.data(), step, kStep);
  for (std::size_t i = 0; i < lanes.size(); ++i) lanes[i] = std::rotl(lanes[i] ^ words[i], 29) * kOdd;
}

void Checksum::add(std::span<const std::uint8_t> bytes) {
  const std::size_t begun = size_ % kStep;
  size_ += bytes.size();
  if (begun > 0) {
    const auto first = bytes.first(std::min(kStep - begun, bytes.size()));
    std::copy(first.begin(), first.end(), begun_.begin() + static_cast<std::ptrdiff_t>(begun));
    if (begun + first.size() < kStep) return;
    take(lanes_, begun_.data());
    bytes = bytes.subspan(first.size());
  }
  Lanes lanes = lanes_;
  for (; bytes.size() >= kStep; bytes = bytes.subspan(kStep)) take(lanes, bytes.data());
  lanes_ = lanes;
  std::copy(bytes.begin(), bytes.end(), begun_.begin());
}

std::uint64_t Checksum::value() const {
  Lanes lanes = lanes_;
  if (const std::size_t begun = size_ % kStep; begun > 0) {
    std::array<std::uint8_t, kStep> last{};
    std::copy_n(begun_.begin(), begun, last.begin());
    take(lanes, last.data());
  }
  std::uint64_t sum = size_;
  for (const std::uint64_t lane : lanes) {
    sum = std::rotl(sum ^ lane, 29) * kOdd;
    sum ^= sum >> 32U;
  }
  return sum;
}

std::uint64_t checksum(std::span<const std::uint8_t> bytes) {
  Checksum sum;
  sum.add(bytes);
  return sum.value();
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

// What is wrong within is told only if the checksum holds: what is cut or damaged is not called a fault of its writer.
Result<SavedIndex> read_snapshot(const SnapshotSource& source, const Kernels& kernels) {
  Reader reader(source);
  std::array<char, kMagic.size()> magic{};
  if (reader.left() >= magic.size()) reader.copy(magic.data(), magic.size());
  if (std::string_view(magic.data(), magic.size()) != kMagic)
    return fault("these are not a vector index's bytes");
  if (source.size < kHeadBytes + kChecksumBytes) return fault("cut off");
  const auto version = reader.integer<std::uint16_t>();
  if (version != kVersion)
    return fault("version " + std::to_string(version) + ", this reads " + std::to_string(kVersion));
  auto saved = read_body(reader, kernels);
  if (!reader.sum_agrees()) return fault("cut off or damaged, the checksum differs");
  return saved;
}

}  // namespace sentinel::vector
