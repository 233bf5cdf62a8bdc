// The raw heap type ObjectCache: see object_cache.hpp. The order of slots, expiry and tags are cpp/sentinel/cache's; here
// are references, hashes, clocks and arguments.
//
// Rules that keep it whole when Python code calls back. (1) What may run Python code before a change (hash, weigh, clock,
// tags, __eq__) runs first; __eq__ ends in a look at `version_`, and the search starts again if the cache changed. (2) A change
// runs no Python code: references that go are handed to a Release, which drops them when the change is over.
#include "bindings/object_cache.hpp"

#include <structmember.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "bindings/bindings.hpp"
#include "bindings/fast_type.hpp"
#include "sentinel/cache/duel.hpp"
#include "sentinel/cache/expiry_wheel.hpp"
#include "sentinel/cache/glob.hpp"
#include "sentinel/cache/residency.hpp"
#include "sentinel/cache/slot_table.hpp"
#include "sentinel/cache/tag_index.hpp"

namespace sentinel::bindings {
namespace {

using cache::kNoSlot;

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kUnread = std::numeric_limits<std::int64_t>::min();
constexpr double kNanosecondsPerSecond = 1e9;
constexpr std::uint32_t kFailed = kNoSlot - 1;  // instead of a slot: a Python exception is set
constexpr int kExpiryMovesPerSet = 8;
constexpr int kMostSearches = 64;
constexpr std::uint64_t kEntryBytes = 96;  // slot, buckets, sketch
// The coarse clock lags by a tick of the kernel (1 to 10 ms). Deadlines nearer than this are compared with the fine one.
constexpr std::int64_t kCoarseMargin = 50'000'000;

PyTypeObject* object_cache_type = nullptr;

std::int64_t read(clockid_t which) {
  timespec time{};
  clock_gettime(which, &time);
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

std::int64_t nanoseconds(double seconds) {
  const double wanted = seconds * kNanosecondsPerSecond;
  if (wanted >= static_cast<double>(kNever)) return kNever;
  if (wanted <= -static_cast<double>(kNever)) return -kNever;
  return static_cast<std::int64_t>(wanted);
}

std::int64_t plus(std::int64_t time, std::int64_t more) {
  std::int64_t sum = 0;
  return more == kNever || __builtin_add_overflow(time, more, &sum) ? kNever : sum;
}

double seconds_between(std::int64_t from, std::int64_t to) {
  return to == kNever ? kNoExpirySeconds : static_cast<double>(to - from) / kNanosecondsPerSecond;
}

// One cache line.
struct alignas(64) Slot {
  PyObject* key = nullptr;  // nullptr: free
  PyObject* value = nullptr;
  std::uint64_t hash = 0;
  std::int64_t fresh_until = kNever;
  std::int64_t stored_at = 0;
  double cost_seconds = 0;
  cache::QueueNode queue_node;  // of a free slot, `older` is the next free one
};
static_assert(sizeof(Slot) == 64);

// References to drop when the cache is whole again.
class Release {
 public:
  Release() = default;
  Release(const Release&) = delete;
  Release& operator=(const Release&) = delete;
  ~Release() {
    for (std::size_t i = 0; i < count_; ++i) Py_XDECREF(first_[i]);
    for (PyObject* object : more_) Py_XDECREF(object);
  }

  // Makes room for the two of each entry, so that `add` cannot fail. May throw.
  void reserve(std::size_t entries) {
    const std::size_t wanted = more_.size() + 2 * entries;
    if (count_ + 2 * entries <= first_.size() || wanted <= more_.capacity()) return;
    more_.reserve(std::max({std::size_t{64}, wanted, more_.size() * 2}));
  }
  void add(PyObject* object) {
    if (count_ < first_.size()) {
      first_[count_++] = object;
    } else {
      more_.push_back(object);
    }
  }

 private:
  std::size_t count_ = 0;
  std::array<PyObject*, 8> first_;
  std::vector<PyObject*> more_;
};

// Keys that compare without running Python code: both str, or both int.
bool asks_no_python(PyObject* left, PyObject* right) {
  return Py_TYPE(left) == Py_TYPE(right) && (PyUnicode_CheckExact(left) || PyLong_CheckExact(left));
}

bool equal_plainly(PyObject* left, PyObject* right) {
  if (PyLong_CheckExact(left)) return PyObject_RichCompareBool(left, right, Py_EQ) == 1;

  const Py_ssize_t length = PyUnicode_GET_LENGTH(left);
  if (length != PyUnicode_GET_LENGTH(right) || PyUnicode_KIND(left) != PyUnicode_KIND(right)) return false;
  const auto bytes = static_cast<std::size_t>(length) * static_cast<std::size_t>(PyUnicode_KIND(left));
  return std::memcmp(PyUnicode_DATA(left), PyUnicode_DATA(right), bytes) == 0;
}

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

class Store {
 public:
  Store() = default;

  // Before it, the cache holds nothing and refuses to.
  void set_up(const Bounds& bounds, PyObject* weigh, PyObject* measure, PyObject* clock) {
    using Policy = cache::Residency::Policy;
    residency_ = cache::Residency(bounds.adaptive ? Policy::adaptive : Policy::lru, bounds.max_bytes > 0);
    bounds_ = bounds;
    weigh_ = Py_XNewRef(weigh);
    measure_ = Py_XNewRef(measure);
    clock_ = Py_XNewRef(clock);
    if (bounds.adaptive && bounds.max_bytes == 0) expect_entries(bounds.max_entries);
    ready_ = true;
  }

  bool ready() const { return ready_; }
  const Bounds& bounds() const { return bounds_; }
  const Counters& counters() const { return counters_; }
  std::size_t size() const { return residency_.size(); }
  std::uint64_t bytes() const { return bounds_.max_bytes > 0 ? residency_.weight() : 0; }

  // A new reference; nullptr: a miss, or an exception is set. What is seldom is kept out of it, in functions of its own.
  PyObject* get(PyObject* key, Py_hash_t hash) {
    if (clock_ != nullptr && timed_) [[unlikely]]
      return get_by_own_clock(key, hash);
    const std::uint32_t at = find(key, hash);
    if (at >= kFailed) [[unlikely]]
      return at == kFailed ? nullptr : miss(hash);
    const Slot& slot = slots_[at];
    if (slot.fresh_until != kNever && !is_fresh_by_system_clock(slot)) [[unlikely]]
      return expired_miss(at, kUnread);
    return hit(at);
  }

  // The same without counting or renewing.
  PyObject* peek(PyObject* key, Py_hash_t hash) const {
    std::int64_t now = kUnread;
    if (clock_ != nullptr && timed_ && !read_clock(now)) return nullptr;
    const std::uint32_t at = find(key, hash);
    if (at >= kFailed || !is_fresh(slots_[at], now)) return nullptr;
    return Py_NewRef(slots_[at].value);
  }

  int lookup(PyObject* key, Py_hash_t hash, CachedObject& found) {
    std::int64_t now = 0;
    if (!read_clock(now)) return -1;
    const std::uint32_t at = find(key, hash);
    if (at == kFailed) return -1;
    if (at == kNoSlot || now >= gone_at(at)) {
      at == kNoSlot ? miss(hash) : expired_miss(at, now);
      return 0;
    }
    const Slot& slot = slots_[at];
    ++(now < slot.fresh_until ? counters_.hits : counters_.stale_hits);
    touch(at);
    found.age_seconds = std::max(0.0, seconds_between(slot.stored_at, now));
    found.remaining_seconds = seconds_between(now, slot.fresh_until);
    found.cost_seconds = slot.cost_seconds;
    found.value = Py_NewRef(slot.value);
    return 1;
  }

  // 1 stored, 0 too heavy, -1 an exception is set. May throw bad_alloc, the cache being whole then.
  int set(PyObject* key, Py_hash_t hash, PyObject* value, const Terms& terms) {
    std::int64_t now = 0;
    const bool fine = terms.ttl != kNever;
    if (!read_clock(now, fine ? CLOCK_MONOTONIC : CLOCK_MONOTONIC_COARSE)) return -1;
    std::uint32_t at = find(key, hash);
    if (at == kFailed) return -1;
    Release release;
    expire_some(now, at, release);
    if (bounds_.max_bytes > 0 && terms.weight > bounds_.max_bytes) return refuse(at, release);
    at = at == kNoSlot ? insert(key, hash, value, terms.weight) : replace(at, value, terms.weight, release);
    write_terms(at, now, terms, release);
    ++counters_.sets;
    make_room(at, release);
    return 1;
  }

  // 1 gone, 0 there was none (that still could be given), -1 an exception is set. Hands out a fresh value if wanted.
  int take(PyObject* key, Py_hash_t hash, PyObject** fresh_value) {
    std::int64_t now = 0;
    if (!read_clock(now)) return -1;
    const std::uint32_t at = find(key, hash);
    if (at >= kFailed) return at == kFailed ? -1 : 0;
    const bool gone = now >= gone_at(at);
    if (fresh_value != nullptr && now < slots_[at].fresh_until) *fresh_value = Py_NewRef(slots_[at].value);
    Release release;
    drop(at, release);
    counters_.expirations += gone ? 1U : 0U;
    return gone ? 0 : 1;
  }

  void clear() {
    cache::SlotTable no_table;
    cache::Residency nobody = residency_.emptied();
    std::vector<Slot> old;
    old.swap(slots_);
    table_ = std::move(no_table);
    residency_ = std::move(nobody);
    free_ = kNoSlot;
    wheel_.clear();
    tags_.clear();
    timed_ = false;
    ++version_;
    for (const Slot& slot : old) {
      Py_XDECREF(slot.key);
      Py_XDECREF(slot.value);
    }
  }

  std::size_t drop_tag(std::string_view tag) {
    Release release;
    std::size_t dropped = 0;
    for (std::uint32_t at = tags_.first(tag); at != kNoSlot; at = tags_.first(tag), ++dropped)
      drop(at, release);
    return dropped;
  }

  std::size_t drop_matching(const cache::Glob& glob) {
    Release release;
    std::size_t dropped = 0;
    for (std::uint32_t at = 0; at < slots_.size(); ++at) {
      if (slots_[at].key == nullptr || !matches(glob, slots_[at].key)) continue;
      drop(at, release);
      ++dropped;
    }
    return dropped;
  }

  // How many went; -1: an exception is set.
  Py_ssize_t expire() {
    if (wheel_.size() == 0) return 0;
    std::int64_t now = 0;
    if (!read_clock(now)) return -1;
    Release release;
    std::vector<std::uint32_t> due;
    release.reserve(wheel_.size());
    wheel_.take_all_due(now, due);
    for (const std::uint32_t at : due) drop(at, release);
    counters_.expirations += due.size();
    return static_cast<Py_ssize_t>(due.size());
  }

  // New references to fresh keys (and values, in turn), most valuable first. False: an exception is set.
  bool collect(std::vector<PyObject*>& into, bool with_values) const {
    std::int64_t now = kUnread;
    if (timed_ && !read_clock(now)) return false;
    into.reserve(size() * 2);
    residency_.visit(slots_.data(), [&](std::uint32_t at) {
      if (slots_[at].fresh_until <= now && slots_[at].fresh_until != kNever) return;
      into.push_back(Py_NewRef(slots_[at].key));
      if (with_values) into.push_back(Py_NewRef(slots_[at].value));
    });
    return true;
  }

  // What an entry weighs; false with an exception set. Runs Python code.
  bool weigh(PyObject* key, PyObject* value, std::uint64_t& weight) const {
    if (bounds_.max_bytes == 0) return true;
    if (weigh_ != nullptr) return call_weigh(key, value, weight);
    std::uint64_t key_bytes = 0;
    std::uint64_t value_bytes = 0;
    if (!measure(key, key_bytes) || !measure(value, value_bytes)) return false;
    weight = kEntryBytes + key_bytes + value_bytes;
    return true;
  }

  bool read_clock(std::int64_t& now, clockid_t which = CLOCK_MONOTONIC) const {
    if (clock_ == nullptr) {
      now = read(which);
      return true;
    }
    PyObject* clock = Py_NewRef(clock_);
    PyObject* told = PyObject_CallNoArgs(clock);
    Py_DECREF(clock);
    if (told == nullptr) return false;
    const double seconds = PyFloat_AsDouble(told);
    Py_DECREF(told);
    if (seconds == -1.0 && PyErr_Occurred() != nullptr) return false;
    if (std::isnan(seconds)) {
      PyErr_SetString(PyExc_ValueError, "clock() must give seconds, not nan");
      return false;
    }
    now = nanoseconds(seconds);
    return true;
  }

  int traverse(visitproc visit, void* arg) const {
    for (const Slot& slot : slots_) {
      Py_VISIT(slot.key);
      Py_VISIT(slot.value);
    }
    Py_VISIT(weigh_);
    Py_VISIT(measure_);
    Py_VISIT(clock_);
    return 0;
  }

  void let_go() {
    clear();
    Py_CLEAR(weigh_);
    Py_CLEAR(measure_);
    Py_CLEAR(clock_);
  }

 private:
  [[gnu::noinline]] PyObject* get_by_own_clock(PyObject* key, Py_hash_t hash) {
    std::int64_t now = 0;
    if (!read_clock(now)) return nullptr;
    const std::uint32_t at = find(key, hash);
    if (at >= kFailed) return at == kFailed ? nullptr : miss(hash);
    return now < slots_[at].fresh_until ? hit(at) : expired_miss(at, now);
  }

  PyObject* hit(std::uint32_t at) {
    ++counters_.hits;
    PyObject* const value = slots_[at].value;
    touch(at);
    return Py_NewRef(value);
  }

  // The slot of that key, kNoSlot or kFailed.
  std::uint32_t find(PyObject* key, Py_hash_t hash) const {
    const cache::SlotTable::Probe probe = table_.probe(static_cast<std::uint64_t>(hash));
    if (probe.slot == kNoSlot || slots_[probe.slot].key == key) return probe.slot;
    return find_from(probe, key, static_cast<std::uint64_t>(hash));
  }

  [[gnu::noinline]] std::uint32_t find_from(cache::SlotTable::Probe probe, PyObject* key,
                                            std::uint64_t hash) const {
    for (; probe.slot != kNoSlot; table_.advance(probe)) {
      const Slot& slot = slots_[probe.slot];
      if (slot.key == key) return probe.slot;
      if (slot.hash != hash) continue;
      if (!asks_no_python(slot.key, key)) return find_by_asking(key, hash);
      if (equal_plainly(slot.key, key)) return probe.slot;
    }
    return kNoSlot;
  }

  // The same where keys must be asked, which runs Python code.
  std::uint32_t find_by_asking(PyObject* key, std::uint64_t hash) const {
    for (int search = 0; search < kMostSearches; ++search) {
      const std::uint64_t version = version_;
      cache::SlotTable::Probe probe = table_.probe(hash);
      for (; probe.slot != kNoSlot; table_.advance(probe)) {
        if (slots_[probe.slot].hash != hash) continue;
        const int equal = ask(slots_[probe.slot].key, key);
        if (equal < 0) return kFailed;
        if (version_ != version) break;
        if (equal == 1) return probe.slot;
      }
      if (version_ == version) return kNoSlot;
    }
    PyErr_SetString(PyExc_RuntimeError, "the cache changes whenever its keys are compared");
    return kFailed;
  }

  // Tuples of the very same parts, as the keys of calls are, need no comparison by Python.
  static bool same_parts(PyObject* held, PyObject* key) {
    if (!PyTuple_CheckExact(held) || !PyTuple_CheckExact(key)) return false;
    const Py_ssize_t count = PyTuple_GET_SIZE(held);
    if (PyTuple_GET_SIZE(key) != count) return false;
    for (Py_ssize_t i = 0; i < count; ++i)
      if (PyTuple_GET_ITEM(held, i) != PyTuple_GET_ITEM(key, i)) return false;
    return true;
  }

  static int ask(PyObject* held, PyObject* key) {
    if (same_parts(held, key)) return 1;
    Py_INCREF(held);
    const int equal = PyObject_RichCompareBool(held, key, Py_EQ);
    Py_DECREF(held);
    return equal;
  }

  bool is_fresh(const Slot& slot, std::int64_t now) const {
    if (now != kUnread) return now < slot.fresh_until;
    return slot.fresh_until == kNever || is_fresh_by_system_clock(slot);
  }

  static bool is_fresh_by_system_clock(const Slot& slot) {
    if (slot.fresh_until - kCoarseMargin > read(CLOCK_MONOTONIC_COARSE)) [[likely]]
      return true;
    return read(CLOCK_MONOTONIC) < slot.fresh_until;
  }

  // When it must be gone: its ttl and its stale window.
  std::int64_t gone_at(std::uint32_t at) const { return wheel_.armed(at) ? wheel_.deadline(at) : kNever; }

  [[gnu::noinline]] PyObject* miss(Py_hash_t hash) {
    ++counters_.misses;
    residency_.note_miss(static_cast<std::uint64_t>(hash));
    if (duel_) duel_->watch(static_cast<std::uint64_t>(hash));
    return nullptr;
  }

  // Of an entry that is not fresh; it goes unless it is still to be had stale.
  [[gnu::noinline]] PyObject* expired_miss(std::uint32_t at, std::int64_t now) {
    ++counters_.misses;
    if (now == kUnread) now = read(CLOCK_MONOTONIC);
    if (now < gone_at(at)) return nullptr;
    Release release;
    drop(at, release);
    ++counters_.expirations;
    return nullptr;
  }

  [[gnu::always_inline]] void touch(std::uint32_t at) {
    residency_.touch(slots_.data(), at);
    if (duel_) duel_->watch(slots_[at].hash);
  }

  int refuse(std::uint32_t at, Release& release) {
    if (at != kNoSlot) drop(at, release);
    ++counters_.rejections;
    return 0;
  }

  std::uint32_t insert(PyObject* key, Py_hash_t hash, PyObject* value, std::uint64_t weight) {
    const auto hashed = static_cast<std::uint64_t>(hash);
    if (duel_) {
      if (!residency_.just_missed(hashed)) duel_->watch(hashed);
      residency_.set_window_share(duel_->judge() ? cache::kWholeWindow : cache::kSmallWindow);
    }
    const std::uint32_t at = free_slot();
    Slot& slot = slots_[at];
    const std::uint32_t next_free = slot.queue_node.older;
    slot = Slot{};
    slot.hash = hashed;
    try {
      table_.insert(hashed, at);
      add_to_residency(at, weight);
    } catch (...) {
      slot.queue_node.older = next_free;
      throw;
    }
    free_ = next_free;
    slot.key = Py_NewRef(key);
    slot.value = Py_NewRef(value);
    ++version_;
    return at;
  }

  void add_to_residency(std::uint32_t at, std::uint64_t weight) {
    try {
      residency_.add(slots_.data(), at, weight);
    } catch (...) {
      table_.remove(slots_[at].hash, at);
      throw;
    }
  }

  std::uint32_t replace(std::uint32_t at, PyObject* value, std::uint64_t weight, Release& release) {
    release.reserve(1);
    release.add(slots_[at].value);
    slots_[at].value = Py_NewRef(value);
    residency_.reweigh(slots_.data(), at, weight);
    touch(at);
    return at;
  }

  // An entry whose terms cannot be written is no entry.
  void write_terms(std::uint32_t at, std::int64_t now, const Terms& terms, Release& release) {
    Slot& slot = slots_[at];
    slot.stored_at = now;
    slot.cost_seconds = terms.cost_seconds;
    slot.fresh_until = plus(now, terms.ttl);
    const std::int64_t gone = plus(slot.fresh_until, terms.stale);
    try {
      tags_.detach(at);
      for (const std::string& tag : terms.tags) tags_.attach(at, tag);
      gone == kNever ? wheel_.disarm(at) : wheel_.arm(at, gone);
    } catch (...) {
      drop(at, release);
      throw;
    }
    timed_ = timed_ || slot.fresh_until != kNever;
  }

  void make_room(std::uint32_t keep, Release& release) {
    while (size() > bounds_.max_entries ||
           (bounds_.max_bytes > 0 && residency_.weight() > bounds_.max_bytes)) {
      if (bounds_.adaptive && bounds_.max_bytes > 0) expect_entries(size());
      const std::uint32_t victim = residency_.victim(slots_.data(), keep);
      if (victim == kNoSlot) return;
      drop(victim, release);
      ++counters_.evictions;
    }
  }

  // The shadows' size follows the cache's, where that is not known beforehand.
  void expect_entries(std::size_t entries) {
    if (duel_ && entries / 2 <= expected_entries_ && expected_entries_ / 2 <= entries) return;
    duel_ = std::make_unique<cache::Duel>(entries);
    expected_entries_ = entries;
  }

  void expire_some(std::int64_t now, std::uint32_t& keep, Release& release) {
    if (wheel_.size() == 0) return;
    int budget = kExpiryMovesPerSet;
    for (release.reserve(1);; release.reserve(1)) {
      const std::uint32_t at = wheel_.take_due(now, budget);
      if (at == kNoSlot) return;
      if (at == keep) keep = kNoSlot;
      drop(at, release);
      ++counters_.expirations;
    }
  }

  // The first of the free slots, which stays there.
  std::uint32_t free_slot() {
    if (free_ != kNoSlot) return free_;
    if (slots_.size() >= kFailed / 2) throw std::bad_alloc();
    slots_.emplace_back();
    free_ = static_cast<std::uint32_t>(slots_.size() - 1);
    return free_;
  }

  void drop(std::uint32_t at, Release& release) {
    release.reserve(1);
    Slot& slot = slots_[at];
    table_.remove(slot.hash, at);
    residency_.remove(slots_.data(), at);
    wheel_.disarm(at);
    tags_.detach(at);
    release.add(slot.key);
    release.add(slot.value);
    slot = Slot{};
    slot.queue_node.older = free_;
    free_ = at;
    ++version_;
  }

  static bool matches(const cache::Glob& glob, PyObject* key) {
    if (!PyUnicode_Check(key)) return false;
    const auto size = static_cast<std::size_t>(PyUnicode_GET_LENGTH(key));
    switch (PyUnicode_KIND(key)) {
      case PyUnicode_1BYTE_KIND: return glob.matches(PyUnicode_1BYTE_DATA(key), size);
      case PyUnicode_2BYTE_KIND: return glob.matches(PyUnicode_2BYTE_DATA(key), size);
      default: return glob.matches(PyUnicode_4BYTE_DATA(key), size);
    }
  }

  bool call_weigh(PyObject* key, PyObject* value, std::uint64_t& weight) const {
    PyObject* callable = Py_NewRef(weigh_);
    PyObject* const arguments[] = {key, value};
    PyObject* told = PyObject_Vectorcall(callable, arguments, 2, nullptr);
    Py_DECREF(callable);
    return told != nullptr && take_weight(told, weight);
  }

  bool measure(PyObject* object, std::uint64_t& bytes) const {
    if (PyBytes_CheckExact(object)) {
      bytes = static_cast<std::uint64_t>(PyBytes_GET_SIZE(object) + PyBytes_Type.tp_basicsize);
      return true;
    }
    if (measure_ == nullptr) return true;
    PyObject* told = PyObject_CallOneArg(measure_, object);
    return told != nullptr && take_weight(told, bytes);
  }

  // Consumes `told`.
  static bool take_weight(PyObject* told, std::uint64_t& weight) {
    const long long given = PyLong_AsLongLong(told);
    Py_DECREF(told);
    if (given == -1 && PyErr_Occurred() != nullptr) return false;
    if (given < 0) {
      PyErr_Format(PyExc_ValueError, "weigh() must give bytes, 0 or more, not %lld", given);
      return false;
    }
    weight = static_cast<std::uint64_t>(given);
    return true;
  }

  std::vector<Slot> slots_;
  cache::SlotTable table_;
  cache::Residency residency_{cache::Residency::Policy::lru};
  std::unique_ptr<cache::Duel> duel_;
  PyObject* clock_ = nullptr;
  Counters counters_;
  std::uint64_t version_ = 0;  // changes with the set of slots
  std::uint32_t free_ = kNoSlot;
  bool timed_ = false;  // some entry has had a deadline
  bool ready_ = false;
  Bounds bounds_;
  std::size_t expected_entries_ = 0;
  PyObject* weigh_ = nullptr;
  PyObject* measure_ = nullptr;  // sys.getsizeof
  cache::ExpiryWheel wheel_;
  cache::TagIndex tags_;
};

struct ObjectCache {
  PyObject_HEAD PyObject* weak_references;
  Store store;
};

Store& store_of(PyObject* self) { return reinterpret_cast<ObjectCache*>(self)->store; }

// Calls what may throw bad_alloc.
template <class Result, class Function>
Result guarded(Result failed, Function function) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    return failed;
  }
}

bool hash_of(PyObject* key, Py_hash_t& hash) {
  if (PyUnicode_CheckExact(key)) {
    hash = reinterpret_cast<PyASCIIObject*>(key)->hash;
    if (hash != -1) return true;
  }
  hash = PyObject_Hash(key);
  return hash != -1;
}

bool refuse_seconds(const char* name, const char* rule, double seconds) {
  const std::string message = std::string(name) + " must be " + rule + ", not " + std::to_string(seconds);
  PyErr_SetString(PyExc_ValueError, message.c_str());
  return false;
}

bool seconds_from(PyObject* object, const char* name, double& seconds) {
  seconds = PyFloat_AsDouble(object);
  if (seconds != -1.0 || PyErr_Occurred() == nullptr) return true;
  if (PyErr_ExceptionMatches(PyExc_OverflowError) != 0)
    PyErr_Format(PyExc_ValueError, "%s must fit a float", name);
  return false;
}

bool ttl_from(double seconds, std::int64_t& ttl) {
  if (!(seconds > 0)) return refuse_seconds("ttl", "above 0 seconds", seconds);
  ttl = nanoseconds(seconds);
  return true;
}

bool tags_from(PyObject* tags, std::vector<std::string>& into) {
  if (tags == nullptr || tags == Py_None) return true;
  if (PyUnicode_Check(tags)) {
    PyErr_SetString(PyExc_TypeError, "tags must be an iterable of str, not one str");
    return false;
  }
  PyObject* listed = PySequence_Tuple(tags);
  if (listed == nullptr) return false;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(listed); ++i) {
    Py_ssize_t size = 0;
    const char* text = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(listed, i), &size);
    if (text == nullptr) {
      Py_DECREF(listed);
      return false;
    }
    into.emplace_back(text, static_cast<std::size_t>(size));
  }
  Py_DECREF(listed);
  return true;
}

