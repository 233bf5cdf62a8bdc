#include "sentinel/cache/residency.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <list>
#include <vector>

#include "sentinel/base/random.hpp"
#include "sentinel/cache/duel.hpp"

namespace sentinel::cache {
namespace {

struct Slot {
  std::uint64_t hash = 0;
  Standing standing;
};

// A cache of numbers, whose slot is the number.
class Numbers {
 public:
  Numbers(Residency::Policy policy, std::uint64_t most, bool weighted = false)
      : most_(most), slots_(5'000), residency_(policy, weighted) {}

  bool access(std::uint32_t number, std::uint64_t weight = 1) {
    Slot& slot = slots_[number];
    if (slot.standing.queue != Queue::none) {
      residency_.touch(slots_.data(), number);
      return true;
    }
    slot = {number, {}};
    residency_.note_miss(number);
    residency_.add(slots_.data(), number, weight);
    while (residency_.weight() > most_) {
      const std::uint32_t victim = residency_.victim(slots_.data(), number);
      EXPECT_NE(victim, kNoSlot);
      EXPECT_NE(victim, number);
      residency_.remove(slots_.data(), victim);
    }
    return false;
  }

  std::vector<std::uint32_t> order() const {
    std::vector<std::uint32_t> order;
    residency_.visit([&](std::uint32_t at) { order.push_back(at); });
    return order;
  }

  Residency& residency() { return residency_; }

 private:
  std::uint64_t most_;
  std::vector<Slot> slots_;
  Residency residency_;
};

TEST(Residency, LruIsExact) {
  Random random(2);
  Numbers numbers(Residency::Policy::lru, 20);
  std::list<std::uint32_t> model;
  for (int i = 0; i < 5'000; ++i) {
    const auto number = static_cast<std::uint32_t>(random.below(40));
    const bool held = std::ranges::find(model, number) != model.end();
    model.remove(number);
    model.push_front(number);
    if (model.size() > 20) model.pop_back();
    ASSERT_EQ(numbers.access(number), held);
    ASSERT_EQ(numbers.order(), std::vector<std::uint32_t>(model.begin(), model.end()));
  }
}

TEST(Residency, WhoIsNewIsNeverTheVictim) {
  for (const std::uint64_t most : {1U, 2U, 3U, 100U}) {
    Numbers numbers(Residency::Policy::adaptive, most);
    for (std::uint32_t number = 0; number < 1'000; ++number) {
      numbers.access(number);
      const std::vector<std::uint32_t> held = numbers.order();
      EXPECT_TRUE(std::ranges::find(held, number) != held.end());
      EXPECT_LE(held.size(), most);
    }
  }
}

TEST(Residency, WhoIsUsedOftenOutlivesAScan) {
  Numbers numbers(Residency::Policy::adaptive, 100);
  for (int round = 0; round < 5; ++round)
    for (std::uint32_t number = 0; number < 50; ++number) numbers.access(number);
  for (std::uint32_t number = 1'000; number < 1'300; ++number) numbers.access(number);
  int kept = 0;
  for (std::uint32_t number = 0; number < 50; ++number) kept += numbers.access(number) ? 1 : 0;
  EXPECT_GE(kept, 48);
}

TEST(Residency, AWholeWindowTurnsIntoLru) {
  Random random(4);
  Numbers numbers(Residency::Policy::adaptive, 50);
  for (int i = 0; i < 2'000; ++i) numbers.access(static_cast<std::uint32_t>(random.below(80)));
  numbers.residency().set_window_share(kWholeWindow);
  for (std::uint32_t number = 1'000; number < 1'050; ++number) numbers.access(number);
  std::vector<std::uint32_t> expected(50);
  for (std::uint32_t i = 0; i < 50; ++i) expected[i] = 1'049 - i;
  EXPECT_EQ(numbers.order(), expected);
}

TEST(Residency, ASmallWindowComesBackStepByStep) {
  Numbers numbers(Residency::Policy::adaptive, 100);
  numbers.residency().set_window_share(kWholeWindow);
  for (std::uint32_t number = 0; number < 100; ++number) numbers.access(number);
  numbers.residency().set_window_share(kSmallWindow);
  for (std::uint32_t number = 100; number < 130; ++number) numbers.access(number);
  const std::vector<std::uint32_t> before = numbers.order();
  for (std::uint32_t number = 200; number < 400; ++number) numbers.access(number);
  const std::vector<std::uint32_t> after = numbers.order();
  const auto kept = std::ranges::count_if(
      before, [&](std::uint32_t number) { return std::ranges::find(after, number) != after.end(); });
  EXPECT_GE(kept, 60);  // a whole window would have kept none
}

TEST(Residency, WeightsAreBoundedAndFollowTheirSlots) {
  Random random(6);
  for (const auto policy : {Residency::Policy::lru, Residency::Policy::adaptive}) {
    Numbers numbers(policy, 1'000, true);
    for (int i = 0; i < 5'000; ++i)
      numbers.access(static_cast<std::uint32_t>(random.below(400)), 1 + random.below(300));
    std::uint64_t sum = 0;
    for (const std::uint32_t at : numbers.order()) sum += numbers.residency().weight_at(at);
    EXPECT_EQ(sum, numbers.residency().weight());
    EXPECT_LE(sum, 1'000U);
  }
}

TEST(Duel, FrequencyWinsOnALoopAndRecencyOnADrift) {
  Duel loop(1'000);
  Duel drift(1'000);
  Random random(9);
  for (std::uint64_t i = 0; i < 40'000; ++i) {
    loop.watch(i % 1'500);
    drift.watch(i / 2 - random.below(600));
  }
  EXPECT_FALSE(loop.judge());
  EXPECT_TRUE(drift.judge());
}

TEST(Duel, ChangesItsMindWhenTheTraceDoes) {
  Duel duel(1'000);
  Random random(9);
  for (std::uint64_t i = 0; i < 40'000; ++i) {
    duel.watch(1'000'000 + i / 2 - random.below(600));
    duel.judge();
  }
  EXPECT_TRUE(duel.judge());
  for (std::uint64_t i = 0; i < 40'000; ++i) {
    duel.watch(i % 1'500);
    duel.judge();
  }
  EXPECT_FALSE(duel.judge());
}

TEST(Duel, ACacheWithoutMissesIsLeftAlone) {
  Duel duel(100);
  for (std::uint64_t i = 0; i < 1'000'000; ++i) duel.watch(i % 50);
  EXPECT_FALSE(duel.judge());
}

TEST(Duel, WorksForTheSmallestCaches) {
  for (const std::size_t entries : {1U, 2U, 3U, 5U}) {
    Duel duel(entries);
    for (std::uint64_t i = 0; i < 2'000; ++i) duel.watch(i % 7);
    EXPECT_FALSE(duel.judge() && entries == 0);
  }
}

}  // namespace
}  // namespace sentinel::cache
