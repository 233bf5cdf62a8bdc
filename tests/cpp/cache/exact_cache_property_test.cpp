// The cache against a slow plain one, and under threads.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "sentinel/base/random.hpp"
#include "sentinel/cache/exact_cache.hpp"

namespace sentinel::cache {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMiB = std::size_t{1} << 20U;

Instant at(Duration monotonic) { return {monotonic, monotonic}; }

EntryKey key(std::uint64_t partition, std::uint64_t number) {
  return {sha256("p" + std::to_string(partition)), sha256("i" + std::to_string(number))};
}

// What every cache promises: an entry that is found is the last one stored, alive and not erased.
class Model {
 public:
  using Place = std::tuple<std::uint64_t, std::uint64_t, Form>;

  void store(const Place& place, const Entry& entry) { entries_[place] = entry; }

  // As the cache does it: who is met expired is removed.
  const Entry* find(const Place& place, Instant now) {
    const auto found = entries_.find(place);
    if (found == entries_.end()) return nullptr;
    if (found->second.ttl_left(now) > Duration{0}) return &found->second;
    entries_.erase(found);
    ++expired;
    return nullptr;
  }

  template <class Wanted>
  std::size_t erase_if(Wanted wanted) {
    return std::erase_if(entries_, [&](const auto& item) { return wanted(item.second); });
  }

  void tick(Instant now) {
    expired += erase_if([&](const Entry& entry) { return entry.ttl_left(now) <= Duration{0}; });
  }

  std::size_t size() const { return entries_.size(); }

  std::uint64_t expired = 0;

 private:
  std::map<Place, Entry> entries_;
};

Form form_of(Random& random) { return random.below(2) == 0 ? Form::plain : Form::stream; }

Entry random_entry(const Model::Place& place, std::uint64_t serial, std::size_t most_bytes, Instant now,
                   Random& random) {
  const auto& [partition, number, form] = place;
  Entry entry;
  entry.form = form;
  entry.body = std::to_string(serial) + std::string(random.below(most_bytes), 'x');
  entry.key_text = key_text_of(key(partition, number));
  entry.account = "account" + std::to_string(partition);
  entry.model = "model" + std::to_string(random.below(3));
  entry.route = "route" + std::to_string(random.below(3));
  if (random.below(2) == 0) entry.tags = {"tag" + std::to_string(random.below(3)), "any"};
  entry.stored_at = at(now.monotonic - Duration{static_cast<std::int64_t>(random.below(3))});
  entry.ttl = Duration{static_cast<std::int64_t>(3 + random.below(200))};
  return entry;
}

// One random run of both. `roomy`: nothing is evicted, so that the model knows every answer and every count.
class Trial {
 public:
  Trial(ExactCache::Bounds bounds, std::uint64_t seed, bool roomy, std::uint64_t keys, std::size_t most_bytes)
      : cache_(bounds, seed),
        bounds_(bounds),
        random_(seed),
        roomy_(roomy),
        keys_(keys),
        most_bytes_(most_bytes) {}

  void steps(int count) {
    for (int i = 0; i < count && !::testing::Test::HasFatalFailure(); ++i) step();
    const ExactCacheStats stats = cache_.stats();
    EXPECT_EQ(stats.hits + stats.misses, finds_);
    EXPECT_EQ(stats.hits, hits_);
    EXPECT_EQ(stats.stored, stored_);
    EXPECT_EQ(stats.erased, erased_);
    EXPECT_EQ(stats.evicted == 0, roomy_);
    if (roomy_) {
      EXPECT_EQ(stats.expired, model_.expired);
    }
  }

