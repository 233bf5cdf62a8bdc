#include "sentinel/cache/slot_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "sentinel/base/random.hpp"

namespace sentinel::cache {
namespace {

// A table of slots that know their hashes, and whose numbers are used again, as its owners have them.
class Slots {
 public:
  std::uint32_t insert(std::uint64_t hash) {
    const std::uint32_t slot = free_.empty() ? static_cast<std::uint32_t>(hashes_.size()) : free_.back();
    free_.empty() ? hashes_.push_back(hash) : free_.pop_back();
    hashes_[slot] = hash;
    table_.insert(hash, slot, hash_of());
    return slot;
  }
  void remove(std::uint32_t slot) {
    table_.remove(hashes_[slot], slot, hash_of());
    hashes_[slot] = 0;
    free_.push_back(slot);
  }
  void reserve(std::size_t slots) { table_.reserve(slots, hash_of()); }
  const SlotTable& table() const { return table_; }

 private:
  std::function<std::uint64_t(std::uint32_t)> hash_of() const {
    return [this](std::uint32_t slot) { return hashes_[slot]; };
  }

  std::vector<std::uint64_t> hashes_;
  std::vector<std::uint32_t> free_;
  SlotTable table_;
};

std::vector<std::uint32_t> found(const SlotTable& table, std::uint64_t hash) {
  std::vector<std::uint32_t> slots;
  for (SlotTable::Probe probe = table.probe(hash); probe.slot != kNoSlot; table.advance(probe))
    slots.push_back(probe.slot);
  std::ranges::sort(slots);
  return slots;
}

TEST(SlotTable, FindsNothingInAnEmptyTable) { EXPECT_EQ(SlotTable().probe(7).slot, kNoSlot); }

TEST(SlotTable, HoldsEqualHashesSeveralTimes) {
  Slots slots;
  for (int i = 0; i < 3; ++i) slots.insert(99);
  EXPECT_EQ(found(slots.table(), 99), (std::vector<std::uint32_t>{0, 1, 2}));
  slots.remove(1);
  EXPECT_EQ(found(slots.table(), 99), (std::vector<std::uint32_t>{0, 2}));
}

TEST(SlotTable, HashesOfWhichOnlyTheUppermostBitsDifferAreFoundAmongEachOther) {
  Slots slots;
  for (std::uint64_t high = 0; high < 256; ++high) slots.insert(high << 56U);
  for (std::uint64_t high = 0; high < 256; ++high) {
    const std::vector<std::uint32_t> held = found(slots.table(), high << 56U);
    EXPECT_TRUE(std::ranges::binary_search(held, static_cast<std::uint32_t>(high)));
  }
}

TEST(SlotTable, WhatAgreesInNoBitIsNotFoundAndEmptyPlacesAreNoSlots) {
  Slots slots;
  slots.insert(1);
  Random random(12);
  for (int i = 0; i < 10'000; ++i)
    for (const std::uint32_t slot : found(slots.table(), random.next())) EXPECT_EQ(slot, 0U);
}

TEST(SlotTable, DoesAsAMultimapUnderRandomInsertsAndRemovals) {
  Random random(11);
  Slots slots;
  std::multimap<std::uint64_t, std::uint32_t> model;
  for (int step = 0; step < 20'000; ++step) {
    const std::uint64_t hash = random.below(3) == 0 ? random.below(50) : random.below(4'000) * 4'096;
    if (random.below(5) < 3) {
      model.emplace(hash, slots.insert(hash));
    } else if (const auto held = model.lower_bound(hash); held != model.end()) {
      slots.remove(held->second);
      model.erase(held);
    }
    ASSERT_EQ(slots.table().size(), model.size());
  }
  for (auto held = model.begin(); held != model.end(); held = model.upper_bound(held->first)) {
    const std::vector<std::uint32_t> numbers = found(slots.table(), held->first);
    for (auto [one, end] = model.equal_range(held->first); one != end; ++one)
      EXPECT_TRUE(std::ranges::binary_search(numbers, one->second));
    for (const std::uint32_t number : numbers) EXPECT_LT(number, 20'000U);
  }
}

TEST(SlotTable, ReservedRoomKeepsWhatIsHeld) {
  Slots slots;
  const std::uint32_t slot = slots.insert(5);
  slots.reserve(10'000);
  EXPECT_EQ(slots.table().probe(5).slot, slot);
}

TEST(SlotTable, SequentialHashesSpread) {
  std::vector<int> taken(256);
  for (std::uint64_t hash = 0; hash < 2'560; ++hash) ++taken[mixed(hash) >> 56U];
  EXPECT_LT(*std::ranges::max_element(taken), 40);
}

}  // namespace
}  // namespace sentinel::cache
