#include "sentinel/limit/limit_table.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "sentinel/base/digest.hpp"
#include "sentinel/limit/bucket_shard.hpp"
#include "sentinel/limit/snapshot.hpp"

namespace sentinel::limit {
namespace {

constexpr std::size_t kMaxShards = 64;              // one bit of a mask each
constexpr std::size_t kMaxDroppedPerShard = 4'096;  // in one tick
constexpr std::size_t kMaxExpiredAtOnce = 16'384;   // in one tick or refusal
constexpr unsigned kSlabBits = 6;                   // of a reservation's id: which slab

std::uint64_t fold(std::uint64_t left, std::uint64_t right) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = Wide{left} * right;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
}

// A multiply-and-fold hash keyed by the table's seed (after wyhash, Wang Yi 2019).
std::uint64_t hash_of(std::string_view text, std::uint64_t salt) {
  std::uint64_t hash = fold(salt ^ 0xa0761d6478bd642fU, text.size() ^ 0xe7037ed1a0b428dbU);
  while (!text.empty()) {
    std::uint64_t word = 0;
    const std::size_t size = std::min(text.size(), sizeof word);
    std::memcpy(&word, text.data(), size);
    hash = fold(hash ^ word ^ 0x8ebc6af09c88c6e3U, salt ^ 0x589965cc75374cc3U);
    text.remove_prefix(size);
  }
  return fold(hash, 0x1d8e4e27c47d124fU);
}

// Locks the shards of a mask in ascending order.
class ShardLocks {
 public:
  ShardLocks(std::span<BucketShard> shards, std::uint64_t mask) : shards_(shards), mask_(mask) {
    for (std::uint64_t left = mask_; left != 0; left &= left - 1) {
      shards_[static_cast<std::size_t>(std::countr_zero(left))].mutex.lock();
    }
  }
  ~ShardLocks() {
    for (std::uint64_t left = mask_; left != 0; left &= left - 1) {
      shards_[static_cast<std::size_t>(std::countr_zero(left))].mutex.unlock();
    }
  }
  ShardLocks(const ShardLocks&) = delete;
  ShardLocks& operator=(const ShardLocks&) = delete;

 private:
  std::span<BucketShard> shards_;
  std::uint64_t mask_;
};

enum class Mode : std::uint8_t { reserve, charge };
enum class End : std::uint8_t { settle, refund, expire };

// A bucket that a call has found, and how it was before the call.
struct Visit {
  Bucket* bucket;
  Gcra gcra_before;
  Concurrency calls_before;
};

using Visits = std::array<Visit, kMaxWants>;

// The configuration's newest amount and burst rule; the debt stays.
void adopt(Bucket& bucket, const Rule& rule, Duration now) {
  if (bucket.rule == rule) return;
  if (const Rate* rate = std::get_if<Rate>(&bucket.rule)) advance(bucket.gcra, *rate, now);
  bucket.rule = rule;
}

Decision attempt(Bucket& bucket, std::int64_t cost, Duration now, Mode mode) {
  if (const Slots* slots = std::get_if<Slots>(&bucket.rule)) {
    return mode == Mode::charge ? decide(bucket.calls, *slots, cost)
                                : try_reserve(bucket.calls, *slots, cost);
  }
  const Rate& rate = std::get<Rate>(bucket.rule);
  const bool at_once = mode == Mode::charge || rate.kind() == Kind::requests;
  return at_once ? try_charge(bucket.gcra, rate, now, cost) : try_reserve(bucket.gcra, rate, now, cost);
}

View view_of(const Bucket& bucket, Duration now) {
  if (const Slots* slots = std::get_if<Slots>(&bucket.rule)) {
    return {slots->count, decide(bucket.calls, *slots, 0).remaining, Duration{0}};
  }
  const Rate& rate = std::get<Rate>(bucket.rule);
  const Decision decision = decide(bucket.gcra, rate, now, 0);
  return {rate.burst(), decision.remaining, decision.reset_after};
}

View full_view(const Rule& rule) {
  const Rate* rate = std::get_if<Rate>(&rule);
  const std::int64_t limit = rate != nullptr ? rate->burst() : std::get<Slots>(rule).count;
  return {limit, limit, Duration{0}};
}

Item item_of(Bucket& bucket, std::int64_t cost) {
  const Rate* rate = std::get_if<Rate>(&bucket.rule);
  return {&bucket, cost, rate != nullptr ? rate->amount() : 0, bucket.gcra.as_of};
}

// A charge under another rate is not given back: what of it has flowed back since is not known.
void give_back_request(const Item& item, const Rate& rate, Duration now) {
  if (rate.amount() == item.amount) uncharge(item.bucket->gcra, rate, now, item.cost, item.charged_at);
}

void end_item(const Item& item, End end, Actual actual, Duration now) {
  Bucket& bucket = *item.bucket;
  if (std::holds_alternative<Slots>(bucket.rule)) return release(bucket.calls, item.cost);
  const Rate& rate = std::get<Rate>(bucket.rule);
  if (rate.kind() == Kind::requests) {
    if (end == End::refund) give_back_request(item, rate, now);
    return;
  }
  if (end != End::settle) return refund(bucket.gcra, rate, now, item.cost);
  settle(bucket.gcra, rate, now, item.cost, rate.kind() == Kind::tokens ? actual.tokens : actual.micro_usd);
}

bool worse(Verdict verdict, Duration retry_after, const Refusal& than) {
  if (verdict == Verdict::never || than.cause == Cause::never) return than.cause != Cause::never;
  return retry_after > than.retry_after;
}

Refusal busy() {
  Refusal refusal;
  refusal.cause = Cause::busy;
  refusal.retry_after = kBusyRetry;
  return refusal;
}

Int128 owed(const Bucket& bucket, const Rate& rate, Duration now) {
  Gcra gcra = bucket.gcra;
  advance(gcra, rate, now);
  return std::min(gcra.debt + Int128{gcra.held} * rate.period().count(), max_debt(rate));
}

}  // namespace