 private:
  void step() {
    if (random_.below(3) == 0) now_ += Duration{static_cast<std::int64_t>(random_.below(4))};
    const std::uint64_t what = random_.below(1'000);
    if (what < 450) {
      find();
    } else if (what < 960) {
      store();
    } else if (what < 990) {
      cache_.tick(at(now_));
      model_.tick(at(now_));
    } else {
      erase();
    }
    const ExactCacheStats stats = cache_.stats();
    ASSERT_LE(stats.bytes, bounds_.max_bytes);
    if (roomy_) {
      ASSERT_EQ(stats.entries, model_.size());
    }
    if (stats.entries == 0) {
      ASSERT_EQ(stats.bytes, 0U);
    }
  }

  void find() {
    const Form form = form_of(random_);
    const Model::Place place{random_.below(3), random_.below(keys_), form};
    const auto& [partition, number, wanted] = place;
    ++finds_;
    const bool any = random_.below(2) == 0;
    const EntryPtr found = any ? cache_.find_any(key(partition, number), form, at(now_))
                               : cache_.find(key(partition, number), form, at(now_));
    const Entry* expected = model_.find(place, at(now_));
    if (any && (expected == nullptr || (!roomy_ && found != nullptr && found->form != form))) {
      expected = model_.find({partition, number, form == Form::plain ? Form::stream : Form::plain}, at(now_));
    }
    if (roomy_) {
      ASSERT_EQ(found != nullptr, expected != nullptr);
    }
    if (found == nullptr) return;
    ++hits_;
    ASSERT_NE(expected, nullptr);
    ASSERT_EQ(found->body, expected->body);
    ASSERT_EQ(found->form, expected->form);
    ASSERT_GT(found->ttl_left(at(now_)), Duration{0});
  }

  void store() {
    const Model::Place place{random_.below(3), random_.below(keys_), form_of(random_)};
    const Entry entry = random_entry(place, ++serial_, most_bytes_, at(now_), random_);
    ASSERT_EQ(cache_.store(key(std::get<0>(place), std::get<1>(place)), entry, at(now_)), Stored::yes);
    model_.store(place, entry);
    ++stored_;
  }

  void erase() {
    const std::string digit = std::to_string(random_.below(3));
    std::size_t gone = 0;
    std::size_t expected = 0;
    switch (random_.below(6)) {
      case 0: {
        const std::string text = key_text_of(key(random_.below(3), random_.below(keys_)));
        gone = cache_.erase(text);
        expected = model_.erase_if([&](const Entry& entry) { return entry.key_text == text; });
        break;
      }
      case 1:
        gone = cache_.erase_account("account" + digit);
        expected = model_.erase_if([&](const Entry& entry) { return entry.account == "account" + digit; });
        break;
      case 2:
        gone = cache_.erase_tag("tag" + digit);
        expected = model_.erase_if(
            [&](const Entry& entry) { return !entry.tags.empty() && entry.tags[0] == "tag" + digit; });
        break;
      case 3:
        gone = cache_.erase_matching("m*" + digit);
        expected = model_.erase_if([&](const Entry& entry) { return entry.model == "model" + digit; });
        break;
      case 4:
        gone = cache_.erase_matching("route" + digit);
        expected = model_.erase_if([&](const Entry& entry) { return entry.route == "route" + digit; });
        break;
      default: gone = cache_.clear(); expected = model_.erase_if([](const Entry&) { return true; });
    }
    erased_ += gone;
    if (roomy_) {
      ASSERT_EQ(gone, expected);
    }
    ASSERT_LE(gone, expected);
  }

  ExactCache cache_;
  const ExactCache::Bounds bounds_;
  Random random_;
  Model model_;
  const bool roomy_;
  const std::uint64_t keys_;
  const std::size_t most_bytes_;
  Duration now_ = 1s;
  std::uint64_t serial_ = 0;
  std::uint64_t finds_ = 0;
  std::uint64_t hits_ = 0;
  std::uint64_t stored_ = 0;
  std::uint64_t erased_ = 0;
};

TEST(ExactCacheProperty, WithRoomItIsTheModel) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    Trial trial({.max_bytes = 64 * kMiB, .shards = 1 + seed % 4, .max_entry_bytes = kMiB}, seed, true,
                20 * seed, 200);
    trial.steps(2'000);
  }
}

TEST(ExactCacheProperty, UnderPressureItNeverPassesItsBoundAndNeverAnswersWrongly) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    Trial trial({.max_bytes = 100'000, .shards = 1 + seed % 3, .max_entry_bytes = 8'000}, seed, false, 60,
                4'000);
    trial.steps(3'000);
  }
}

TEST(ExactCacheThreads, S22_EachFindsOnlyItsOwnAndTheCountersAreExact) {
  constexpr std::uint64_t kThreads = 4;
  constexpr int kSteps = 4'000;
  const ExactCache::Bounds bounds{.max_bytes = 200'000, .shards = 4, .max_entry_bytes = 8'000};
  ExactCache cache(bounds, 7);
  std::atomic<std::uint64_t> finds{0};
  std::atomic<std::uint64_t> hits{0};
  std::atomic<std::uint64_t> stored{0};
  std::atomic<std::uint64_t> erased{0};
  std::atomic<int> wrong{0};
  const auto work = [&](std::uint64_t thread) {
    Random random(thread);
    for (int i = 0; i < kSteps; ++i) {
      const std::uint64_t partition = random.below(kThreads);
      const std::uint64_t number = random.below(40);
      const Model::Place place{partition, number, form_of(random)};
      const Instant now = at(1s + Duration{i / 8});
      const std::uint64_t what = random.below(100);
      if (what < 50) {
        const EntryPtr found = cache.find_any(key(partition, number), std::get<2>(place), now);
        ++finds;
        if (found) ++hits;
        if (found && found->key_text != key_text_of(key(partition, number))) ++wrong;
      } else if (what < 95) {
        cache.store(key(partition, number), random_entry(place, thread, 3'000, now, random), now);
        ++stored;
      } else if (what < 97) {
        cache.tick(now);
      } else if (what < 99) {
        erased += cache.erase_account("account" + std::to_string(partition));
      } else {
        if (cache.stats().bytes > bounds.max_bytes) ++wrong;
      }
    }
  };
  std::vector<std::thread> threads;
  for (std::uint64_t thread = 0; thread < kThreads; ++thread) threads.emplace_back(work, thread);
  for (std::thread& thread : threads) thread.join();
  const ExactCacheStats stats = cache.stats();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(stats.hits, hits);
  EXPECT_EQ(stats.hits + stats.misses, finds);
  EXPECT_EQ(stats.stored + stats.refused, stored);
  EXPECT_EQ(stats.erased, erased);
  EXPECT_LE(stats.bytes, bounds.max_bytes);
  EXPECT_EQ(cache.clear(), stats.entries);
  EXPECT_EQ(cache.stats().bytes, 0U);
}

TEST(ExactCacheThreads, AReaderKeepsItsAnswerWhileItIsErased) {
  ExactCache cache({}, 7);
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  std::thread reader([&] {
    while (!done) {
      const EntryPtr found = cache.find(key(1, 1), Form::plain, at(0s));
      if (found && found->body != std::string(2'000, found->body[0])) ++wrong;
    }
  });
  for (int i = 0; i < 3'000; ++i) {
    Entry entry;
    entry.body.assign(2'000, static_cast<char>('a' + i % 26));
    entry.ttl = 1s;
    cache.store(key(1, 1), std::move(entry), at(0s));
    if (i % 7 == 0) cache.clear();
  }
  done = true;
  reader.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace sentinel::cache
