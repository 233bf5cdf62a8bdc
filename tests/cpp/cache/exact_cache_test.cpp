#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "sentinel/cache/exact_cache.hpp"

namespace sentinel::cache {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMiB = std::size_t{1} << 20U;

Instant at(Duration monotonic) { return {monotonic, monotonic}; }

EntryKey key(std::string_view partition, int number) {
  return {sha256(partition), sha256(std::to_string(number))};
}

Entry answer(std::string body, Form form = Form::plain, Duration ttl = 60s) {
  Entry entry;
  entry.form = form;
  entry.body = std::move(body);
  entry.ttl = ttl;
  return entry;
}

std::string body_of(const EntryPtr& entry) { return entry ? entry->body : "(none)"; }

TEST(ExactCache, FindsWhatWasStoredWithEverythingItHolds) {
  ExactCache cache({}, 1);
  Entry entry = answer("data: ...", Form::stream);
  entry.usage_ranges = {{1, 4}};
  entry.tags = {"a", "b"};
  entry.usage.prompt = 7;
  entry.stored_at = at(3s);
  ASSERT_EQ(cache.store(key("p", 1), entry, at(3s)), Stored::yes);
  const EntryPtr found = cache.find(key("p", 1), Form::stream, at(4s));
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->body, "data: ...");
  EXPECT_EQ(found->usage_ranges, (std::vector<ByteRange>{{1, 4}}));
  EXPECT_EQ(found->tags, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(found->usage.prompt, 7);
  EXPECT_EQ(found->age(at(4s)), 1s);
  EXPECT_EQ(found->ttl_left(at(4s)), 59s);
}

TEST(ExactCache, S22_NothingIsSharedAcrossPartitions) {
  ExactCache cache({}, 1);
  cache.store(key("tenant-a", 1), answer("secret"), at(0s));
  EXPECT_EQ(cache.find(key("tenant-b", 1), Form::plain, at(0s)), nullptr);
  EXPECT_EQ(cache.find_any(key("tenant-b", 1), Form::plain, at(0s)), nullptr);
  EXPECT_EQ(body_of(cache.find(key("tenant-a", 1), Form::plain, at(0s))), "secret");
}

TEST(ExactCache, S22_EveryByteOfTheKeyIsCompared) {
  ExactCache cache({}, 1);
  const EntryKey stored = key("p", 1);
  cache.store(stored, answer("x"), at(0s));
  for (std::size_t byte = 0; byte < sizeof(Digest); ++byte) {
    EntryKey other = stored;
    other.partition[byte] ^= 1U;
    EXPECT_EQ(cache.find(other, Form::plain, at(0s)), nullptr);
    other = stored;
    other.identity[byte] ^= 0x80U;
    EXPECT_EQ(cache.find(other, Form::plain, at(0s)), nullptr);
  }
}

TEST(ExactCache, S22_TheShownKeyOfOneBodyDiffersBetweenPartitions) {
  const std::string shown = key_text_of(key("a", 1));
  EXPECT_EQ(shown.size(), 32U);
  EXPECT_EQ(shown, key_text_of(key("a", 1)));
  EXPECT_NE(shown, key_text_of(key("b", 1)));
  EXPECT_NE(shown, key_text_of(key("a", 2)));
  EXPECT_NE(shown, key_text_of({key("a", 1).identity, key("a", 1).partition}));
}

TEST(ExactCache, AKeyHoldsTwoForms) {
  ExactCache cache({}, 1);
  cache.store(key("p", 1), answer("plain"), at(0s));
  EXPECT_EQ(cache.find(key("p", 1), Form::stream, at(0s)), nullptr);
  EXPECT_EQ(body_of(cache.find_any(key("p", 1), Form::stream, at(0s))), "plain");
  cache.store(key("p", 1), answer("stream", Form::stream), at(0s));
  EXPECT_EQ(body_of(cache.find(key("p", 1), Form::plain, at(0s))), "plain");
  EXPECT_EQ(body_of(cache.find_any(key("p", 1), Form::plain, at(0s))), "plain");
  EXPECT_EQ(body_of(cache.find_any(key("p", 1), Form::stream, at(0s))), "stream");
  EXPECT_EQ(cache.stats().entries, 2U);
}

TEST(ExactCache, TheOtherFormAnswersWhenTheWantedOneHasExpired) {
  ExactCache cache({}, 1);
  cache.store(key("p", 1), answer("plain", Form::plain, 1s), at(0s));
  cache.store(key("p", 1), answer("stream", Form::stream, 9s), at(0s));
  EXPECT_EQ(body_of(cache.find_any(key("p", 1), Form::plain, at(5s))), "stream");
  EXPECT_EQ(cache.stats().expired, 1U);
  EXPECT_EQ(cache.stats().hits, 1U);
  EXPECT_EQ(cache.stats().misses, 0U);
}

TEST(ExactCache, ANewAnswerReplacesTheOldOneOfItsForm) {
  ExactCache cache({}, 1);
  cache.store(key("p", 1), answer("old"), at(0s));
  const EntryPtr held = cache.find(key("p", 1), Form::plain, at(0s));
  cache.store(key("p", 1), answer("new"), at(0s));
  EXPECT_EQ(body_of(cache.find(key("p", 1), Form::plain, at(0s))), "new");
  EXPECT_EQ(body_of(held), "old");  // a reader keeps what it was given
  EXPECT_EQ(cache.stats().entries, 1U);
}

TEST(ExactCache, AnEntryLivesUntilItsAgeIsItsTtl) {
  ExactCache cache({}, 1);
  Entry entry = answer("x", Form::plain, 10s);
  entry.stored_at = at(5s);
  cache.store(key("p", 1), entry, at(7s));
  EXPECT_NE(cache.find(key("p", 1), Form::plain, at(15s - 1us)), nullptr);
  EXPECT_EQ(cache.find(key("p", 1), Form::plain, at(15s)), nullptr);
  EXPECT_EQ(cache.find(key("p", 1), Form::plain, at(7s)), nullptr);  // it was removed, not hidden
  EXPECT_EQ(cache.stats().expired, 1U);
  EXPECT_EQ(cache.stats().bytes, 0U);
}

TEST(ExactCache, AnEntryOlderThanItsTtlIsRefused) {
  ExactCache cache({}, 1);
  EXPECT_EQ(cache.store(key("p", 1), answer("x", Form::plain, 0s), at(0s)), Stored::expired);
  EXPECT_EQ(cache.store(key("p", 1), answer("x", Form::plain, -1s), at(0s)), Stored::expired);
  EXPECT_EQ(cache.store(key("p", 1), answer("x", Form::plain, 5s), at(5s)), Stored::expired);
  EXPECT_EQ(cache.stats().refused, 3U);
  EXPECT_EQ(cache.stats().entries, 0U);
}

TEST(ExactCache, TheLongestTtlNeverEnds) {
  ExactCache cache({}, 1);
  Entry entry = answer("x", Form::plain, Duration::max());
  entry.stored_at = at(5s);
  cache.store(key("p", 1), entry, at(5s));
  EXPECT_NE(cache.find(key("p", 1), Form::plain, at(Duration::max() - 1us)), nullptr);
}

TEST(ExactCache, AThreadWithAnEarlierInstantFindsAFreshEntry) {
  ExactCache cache({}, 1);
  Entry entry = answer("x", Form::plain, 1s);
  entry.stored_at = at(10s);
  cache.store(key("p", 1), entry, at(10s));
  const EntryPtr found = cache.find(key("p", 1), Form::plain, at(9s));
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->age(at(9s)), 0s);
}