struct LimitTable::State {
  State(Bounds given, std::uint64_t seed_given)
      : bounds(given),
        seed(seed_given),
        shards(std::clamp<std::size_t>(given.shards, 1, kMaxShards)),
        slabs(shards.size()) {
    const auto share = [this](std::size_t whole) { return (whole + shards.size() - 1) / shards.size(); };
    for (BucketShard& shard : shards)
      shard.set_max_buckets(std::max<std::size_t>(1, share(bounds.max_buckets)));
    for (ReservationSlab& slab : slabs)
      slab.set_max_slots(std::max<std::size_t>(1, share(bounds.max_reservations)));
  }

  std::size_t shard_index(std::uint64_t hash) const {
    return static_cast<std::size_t>(hash >> 40U) % shards.size();
  }
  BucketShard& shard_of(std::uint64_t hash) { return shards[shard_index(hash)]; }
  std::uint64_t mask_of(std::uint64_t hash) const { return std::uint64_t{1} << shard_index(hash); }

  BucketKey key_of(std::string_view id, const Rule& rule) const {
    const Kind kind = kind_of(rule);
    const Duration period = period_of(rule);
    const auto salt =
        fold(seed ^ (static_cast<std::uint64_t>(kind) + 1), static_cast<std::uint64_t>(period.count() | 1));
    return {id, kind, period, hash_of(id, salt ^ seed)};
  }

  std::variant<Grant, Refusal> take(std::span<const Want> wants, Duration now, Mode mode);
  std::optional<Refusal> attempt_all(std::span<const Want> wants, const Visits& visits, Duration now,
                                     Mode mode, Items& items);
  std::optional<Reservation> open(const Items& items, Duration now);
  void leave(const Visits& visits, std::size_t count);
  void end(const Items& items, End how, Actual actual, Duration now);
  Ending end(Reservation reservation, End how, Actual actual, Instant now);
  std::size_t expire(Duration now);

  Bounds bounds;
  std::uint64_t seed;
  std::vector<BucketShard> shards;
  std::vector<ReservationSlab> slabs;
  std::atomic<std::size_t> next_slab{0};
  std::atomic<std::uint64_t> expired{0};
};

namespace {

// The keys of a call's wants; ids that are too long live here as their digest.
struct Keys {
  Keys(const auto& state, std::span<const Want> wants) {
    for (std::size_t i = 0; i < wants.size(); ++i) {
      std::string_view id = wants[i].id;
      if (id.size() > kMaxIdBytes) {
        digests.reserve(wants.size());
        id = digests.emplace_back(to_hex(sha256(id)));
      }
      keys[i] = state.key_of(id, wants[i].rule);
      mask |= state.mask_of(keys[i].hash);
    }
  }

  std::array<BucketKey, kMaxWants> keys;
  std::vector<std::string> digests;
  std::uint64_t mask = 0;
};

void roll_back(std::span<const Visit> visits) {
  for (std::size_t i = visits.size(); i > 0; --i) {
    visits[i - 1].bucket->gcra = visits[i - 1].gcra_before;
    visits[i - 1].bucket->calls = visits[i - 1].calls_before;
  }
}

Headroom headroom_of(std::span<const Visit> visits, Duration now) {
  Headroom headroom;
  for (const Visit& visit : visits) headroom.note(kind_of(visit.bucket->rule), view_of(*visit.bucket, now));
  return headroom;
}

}  // namespace

