#include "sentinel/limit/snapshot.hpp"

#include <cassert>
#include <cstdint>
#include <utility>

#include "sentinel/base/digest.hpp"
#include "sentinel/limit/gcra.hpp"

namespace sentinel::limit {
namespace {

constexpr std::string_view kMagic = "SNTLIM";
constexpr std::uint16_t kVersion = 1;
constexpr std::size_t kHeadBytes = 6 + 2 + 8 + 4;
constexpr std::size_t kDigestBytes = 32;
constexpr std::uint8_t kSpare = 0x80;  // beside a bucket's kind
constexpr std::size_t kSmallestBucketBytes = 1 + 8 + 8 + 8 + 16 + 2;

template <class Integer>
void append(std::string& out, Integer value) {
  auto bits = static_cast<std::uint64_t>(value);
  for (std::size_t i = 0; i < sizeof(Integer); ++i) {
    out.push_back(static_cast<char>(bits & 0xffU));
    bits >>= 8U;
  }
}

// Takes integers from the front; the caller has made sure that they are there.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  std::size_t left() const { return rest_.size(); }

  template <class Integer>
  Integer take() {
    std::uint64_t bits = 0;
    for (std::size_t i = sizeof(Integer); i > 0; --i) {
      bits = (bits << 8U) | static_cast<std::uint8_t>(rest_[i - 1]);
    }
    rest_.remove_prefix(sizeof(Integer));
    return static_cast<Integer>(bits);
  }

  std::string_view take_bytes(std::size_t size) {
    const std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }

 private:
  std::string_view rest_;
};

std::string_view checksum_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

Error fault(std::string_view why) {
  return {ErrorCode::invalid_request, "limit snapshot: " + std::string(why)};
}

Result<SavedBucket> take_bucket(Reader& reader) {
  if (reader.left() < kSmallestBucketBytes) return fault("a bucket is cut off");
  const auto head = reader.take<std::uint8_t>();
  const auto kind = static_cast<std::uint8_t>(head & ~kSpare);
  if (kind >= static_cast<std::uint8_t>(Kind::concurrency)) return fault("a bucket of an unknown kind");
  const auto amount = reader.take<std::int64_t>();
  const Duration period{reader.take<std::int64_t>()};
  const auto burst = reader.take<std::int64_t>();
  auto rate = Rate::make(static_cast<Kind>(kind), amount, period, burst);
  if (!rate) return fault(rate.error().message);
  const auto low = reader.take<std::uint64_t>();
  const auto high = reader.take<std::uint64_t>();
  if (high >> 63U != 0) return fault("a debt below 0");
  const Int128 debt = (Int128{static_cast<std::int64_t>(high)} << 64U) | Int128{low};
  if (debt == 0 || debt > max_debt(*rate)) return fault("a debt out of bounds");
  const auto id_bytes = reader.take<std::uint16_t>();
  if (id_bytes > kMaxIdBytes || id_bytes > reader.left()) return fault("an id out of bounds");
  return SavedBucket{std::string(reader.take_bytes(id_bytes)), *rate, debt, (head & kSpare) != 0};
}

}  // namespace

std::string encode(const SavedLimits& limits) {
  std::string out(kMagic);
  append(out, kVersion);
  append(out, limits.unix_time.count());
  append(out, static_cast<std::uint32_t>(limits.buckets.size()));
  for (const SavedBucket& bucket : limits.buckets) {
    assert(bucket.id.size() <= kMaxIdBytes);
    const auto kind = static_cast<std::uint8_t>(bucket.rate.kind());
    append(out, static_cast<std::uint8_t>(bucket.spare ? kind | kSpare : kind));
    append(out, bucket.rate.amount());
    append(out, bucket.rate.period().count());
    append(out, bucket.rate.burst());
    append(out, static_cast<std::uint64_t>(bucket.debt));
    append(out, static_cast<std::uint64_t>(bucket.debt >> 64U));
    append(out, static_cast<std::uint16_t>(bucket.id.size()));
    out += bucket.id;
  }
  const Digest digest = sha256(out);
  out += checksum_of(digest);
  return out;
}

Result<SavedLimits> decode(std::string_view bytes) {
  if (bytes.size() < kHeadBytes + kDigestBytes) return fault("too short");
  if (!bytes.starts_with(kMagic)) return fault("not a limit snapshot");
  const std::string_view body = bytes.substr(0, bytes.size() - kDigestBytes);
  Reader reader(body.substr(kMagic.size()));
  if (const auto version = reader.take<std::uint16_t>(); version != kVersion) {
    return fault("version " + std::to_string(version) + " is not known");
  }
  const Digest digest = sha256(body);
  if (bytes.substr(body.size()) != checksum_of(digest)) return fault("the checksum does not match");
  SavedLimits limits;
  limits.unix_time = Duration{reader.take<std::int64_t>()};
  const auto count = reader.take<std::uint32_t>();
  if (count > reader.left() / kSmallestBucketBytes) return fault("more buckets than bytes");
  limits.buckets.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    auto bucket = take_bucket(reader);
    if (!bucket) return bucket.error();
    limits.buckets.push_back(*std::move(bucket));
  }
  if (reader.left() != 0) return fault("something follows the last bucket");
  return limits;
}

}  // namespace sentinel::limit
