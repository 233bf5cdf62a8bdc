#include "sentinel/cache/slot_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "sentinel/base/random.hpp"

namespace sentinel::cache {
namespace {

std::vector<std::uint32_t> found(const SlotTable& table, std::uint64_t hash) {
  std::vector<std::uint32_t> slots;
  for (SlotTable::Probe probe = table.probe(hash); probe.slot != kNoSlot; table.advance(probe))
    slots.push_back(probe.slot);
  std::ranges::sort(slots);
  return slots;
}

TEST(SlotTable, FindsNothingInAnEmptyTable) { EXPECT_EQ(SlotTable().probe(7).slot, kNoSlot); }

TEST(SlotTable, HoldsEqualHashesSeveralTimes) {
  SlotTable table;
  for (const std::uint32_t slot : {3U, 1U, 2U}) insert(table, 99, slot);
  EXPECT_EQ(found(table, 99), (std::vector<std::uint32_t>{1, 2, 3}));
  table.remove(99, 1);
  EXPECT_EQ(found(table, 99), (std::vector<std::uint32_t>{2, 3}));
}

TEST(SlotTable, DoesAsAMultimapUnderRandomInsertsAndRemovals) {
  Random random(11);
  SlotTable table;
  std::multimap<std::uint64_t, std::uint32_t> model;
  for (std::uint32_t slot = 0; slot < 20'000; ++slot) {
    const std::uint64_t hash = random.below(3) == 0 ? random.below(50) : random.below(4'000) * 4'096;
    if (random.below(5) < 3) {
      table.insert(hash, slot);
      model.emplace(hash, slot);
    } else if (const auto held = model.lower_bound(hash); held != model.end()) {
      table.remove(held->first, held->second);
      model.erase(held);
    }
    ASSERT_EQ(table.size(), model.size());
  }
  for (auto held = model.begin(); held != model.end(); held = model.upper_bound(held->first)) {
    const std::vector<std::uint32_t> slots = found(table, held->first);
    for (auto [one, end] = model.equal_range(held->first); one != end; ++one)
      EXPECT_TRUE(std::ranges::binary_search(slots, one->second));
  }
}

TEST(SlotTable, ReservedRoomKeepsWhatIsHeld) {
  SlotTable table;
  table.insert(5, 1);
  table.reserve(10'000);
  EXPECT_EQ(table.probe(5).slot, 1U);
}

TEST(SlotTable, SequentialHashesSpread) {
  std::vector<int> taken(256);
  for (std::uint64_t hash = 0; hash < 2'560; ++hash) ++taken[mixed(hash) >> 24U];
  EXPECT_LT(*std::ranges::max_element(taken), 40);
}

}  // namespace
}  // namespace sentinel::cache