// With all shards of the path locked: find, try each in turn, and either keep all or put back all.
std::variant<Grant, Refusal> LimitTable::State::take(std::span<const Want> wants, Duration now, Mode mode) {
  if (wants.size() > kMaxWants) return busy();
  const Keys path(*this, wants);
  const ShardLocks locks(shards, path.mask);
  Visits visits;
  for (std::size_t i = 0; i < wants.size(); ++i) {
    Bucket* bucket = shard_of(path.keys[i].hash).find_or_make(path.keys[i], wants[i].rule, {now, {}});
    if (bucket == nullptr) {
      leave(visits, i);
      return busy();
    }
    ++bucket->open;
    adopt(*bucket, wants[i].rule, now);
    visits[i] = {bucket, bucket->gcra, bucket->calls};
  }
  const std::span<const Visit> visited(visits.data(), wants.size());
  Items items;
  std::optional<Refusal> refusal = attempt_all(wants, visits, now, mode, items);
  std::optional<Reservation> opened;
  if (!refusal && mode == Mode::reserve) {
    opened = open(items, now);
    if (!opened) {
      roll_back(visited);
      refusal = busy();
    }
  }
  Headroom headroom = headroom_of(visited, now);
  if (!opened) leave(visits, wants.size());
  if (!refusal) return Grant{opened.value_or(Reservation{}), headroom};
  refusal->headroom = headroom;
  return *std::move(refusal);
}

std::optional<Refusal> LimitTable::State::attempt_all(std::span<const Want> wants, const Visits& visits,
                                                      Duration now, Mode mode, Items& items) {
  std::optional<Refusal> worst;
  std::size_t worst_want = 0;
  for (std::size_t i = 0; i < wants.size(); ++i) {
    Bucket& bucket = *visits[i].bucket;
    const std::int64_t cost = std::max<std::int64_t>(0, wants[i].cost);
    const Decision decision = attempt(bucket, cost, now, mode);
    items.add(item_of(bucket, cost));
    if (decision.allowed() || (worst && !worse(decision.verdict, decision.retry_after, *worst))) continue;
    if (!worst) worst.emplace();
    worst_want = i;
    worst->cause = decision.verdict == Verdict::never ? Cause::never : Cause::wait;
    worst->predicted_cost = cost;
    worst->retry_after = decision.retry_after;
  }
  if (!worst) return worst;
  roll_back({visits.data(), wants.size()});
  const Bucket& bucket = *visits[worst_want].bucket;
  worst->id = bucket.id;
  worst->kind = kind_of(bucket.rule);
  worst->view = view_of(bucket, now);
  return worst;
}

std::optional<Reservation> LimitTable::State::open(const Items& items, Duration now) {
  const std::size_t first = next_slab.fetch_add(1, std::memory_order_relaxed);
  for (std::size_t i = 0; i < slabs.size(); ++i) {
    const std::size_t index = (first + i) % slabs.size();
    auto added = slabs[index].add(items.all(), now + bounds.reservation_ttl);
    if (!added) continue;
    const std::uint64_t slot = added->id & 0xffffffffU;
    added->id = (added->id ^ slot) | slot << kSlabBits | index;
    return added;
  }
  return std::nullopt;
}

void LimitTable::State::leave(const Visits& visits, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    Bucket& bucket = *visits[i].bucket;
    --bucket.open;
    shard_of(bucket.hash).touch(bucket);
  }
}

void LimitTable::State::end(const Items& items, End how, Actual actual, Duration now) {
  std::uint64_t mask = 0;
  for (const Item& item : items.all()) mask |= mask_of(item.bucket->hash);
  const ShardLocks locks(shards, mask);
  for (const Item& item : items.all()) {
    end_item(item, how, actual, now);
    --item.bucket->open;
    shard_of(item.bucket->hash).touch(*item.bucket);
  }
}

Ending LimitTable::State::end(Reservation reservation, End how, Actual actual, Instant now) {
  const std::size_t slab = reservation.id & ((1U << kSlabBits) - 1);
  const std::uint64_t slot = (reservation.id & 0xffffffffU) >> kSlabBits;
  Items items;
  if (slab >= slabs.size() || !slabs[slab].take((reservation.id >> 32U) << 32U | slot, items))
    return Ending::gone;
  end(items, how, actual, now.monotonic);
  return Ending::done;
}

