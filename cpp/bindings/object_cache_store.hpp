// The entries of an ObjectCache: references to keys and values, found by hash, bounded, with deadlines and tags.
//
// Layout: a slot is half a cache line and has all that a hit looks at. A hit costs a line of the table, the slot, and the
// value's own count of references; deadlines, links and tags lie elsewhere, by the number of the slot, and are there
// only once something needs them. The order of slots, expiry and tags are cpp/sentinel/cache's; here are references,
// hashes and clocks.
//
// Rules that keep it whole when Python code calls back. (1) What may run Python code before a change (hash, weigh,
// clock, tags, __eq__) runs first; __eq__ ends in a look at `version_`, and the search starts again if the cache changed.
// (2) A change runs no Python code: references that go are handed to a Release, which drops them when the change is
// over.
//
// Contract: hashes are PyObject_Hash of the key. Times as object_cache_time.hpp has them; no clock is read for entries
// without a deadline. Threads: all of it needs the GIL, which is its lock. Failure: as the C API, an exception is set;
// what changes something may throw bad_alloc, the cache being whole then.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bindings/object_cache_keys.hpp"
#include "bindings/object_cache_memory.hpp"
#include "bindings/object_cache_release.hpp"
#include "bindings/object_cache_time.hpp"
#include "bindings/object_cache_weight.hpp"
#include "sentinel/cache/duel.hpp"
#include "sentinel/cache/expiry_wheel.hpp"
#include "sentinel/cache/glob.hpp"
#include "sentinel/cache/residency.hpp"
#include "sentinel/cache/slot_table.hpp"
#include "sentinel/cache/tag_index.hpp"

namespace sentinel::bindings::object_cache {

using cache::kNoSlot;

struct Bounds {
  std::uint64_t max_entries = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t max_bytes = 0;  // 0: not bounded by bytes
  std::int64_t ttl = kNever;
  bool adaptive = true;
};

struct Counters {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t stale_hits = 0;
  std::uint64_t sets = 0;
  std::uint64_t evictions = 0;
  std::uint64_t expirations = 0;
  std::uint64_t rejections = 0;
};

// What is stored with a value, checked and converted.
struct Terms {
  std::int64_t ttl = kNever;
  std::int64_t stale = 0;
  double cost_seconds = 0;
  std::uint64_t weight = 1;
  std::vector<std::string> tags;
};

struct Found {
  PyObject* value = nullptr;  // a new reference
  double remaining_seconds = 0.0;
  double cost_seconds = 0.0;
};

class Store {
 public:
  // Before it, the cache holds nothing and refuses to. `measure` and the user's `weigh` and `clock` may be nullptr.
  void set_up(const Bounds& bounds, PyObject* weigh, PyObject* measure, PyObject* clock);

  bool ready() const { return ready_; }
  const Bounds& bounds() const { return bounds_; }
  const Counters& counters() const { return counters_; }
  const Clock& clock() const { return clock_; }
  std::size_t size() const { return residency_.size(); }
  std::uint64_t bytes() const { return bounds_.max_bytes > 0 ? residency_.weight() : 0; }

  // A new reference to the fresh value, or on a miss to `otherwise` (which may be nullptr); nullptr: an exception is
  // set. Most hits call nothing: what needs a call is a function of its own, which this one ends in.
  [[gnu::always_inline]] PyObject* get(PyObject* key, Py_hash_t hash, PyObject* otherwise) {
    const std::uint32_t at = table_.probe(static_cast<std::uint64_t>(hash)).slot;
    if (at == kNoSlot) [[unlikely]]
      return miss(hash, otherwise);
    if (by_own_clock_) [[unlikely]]
      return search(key, hash, otherwise);
    const Slot& slot = slots_[at];
    if (slot.key != key)
      if (slot.hash != static_cast<std::uint64_t>(hash) || !short_ascii_equal(slot.key, key))
        return search(key, hash, otherwise);
    return slot.fresh_tick == kNeverTick ? hit_at_once(at) : get_timed(at, otherwise);
  }

  // The same without counting or renewing.
  PyObject* peek(PyObject* key, Py_hash_t hash, PyObject* otherwise) const;

  // 1 found, be it stale, 0 not, -1 an exception is set.
  int lookup(PyObject* key, Py_hash_t hash, Found& found);

  // 1 stored, 0 too heavy, -1 an exception is set.
  int set(PyObject* key, Py_hash_t hash, PyObject* value, const Terms& terms);

  // 1 gone, 0 there was none (that still could be given), -1 an exception is set. Hands out a fresh value if wanted.
  int take(PyObject* key, Py_hash_t hash, PyObject** fresh_value);

  void clear();
  std::size_t drop_tag(std::string_view tag);
  std::size_t drop_matching(const cache::Glob& glob);

  // How many went that were past their deadline; -1: an exception is set.
  Py_ssize_t expire();