bool terms_from(const StoreOptions& options, const Bounds& bounds, Terms& terms) {
  terms.ttl = bounds.ttl;
  if (options.ttl_seconds != 0.0 && !ttl_from(options.ttl_seconds, terms.ttl)) return false;
  if (!(options.stale_seconds >= 0))
    return refuse_seconds("stale", "0 seconds or more", options.stale_seconds);
  if (!(options.cost_seconds >= 0)) return refuse_seconds("cost", "0 seconds or more", options.cost_seconds);
  terms.stale = nanoseconds(options.stale_seconds);
  terms.cost_seconds = options.cost_seconds;
  return tags_from(options.tags, terms.tags);
}

int store_value(PyObject* self, PyObject* key, Py_hash_t hash, PyObject* value, const StoreOptions& options) {
  Store& store = store_of(self);
  if (!store.ready()) {
    PyErr_SetString(PyExc_RuntimeError, "ObjectCache.__init__() was not called");
    return -1;
  }
  return guarded(-1, [&] {
    Terms terms;
    if (!terms_from(options, store.bounds(), terms) || !store.weigh(key, value, terms.weight)) return -1;
    return store.set(key, hash, value, terms);
  });
}

// A key and a default, as get, peek and pop take them.
bool key_and_default(const Parameters<2>& parameters, PyObject* const* given, Py_ssize_t count,
                     PyObject* names, std::array<PyObject*, 2>& values) {
  if (names != nullptr || count < 1 || count > 2) return parameters.match(given, count, names, values);
  values[0] = given[0];
  if (count == 2) values[1] = given[1];
  return true;
}

