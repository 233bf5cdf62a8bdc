#include "sentinel/cache/exact_cache.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <mutex>
#include <utility>

namespace sentinel::cache {
namespace {

constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kMaxShards = 1'024;
constexpr std::size_t kLargestPerShard = 4;
constexpr std::size_t kAllocation = 16;  // what the allocator and a control block add to a piece of memory
constexpr std::size_t kLeastSlots = 64;
constexpr std::size_t kMostSlotsPerNode = 8;  // a table that is emptier shrinks
constexpr std::size_t kVisitedPerTick = 2'048;
constexpr std::size_t kBytesPerGhost = 2'048;
constexpr std::uint8_t kMostUses = 3;

enum class Queue : std::uint8_t { small, main };

struct Node {
  EntryKey key;
  EntryPtr entry;
  std::uint64_t hash = 0;
  std::size_t bytes = 0;
  Duration expires_at{0};
  Node* newer = nullptr;
  Node* older = nullptr;
  Form form = Form::plain;
  Queue queue = Queue::small;
  std::uint8_t uses = 0;  // since it entered its queue, up to kMostUses

  bool expired(Instant now) const { return now.monotonic >= expires_at; }
};

// Nodes on their way out: their memory is given back after the lock.
using Gone = std::vector<std::unique_ptr<Node>>;

// First in, first out, linked through the nodes.
class Fifo {
 public:
  void push(Node& node) {
    node.newer = nullptr;
    node.older = newest_;
    (newest_ == nullptr ? oldest_ : newest_->newer) = &node;
    newest_ = &node;
    bytes_ += node.bytes;
  }
  void remove(Node& node) {
    (node.newer == nullptr ? newest_ : node.newer->older) = node.older;
    (node.older == nullptr ? oldest_ : node.older->newer) = node.newer;
    bytes_ -= node.bytes;
  }
  Node* oldest() const { return oldest_; }
  std::size_t bytes() const { return bytes_; }

 private:
  Node* newest_ = nullptr;
  Node* oldest_ = nullptr;
  std::size_t bytes_ = 0;
};

// Who left the small queue without having been asked for again: fingerprints that newer ones overwrite.
class Ghost {
 public:
  explicit Ghost(std::size_t slots) : slots_(std::bit_floor(slots)) {}
  void add(std::uint64_t hash) { slot(hash) = fingerprint(hash); }
  bool take(std::uint64_t hash) {
    if (slot(hash) != fingerprint(hash)) return false;
    slot(hash) = 0;
    return true;
  }
  void clear() { std::fill(slots_.begin(), slots_.end(), 0U); }

 private:
  std::uint32_t& slot(std::uint64_t hash) { return slots_[hash & (slots_.size() - 1)]; }
  static std::uint32_t fingerprint(std::uint64_t hash) {
    return static_cast<std::uint32_t>(hash >> 32U) | 1U;
  }

  std::vector<std::uint32_t> slots_;
};

std::size_t ghosts_for(std::size_t bytes) {
  return std::clamp<std::size_t>(bytes / kBytesPerGhost, 16, std::size_t{1} << 17U);
}

// Nodes by key: open addressing with linear probing. Removing shifts the followers back, so there are no tombstones.
class Table {
 public:
  Table() : slots_(kLeastSlots) {}

  Node* find(const EntryKey& key, std::uint64_t hash, Form form) const {
    for (std::size_t at = home(hash); slots_[at]; at = after(at)) {
      Node& node = *slots_[at];
      if (node.hash == hash && node.form == form && node.key == key) return &node;
    }
    return nullptr;
  }

  void insert(std::unique_ptr<Node> node) {
    if ((size_ + 1) * 2 > slots_.size()) resize(slots_.size() * 2);
    put(std::move(node));
    ++size_;
  }

  std::unique_ptr<Node> take(const Node& node) {
    std::size_t at = home(node.hash);
    while (slots_[at].get() != &node) at = after(at);
    std::unique_ptr<Node> taken = std::move(slots_[at]);
    close_gap(at);
    --size_;
    return taken;
  }

  void shrink() {
    std::size_t wanted = slots_.size();
    while (wanted > kLeastSlots && size_ * kMostSlotsPerNode < wanted) wanted /= 2;
    if (wanted != slots_.size()) resize(wanted);
  }

  Node* at(std::size_t slot) const { return slots_[slot].get(); }
  std::size_t slots() const { return slots_.size(); }
  std::size_t size() const { return size_; }

 private:
  std::size_t home(std::uint64_t hash) const { return hash & (slots_.size() - 1); }
  std::size_t after(std::size_t at) const { return (at + 1) & (slots_.size() - 1); }

