#include "bindings/object_cache_store.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace sentinel::bindings::object_cache {
namespace {

constexpr int kExpiryMovesPerSet = 8;
constexpr int kMostSearches = 64;

bool matches(const cache::Glob& glob, PyObject* key) {
  if (!PyUnicode_Check(key)) return false;
  const auto size = static_cast<std::size_t>(PyUnicode_GET_LENGTH(key));
  switch (PyUnicode_KIND(key)) {
    case PyUnicode_1BYTE_KIND: return glob.matches(PyUnicode_1BYTE_DATA(key), size);
    case PyUnicode_2BYTE_KIND: return glob.matches(PyUnicode_2BYTE_DATA(key), size);
    default: return glob.matches(PyUnicode_4BYTE_DATA(key), size);
  }
}

}  // namespace

void Store::set_up(const Bounds& bounds, PyObject* weigh, PyObject* measure, PyObject* clock) {
  using Policy = cache::Residency::Policy;
  residency_ = cache::Residency(bounds.adaptive ? Policy::adaptive : Policy::lru, bounds.max_bytes > 0);
  bounds_ = bounds;
  scale_.set_up(weigh, measure);
  clock_.set_up(clock);
  if (bounds.adaptive && bounds.max_bytes == 0) expect_entries(bounds.max_entries);
  ready_ = true;
}

// ---- reading

// Whatever the key and the entry are. By the user's clock also where a key's __eq__ has just given this cache its first
// deadline.
[[gnu::noinline]] PyObject* Store::search(PyObject* key, Py_hash_t hash, PyObject* otherwise) {
  if (by_own_clock_) {
    std::int64_t now = 0;
    const std::uint32_t at = find_and_read_clock(key, hash, now);
    if (at >= kFailed) return at == kFailed ? nullptr : miss(hash, otherwise);
    return is_fresh(at, now) ? hit(at) : miss_expired(at, now, otherwise);
  }
  const std::uint32_t at = find(key, hash);
  if (at >= kFailed) return at == kFailed ? nullptr : miss(hash, otherwise);
  if (!is_timed(at)) return hit(at);
  return by_own_clock_ ? search(key, hash, otherwise) : get_timed(at, otherwise);
}

// By the system's clock.
[[gnu::noinline]] PyObject* Store::get_timed(std::uint32_t at, PyObject* otherwise) {
  if (surely_before(slots_[at].fresh_tick)) [[likely]]
    return hit_at_once(at);
  const std::int64_t now = read_system(CLOCK_MONOTONIC);
  return is_fresh(at, now) ? hit(at) : miss_expired(at, now, otherwise);
}

[[gnu::noinline]] PyObject* Store::hit(std::uint32_t at) {
  ++counters_.hits;
  touch(at);
  return Py_NewRef(slots_[at].value);
}

void Store::touch(std::uint32_t at) {
  residency_.touch(slots_.data(), at);
  if (watcher_ != nullptr && !watcher_->watch(slots_[at].hash)) watcher_ = nullptr;
}

PyObject* Store::peek(PyObject* key, Py_hash_t hash, PyObject* otherwise) const {
  std::int64_t now = 0;
  const std::uint32_t at = find_and_read_clock(key, hash, now);
  if (at == kFailed) return nullptr;
  return Py_XNewRef(at != kNoSlot && is_fresh(at, now) ? slots_[at].value : otherwise);
}

int Store::lookup(PyObject* key, Py_hash_t hash, Found& found) {
  std::int64_t now = 0;
  const std::uint32_t at = find_and_read_clock(key, hash, now);
  if (at == kFailed) return -1;
  if (at == kNoSlot || now >= gone_at(at)) {
    at == kNoSlot ? miss(hash, nullptr) : miss_expired(at, now, nullptr);
    return 0;
  }
  ++(is_fresh(at, now) ? counters_.hits : counters_.stale_hits);
  touch(at);
  found.remaining_seconds = seconds_between(now, fresh_until(at));
  found.cost_seconds = at < times_.size() ? times_[at].cost_seconds : 0.0;
  found.value = Py_NewRef(slots_[at].value);
  return 1;
}