PyObject* value_or(PyObject* value, PyObject* otherwise) {
  if (value != nullptr) return value;
  return PyErr_Occurred() == nullptr ? Py_NewRef(otherwise) : nullptr;
}

constexpr char kGetDoc[] =
    "get(self, key: object, default: typing.Any = None) -> typing.Any\n\n"
    "The fresh value of the key, else `default`. Counts a hit or a miss and renews the entry.\n"
    "Without any ttl no clock is read.";

PyObject* get(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  static constexpr Parameters<2> kParameters("get", {"key", "default"}, 1);
  std::array<PyObject*, 2> values{nullptr, Py_None};
  Py_hash_t hash = 0;
  if (!key_and_default(kParameters, given, count, names, values) || !hash_of(values[0], hash)) return nullptr;
  PyObject* value = store_of(self).get(values[0], hash);
  return value != nullptr ? value : value_or(value, values[1]);
}

constexpr char kPeekDoc[] =
    "peek(self, key: object, default: typing.Any = None) -> typing.Any\n\n"
    "As `get`, but nothing is counted and the entry is not renewed.";

PyObject* peek(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  static constexpr Parameters<2> kParameters("peek", {"key", "default"}, 1);
  std::array<PyObject*, 2> values{nullptr, Py_None};
  Py_hash_t hash = 0;
  if (!key_and_default(kParameters, given, count, names, values) || !hash_of(values[0], hash)) return nullptr;
  return value_or(store_of(self).peek(values[0], hash), values[1]);
}