  void put(std::unique_ptr<Node> node) {
    std::size_t at = home(node->hash);
    while (slots_[at]) at = after(at);
    slots_[at] = std::move(node);
  }

  void close_gap(std::size_t gap) {
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t at = after(gap); slots_[at]; at = after(at)) {
      if (((at - home(slots_[at]->hash)) & mask) < ((at - gap) & mask))
        continue;  // it stands behind its home
      slots_[gap] = std::move(slots_[at]);
      gap = at;
    }
  }

  void resize(std::size_t slots) {
    std::vector<std::unique_ptr<Node>> old(slots);
    old.swap(slots_);
    for (std::unique_ptr<Node>& node : old) {
      if (node) put(std::move(node));
    }
  }

  std::vector<std::unique_ptr<Node>> slots_;
  std::size_t size_ = 0;
};

std::size_t bytes_of(const std::string& text) {
  const bool inside = text.capacity() <= std::string().capacity();
  return inside ? 0 : text.capacity() + 1 + kAllocation;
}

template <class T>
std::size_t bytes_of(const std::vector<T>& items) {
  return items.capacity() == 0 ? 0 : items.capacity() * sizeof(T) + kAllocation;
}

// All memory that an entry costs while it is in the cache.
std::size_t bytes_of(const Entry& entry) {
  std::size_t bytes = sizeof(Entry) + 2 * kAllocation + sizeof(Node) + kAllocation;
  bytes += kMostSlotsPerNode * sizeof(std::unique_ptr<Node>);
  for (const std::string* text : {&entry.body, &entry.content_type, &entry.target, &entry.route, &entry.model,
                                  &entry.upstream_model, &entry.account, &entry.key_text}) {
    bytes += bytes_of(*text);
  }
  for (const std::string& tag : entry.tags) bytes += bytes_of(tag);
  return bytes + bytes_of(entry.tags) + bytes_of(entry.usage_ranges);
}

class alignas(kCacheLine) Shard {
 public:
  explicit Shard(std::size_t bytes) : ghost_(ghosts_for(bytes)) {
    const std::size_t fixed = sizeof(Shard) + ghosts_for(bytes) * sizeof(std::uint32_t) +
                              kLeastSlots * sizeof(std::unique_ptr<Node>);
    budget_ = bytes > fixed ? bytes - fixed : 0;
  }

  std::size_t budget() const { return budget_; }

  // The first form that is there; one hit or one miss.
  EntryPtr find(const EntryKey& key, std::uint64_t hash, std::initializer_list<Form> forms, Instant now,
                Gone& gone) {
    const std::lock_guard lock(mutex_);
    EntryPtr found = find_uncounted(key, hash, forms, now, gone);
    if (!found) ++counts_.misses;
    return found;
  }

  EntryPtr find_after_miss(const EntryKey& key, std::uint64_t hash, std::initializer_list<Form> forms,
                           Instant now, Gone& gone) {
    const std::lock_guard lock(mutex_);
    return find_uncounted(key, hash, forms, now, gone);
  }

  void store(std::unique_ptr<Node> node, Instant now, Gone& gone) {
    const std::lock_guard lock(mutex_);
    assert(node->bytes <= budget_);
    if (Node* old = table_.find(node->key, node->hash, node->form)) {
      node->queue = old->queue;
      node->uses = old->uses;
      gone.push_back(remove(*old));
    } else if (ghost_.take(node->hash)) {
      node->queue = Queue::main;
    }
    while (bytes() + node->bytes > budget_) make_room(now, gone);
    queue(node->queue).push(*node);
    table_.insert(std::move(node));
    ++counts_.stored;
    table_.shrink();
  }

  void refuse() {
    const std::lock_guard lock(mutex_);
    ++counts_.refused;
  }

  template <class Wanted>
  std::size_t erase_if(Wanted wanted, Gone& gone) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t before = counts_.erased;
    for (std::size_t slot = 0; slot < table_.slots();) {
      Node* node = table_.at(slot);
      if (node != nullptr && wanted(*node->entry)) {
        drop(*node, counts_.erased, gone);  // another one may stand here now
      } else {
        ++slot;
      }
    }
    table_.shrink();
    return static_cast<std::size_t>(counts_.erased - before);
  }

  std::size_t clear(Gone& gone) {
    const std::size_t erased = erase_if([](const Entry&) { return true; }, gone);
    const std::lock_guard lock(mutex_);
    ghost_.clear();
    return erased;
  }

