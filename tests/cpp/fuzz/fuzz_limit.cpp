// Limits: any rule's text is a valid rate or a fault with a text; any snapshot, right checksum or not, is refused whole or
// restored into a table that still keeps its bounds.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sentinel/base/digest.hpp"
#include "sentinel/limit/limit_table.hpp"
#include "sentinel/limit/snapshot.hpp"

namespace {

using namespace sentinel;
using namespace sentinel::limit;

void require(bool holds) {
  if (!holds) std::abort();
}

void check_rate(std::string_view text) {
  const auto rate = Rate::parse(text);
  if (!rate) return require(!rate.error().message.empty());
  require(rate->amount() >= 1 && rate->amount() <= kMaxAmount && rate->burst() >= 1 &&
          rate->burst() <= kMaxAmount);
  require(rate->period().count() >= 1 && rate->period() <= kMaxPeriod);
  Gcra bucket;
  const Decision decision = try_charge(bucket, *rate, Duration{0}, rate->burst());
  require(decision.allowed() && decision.remaining == 0 &&
          !try_charge(bucket, *rate, Duration{0}, 1).allowed());
}

void check_snapshot(std::string body) {
  const Digest digest = sha256(body);
  body.append(reinterpret_cast<const char*>(digest.data()), digest.size());
  LimitTable table({.max_buckets = 8, .shards = 2});
  const Instant now{Duration{1'000'000}, Duration{1'700'000'000'000'000}};
  const auto saved = decode(body);
  require(bool{table.restore(body, now)} == bool{saved});
  if (!saved) return require(!saved.error().message.empty() && table.stats().buckets == 0);
  require(*decode(encode(*saved)) == *saved);
  require(table.stats().buckets <= 8);
  for (const SavedBucket& bucket : saved->buckets) {
    const Want want{bucket.id, bucket.rate, 1};
    const auto outcome = table.reserve({&want, 1}, now);
    if (const Grant* grant = std::get_if<Grant>(&outcome)) {
      require(table.settle(grant->reservation, {2, 2}, now) == Ending::done);
    }
  }
  table.tick(now);
  require(bool{decode(table.snapshot(now))});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  check_rate(text);
  (void)decode(text);
  check_snapshot(std::string("SNTLIM\x01\x00", 8).append(text));
  return 0;
}