constexpr char kPopDoc[] =
    "pop(self, key: object, default: typing.Any = None) -> typing.Any\n\n"
    "Removes the key and gives its fresh value, else `default`. Nothing is counted.";

PyObject* pop(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  static constexpr Parameters<2> kParameters("pop", {"key", "default"}, 1);
  std::array<PyObject*, 2> values{nullptr, Py_None};
  Py_hash_t hash = 0;
  if (!key_and_default(kParameters, given, count, names, values) || !hash_of(values[0], hash)) return nullptr;
  PyObject* value = nullptr;
  const int taken = guarded(-1, [&] { return store_of(self).take(values[0], hash, &value); });
  return taken < 0 ? nullptr : value_or(value, values[1]);
}

constexpr char kSetDoc[] =
    "set(self, key: object, value: object, *, ttl: float | None = None, stale: float = 0.0, "
    "tags: collections.abc.Iterable[str] = (), cost: float = 0.0) -> bool\n\n"
    "Stores the value, in place of an older one. False when it is heavier than the whole bound: then the key "
    "has no value.\n"
    "Otherwise it can be read right after: a new entry enters a window ordered by recency, and the adaptive\n"
    "policy judges it by its uses only when it leaves that window.\n\n"
    "ttl: seconds for which it is fresh, above 0; None is the cache's own, math.inf no end. stale: seconds "
    "for which\n"
    "`lookup` still gives it afterwards. tags: names for `invalidate_tag`. cost: seconds that computing the "
    "value took.\n"
    "ValueError for a ttl that is not above 0, a negative stale or cost; TypeError for an unhashable key.";

