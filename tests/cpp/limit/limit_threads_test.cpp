#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "sentinel/base/random.hpp"
#include "sentinel/limit/limit_table.hpp"

namespace sentinel::limit {
namespace {

using namespace std::chrono_literals;

Instant at(Duration monotonic) { return {monotonic, monotonic}; }
Rule rule(std::string_view text) { return *Rate::parse(text); }

template <class Work>
void on_threads(int count, Work work) {
  std::atomic<bool> go{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&go, &work, i] {
      go.wait(false);
      work(i);
    });
  }
  go = true;
  go.notify_all();
  for (std::thread& thread : threads) thread.join();
}

// Each thread's instant differs and comes in no order, as it does when threads read a clock before they take a lock.
TEST(LimitThreads, B14_OneHundredThreadsAtALimitOfOneHundredPassExactlyOneHundredTimes) {
  for (int round = 0; round < 20; ++round) {
    LimitTable table;
    std::atomic<int> passed{0};
    on_threads(100, [&](int thread) {
      for (int i = 0; i < 3; ++i) {
        const Want want{"key:k", rule("100/min"), 1};
        const Instant now = at(60s + Duration{(thread * 7 + i) % 100});
        if (std::holds_alternative<Headroom>(table.charge({&want, 1}, now))) ++passed;
      }
    });
    ASSERT_EQ(passed, 100) << "round " << round;
  }
}

TEST(LimitThreads, S29_FiveHundredParallelCallsSpendNoMoreThanTheBudget) {
  LimitTable table;
  std::atomic<std::int64_t> spent{0};
  on_threads(50, [&](int) {
    for (int i = 0; i < 10; ++i) {
      const std::array<Want, 2> path = {Want{"account:a", rule("100 tokens/min"), 30},
                                        Want{"account:a", Slots{4}, 1}};
      const auto outcome = table.reserve(path, at(0s));
      const Grant* grant = std::get_if<Grant>(&outcome);
      if (grant == nullptr) continue;
      spent += 25;
      EXPECT_EQ(table.settle(grant->reservation, {25, 0}, at(0s)), Ending::done);
    }
  });
  EXPECT_LE(spent, 100);
  EXPECT_GE(spent, 50);
}

TEST(LimitThreads, PathsInAnyOrderNeitherDeadlockNorLeak) {
  LimitTable table({.max_buckets = 64, .reservation_ttl = 1ms, .shards = 8}, 3);
  on_threads(8, [&](int thread) {
    Random random(static_cast<std::uint64_t>(thread) + 1);
    for (int i = 0; i < 2'000; ++i) {
      std::array<std::string, 4> ids;
      for (std::string& id : ids) id = "node:" + std::to_string(random.below(40));
      const std::array<Want, 4> path = {Want{ids[0], rule("1000/s"), 1},
                                        Want{ids[1], rule("9000 tokens/s"), 40}, Want{ids[2], Slots{100}, 1},
                                        Want{ids[3], rule("5 usd/s"), 10}};
      const Instant now = at(Duration{i});
      const auto outcome = table.reserve(path, now);
      const Grant* grant = std::get_if<Grant>(&outcome);
      if (i % 100 == 0) table.tick(now);
      if (i % 500 == 0) (void)table.snapshot(now);
      (void)table.look(path, now);
      if (grant == nullptr || i % 7 == 0) continue;  // some are lost and come back by expiry
      (void)(i % 2 == 0 ? table.settle(grant->reservation, {30, 5}, now)
                        : table.refund(grant->reservation, now));
    }
  });
  table.tick(at(1h));
  EXPECT_EQ(table.stats().reservations, 0U);
  EXPECT_EQ(table.stats().buckets, 0U);
}

TEST(LimitThreads, OfTwoThatEndOneReservationOneIsTold) {
  LimitTable table;
  for (int round = 0; round < 50; ++round) {
    const Want want{"a", rule("1000 tokens/min"), 10};
    const auto outcome = table.reserve({&want, 1}, at(0s));
    const Reservation reservation = std::get<Grant>(outcome).reservation;
    std::atomic<int> done{0};
    on_threads(4, [&](int) { done += table.settle(reservation, {1, 0}, at(0s)) == Ending::done ? 1 : 0; });
    ASSERT_EQ(done, 1);
  }
}

}  // namespace
}  // namespace sentinel::limit
