// The state of a limit table as bytes, so that limits survive a restart. Encodes and decodes spans; others do the file.
//
// Layout (little-endian): "SNTLIM" and a two-byte version, unix time of the snapshot i64, count u32, then per bucket kind
// u8 (with the high bit: spare), amount i64, period i64 (us), burst i64, debt in ticks (two u64, low first), id size u16, id; at the end the SHA-256
// of all before it. Only debt is in it, no instant of a monotonic clock: that axis begins anew with every boot.
//
// Contract: decode(encode(x)) == x; whatever else the bytes are, they are refused whole, with the reason. The checksum
// finds accidents, it proves no author: whoever may write the data directory may set the limits.
// Cost: linear in the bytes. Thread rule: pure functions. Failure rule: an Error; nothing is half read.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sentinel/base/clock.hpp"
#include "sentinel/base/result.hpp"
#include "sentinel/limit/rate.hpp"

namespace sentinel::limit {

inline constexpr std::size_t kMaxIdBytes = 256;

struct SavedBucket {
  std::string id;  // at most kMaxIdBytes
  Rate rate;
  Int128 debt = 0;  // ticks of 1/period unit (gcra.hpp), above 0
  bool spare = false;

  friend bool operator==(const SavedBucket&, const SavedBucket&) = default;
};

struct SavedLimits {
  Duration unix_time{0};  // when the debts were as they are written
  std::vector<SavedBucket> buckets;

  friend bool operator==(const SavedLimits&, const SavedLimits&) = default;
};

std::string encode(const SavedLimits& limits);
Result<SavedLimits> decode(std::string_view bytes);

}  // namespace sentinel::limit