  // Looks at some of the table, and goes on from there the next time.
  void tick(Instant now, Gone& gone) {
    const std::lock_guard lock(mutex_);
    for (std::size_t visits = std::min(kVisitedPerTick, table_.slots()); visits > 0; --visits) {
      if (hand_ >= table_.slots()) hand_ = 0;
      while (Node* node = table_.at(hand_)) {
        if (!node->expired(now)) break;
        drop(*node, counts_.expired, gone);
      }
      ++hand_;
    }
    table_.shrink();
  }

  void add_to(ExactCacheStats& stats) const {
    const std::lock_guard lock(mutex_);
    stats.entries += table_.size();
    stats.bytes += bytes();
    stats.hits += counts_.hits;
    stats.misses += counts_.misses;
    stats.stored += counts_.stored;
    stats.evicted += counts_.evicted;
    stats.expired += counts_.expired;
    stats.refused += counts_.refused;
    stats.erased += counts_.erased;
  }

 private:
  // Misses are the caller's to count.
  EntryPtr find_uncounted(const EntryKey& key, std::uint64_t hash, std::initializer_list<Form> forms,
                          Instant now, Gone& gone) {
    for (const Form form : forms) {
      Node* node = table_.find(key, hash, form);
      if (node == nullptr) continue;
      if (node->expired(now)) {
        drop(*node, counts_.expired, gone);
        continue;
      }
      if (node->uses < kMostUses) ++node->uses;
      ++counts_.hits;
      return node->entry;
    }
    table_.shrink();
    return nullptr;
  }

  std::size_t bytes() const { return small_.bytes() + main_.bytes(); }
  Fifo& queue(Queue which) { return which == Queue::small ? small_ : main_; }

  std::unique_ptr<Node> remove(Node& node) {
    queue(node.queue).remove(node);
    return table_.take(node);
  }

  void drop(Node& node, std::uint64_t& counter, Gone& gone) {
    gone.push_back(remove(node));
    ++counter;
  }

  // One step of S3-FIFO's eviction: the oldest of one queue leaves, moves up, or has another round.
  void make_room(Instant now, Gone& gone) {
    const bool from_small = small_.bytes() > budget_ / 10 || main_.oldest() == nullptr;
    Node& oldest = from_small ? *small_.oldest() : *main_.oldest();
    if (oldest.expired(now)) return drop(oldest, counts_.expired, gone);
    if (oldest.uses == 0) {
      if (from_small) ghost_.add(oldest.hash);
      return drop(oldest, counts_.evicted, gone);
    }
    queue(oldest.queue).remove(oldest);
    oldest.uses = from_small ? std::uint8_t{0} : static_cast<std::uint8_t>(oldest.uses - 1);
    oldest.queue = Queue::main;
    main_.push(oldest);
  }

  mutable std::mutex mutex_;
  Table table_;
  Fifo small_;
  Fifo main_;
  Ghost ghost_;
  ExactCacheStats counts_;  // entries and bytes are asked of the table and the queues
  std::size_t budget_ = 0;
  std::size_t hand_ = 0;
};

std::uint64_t fold(std::uint64_t left, std::uint64_t right) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = Wide{left} * right;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
}

std::uint64_t first_word(const Digest& digest) {
  std::uint64_t word = 0;
  std::memcpy(&word, digest.data(), sizeof word);
  return word;
}

Duration expiry_of(const Entry& entry) {
  constexpr Duration kNever = Duration::max();
  return entry.stored_at.monotonic > kNever - entry.ttl ? kNever : entry.stored_at.monotonic + entry.ttl;
}

// Room that a text grew by, and does not need, is given back when it is worth a copy.
void trim(std::string& text) {
  if (text.capacity() - text.size() > text.size() / 8 + 64) text.shrink_to_fit();
}

bool matches(std::string_view pattern, std::string_view text) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return text == pattern;
  const std::string_view end = pattern.substr(star + 1);
  return text.size() >= star + end.size() && text.starts_with(pattern.substr(0, star)) && text.ends_with(end);
}

std::size_t shards_for(const ExactCacheBounds& bounds) {
  const std::size_t roomy =
      bounds.max_bytes / kLargestPerShard / std::max<std::size_t>(1, bounds.max_entry_bytes);
  return std::clamp<std::size_t>(std::min(bounds.shards, roomy), 1, kMaxShards);
}

}  // namespace

std::string key_text_of(const EntryKey& key) {
  std::array<char, sizeof(Digest) * 2> both;
  std::memcpy(both.data(), key.partition.data(), sizeof(Digest));
  std::memcpy(both.data() + sizeof(Digest), key.identity.data(), sizeof(Digest));
  const Digest digest = sha256({both.data(), both.size()});
  return to_hex({digest.data(), digest.size() / 2});
}

