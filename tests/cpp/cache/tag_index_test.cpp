#include "sentinel/cache/tag_index.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "sentinel/base/random.hpp"

namespace sentinel::cache {
namespace {

TEST(TagIndex, ASlotCarriesATagOnce) {
  TagIndex index;
  index.attach(4, "red");
  index.attach(4, "red");
  EXPECT_EQ(index.first("red"), 4U);
  index.detach(4);
  EXPECT_EQ(index.first("red"), kNoSlot);
}

TEST(TagIndex, ForgetsATagWithoutSlots) {
  TagIndex index;
  index.attach(1, "red");
  index.attach(1, "blue");
  EXPECT_EQ(index.tags(), 2U);
  index.detach(1);
  index.detach(9);
  EXPECT_EQ(index.tags(), 0U);
}

TEST(TagIndex, DoesAsAMapOfSetsUnderRandomUse) {
  Random random(8);
  TagIndex index;
  std::map<std::string, std::set<std::uint32_t>> model;
  for (int step = 0; step < 20'000; ++step) {
    const auto slot = static_cast<std::uint32_t>(random.below(60));
    const std::string tag = "tag-" + std::to_string(random.below(25));
    if (random.below(3) != 0) {
      index.attach(slot, tag);
      model[tag].insert(slot);
    } else {
      index.detach(slot);
      for (auto& [name, slots] : model) slots.erase(slot);
    }
    std::erase_if(model, [](const auto& held) { return held.second.empty(); });
    ASSERT_EQ(index.tags(), model.size());
    const std::uint32_t first = index.first(tag);
    ASSERT_EQ(first != kNoSlot, model.contains(tag));
    if (first != kNoSlot) {
      ASSERT_TRUE(model[tag].contains(first));
    }
  }
  for (const auto& [tag, slots] : model) {
    std::set<std::uint32_t> found;
    for (std::uint32_t slot = index.first(tag); slot != kNoSlot; slot = index.first(tag)) {
      found.insert(slot);
      index.detach(slot);
    }
    for (const std::uint32_t slot : found) EXPECT_TRUE(slots.contains(slot));
  }
  EXPECT_EQ(index.tags(), 0U);
}

}  // namespace
}  // namespace sentinel::cache