bool read_options(const std::array<PyObject*, 6>& values, StoreOptions& options) {
  if (values[2] != Py_None) {
    if (!seconds_from(values[2], "ttl", options.ttl_seconds)) return false;
    if (options.ttl_seconds == 0.0) return refuse_seconds("ttl", "above 0 seconds", 0.0);
  }
  if (values[3] != nullptr && !seconds_from(values[3], "stale", options.stale_seconds)) return false;
  if (values[5] != nullptr && !seconds_from(values[5], "cost", options.cost_seconds)) return false;
  options.tags = values[4];
  return true;
}

PyObject* set(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  static constexpr Parameters<6> kParameters("set", {"key", "value", "ttl", "stale", "tags", "cost"}, 2, 2);
  std::array<PyObject*, 6> values{nullptr, nullptr, Py_None, nullptr, nullptr, nullptr};
  StoreOptions options;
  Py_hash_t hash = 0;
  if (!kParameters.match(given, count, names, values) || !read_options(values, options)) return nullptr;
  if (!hash_of(values[0], hash)) return nullptr;
  const int stored = store_value(self, values[0], hash, values[1], options);
  return stored < 0 ? nullptr : PyBool_FromLong(stored);
}

constexpr char kDeleteDoc[] =
    "delete(self, key: object, /) -> bool\n\nRemoves the key; True when it had a value, be it a stale one.";

PyObject* delete_key(PyObject* self, PyObject* key) {
  Py_hash_t hash = 0;
  if (!hash_of(key, hash)) return nullptr;
  const int taken = guarded(-1, [&] { return store_of(self).take(key, hash, nullptr); });
  return taken < 0 ? nullptr : PyBool_FromLong(taken);
}