Duration Entry::age(Instant now) const { return std::max(Duration{0}, now - stored_at); }
Duration Entry::ttl_left(Instant now) const { return ttl - age(now); }

struct ExactCache::State {
  State(Bounds bounds, std::uint64_t seed_given) : seed(seed_given) {
    const std::size_t count = shards_for(bounds);
    shards.reserve(count);
    for (std::size_t i = 0; i < count; ++i)
      shards.push_back(std::make_unique<Shard>(bounds.max_bytes / count));
    max_entry_bytes = std::min(bounds.max_entry_bytes, shards.front()->budget());
  }

  std::uint64_t hash_of(const EntryKey& key) const {
    const std::uint64_t half = fold(first_word(key.partition) ^ seed, 0xa0761d6478bd642fU);
    return fold(first_word(key.identity) ^ half, seed ^ 0xe7037ed1a0b428dbU);
  }
  Shard& shard_of(std::uint64_t hash) const { return *shards[(hash >> 40U) % shards.size()]; }

  template <class Wanted>
  std::size_t erase_if(Wanted wanted) {
    std::size_t erased = 0;
    for (const auto& shard : shards) {
      Gone gone;
      erased += shard->erase_if(wanted, gone);
    }
    return erased;
  }

  std::vector<std::unique_ptr<Shard>> shards;
  std::uint64_t seed;
  std::size_t max_entry_bytes = 0;
};

ExactCache::ExactCache(Bounds bounds, std::uint64_t seed) : state_(std::make_unique<State>(bounds, seed)) {}
ExactCache::~ExactCache() = default;

EntryPtr ExactCache::find(const EntryKey& key, Form form, Instant now) {
  const std::uint64_t hash = state_->hash_of(key);
  Gone gone;
  return state_->shard_of(hash).find(key, hash, {form}, now, gone);
}

EntryPtr ExactCache::find_any(const EntryKey& key, Form preferred, Instant now) {
  const Form other = preferred == Form::plain ? Form::stream : Form::plain;
  const std::uint64_t hash = state_->hash_of(key);
  Gone gone;
  return state_->shard_of(hash).find(key, hash, {preferred, other}, now, gone);
}

EntryPtr ExactCache::find_after_miss(const EntryKey& key, Form preferred, Instant now) {
  const Form other = preferred == Form::plain ? Form::stream : Form::plain;
  const std::uint64_t hash = state_->hash_of(key);
  Gone gone;
  return state_->shard_of(hash).find_after_miss(key, hash, {preferred, other}, now, gone);
}

Stored ExactCache::store(const EntryKey& key, Entry entry, Instant now) {
  const std::uint64_t hash = state_->hash_of(key);
  Shard& shard = state_->shard_of(hash);
  trim(entry.body);
  const std::size_t bytes = bytes_of(entry);
  const bool too_big = bytes > state_->max_entry_bytes;
  if (too_big || entry.ttl_left(now) <= Duration{0}) {
    shard.refuse();
    return too_big ? Stored::too_big : Stored::expired;
  }
  auto node = std::make_unique<Node>();
  node->key = key;
  node->hash = hash;
  node->bytes = bytes;
  node->form = entry.form;
  node->expires_at = expiry_of(entry);
  node->entry = std::make_shared<const Entry>(std::move(entry));
  Gone gone;
  shard.store(std::move(node), now, gone);
  return Stored::yes;
}

std::size_t ExactCache::erase(std::string_view key_text) {
  return state_->erase_if([&](const Entry& entry) { return entry.key_text == key_text; });
}

std::size_t ExactCache::erase_account(std::string_view account) {
  return state_->erase_if([&](const Entry& entry) { return entry.account == account; });
}

std::size_t ExactCache::erase_tag(std::string_view tag) {
  return state_->erase_if([&](const Entry& entry) {
    return std::find(entry.tags.begin(), entry.tags.end(), tag) != entry.tags.end();
  });
}

std::size_t ExactCache::erase_matching(std::string_view pattern) {
  return state_->erase_if(
      [&](const Entry& entry) { return matches(pattern, entry.model) || matches(pattern, entry.route); });
}

std::size_t ExactCache::clear() {
  std::size_t erased = 0;
  for (const auto& shard : state_->shards) {
    Gone gone;
    erased += shard->clear(gone);
  }
  return erased;
}

void ExactCache::tick(Instant now) {
  for (const auto& shard : state_->shards) {
    Gone gone;
    shard->tick(now, gone);
  }
}

ExactCacheStats ExactCache::stats() const {
  ExactCacheStats stats;
  for (const auto& shard : state_->shards) shard->add_to(stats);
  return stats;
}

}  // namespace sentinel::cache
