// Whole answers by exact identity, in memory: sharded, bounded by bytes, each entry with its time to live.
//
// Layout: a shard is a mutex, a flat table of nodes (open addressing, keyed hash) and the two queues and the ghost of
// S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction", SOSP 2023). New entries
// enter the small queue (a tenth of the bytes); who is asked for again moves to the main queue, who is not leaves and
// is remembered by hash, and comes back straight into the main queue. So a scan of one-time questions pushes nothing
// out that is in use. Expired entries go first wherever eviction meets them.
//
// Contract:
// - A key holds up to one entry per form. Only the same partition and identity finds it: both are compared whole.
// - Memory counted (entry, strings, nodes, table) is at most max_bytes before `store` returns. Entries that readers
//   still hold after they left the cache are the readers'. `max_bytes` of 0 stores nothing.
// - An entry is found while its age is below its ttl; time comes only from the caller. `stored_at` is the caller's too,
//   so that an answer from elsewhere keeps its age.
// - An entry that is too big (max_entry_bytes counts like max_bytes), or expired when it comes, is refused and counted, and
//   nothing changes.
// - erase*: gone before the call returns; an answer that is on its way to `store` meanwhile is not seen.
// Cost: find is one hash, one short lock, one reference count. store allocates outside the lock and frees outside the lock;
// eviction is O(1) amortised. erase* other than clear walk everything, one shard's lock at a time. tick is bounded.
// Thread rule: any thread, any function. Failure rule: refusals are values; counters are exact.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/base/clock.hpp"
#include "sentinel/base/digest.hpp"
#include "sentinel/cache/byte_range.hpp"
#include "sentinel/stream/usage.hpp"

namespace sentinel::cache {

enum class Form : std::uint8_t { plain, stream };

struct EntryKey {
  Digest partition{};
  Digest identity{};

  friend bool operator==(const EntryKey&, const EntryKey&) = default;
};

// The name of a key for people: 32 hexadecimal digits over partition and identity, so two partitions never show the same.
std::string key_text_of(const EntryKey& key);

// One answer as it was given, immutable once stored.
struct Entry {
  Form form = Form::plain;
  std::string body;
  std::vector<ByteRange> usage_ranges;  // where a stream's body holds its usage-only chunk
  std::string content_type;
  std::string target;
  std::string route;
  std::string model;  // as asked
  std::string upstream_model;
  std::string account;
  std::vector<std::string> tags;
  stream::Usage usage;
  bool usage_estimated = false;
  std::int64_t cost_micro_usd = 0;
  std::string key_text;
  Instant stored_at;
  Duration ttl{0};

  Duration age(Instant now) const;       // never negative
  Duration ttl_left(Instant now) const;  // 0 or less: expired
};

using EntryPtr = std::shared_ptr<const Entry>;

struct ExactCacheBounds {
  std::size_t max_bytes = std::size_t{256} << 20U;
  std::size_t shards = 16;  // fewer when a shard would not hold four of the largest entries
  std::size_t max_entry_bytes = std::size_t{1} << 20U;
};

struct ExactCacheStats {
  std::size_t entries = 0;
  std::size_t bytes = 0;
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t stored = 0;
  std::uint64_t evicted = 0;  // for room
  std::uint64_t expired = 0;
  std::uint64_t refused = 0;
  std::uint64_t erased = 0;

  friend bool operator==(const ExactCacheStats&, const ExactCacheStats&) = default;
};

enum class Stored : std::uint8_t { yes, too_big, expired };

class ExactCache {
 public:
  using Bounds = ExactCacheBounds;

  ExactCache(Bounds bounds, std::uint64_t seed);
  ~ExactCache();
  ExactCache(const ExactCache&) = delete;
  ExactCache& operator=(const ExactCache&) = delete;

  EntryPtr find(const EntryKey& key, Form form, Instant now);
  // This form, else the other one; one look-up for the counters.
  EntryPtr find_any(const EntryKey& key, Form preferred, Instant now);
  // The same for who has missed it just before: finding nothing again is no second miss.
  EntryPtr find_after_miss(const EntryKey& key, Form preferred, Instant now);

  // Replaces the entry of the same form.
  Stored store(const EntryKey& key, Entry entry, Instant now);

  // Each returns how many entries went.
  std::size_t erase(std::string_view key_text);
  std::size_t erase_account(std::string_view account);
  std::size_t erase_tag(std::string_view tag);
  // `pattern` is compared with model and route, either will do; its first '*' stands for any text, also none.
  std::size_t erase_matching(std::string_view pattern);
  std::size_t clear();

  // Drops expired entries, a bounded piece of work; call it about every second.
  void tick(Instant now);

  ExactCacheStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sentinel::cache
