// Finds a bucket by its key: flat open addressing by a hash that is given, linear probing, deletion by shifting back.
//
// Contract: holds borrowed buckets, which must not move nor change id, kind or period; a key is in it once. The hash must
// spread its low bits. Cost: a look-up is one cache line and one comparison nearly always; memory 32 bytes per bucket;
// growing is linear. Thread rule: the owner locks. Failure rule: none can fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "sentinel/base/clock.hpp"
#include "sentinel/limit/rate.hpp"

namespace sentinel::limit {

struct Bucket;

struct BucketKey {
  std::string_view id;
  Kind kind = Kind::requests;
  Duration period{0};
  std::uint64_t hash = 0;
};

class BucketIndex {
 public:
  Bucket* find(const BucketKey& key) const;
  void insert(Bucket& bucket);
  void erase(const Bucket& bucket);

  std::size_t size() const { return size_; }

 private:
  struct Slot {
    std::uint64_t hash = 0;
    Bucket* bucket = nullptr;  // nullptr: free
  };

  std::size_t after(std::size_t place) const { return (place + 1) & (slots_.size() - 1); }
  std::size_t home(std::uint64_t hash) const { return static_cast<std::size_t>(hash) & (slots_.size() - 1); }
  void grow();
  void put(Slot slot);

  std::vector<Slot> slots_ = std::vector<Slot>(16);  // a power of two, at most half of it in use
  std::size_t size_ = 0;
};

}  // namespace sentinel::limit