  // New references to fresh keys (and values, in turn), most valuable first. False: an exception is set.
  bool collect(std::vector<PyObject*>& into, bool with_values) const;

  // What an entry weighs; false with an exception set. Runs Python code.
  bool weigh(PyObject* key, PyObject* value, std::uint64_t& weight) const {
    return bounds_.max_bytes == 0 || scale_.weigh(key, value, weight);
  }

  int traverse(visitproc visit, void* arg) const;
  void let_go();

 private:
  static constexpr std::int64_t kUnread = std::numeric_limits<std::int64_t>::min();
  static constexpr std::uint32_t kFailed = kNoSlot - 1;  // instead of a slot: a Python exception is set

  struct alignas(32) Slot {
    PyObject* key = nullptr;  // nullptr: free
    PyObject* value = nullptr;
    std::uint64_t hash = 0;  // of a free slot, the next free one
    std::uint32_t fresh_tick = kNeverTick;
    cache::Standing standing;
  };
  static_assert(sizeof(Slot) == 32);

  using Slots = std::vector<Slot, HugePages<Slot>>;

  struct HashOf {
    const Slots& slots;
    std::uint64_t operator()(std::uint32_t at) const { return slots[at].hash; }
  };

  // Of a slot that has a deadline or a cost, or whose predecessors had.
  struct Times {
    std::int64_t fresh_until = kNever;
    double cost_seconds = 0;
  };

  [[gnu::always_inline]] PyObject* hit_at_once(std::uint32_t at) {
    if (watcher_ != nullptr || !residency_.touch_at_once(slots_.data(), at)) [[unlikely]]
      return hit(at);
    ++counters_.hits;
    return Py_NewRef(slots_[at].value);
  }

  PyObject* hit(std::uint32_t at);
  void touch(std::uint32_t at);
  PyObject* search(PyObject* key, Py_hash_t hash, PyObject* otherwise);
  PyObject* get_timed(std::uint32_t at, PyObject* otherwise);
  PyObject* miss(Py_hash_t hash, PyObject* otherwise);
  PyObject* miss_expired(std::uint32_t at, std::int64_t now, PyObject* otherwise);

  // The slot of that key, kNoSlot or kFailed. The second one reads the clock too if the slot has a deadline.
  std::uint32_t find(PyObject* key, Py_hash_t hash) const;
  std::uint32_t find_by_asking(PyObject* key, std::uint64_t hash) const;
  std::uint32_t find_and_read_clock(PyObject* key, Py_hash_t hash, std::int64_t& now) const;

  bool is_timed(std::uint32_t at) const { return slots_[at].fresh_tick != kNeverTick; }
  bool is_fresh(std::uint32_t at, std::int64_t now) const { return now < fresh_until(at); }
  std::int64_t fresh_until(std::uint32_t at) const { return is_timed(at) ? times_[at].fresh_until : kNever; }
  std::int64_t gone_at(std::uint32_t at) const { return wheel_.armed(at) ? wheel_.deadline(at) : kNever; }

  int refuse(std::uint32_t at, Release& release);
  std::uint32_t insert(PyObject* key, Py_hash_t hash, PyObject* value, std::uint64_t weight);
  void consult_duel(std::uint64_t hash);
  void add_to_residency(std::uint32_t at, std::uint64_t weight);
  void replace(std::uint32_t at, PyObject* value, std::uint64_t weight, Release& release);
  void write_terms(std::uint32_t at, std::int64_t now, const Terms& terms, Release& release);
  void write_times(std::uint32_t at, std::int64_t fresh_until, double cost_seconds);
  bool is_full() const { return size() >= bounds_.max_entries; }
  void fetch_next_victim() const;
  void fetch_what_leaves() const;
  void make_room(std::uint32_t keep, Release& release);
  void expect_entries(std::size_t entries);
  void expire_some(std::int64_t now, std::uint32_t& keep, Release& release);
  std::uint32_t free_slot();
  void drop(std::uint32_t at, Release& release);

  Slots slots_;
  cache::SlotTable table_;
  cache::Duel* watcher_ = nullptr;  // duel_ while it wants to see hits
  bool by_own_clock_ = false;       // some entry has had a deadline, and the user gave a clock
  bool timed_ = false;              // some entry has had a deadline
  bool ready_ = false;
  std::uint32_t free_ = kNoSlot;
  Counters counters_;
  cache::Residency residency_{cache::Residency::Policy::lru};
  std::uint64_t version_ = 0;  // changes with the set of slots
  Bounds bounds_;
  std::unique_ptr<cache::Duel> duel_;
  std::size_t expected_entries_ = 0;
  std::vector<Times> times_;
  cache::ExpiryWheel wheel_;
  cache::TagIndex tags_;
  Clock clock_;
  Scale scale_;
};

}  // namespace sentinel::bindings::object_cache