TEST(ExactCache, AnEntryAboveTheLargestSizeIsRefusedAndChangesNothing) {
  ExactCache cache({.max_bytes = 16 * kMiB, .shards = 1, .max_entry_bytes = 10'000}, 1);
  cache.store(key("p", 1), answer("small"), at(0s));
  EXPECT_EQ(cache.store(key("p", 1), answer(std::string(10'000, 'x')), at(0s)), Stored::too_big);
  EXPECT_EQ(body_of(cache.find(key("p", 1), Form::plain, at(0s))), "small");
  EXPECT_EQ(cache.stats().refused, 1U);
  Entry tagged = answer("small");
  tagged.tags.assign(500, "t");  // not only the body counts
  EXPECT_EQ(cache.store(key("p", 1), tagged, at(0s)), Stored::too_big);
}

TEST(ExactCache, AnEntryThatNoShardCouldHoldIsRefused) {
  ExactCache cache({.max_bytes = 50'000, .shards = 16, .max_entry_bytes = kMiB}, 1);
  EXPECT_EQ(cache.store(key("p", 1), answer(std::string(50'000, 'x')), at(0s)), Stored::too_big);
  EXPECT_EQ(cache.store(key("p", 1), answer(std::string(30'000, 'x')), at(0s)), Stored::yes);
  EXPECT_EQ(cache.store(key("p", 2), answer(std::string(30'000, 'x')), at(0s)), Stored::yes);
  EXPECT_LE(cache.stats().bytes, 50'000U);
}

TEST(ExactCache, ACacheOfNoBytesStoresNothing) {
  ExactCache cache({.max_bytes = 0}, 1);
  EXPECT_EQ(cache.store(key("p", 1), answer("x"), at(0s)), Stored::too_big);
  EXPECT_EQ(cache.find(key("p", 1), Form::plain, at(0s)), nullptr);
}

TEST(ExactCache, RoomThatABodyGrewByIsNotKept) {
  ExactCache cache({}, 1);
  Entry entry = answer("x");
  entry.body.reserve(100'000);
  cache.store(key("p", 1), std::move(entry), at(0s));
  EXPECT_LT(cache.stats().bytes, 2'000U);
}

struct Erasure : ::testing::Test {
  void SetUp() override {
    add(1, "gpt-4o", "r/one", "acme", {"red"});
    add(2, "gpt-4o-mini", "r/two", "acme", {"red", "blue"});
    add(3, "claude", "r/one", "umbrella", {});
  }
  void add(int number, std::string model, std::string route, std::string account,
           std::vector<std::string> tags) {
    Entry entry = answer("x");
    entry.key_text = key_text_of(key("p", number));
    entry.model = std::move(model);
    entry.route = std::move(route);
    entry.account = std::move(account);
    entry.tags = std::move(tags);
    cache.store(key("p", number), std::move(entry), at(0s));
  }
  std::set<int> left() {
    std::set<int> numbers;
    for (int number = 1; number <= 3; ++number) {
      if (cache.find(key("p", number), Form::plain, at(0s))) numbers.insert(number);
    }
    return numbers;
  }
  ExactCache cache{{}, 1};
};

TEST_F(Erasure, ByKeyTakesBothForms) {
  Entry stream = answer("y", Form::stream);
  stream.key_text = key_text_of(key("p", 1));
  cache.store(key("p", 1), stream, at(0s));
  EXPECT_EQ(cache.erase(key_text_of(key("p", 1))), 2U);
  EXPECT_EQ(cache.erase(key_text_of(key("p", 1))), 0U);
  EXPECT_EQ(left(), (std::set<int>{2, 3}));
}

TEST_F(Erasure, ByAccount) {
  EXPECT_EQ(cache.erase_account("acm"), 0U);
  EXPECT_EQ(cache.erase_account("acme"), 2U);
  EXPECT_EQ(left(), (std::set<int>{3}));
  EXPECT_EQ(cache.stats().erased, 2U);
}

TEST_F(Erasure, ByTag) {
  EXPECT_EQ(cache.erase_tag("blue"), 1U);
  EXPECT_EQ(left(), (std::set<int>{1, 3}));
  EXPECT_EQ(cache.erase_tag("red"), 1U);
  EXPECT_EQ(cache.erase_tag(""), 0U);
}

TEST_F(Erasure, ClearTakesAll) {
  EXPECT_EQ(cache.clear(), 3U);
  EXPECT_EQ(left(), std::set<int>{});
  EXPECT_EQ(cache.stats().bytes, 0U);
  EXPECT_EQ(cache.clear(), 0U);
}

struct Pattern {
  const char* text;
  std::set<int> left;
};

struct ErasurePattern : Erasure, ::testing::WithParamInterface<Pattern> {};

TEST_P(ErasurePattern, TakesWhoseModelOrRouteMatches) {
  EXPECT_EQ(cache.erase_matching(GetParam().text), 3 - GetParam().left.size());
  EXPECT_EQ(left(), GetParam().left) << GetParam().text;
}

INSTANTIATE_TEST_SUITE_P(All, ErasurePattern,
                         ::testing::Values(Pattern{"gpt-4o", {2, 3}}, Pattern{"gpt-4o*", {3}},
                                           Pattern{"*", {}}, Pattern{"*mini", {1, 3}},
                                           Pattern{"gpt*mini", {1, 3}}, Pattern{"r/one", {2}},
                                           Pattern{"r/*", {}}, Pattern{"", {1, 2, 3}},
                                           Pattern{"cl*laude", {1, 2, 3}}, Pattern{"cl*aude", {1, 2}},
                                           Pattern{"**", {1, 2, 3}}, Pattern{"GPT-4o", {1, 2, 3}}));

ExactCache::Bounds one_shard(std::size_t bytes) {
  return {.max_bytes = bytes, .shards = 1, .max_entry_bytes = bytes};
}

TEST(ExactCacheEviction, AScanOfOneTimeQuestionsLeavesWhatIsInUse) {
  ExactCache cache(one_shard(kMiB), 1);
  const std::string body(1'000, 'x');
  for (int i = 0; i < 50; ++i) cache.store(key("used", i), answer(body), at(0s));
  for (int i = 0; i < 50; ++i) ASSERT_NE(cache.find(key("used", i), Form::plain, at(0s)), nullptr);
  for (int i = 0; i < 20'000; ++i) cache.store(key("scan", i), answer(body), at(0s));
  int left = 0;
  for (int i = 0; i < 50; ++i) left += cache.find(key("used", i), Form::plain, at(0s)) != nullptr ? 1 : 0;
  EXPECT_EQ(left, 50);
}

TEST(ExactCacheEviction, WhatComesBackSoonAfterItLeftStays) {
  ExactCache cache(one_shard(kMiB), 1);
  const std::string body(1'000, 'x');
  const auto scan = [&](int from) {
    for (int i = from; i < from + 2'000; ++i) cache.store(key("scan", i), answer(body), at(0s));
  };
  scan(0);  // 1,999 left lately, a few hundred are here
  const int recent = 2'000 - static_cast<int>(cache.stats().entries) - 1;
  ASSERT_EQ(cache.find(key("scan", recent), Form::plain, at(0s)), nullptr);
  cache.store(key("scan", recent), answer(body), at(0s));
  scan(10'000);
  EXPECT_NE(cache.find(key("scan", recent), Form::plain, at(0s)), nullptr);
}

TEST(ExactCacheEviction, WhatIsNoLongerAskedForMakesRoomInTheEnd) {
  ExactCache cache(one_shard(kMiB), 1);
  const std::string body(1'000, 'x');
  const auto use = [&](std::string_view name) {
    for (int round = 0; round < 5; ++round) {
      for (int i = 0; i < 400; ++i) {
        if (!cache.find(key(name, i), Form::plain, at(0s))) cache.store(key(name, i), answer(body), at(0s));
      }
    }
  };
  use("old");
  for (int round = 0; round < 10; ++round) use("new");
  int hits = 0;
  for (int i = 0; i < 400; ++i) hits += cache.find(key("new", i), Form::plain, at(0s)) != nullptr ? 1 : 0;
  EXPECT_EQ(hits, 400);
}

TEST(ExactCacheEviction, TheExpiredGoFirstWhenMet) {
  ExactCache cache(one_shard(kMiB), 1);
  const std::string body(1'000, 'x');
  for (int i = 0; i < 500; ++i) {
    cache.store(key("old", i), answer(body, Form::plain, 1s), at(0s));
    cache.find(key("old", i), Form::plain, at(0s));  // in use, and yet gone
  }
  ASSERT_EQ(cache.stats().evicted, 0U);
  Entry entry = answer(std::string(kMiB / 2, 'x'));
  entry.stored_at = at(5s);
  ASSERT_EQ(cache.store(key("new", 1), std::move(entry), at(5s)), Stored::yes);
  EXPECT_EQ(cache.stats().evicted, 0U);
  EXPECT_GT(cache.stats().expired, 0U);
}

TEST(ExactCacheEviction, WhatWasJustStoredIsThere) {
  ExactCache cache(one_shard(200'000), 1);
  for (int i = 0; i < 300; ++i) {
    const std::string body(static_cast<std::size_t>(1 + (i * 7'919) % 190'000), 'x');
    ASSERT_EQ(cache.store(key("p", i), answer(body), at(0s)), Stored::yes) << body.size();
    ASSERT_NE(cache.find(key("p", i), Form::plain, at(0s)), nullptr) << body.size();
    ASSERT_LE(cache.stats().bytes, 200'000U);
  }
}

TEST(ExactCacheTick, DropsTheExpiredAndOnlyThose) {
  ExactCache cache({}, 1);
  for (int i = 0; i < 1'000; ++i)
    cache.store(key("p", i), answer("x", Form::plain, i % 2 == 0 ? 1s : 9s), at(0s));
  cache.tick(at(1s));
  EXPECT_EQ(cache.stats().entries, 500U);
  EXPECT_EQ(cache.stats().expired, 500U);
  cache.tick(at(9s));
  EXPECT_EQ(cache.stats().bytes, 0U);
}

TEST(ExactCacheTick, IsABoundedPieceOfWorkAndGetsEverywhereInTheEnd) {
  ExactCache cache({.max_bytes = 64 * kMiB, .shards = 1, .max_entry_bytes = kMiB}, 1);
  for (int i = 0; i < 20'000; ++i) cache.store(key("p", i), answer("x", Form::plain, 1s), at(0s));
  cache.tick(at(2s));
  EXPECT_GT(cache.stats().entries, 15'000U);
  for (int i = 0; i < 64; ++i) cache.tick(at(2s));
  EXPECT_EQ(cache.stats().entries, 0U);
}

}  // namespace
}  // namespace sentinel::cache
