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

template <class Word>
Word first_bytes(std::string_view text) {
  Word word = 0;
  std::memcpy(&word, text.data(), sizeof word);
  return word;
}

// At most 8 bytes as one word: from both ends where there are 4, so that no copy has a length of its own.
std::uint64_t last_word(std::string_view text) {
  if (text.size() >= 4) {
    const std::uint64_t low = first_bytes<std::uint32_t>(text);
    return low | std::uint64_t{first_bytes<std::uint32_t>(text.substr(text.size() - 4))} << 32U;
  }
  std::uint64_t word = 0;
  for (const char c : text) word = word << 8U | static_cast<std::uint8_t>(c);
  return word;
}

// A multiply-and-fold hash keyed by the table's seed (after wyhash, Wang Yi 2019).
std::uint64_t hash_of(std::string_view text, std::uint64_t salt) {
  std::uint64_t hash = fold(salt ^ 0xa0761d6478bd642fU, text.size() ^ 0xe7037ed1a0b428dbU);
  while (text.size() > sizeof(std::uint64_t)) {
    hash = fold(hash ^ first_bytes<std::uint64_t>(text) ^ 0x8ebc6af09c88c6e3U, salt ^ 0x589965cc75374cc3U);
    text.remove_prefix(sizeof(std::uint64_t));
  }
  return fold(hash ^ last_word(text) ^ 0x8ebc6af09c88c6e3U, salt ^ 0x1d8e4e27c47d124fU);
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

enum class End : std::uint8_t { settle, release, refund, expire };

// A bucket that a call has found, and how it was before the call.
struct Visit {
  Bucket* bucket;
  Gcra gcra_before;
  Concurrency calls_before;
};

using Visits = PathList<Visit>;

// The configuration's newest amount and burst rule; the debt stays.
void adopt(Bucket& bucket, const Rule& rule, Duration now) {
  if (bucket.rule == rule) return;
  if (const Rate* rate = std::get_if<Rate>(&bucket.rule)) advance(bucket.gcra, *rate, now);
  bucket.rule = rule;
}

// Takes it if it passes; only a refusal needs to know more.
std::optional<Decision> refuse_or_take(Bucket& bucket, std::int64_t cost, Duration now, Mode mode) {
  if (const Slots* slots = std::get_if<Slots>(&bucket.rule)) {
    const Decision decision =
        mode == Mode::charge ? decide(bucket.calls, *slots, cost) : try_reserve(bucket.calls, *slots, cost);
    return decision.allowed() ? std::nullopt : std::optional(decision);
  }
  const Rate& rate = std::get<Rate>(bucket.rule);
  if (!admits(bucket.gcra, rate, now, cost)) return decide(bucket.gcra, rate, now, cost);
  const bool at_once = mode == Mode::charge || rate.kind() == Kind::requests;
  at_once ? charge(bucket.gcra, rate, now, cost) : hold(bucket.gcra, rate, now, cost);
  return std::nullopt;
}

Int128 used_of(const Bucket& bucket, Duration now) {
  const Rate* rate = std::get_if<Rate>(&bucket.rule);
  return rate != nullptr ? used_at(bucket.gcra, *rate, now) : Int128{bucket.calls.held};
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
  if (end == End::release) return settle(bucket.gcra, rate, now, item.cost, item.cost);
  if (end != End::settle) return refund(bucket.gcra, rate, now, item.cost);
  settle(bucket.gcra, rate, now, item.cost, rate.kind() == Kind::tokens ? actual.tokens : actual.micro_usd);
}

bool worse(const Decision& decision, const Taken& than) {
  if (decision.verdict == Verdict::never || than.cause == Cause::never) return than.cause != Cause::never;
  return decision.retry_after > than.retry_after;
}

Taken busy() {
  Taken taken;
  taken.cause = Cause::busy;
  taken.retry_after = kBusyRetry;
  return taken;
}

// An id as it is kept.
std::string kept_id(std::string_view id) {
  return id.size() > kMaxIdBytes ? to_hex(sha256(id)) : std::string(id);
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

  std::uint64_t id_hash(std::string_view id) const { return hash_of(id, seed); }
  BucketKey key_of(std::string_view id, std::uint64_t hash, const Rule& rule) const {
    const Kind kind = kind_of(rule);
    const Duration period = period_of(rule);
    const std::uint64_t salt = seed ^ (static_cast<std::uint64_t>(kind) + 1) * 0x2d358dccaa6c78a5U;
    return {id, kind, period,
            fold(hash ^ salt, static_cast<std::uint64_t>(period.count()) ^ 0x8bb84b93962eacc9U)};
  }
  BucketKey key_of(std::string_view id, const Rule& rule) const { return key_of(id, id_hash(id), rule); }

  Taken take(std::span<const Want> wants, Duration now, Mode mode, std::span<Int128> used);
  Taken attempt_all(std::span<const Want> wants, const Visits& visits, Duration now, Mode mode);
  bool open(std::span<const Want> wants, const Visits& visits, Duration now, Reservation& opened);
  void leave(const Visits& visits);
  void end(const Items& items, End how, Actual actual, Duration now);
  Ending end(Reservation reservation, End how, Actual actual, Instant now);
  std::size_t expire(Duration now);
  // What is due goes before a call looks. Nothing is due most of the time: one load says so.
  void expire_due(Duration now) {
    if (soonest.load(std::memory_order_relaxed) <= now.count()) expire(now);
  }
  void note_expiry(Duration at) {
    if (at.count() < soonest.load(std::memory_order_relaxed))
      soonest.store(at.count(), std::memory_order_relaxed);
  }

  Bounds bounds;
  std::uint64_t seed;
  std::vector<BucketShard> shards;
  std::vector<ReservationSlab> slabs;
  std::atomic<std::size_t> next_slab{0};
  std::atomic<std::uint64_t> expired{0};
  // When the first reservation expires, or earlier. Two threads at once may leave it late: the next refusal or tick,
  // which ask every slab, put it right.
  std::atomic<std::int64_t> soonest{ReservationSlab::kNone.count()};
};

namespace {

// The keys of a call's wants; ids that are too long live here as their digest.
struct Keys {
  Keys(const auto& state, std::span<const Want> wants) {
    std::string_view id;
    std::uint64_t hash = state.id_hash(id);
    for (const Want& want : wants) {
      if (want.id.size() > kMaxIdBytes) {
        digests.reserve(wants.size());
        id = digests.emplace_back(kept_id(want.id));
        hash = state.id_hash(id);
      } else if (want.id.data() != id.data() ||
                 want.id.size() != id.size()) {  // most follow one of the same id
        id = want.id;
        hash = state.id_hash(id);
      }
      keys.add(state.key_of(id, hash, want.rule));
      mask |= state.mask_of(keys[keys.size() - 1].hash);
    }
  }

  PathList<BucketKey> keys;
  std::vector<std::string> digests;
  std::uint64_t mask = 0;
};

void roll_back(std::span<const Visit> visits) {
  for (std::size_t i = visits.size(); i > 0; --i) {
    visits[i - 1].bucket->gcra = visits[i - 1].gcra_before;
    visits[i - 1].bucket->calls = visits[i - 1].calls_before;
  }
}

Headroom headroom_of(std::span<const Want> wants, std::span<const Int128> used) {
  Headroom headroom;
  for (std::size_t i = 0; i < wants.size(); ++i)
    headroom.note(kind_of(wants[i].rule), view_of(wants[i].rule, used[i]));
  return headroom;
}

Refusal refusal_of(std::span<const Want> wants, const Taken& taken, std::span<const Int128> used) {
  Refusal refusal;
  refusal.cause = taken.cause;
  refusal.retry_after = taken.retry_after;
  if (taken.visited) refusal.headroom = headroom_of(wants, used);
  if (taken.cause == Cause::busy) return refusal;
  const Want& worst = wants[taken.worst];
  refusal.id = kept_id(worst.id);
  refusal.kind = kind_of(worst.rule);
  refusal.view = view_of(worst.rule, used[taken.worst]);
  refusal.predicted_cost = std::max<std::int64_t>(0, worst.cost);
  return refusal;
}

}  // namespace

View view_of(const Rule& rule, Int128 used) {
  if (const Slots* slots = std::get_if<Slots>(&rule)) {
    const auto held = static_cast<std::int64_t>(used);
    return {slots->count, std::max<std::int64_t>(0, slots->count - held), Duration{0}};
  }
  const Rate& rate = std::get<Rate>(rule);
  return {rate.burst(), remaining_after(used, rate), reset_after(used, rate)};
}

// With all shards of the path locked: find, try each in turn, and either keep all or put back all.
Taken LimitTable::State::take(std::span<const Want> wants, Duration now, Mode mode, std::span<Int128> used) {
  if (wants.size() > kMaxWants) return busy();
  const Keys path(*this, wants);
  const ShardLocks locks(shards, path.mask);
  Visits visits;
  for (std::size_t i = 0; i < wants.size(); ++i) {
    Bucket* bucket =
        shard_of(path.keys[i].hash).find_or_make(path.keys[i], wants[i].rule, wants[i].spare, {now, {}});
    if (bucket == nullptr) {
      leave(visits);
      return busy();
    }
    ++bucket->open;
    adopt(*bucket, wants[i].rule, now);
    visits.add({bucket, bucket->gcra, bucket->calls});
  }
  Taken taken = attempt_all(wants, visits, now, mode);
  const bool opens = taken.passed && mode == Mode::reserve;
  if (opens && !open(wants, visits, now, taken.reservation)) taken = busy();
  if (!taken.passed) roll_back(visits.all());
  taken.visited = true;
  for (std::size_t i = 0; i < visits.size(); ++i) used[i] = used_of(*visits[i].bucket, now);
  if (!taken.passed || mode == Mode::charge) leave(visits);
  return taken;
}

Taken LimitTable::State::attempt_all(std::span<const Want> wants, const Visits& visits, Duration now,
                                     Mode mode) {
  Taken taken;
  taken.passed = true;
  for (std::size_t i = 0; i < wants.size(); ++i) {
    const std::int64_t cost = std::max<std::int64_t>(0, wants[i].cost);
    const std::optional<Decision> refusal = refuse_or_take(*visits[i].bucket, cost, now, mode);
    if (!refusal || (!taken.passed && !worse(*refusal, taken))) continue;
    taken.passed = false;
    taken.worst = i;
    taken.cause = refusal->verdict == Verdict::never ? Cause::never : Cause::wait;
    taken.retry_after = refusal->retry_after;
  }
  return taken;
}

bool LimitTable::State::open(std::span<const Want> wants, const Visits& visits, Duration now,
                             Reservation& opened) {
  Items items;
  for (std::size_t i = 0; i < wants.size(); ++i)
    items.add(item_of(*visits[i].bucket, std::max<std::int64_t>(0, wants[i].cost)));
  const std::size_t first = next_slab.fetch_add(1, std::memory_order_relaxed);
  for (std::size_t i = 0; i < slabs.size(); ++i) {
    const std::size_t index = (first + i) % slabs.size();
    const auto added = slabs[index].add(items.all(), now + bounds.reservation_ttl);
    if (!added) continue;
    note_expiry(added->expires_at);
    const std::uint64_t slot = added->id & 0xffffffffU;
    opened = {(added->id ^ slot) | slot << kSlabBits | index, added->expires_at};
    return true;
  }
  return false;
}

void LimitTable::State::leave(const Visits& visits) {
  for (const Visit& visit : visits.all()) {
    --visit.bucket->open;
    shard_of(visit.bucket->hash).touch(*visit.bucket);
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
  expire_due(now.monotonic);
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
  Duration next = ReservationSlab::kNone;
  for (const ReservationSlab& slab : slabs) next = std::min(next, slab.next_expiry());
  soonest.store(next.count(), std::memory_order_relaxed);
  expired.fetch_add(count, std::memory_order_relaxed);
  return count;
}

LimitTable::LimitTable(Bounds bounds, std::uint64_t seed) : state_(std::make_unique<State>(bounds, seed)) {}
LimitTable::~LimitTable() = default;

Taken LimitTable::take(std::span<const Want> wants, Mode mode, Instant now, std::span<Int128> used) {
  state_->expire_due(now.monotonic);
  const Taken taken = state_->take(wants, now.monotonic, mode, used);
  if (taken.passed || state_->expire(now.monotonic) == 0) return taken;
  return state_->take(wants, now.monotonic, mode, used);
}

std::variant<Grant, Refusal> LimitTable::reserve(std::span<const Want> wants, Instant now) {
  std::array<Int128, kMaxWants> used;
  const Taken taken = take(wants, Mode::reserve, now, used);
  if (!taken.passed) return refusal_of(wants, taken, used);
  return Grant{taken.reservation, headroom_of(wants, used)};
}

std::variant<Headroom, Refusal> LimitTable::charge(std::span<const Want> wants, Instant now) {
  std::array<Int128, kMaxWants> used;
  const Taken taken = take(wants, Mode::charge, now, used);
  if (!taken.passed) return refusal_of(wants, taken, used);
  return headroom_of(wants, used);
}

Ending LimitTable::settle(Reservation reservation, Actual actual, Instant now) {
  return state_->end(reservation, End::settle, actual, now);
}

Ending LimitTable::refund(Reservation reservation, Instant now) {
  return state_->end(reservation, End::refund, {}, now);
}

Ending LimitTable::release(Reservation reservation, Instant now) {
  return state_->end(reservation, End::release, {}, now);
}

Headroom LimitTable::look(std::span<const Want> wants, Instant now) const {
  Headroom headroom;
  if (wants.size() > kMaxWants) return headroom;
  const Keys path(*state_, wants);
  const ShardLocks locks(state_->shards, path.mask);
  for (std::size_t i = 0; i < wants.size(); ++i) {
    const Bucket* bucket = state_->shard_of(path.keys[i].hash).find(path.keys[i]);
    headroom.note(kind_of(wants[i].rule), bucket != nullptr
                                              ? view_of(bucket->rule, used_of(*bucket, now.monotonic))
                                              : full_view(wants[i].rule));
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
    if (debt > 0) saved.buckets.push_back({bucket.id, *rate, debt, bucket.spare});
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
    Bucket* bucket = shard.find_or_make(key, entry.rate, entry.spare, now);
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