constexpr char kLookupDoc[] =
    "lookup(self, key: object, /) -> tuple[typing.Any, float, float, float] | None\n\n"
    "The value with its age, the seconds it stays fresh (negative when it is past that and within its stale "
    "window,\n"
    "math.inf without ttl) and its cost in seconds. Counts a hit, a stale hit or a miss, and renews the "
    "entry.";

PyObject* lookup(PyObject* self, PyObject* key) {
  Py_hash_t hash = 0;
  if (!hash_of(key, hash)) return nullptr;
  CachedObject found;
  const int held = guarded(-1, [&] { return store_of(self).lookup(key, hash, found); });
  if (held < 0) return nullptr;
  if (held == 0) return Py_NewRef(Py_None);
  return Py_BuildValue("Nddd", found.value, found.age_seconds, found.remaining_seconds, found.cost_seconds);
}

constexpr char kClearDoc[] = "clear(self) -> None\n\nRemoves everything; the counters stay.";

PyObject* clear(PyObject* self, PyObject*) {
  return guarded<PyObject*>(nullptr, [&] {
    store_of(self).clear();
    return Py_NewRef(Py_None);
  });
}

constexpr char kInvalidateTagDoc[] =
    "invalidate_tag(self, tag: str, /) -> int\n\nRemoves every entry that was stored with the tag; how many.";

PyObject* invalidate_tag(PyObject* self, PyObject* tag) {
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(tag, &size);
  if (text == nullptr) return nullptr;
  return guarded<PyObject*>(nullptr, [&] {
    return PyLong_FromSize_t(store_of(self).drop_tag({text, static_cast<std::size_t>(size)}));
  });
}

constexpr char kInvalidatePatternDoc[] =
    "invalidate_pattern(self, pattern: str, /) -> int\n\n"
    "Removes every entry whose key is a str that the shell pattern matches as a whole; how many.\n"
    "* is any run, ? any one character, [abc] or [a-z] one of a class, [!abc] one not of it. Looks at every "
    "entry, in at most\n"
    "length of key x length of pattern steps.";

PyObject* invalidate_pattern(PyObject* self, PyObject* pattern) {
  if (!PyUnicode_Check(pattern)) {
    PyErr_Format(PyExc_TypeError, "pattern must be a str, not %.100s", Py_TYPE(pattern)->tp_name);
    return nullptr;
  }
  return guarded<PyObject*>(nullptr, [&]() -> PyObject* {
    std::u32string text(static_cast<std::size_t>(PyUnicode_GET_LENGTH(pattern)), U'\0');
    for (std::size_t i = 0; i < text.size(); ++i)
      text[i] = static_cast<char32_t>(PyUnicode_READ_CHAR(pattern, static_cast<Py_ssize_t>(i)));
    return PyLong_FromSize_t(store_of(self).drop_matching(cache::Glob(text)));
  });
}

constexpr char kExpireDoc[] =
    "expire(self) -> int\n\nRemoves what is past its ttl and its stale window; how many.\n"
    "Not needed for correctness: such entries are never given, and each `set` removes some.";

PyObject* expire(PyObject* self, PyObject*) {
  const Py_ssize_t gone = guarded<Py_ssize_t>(-1, [&] { return store_of(self).expire(); });
  return gone < 0 ? nullptr : PyLong_FromSsize_t(gone);
}

// Consumes the references.
PyObject* list_of_keys(const std::vector<PyObject*>& collected) {
  PyObject* list = PyList_New(static_cast<Py_ssize_t>(collected.size()));
  for (std::size_t i = 0; i < collected.size(); ++i) {
    if (list == nullptr) {
      Py_DECREF(collected[i]);
    } else {
      PyList_SET_ITEM(list, static_cast<Py_ssize_t>(i), collected[i]);
    }
  }
  return list;
}

// Consumes the references: key and value in turn.
PyObject* list_of_items(const std::vector<PyObject*>& collected) {
  PyObject* list = PyList_New(static_cast<Py_ssize_t>(collected.size() / 2));
  for (std::size_t i = 0; i < collected.size(); i += 2) {
    PyObject* item = list == nullptr ? nullptr : PyTuple_Pack(2, collected[i], collected[i + 1]);
    Py_DECREF(collected[i]);
    Py_DECREF(collected[i + 1]);
    if (item != nullptr) {
      PyList_SET_ITEM(list, static_cast<Py_ssize_t>(i / 2), item);
    } else {
      Py_CLEAR(list);
    }
  }
  return list;
}

constexpr char kKeysDoc[] =
    "keys(self) -> list[typing.Any]\n\n"
    "The keys of fresh entries, those that would be kept longest first. With policy \"lru\": newest first.";

PyObject* keys(PyObject* self, PyObject*) {
  return guarded<PyObject*>(nullptr, [&]() -> PyObject* {
    std::vector<PyObject*> collected;
    return store_of(self).collect(collected, false) ? list_of_keys(collected) : nullptr;
  });
}

constexpr char kItemsDoc[] =
    "items(self) -> list[tuple[typing.Any, typing.Any]]\n\nKeys and values of fresh entries, in the order of "
    "`keys`.";

PyObject* items(PyObject* self, PyObject*) {
  return guarded<PyObject*>(nullptr, [&]() -> PyObject* {
    std::vector<PyObject*> collected;
    return store_of(self).collect(collected, true) ? list_of_items(collected) : nullptr;
  });
}

constexpr char kCountersDoc[] =
    "counters(self) -> dict[str, int]\n\n"
    "hits, misses, stale_hits, sets, evictions (for room), expirations, rejections (too heavy), entries, and "
    "bytes\n"
    "(0 without max_bytes). entries and bytes may hold some that have expired and were not met yet.";

PyObject* counters(PyObject* self, PyObject*) {
  const Store& store = store_of(self);
  const Counters& counted = store.counters();
  return Py_BuildValue("{sKsKsKsKsKsKsKsKsK}", "hits", counted.hits, "misses", counted.misses, "stale_hits",
                       counted.stale_hits, "sets", counted.sets, "evictions", counted.evictions,
                       "expirations", counted.expirations, "rejections", counted.rejections, "entries",
                       static_cast<unsigned long long>(store.size()), "bytes", store.bytes());
}

constexpr char kClockSecondsDoc[] = "clock_seconds(self) -> float\n\nThe cache's clock: seconds, monotonic.";

PyObject* clock_seconds(PyObject* self, PyObject*) {
  std::int64_t now = 0;
  if (!store_of(self).read_clock(now)) return nullptr;
  return PyFloat_FromDouble(static_cast<double>(now) / kNanosecondsPerSecond);
}