bool Store::collect(std::vector<PyObject*>& into, bool with_values) const {
  std::int64_t now = 0;
  if (timed_ && !clock_.read(now)) return false;
  into.reserve(size() * 2);
  residency_.visit([&](std::uint32_t at) {
    if (is_timed(at) && !is_fresh(at, now)) return;
    into.push_back(Py_NewRef(slots_[at].key));
    if (with_values) into.push_back(Py_NewRef(slots_[at].value));
  });
  return true;
}

PyObject* Store::miss(Py_hash_t hash, PyObject* otherwise) {
  const auto hashed = static_cast<std::uint64_t>(hash);
  ++counters_.misses;
  if (is_full()) fetch_what_leaves();
  residency_.note_miss(hashed);
  if (watcher_ != nullptr && !watcher_->watch(hashed)) watcher_ = nullptr;
  return Py_XNewRef(otherwise);
}

// Of an entry that is not fresh; it goes unless it is still to be had stale.
PyObject* Store::miss_expired(std::uint32_t at, std::int64_t now, PyObject* otherwise) {
  ++counters_.misses;
  if (now < gone_at(at)) return Py_XNewRef(otherwise);
  Py_XINCREF(otherwise);
  Release release;
  drop(at, release);
  ++counters_.expirations;
  return otherwise;
}

// ---- finding

std::uint32_t Store::find(PyObject* key, Py_hash_t hash) const {
  const auto hashed = static_cast<std::uint64_t>(hash);
  cache::SlotTable::Probe probe = table_.probe(hashed);
  for (; probe.slot != kNoSlot; table_.advance(probe)) {
    const Slot& slot = slots_[probe.slot];
    if (slot.key == key) return probe.slot;
    if (slot.hash != hashed) continue;
    if (same_parts(slot.key, key)) return probe.slot;
    if (!asks_no_python(slot.key, key)) return find_by_asking(key, hashed);
    if (equal_plainly(slot.key, key)) return probe.slot;
  }
  return kNoSlot;
}

