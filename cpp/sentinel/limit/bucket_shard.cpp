#include "sentinel/limit/bucket_shard.hpp"

namespace sentinel::limit {
namespace {

constexpr Duration kNotWhileOpen = Duration::max();

Duration truly_full_at(const Bucket& bucket) {
  if (bucket.open > 0) return kNotWhileOpen;
  const Rate* rate = std::get_if<Rate>(&bucket.rule);
  return rate != nullptr ? paid_at(bucket.gcra, *rate) : Duration{0};
}

}  // namespace

Bucket* BucketShard::find_or_make(const BucketKey& key, const Rule& rule, bool spare, Instant now) {
  if (Bucket* found = find(key)) return found;
  if (index_.size() >= max_buckets_ && !make_room(spare, now.monotonic)) return nullptr;
  auto made = std::make_unique<Bucket>(
      Bucket{std::string(key.id), rule, key.hash, {}, {}, 0, {}, next_number_++, spare});
  made->gcra.as_of = now.monotonic;
  made->full_at_least = now.monotonic;
  Bucket* bucket = made.get();
  order_of(*bucket).emplace(Place{bucket->full_at_least, bucket->number}, std::move(made));
  index_.insert(*bucket);
  return bucket;
}

void BucketShard::touch(Bucket& bucket) {
  const bool is_rate = std::holds_alternative<Rate>(bucket.rule);
  if (is_rate && bucket.full_at_least <= bucket.gcra.as_of) return;  // it is full at as_of at the earliest
  const Duration truth = truly_full_at(bucket);
  if (truth < bucket.full_at_least) place(bucket, truth);
}

void BucketShard::drop_full(Duration now, std::size_t most) {
  drop_full(spare_, now, most);
  drop_full(kept_, now, most);
}

void BucketShard::drop_full(Order& order, Duration now, std::size_t& most) {
  for (; most > 0; --most) {
    Bucket* bucket = soonest(order);
    if (bucket == nullptr || bucket->full_at_least > now) return;
    drop(*bucket);
  }
}

// The bucket that will truly be full first. Nothing if there is none that may be dropped.
Bucket* BucketShard::soonest(Order& order) {
  while (!order.empty()) {
    Bucket* bucket = order.begin()->second.get();
    const Duration truth = truly_full_at(*bucket);
    if (truth > bucket->full_at_least) {
      place(*bucket, truth);
      continue;
    }
    return bucket->open > 0 ? nullptr : bucket;
  }
  return nullptr;
}

bool BucketShard::make_room(bool spare, Duration now) {
  Bucket* bucket = soonest(spare_);
  if (bucket == nullptr || bucket->full_at_least > now) {
    Bucket* const kept = soonest(kept_);
    if (kept != nullptr && (bucket == nullptr || kept->full_at_least <= now)) bucket = kept;
  }
  if (bucket == nullptr) return false;
  const bool in_debt = bucket->full_at_least > now;
  if (in_debt && spare && !bucket->spare) return false;
  if (in_debt) ++forgiven_;
  drop(*bucket);
  return true;
}

void BucketShard::place(Bucket& bucket, Duration full_at) {
  Order& order = order_of(bucket);
  auto entry = order.extract(Place{bucket.full_at_least, bucket.number});
  bucket.full_at_least = full_at;
  entry.key() = Place{full_at, bucket.number};
  order.insert(std::move(entry));
}

void BucketShard::drop(Bucket& bucket) {
  index_.erase(bucket);
  order_of(bucket).erase(Place{bucket.full_at_least, bucket.number});
}

}  // namespace sentinel::limit