std::size_t LimitTable::State::expire(Duration now) {
  std::size_t count = 0;
  Items items;
  for (ReservationSlab& slab : slabs) {
    while (count < kMaxExpiredAtOnce && slab.next_expiry() <= now && slab.take_expired(now, items)) {
      end(items, End::expire, {}, now);
      ++count;
    }
  }
  expired.fetch_add(count, std::memory_order_relaxed);
  return count;
}

LimitTable::LimitTable(Bounds bounds, std::uint64_t seed) : state_(std::make_unique<State>(bounds, seed)) {}
LimitTable::~LimitTable() = default;

std::variant<Grant, Refusal> LimitTable::reserve(std::span<const Want> wants, Instant now) {
  auto outcome = state_->take(wants, now.monotonic, Mode::reserve);
  if (std::holds_alternative<Grant>(outcome) || state_->expire(now.monotonic) == 0) return outcome;
  return state_->take(wants, now.monotonic, Mode::reserve);
}

std::variant<Headroom, Refusal> LimitTable::charge(std::span<const Want> wants, Instant now) {
  auto outcome = state_->take(wants, now.monotonic, Mode::charge);
  if (std::holds_alternative<Refusal>(outcome) && state_->expire(now.monotonic) > 0) {
    outcome = state_->take(wants, now.monotonic, Mode::charge);
  }
  if (auto* refusal = std::get_if<Refusal>(&outcome)) return std::move(*refusal);
  return std::get<Grant>(outcome).headroom;
}

Ending LimitTable::settle(Reservation reservation, Actual actual, Instant now) {
  return state_->end(reservation, End::settle, actual, now);
}

Ending LimitTable::refund(Reservation reservation, Instant now) {
  return state_->end(reservation, End::refund, {}, now);
}

Headroom LimitTable::look(std::span<const Want> wants, Instant now) const {
  Headroom headroom;
  if (wants.size() > kMaxWants) return headroom;
  const Keys path(*state_, wants);
  const ShardLocks locks(state_->shards, path.mask);
  for (std::size_t i = 0; i < wants.size(); ++i) {
    const Bucket* bucket = state_->shard_of(path.keys[i].hash).find(path.keys[i]);
    headroom.note(kind_of(wants[i].rule),
                  bucket != nullptr ? view_of(*bucket, now.monotonic) : full_view(wants[i].rule));
  }
  return headroom;
}

void LimitTable::tick(Instant now) {
  state_->expire(now.monotonic);
  for (BucketShard& shard : state_->shards) {
    const std::lock_guard lock(shard.mutex);
    shard.drop_full(now.monotonic, kMaxDroppedPerShard);
  }
}

std::string LimitTable::snapshot(Instant now) const {
  SavedLimits saved;
  saved.unix_time = now.unix_time;
  const auto save = [&](const Bucket& bucket) {
    const Rate* rate = std::get_if<Rate>(&bucket.rule);
    if (rate == nullptr) return;
    const Int128 debt = owed(bucket, *rate, now.monotonic);
    if (debt > 0) saved.buckets.push_back({bucket.id, *rate, debt});
  };
  for (BucketShard& shard : state_->shards) {
    const std::lock_guard lock(shard.mutex);
    shard.for_each(save);
  }
  return encode(saved);
}

Status LimitTable::restore(std::string_view bytes, Instant now) {
  const auto saved = decode(bytes);
  if (!saved) return saved.error();
  const Int128 elapsed = std::max(Int128{0}, Int128{now.unix_time.count()} - saved->unix_time.count());
  for (const SavedBucket& entry : saved->buckets) {
    const Int128 debt = entry.debt - elapsed * entry.rate.amount();
    if (debt <= 0) continue;
    const BucketKey key = state_->key_of(entry.id, entry.rate);
    BucketShard& shard = state_->shard_of(key.hash);
    const std::lock_guard lock(shard.mutex);
    Bucket* bucket = shard.find_or_make(key, entry.rate, now);
    if (bucket == nullptr)
      continue;  // every bucket of the shard has open reservations: newer debts than this one
    const Rate& rate = std::get<Rate>(bucket->rule);
    advance(bucket->gcra, rate, now.monotonic);
    bucket->gcra.debt = std::min(bucket->gcra.debt + debt, max_debt(rate));
  }
  return Done{};
}

TableStats LimitTable::stats() const {
  TableStats stats;
  for (BucketShard& shard : state_->shards) {
    const std::lock_guard lock(shard.mutex);
    stats.buckets += shard.size();
    stats.forgiven += shard.forgiven();
  }
  for (const ReservationSlab& slab : state_->slabs) stats.reservations += slab.size();
  stats.expired = state_->expired.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace sentinel::limit