// The same where keys must be asked, which runs Python code.
std::uint32_t Store::find_by_asking(PyObject* key, std::uint64_t hash) const {
  for (int search = 0; search < kMostSearches; ++search) {
    const std::uint64_t version = version_;
    cache::SlotTable::Probe probe = table_.probe(hash);
    for (; probe.slot != kNoSlot; table_.advance(probe)) {
      if (slots_[probe.slot].hash != hash) continue;
      if (same_parts(slots_[probe.slot].key, key)) return probe.slot;
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

// And the time, if the slot has a deadline. The user's clock is read first, as that runs Python code; a second round is
// for an __eq__ that gave the first deadline of all.
std::uint32_t Store::find_and_read_clock(PyObject* key, Py_hash_t hash, std::int64_t& now) const {
  for (;;) {
    const bool read_before = by_own_clock_;
    if (read_before && !clock_.read(now)) return kFailed;
    const std::uint32_t at = find(key, hash);
    if (at >= kFailed || read_before || !is_timed(at)) return at;
    if (by_own_clock_) continue;
    now = read_system(CLOCK_MONOTONIC);
    return at;
  }
}

// ---- changing

int Store::set(PyObject* key, Py_hash_t hash, PyObject* value, const Terms& terms) {
  std::int64_t now = 0;
  const bool ends = terms.ttl != kNever;
  if (ends || wheel_.size() > 0)
    if (!clock_.read(now, ends ? CLOCK_MONOTONIC : CLOCK_MONOTONIC_COARSE)) return -1;
  std::uint32_t at = find(key, hash);
  if (at == kFailed) return -1;
  Release release;
  if (wheel_.size() > 0) expire_some(now, at, release);
  if (bounds_.max_bytes > 0 && terms.weight > bounds_.max_bytes) return refuse(at, release);
  if (at == kNoSlot) {
    at = insert(key, hash, value, terms.weight);
  } else {
    replace(at, value, terms.weight, release);
  }
  write_terms(at, now, terms, release);
  ++counters_.sets;
  make_room(at, release);
  return 1;
}

int Store::take(PyObject* key, Py_hash_t hash, PyObject** fresh_value) {
  std::int64_t now = 0;
  const std::uint32_t at = find_and_read_clock(key, hash, now);
  if (at >= kFailed) return at == kFailed ? -1 : 0;
  const bool gone = now >= gone_at(at);
  if (fresh_value != nullptr && is_fresh(at, now)) *fresh_value = Py_NewRef(slots_[at].value);
  Release release;
  drop(at, release);
  counters_.expirations += gone ? 1U : 0U;
  return gone ? 0 : 1;
}

void Store::clear() {
  cache::SlotTable no_table;
  cache::Residency nobody = residency_.emptied();
  tags_.clear();  // the last that needs memory
  Slots old;
  old.swap(slots_);
  table_ = std::move(no_table);
  residency_ = std::move(nobody);
  free_ = kNoSlot;
  wheel_.clear();
  times_.clear();
  timed_ = false;
  by_own_clock_ = false;
  ++version_;
  for (const Slot& slot : old) {
    Py_XDECREF(slot.key);
    Py_XDECREF(slot.value);
  }
}

std::size_t Store::drop_tag(std::string_view tag) {
  Release release;
  std::size_t dropped = 0;
  for (std::uint32_t at = tags_.first(tag); at != kNoSlot; at = tags_.first(tag), ++dropped)
    drop(at, release);
  return dropped;
}

std::size_t Store::drop_matching(const cache::Glob& glob) {
  Release release;
  std::size_t dropped = 0;
  for (std::uint32_t at = 0; at < slots_.size(); ++at) {
    if (slots_[at].key == nullptr || !matches(glob, slots_[at].key)) continue;
    drop(at, release);
    ++dropped;
  }
  return dropped;
}

Py_ssize_t Store::expire() {
  if (wheel_.size() == 0) return 0;
  std::int64_t now = 0;
  if (!clock_.read(now)) return -1;
  Release release;
  std::vector<std::uint32_t> due;
  release.reserve(wheel_.size());
  wheel_.take_all_due(now, due);
  for (const std::uint32_t at : due) drop(at, release);
  counters_.expirations += due.size();
  return static_cast<Py_ssize_t>(due.size());
}

int Store::refuse(std::uint32_t at, Release& release) {
  if (at != kNoSlot) drop(at, release);
  ++counters_.rejections;
  return 0;
}

std::uint32_t Store::insert(PyObject* key, Py_hash_t hash, PyObject* value, std::uint64_t weight) {
  const auto hashed = static_cast<std::uint64_t>(hash);
  if (duel_) consult_duel(hashed);
  const std::uint32_t at = free_slot();
  Slot& slot = slots_[at];
  const std::uint64_t next_free = slot.hash;
  slot = Slot{};
  slot.hash = hashed;
  try {
    table_.insert(hashed, at, HashOf{slots_});
    add_to_residency(at, weight);
  } catch (...) {
    slot.hash = next_free;
    throw;
  }
  free_ = static_cast<std::uint32_t>(next_free);
  slot.key = Py_NewRef(key);
  slot.value = Py_NewRef(value);
  ++version_;
  return at;
}

void Store::consult_duel(std::uint64_t hash) {
  if (!residency_.just_missed(hash)) duel_->watch(hash);
  residency_.set_window_share(duel_->judge() ? cache::kWholeWindow : cache::kSmallWindow);
  watcher_ = duel_.get();
}

void Store::add_to_residency(std::uint32_t at, std::uint64_t weight) {
  try {
    residency_.add(slots_.data(), at, weight);
  } catch (...) {
    table_.remove(slots_[at].hash, at, HashOf{slots_});
    throw;
  }
}

void Store::replace(std::uint32_t at, PyObject* value, std::uint64_t weight, Release& release) {
  release.reserve(1);
  release.add(slots_[at].value);
  slots_[at].value = Py_NewRef(value);
  residency_.reweigh(slots_.data(), at, weight);
  touch(at);
}

// An entry whose terms cannot be written is no entry.
void Store::write_terms(std::uint32_t at, std::int64_t now, const Terms& terms, Release& release) {
  const std::int64_t fresh_until = plus(now, terms.ttl);
  const std::int64_t gone = plus(fresh_until, terms.stale);
  try {
    write_times(at, fresh_until, terms.cost_seconds);
    tags_.detach(at);
    for (const std::string& tag : terms.tags) tags_.attach(at, tag);
    gone == kNever ? wheel_.disarm(at) : wheel_.arm(at, gone);
  } catch (...) {
    drop(at, release);
    throw;
  }
  if (fresh_until == kNever) return;
  timed_ = true;
  by_own_clock_ = clock_.is_own();
}

void Store::write_times(std::uint32_t at, std::int64_t fresh_until, double cost_seconds) {
  const bool says_something = fresh_until != kNever || cost_seconds > 0;
  if (says_something && at >= times_.size()) times_.resize(at + std::size_t{1});
  if (at < times_.size()) times_[at] = {fresh_until, cost_seconds};
  slots_[at].fresh_tick = tick_of(fresh_until);
}

void Store::make_room(std::uint32_t keep, Release& release) {
  while (size() > bounds_.max_entries || (bounds_.max_bytes > 0 && residency_.weight() > bounds_.max_bytes)) {
    if (bounds_.adaptive && bounds_.max_bytes > 0) expect_entries(size());
    const std::uint32_t victim = residency_.victim(slots_.data(), keep);
    if (victim == kNoSlot) return;
    drop(victim, release);
    ++counters_.evictions;
    fetch_next_victim();
  }
}

// A set that evicts would wait for one line after the other of somebody who was not asked for in a long time. Who that
// will be is mostly known from the last eviction on, and what hangs on it when a miss announces the set.
void Store::fetch_next_victim() const {
  const std::uint32_t next = residency_.likely_victim();
  if (next != kNoSlot) __builtin_prefetch(&slots_[next], 1);
}

void Store::fetch_what_leaves() const {
  const std::uint32_t next = residency_.likely_victim();
  if (next == kNoSlot) return;
  const Slot& slot = slots_[next];
  __builtin_prefetch(slot.key, 1);
  __builtin_prefetch(slot.value, 1);
  table_.prefetch(slot.hash);
  residency_.prefetch_uses(slot.hash);
}

// The shadows' size follows the cache's, where that is not known beforehand.
void Store::expect_entries(std::size_t entries) {
  if (duel_ && entries / 2 <= expected_entries_ && expected_entries_ / 2 <= entries) return;
  auto duel = std::make_unique<cache::Duel>(entries);
  watcher_ = duel.get();
  duel_ = std::move(duel);
  expected_entries_ = entries;
}

void Store::expire_some(std::int64_t now, std::uint32_t& keep, Release& release) {
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
std::uint32_t Store::free_slot() {
  if (free_ != kNoSlot) return free_;
  if (slots_.size() >= kFailed / 2) throw std::bad_alloc();
  slots_.emplace_back();
  slots_.back().hash = kNoSlot;
  free_ = static_cast<std::uint32_t>(slots_.size() - 1);
  return free_;
}

void Store::drop(std::uint32_t at, Release& release) {
  release.reserve(1);
  Slot& slot = slots_[at];
  table_.remove(slot.hash, at, HashOf{slots_});
  residency_.remove(slots_.data(), at);
  wheel_.disarm(at);
  tags_.detach(at);
  release.add(slot.key);
  release.add(slot.value);
  slot = Slot{};
  slot.hash = free_;
  free_ = at;
  ++version_;
}

// ---- the collector

int Store::traverse(visitproc visit, void* arg) const {
  for (const Slot& slot : slots_) {
    Py_VISIT(slot.key);
    Py_VISIT(slot.value);
  }
  if (const int stop = scale_.traverse(visit, arg); stop != 0) return stop;
  return clock_.traverse(visit, arg);
}

void Store::let_go() {
  clear();
  scale_.let_go();
  clock_.let_go();
}

}  // namespace sentinel::bindings::object_cache