Py_ssize_t length(PyObject* self) {
  if (guarded<Py_ssize_t>(-1, [&] { return store_of(self).expire(); }) < 0) return -1;
  return static_cast<Py_ssize_t>(store_of(self).size());
}

constexpr char kLenDoc[] =
    "__len__(self) -> int\n\nHow many entries can still be given, fresh or stale; removes what cannot.";

PyObject* length_method(PyObject* self, PyObject*) {
  const Py_ssize_t size = length(self);
  return size < 0 ? nullptr : PyLong_FromSsize_t(size);
}

int contains(PyObject* self, PyObject* key) {
  Py_hash_t hash = 0;
  if (!hash_of(key, hash)) return -1;
  PyObject* value = store_of(self).peek(key, hash);
  if (value == nullptr) return PyErr_Occurred() == nullptr ? 0 : -1;
  Py_DECREF(value);
  return 1;
}

constexpr char kContainsDoc[] =
    "__contains__(self, key: object, /) -> bool\n\nWhether `get` would find it. Nothing is counted.";

PyObject* contains_method(PyObject* self, PyObject* key) {
  const int held = contains(self, key);
  return held < 0 ? nullptr : PyBool_FromLong(held);
}

bool bound_from(PyObject* object, const char* name, std::uint64_t most, std::uint64_t& bound) {
  const long long given = PyLong_AsLongLong(object);
  if (given == -1 && PyErr_Occurred() != nullptr) return false;
  if (given >= 1 && static_cast<std::uint64_t>(given) <= most) {
    bound = static_cast<std::uint64_t>(given);
    return true;
  }
  PyErr_Format(PyExc_ValueError, "%s must be in 1..%llu, not %lld", name,
               static_cast<unsigned long long>(most), given);
  return false;
}

bool policy_from(PyObject* policy, bool& adaptive) {
  if (!PyUnicode_Check(policy)) {
    PyErr_Format(PyExc_TypeError, "policy must be a str, not %.100s", Py_TYPE(policy)->tp_name);
    return false;
  }
  adaptive = PyUnicode_CompareWithASCIIString(policy, "adaptive") == 0;
  if (adaptive || PyUnicode_CompareWithASCIIString(policy, "lru") == 0) return true;
  PyErr_Format(PyExc_ValueError, "policy must be 'adaptive' or 'lru', not %R", policy);
  return false;
}

bool callable_or_none(PyObject* object, const char* name) {
  if (object == Py_None || PyCallable_Check(object) != 0) return true;
  PyErr_Format(PyExc_TypeError, "%s must be callable, not %.100s", name, Py_TYPE(object)->tp_name);
  return false;
}

struct InitArguments {
  PyObject* max_entries = Py_None;
  PyObject* max_bytes = Py_None;
  PyObject* ttl = Py_None;
  PyObject* policy = nullptr;
  PyObject* weigh = Py_None;
  PyObject* clock = Py_None;
};

bool bounds_from(const InitArguments& given, Bounds& bounds) {
  constexpr std::uint64_t kMostEntries = 1'000'000'000;
  constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 62U;
  if (given.max_entries == Py_None && given.max_bytes == Py_None) {
    PyErr_SetString(PyExc_ValueError, "max_entries or max_bytes must be given: None of both bounds nothing");
    return false;
  }
  if (given.max_entries != Py_None &&
      !bound_from(given.max_entries, "max_entries", kMostEntries, bounds.max_entries))
    return false;
  if (given.max_bytes != Py_None && !bound_from(given.max_bytes, "max_bytes", kMostBytes, bounds.max_bytes))
    return false;
  if (given.max_bytes == Py_None && given.weigh != Py_None) {
    PyErr_SetString(PyExc_ValueError, "weigh needs max_bytes, which is None");
    return false;
  }
  double seconds = 0;
  if (given.ttl != Py_None && (!seconds_from(given.ttl, "ttl", seconds) || !ttl_from(seconds, bounds.ttl)))
    return false;
  return given.policy == nullptr || policy_from(given.policy, bounds.adaptive);
}

int init(PyObject* self, PyObject* arguments, PyObject* keywords) {
  static const char* const kNames[] = {"max_entries", "max_bytes", "ttl",  "policy",
                                       "weigh",       "clock",     nullptr};
  InitArguments given;
  if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|O$OOOOO:ObjectCache", const_cast<char**>(kNames),
                                   &given.max_entries, &given.max_bytes, &given.ttl, &given.policy,
                                   &given.weigh, &given.clock))
    return -1;
  Bounds bounds;
  if (!bounds_from(given, bounds) || !callable_or_none(given.weigh, "weigh") ||
      !callable_or_none(given.clock, "clock"))
    return -1;
  if (store_of(self).ready()) {  // last, as a bound's __index__ may have called us
    PyErr_SetString(PyExc_RuntimeError, "ObjectCache.__init__() was called before");
    return -1;
  }
  PyObject* measure = given.weigh == Py_None && bounds.max_bytes > 0 ? PySys_GetObject("getsizeof") : nullptr;
  return guarded(-1, [&] {
    const auto given_or_null = [](PyObject* object) { return object == Py_None ? nullptr : object; };
    store_of(self).set_up(bounds, given_or_null(given.weigh), measure, given_or_null(given.clock));
    return 0;
  });
}

constexpr char kInitDoc[] =
    "__init__(self, max_entries: int | None = None, *, max_bytes: int | None = None, ttl: float | None = "
    "None, "
    "policy: str = 'adaptive', weigh: collections.abc.Callable[[typing.Any, typing.Any], int] | None = None, "
    "clock: collections.abc.Callable[[], float] | None = None) -> None";

PyObject* init_method(PyObject* self, PyObject* arguments, PyObject* keywords) {
  return init(self, arguments, keywords) < 0 ? nullptr : Py_NewRef(Py_None);
}

PyObject* make(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  auto* cache = reinterpret_cast<ObjectCache*>(self);
  try {
    new (&cache->store) Store();
  } catch (const std::bad_alloc&) {
    PyObject_GC_UnTrack(self);
    type->tp_free(self);
    Py_DECREF(type);
    return PyErr_NoMemory();
  }
  return self;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  return store_of(self).traverse(visit, arg);
}

int clear_references(PyObject* self) {
  return guarded(-1, [&] {
    store_of(self).let_go();
    return 0;
  });
}

void deallocate(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  if (reinterpret_cast<ObjectCache*>(self)->weak_references != nullptr) PyObject_ClearWeakRefs(self);
  Py_TRASHCAN_BEGIN(self, deallocate) clear_references(self);
  store_of(self).~Store();
  type->tp_free(self);
  Py_DECREF(type);
  Py_TRASHCAN_END
}

