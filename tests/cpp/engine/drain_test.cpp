#include "sentinel/engine/drain.hpp"

#include <gtest/gtest.h>

namespace sentinel::engine {
namespace {

using std::chrono::seconds;
using enum DrainState;

constexpr bool kIdle = true;
constexpr bool kBusy = false;

TEST(Drain, ServesUntilItBeginsWhateverTimeItIs) {
  Drain drain(seconds{5}, seconds{30});
  EXPECT_EQ(drain.advance(seconds{1000}, kIdle), serving);
}

TEST(Drain, AnnouncesForItsDelayEvenWhenIdle) {
  Drain drain(seconds{5}, seconds{30});
  drain.begin(seconds{100});
  EXPECT_EQ(drain.state(), announced);
  EXPECT_EQ(drain.next(seconds{100}), seconds{105});
  EXPECT_EQ(drain.advance(seconds{104}, kIdle), announced);
  EXPECT_EQ(drain.advance(seconds{105}, kIdle), refusing);
  EXPECT_EQ(drain.advance(seconds{105}, kIdle), stopped);
}

TEST(Drain, LetsRunningOnesFinishUntilTheTimeoutThenAborts) {
  Drain drain(seconds{5}, seconds{30});
  drain.begin(seconds{100});
  EXPECT_EQ(drain.advance(seconds{105}, kBusy), refusing);
  EXPECT_EQ(drain.next(seconds{105}), seconds{135});
  EXPECT_EQ(drain.advance(seconds{134}, kBusy), refusing);
  EXPECT_EQ(drain.advance(seconds{135}, kBusy), aborting);
  EXPECT_EQ(drain.advance(seconds{500}, kBusy), aborting) << "nothing is forgotten while it runs";
  EXPECT_EQ(drain.advance(seconds{501}, kIdle), stopped);
}

TEST(Drain, TheTimeoutRunsFromTheEndOfTheDelayNotFromALateTick) {
  Drain drain(seconds{5}, seconds{30});
  drain.begin(seconds{100});
  EXPECT_EQ(drain.advance(seconds{120}, kBusy), refusing);
  EXPECT_EQ(drain.advance(seconds{135}, kBusy), aborting);
}

TEST(Drain, TakesOneStepACallSoThatIdleIsLookedAtAgain) {
  Drain drain(seconds{0}, seconds{0});
  drain.begin(seconds{1});
  EXPECT_EQ(drain.advance(seconds{1}, kIdle), refusing);
  EXPECT_EQ(drain.advance(seconds{1}, kBusy), aborting) << "one came in before the refusals were in force";
  EXPECT_EQ(drain.advance(seconds{1}, kIdle), stopped);
}

TEST(Drain, ASecondBeginAndWhatComesAfterTheEndChangeNothing) {
  Drain drain(seconds{5}, seconds{30});
  drain.begin(seconds{100});
  drain.begin(seconds{104});
  EXPECT_EQ(drain.advance(seconds{105}, kIdle), refusing);
  EXPECT_EQ(drain.advance(seconds{105}, kIdle), stopped);
  drain.begin(seconds{200});
  EXPECT_EQ(drain.advance(seconds{300}, kBusy), stopped);
}

TEST(Drain, NextIsNeverInThePast) {
  Drain drain(seconds{0}, seconds{0});
  drain.begin(seconds{100});
  EXPECT_GT(drain.next(seconds{100}), seconds{100});
}

}  // namespace
}  // namespace sentinel::engine
