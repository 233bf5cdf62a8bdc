#include "sentinel/limit/bucket_index.hpp"

#include <utility>

#include "sentinel/limit/bucket_shard.hpp"

namespace sentinel::limit {
namespace {

bool is(const Bucket& bucket, const BucketKey& key) {
  return kind_of(bucket.rule) == key.kind && period_of(bucket.rule) == key.period && bucket.id == key.id;
}

}  // namespace

Bucket* BucketIndex::find(const BucketKey& key) const {
  for (std::size_t place = home(key.hash); slots_[place].bucket != nullptr; place = after(place)) {
    if (slots_[place].hash == key.hash && is(*slots_[place].bucket, key)) return slots_[place].bucket;
  }
  return nullptr;
}

void BucketIndex::insert(Bucket& bucket) {
  if ((size_ + 1) * 2 > slots_.size()) grow();
  put({bucket.hash, &bucket});
  ++size_;
}

// What follows without a gap moves back if its home allows it, so that no look-up meets a hole.
void BucketIndex::erase(const Bucket& bucket) {
  std::size_t hole = home(bucket.hash);
  while (slots_[hole].bucket != &bucket) hole = after(hole);
  for (std::size_t place = after(hole); slots_[place].bucket != nullptr; place = after(place)) {
    const std::size_t mask = slots_.size() - 1;
    const std::size_t reach = (place - home(slots_[place].hash)) & mask;
    if (reach < ((place - hole) & mask)) continue;
    slots_[hole] = slots_[place];
    hole = place;
  }
  slots_[hole] = {};
  --size_;
}

void BucketIndex::put(Slot slot) {
  std::size_t place = home(slot.hash);
  while (slots_[place].bucket != nullptr) place = after(place);
  slots_[place] = slot;
}

void BucketIndex::grow() {
  const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots_.size() * 2));
  for (const Slot& slot : old)
    if (slot.bucket != nullptr) put(slot);
}

}  // namespace sentinel::limit