PyObject* get_max_entries(PyObject* self, PyObject*) {
  const Bounds& bounds = store_of(self).bounds();
  const bool bounded = bounds.max_entries != Bounds{}.max_entries;
  return bounded ? PyLong_FromSize_t(bounds.max_entries) : Py_NewRef(Py_None);
}

PyObject* get_max_bytes(PyObject* self, PyObject*) {
  const Bounds& bounds = store_of(self).bounds();
  return bounds.max_bytes == 0 ? Py_NewRef(Py_None) : PyLong_FromUnsignedLongLong(bounds.max_bytes);
}

PyObject* get_ttl(PyObject* self, PyObject*) {
  const Bounds& bounds = store_of(self).bounds();
  if (bounds.ttl == kNever) return Py_NewRef(Py_None);
  return PyFloat_FromDouble(static_cast<double>(bounds.ttl) / kNanosecondsPerSecond);
}

PyObject* get_policy(PyObject* self, PyObject*) {
  return PyUnicode_FromString(store_of(self).bounds().adaptive ? "adaptive" : "lru");
}

constexpr char kTypeDoc[] =
    "A bounded cache of Python objects, in memory: holds references, by hash and equality as a dict does.\n\n"
    "ObjectCache(max_entries=None, *, max_bytes=None, ttl=None, policy='adaptive', weigh=None, "
    "clock=None)\n\n"
    "At least one of max_entries and max_bytes. ttl: seconds that entries are fresh unless `set` says "
    "otherwise.\n"
    "policy: 'lru', or 'adaptive': W-TinyLFU (Einziger, Friedman, Manes 2017) that gives way to LRU when a "
    "sample of the\n"
    "accesses shows that recency hits more. weigh(key, value): bytes of an entry, 0 or more, else "
    "sys.getsizeof of both and\n"
    "96 for the entry. clock(): seconds, monotonic; else the system's, to which expiry is exact.\n"
    "ValueError for parameters out of range. Threads: safe under the GIL; keys and values may call the cache "
    "back.";

PyMethodDef methods[] = {
    {"__init__", as_method(init_method), METH_VARARGS | METH_KEYWORDS | METH_COEXIST, kInitDoc},
    {"__len__", length_method, METH_NOARGS | METH_COEXIST, kLenDoc},
    {"__contains__", contains_method, METH_O | METH_COEXIST, kContainsDoc},
    {"get", as_method(get), METH_FASTCALL | METH_KEYWORDS, kGetDoc},
    {"peek", as_method(peek), METH_FASTCALL | METH_KEYWORDS, kPeekDoc},
    {"set", as_method(set), METH_FASTCALL | METH_KEYWORDS, kSetDoc},
    {"delete", delete_key, METH_O, kDeleteDoc},
    {"pop", as_method(pop), METH_FASTCALL | METH_KEYWORDS, kPopDoc},
    {"clear", clear, METH_NOARGS, kClearDoc},
    {"lookup", lookup, METH_O, kLookupDoc},
    {"invalidate_tag", invalidate_tag, METH_O, kInvalidateTagDoc},
    {"invalidate_pattern", invalidate_pattern, METH_O, kInvalidatePatternDoc},
    {"expire", expire, METH_NOARGS, kExpireDoc},
    {"keys", keys, METH_NOARGS, kKeysDoc},
    {"items", items, METH_NOARGS, kItemsDoc},
    {"counters", counters, METH_NOARGS, kCountersDoc},
    {"clock_seconds", clock_seconds, METH_NOARGS, kClockSecondsDoc},
    {nullptr, nullptr, 0, nullptr},
};

PyMethodDef properties[] = {
    {"max_entries", get_max_entries, METH_NOARGS,
     "max_entries(self) -> int | None\n\nThe most entries held; None: not bounded by them."},
    {"max_bytes", get_max_bytes, METH_NOARGS,
     "max_bytes(self) -> int | None\n\nThe most bytes held; None: not bounded by them."},
    {"ttl", get_ttl, METH_NOARGS,
     "ttl(self) -> float | None\n\nSeconds that entries are fresh by default; None: without end."},
    {"policy", get_policy, METH_NOARGS, "policy(self) -> str\n\n'adaptive' or 'lru'."},
};

// Properties whose docstrings begin with a typed signature, which getsets cannot have.
void complete(PyTypeObject* type) {
  const pybind11::handle made(reinterpret_cast<PyObject*>(type));
  const pybind11::handle property(reinterpret_cast<PyObject*>(&PyProperty_Type));
  for (PyMethodDef& definition : properties) {
    const auto getter = pybind11::reinterpret_steal<pybind11::object>(PyDescr_NewMethod(type, &definition));
    if (!getter) throw pybind11::error_already_set();
    made.attr(definition.ml_name) = property(getter);
  }
  PyType_Modified(type);
}

}  // namespace

void bind_object_cache(pybind11::module_& module) {
  static PyMemberDef members[] = {
      {"__weaklistoffset__", T_PYSSIZET, offsetof(ObjectCache, weak_references), READONLY, nullptr},
      {nullptr, 0, 0, 0, nullptr},
  };
  static PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>(kTypeDoc)},
      {Py_tp_new, reinterpret_cast<void*>(make)},
      {Py_tp_init, reinterpret_cast<void*>(init)},
      {Py_tp_dealloc, reinterpret_cast<void*>(deallocate)},
      {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
      {Py_tp_clear, reinterpret_cast<void*>(clear_references)},
      {Py_tp_methods, methods},
      {Py_tp_members, members},
      {Py_mp_length, reinterpret_cast<void*>(length)},
      {Py_sq_contains, reinterpret_cast<void*>(contains)},
      {0, nullptr},
  };
  static PyType_Spec spec = {"sentinel._core.ObjectCache", sizeof(ObjectCache), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};
  object_cache_type = add_type(module, spec);
  complete(object_cache_type);
}

bool is_object_cache(PyObject* object) { return PyObject_TypeCheck(object, object_cache_type) != 0; }

PyObject* object_cache_get(PyObject* cache, PyObject* key, Py_hash_t hash) {
  return store_of(cache).get(key, hash);
}

int object_cache_lookup(PyObject* cache, PyObject* key, Py_hash_t hash, CachedObject& found) {
  return guarded(-1, [&] { return store_of(cache).lookup(key, hash, found); });
}

int object_cache_set(PyObject* cache, PyObject* key, Py_hash_t hash, PyObject* value,
                     const StoreOptions& options) {
  return store_value(cache, key, hash, value, options);
}

}  // namespace sentinel::bindings
