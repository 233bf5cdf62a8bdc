#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "sentinel/base/random.hpp"
#include "sentinel/cache/directives.hpp"

namespace sentinel::cache {
namespace {

using namespace std::chrono_literals;

constexpr Duration kLongest = std::chrono::seconds{2'147'483'648};

TEST(CacheDirectives, NothingIsAskedForByDefault) {
  for (const char* text :
       {"", " ", ",", " , ,", "public", "no-transform, min-fresh=5", "no-storex", "x-no-cache"}) {
    const Directives found = parse_cache_control(text);
    EXPECT_FALSE(found.no_store || found.no_cache || found.max_age) << text;
    EXPECT_FALSE(found.forbids_following()) << text;
  }
}

TEST(CacheDirectives, NamesHaveNoCaseAndMayStandAnywhere) {
  EXPECT_TRUE(parse_cache_control("No-Store").no_store);
  EXPECT_TRUE(parse_cache_control("a=1,\tNO-CACHE ,b").no_cache);
  EXPECT_TRUE(parse_cache_control("no-cache=\"set-cookie\"").no_cache);
  EXPECT_TRUE(parse_cache_control("x=only-if-cached,Max-Age=1").max_age);
}

TEST(CacheDirectives, ACommaInsideQuotesDividesNothing) {
  const Directives found = parse_cache_control(R"(ext="a, no-store, \", no-cache", max-age=7)");
  EXPECT_FALSE(found.no_store || found.no_cache);
  EXPECT_EQ(found.max_age, Duration{7s});
}

TEST(CacheDirectives, AQuoteThatNobodyClosesHidesNothing) {
  EXPECT_TRUE(parse_cache_control("ext=\"a, no-store").no_store);
  EXPECT_TRUE(parse_cache_control("\", \"\", ext=\"a\\, no-store").no_store);
}

TEST(CacheDirectives, MaxAgeIsASecondsCount) {
  EXPECT_EQ(parse_cache_control("max-age=60").max_age, Duration{60s});
  EXPECT_EQ(parse_cache_control("Max-Age = \"60\"").max_age, Duration{60s});
  EXPECT_EQ(parse_cache_control("max-age=007").max_age, Duration{7s});
  EXPECT_EQ(parse_cache_control("max-age=0").max_age, Duration{0s});
}

TEST(CacheDirectives, AMaxAgeThatIsNoNumberIsTheStrictestOne) {
  for (const char* text : {"max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=1s", "max-age=+1",
                           "max-age=\"", "max-age=0x10", "max-age=\"1"}) {
    EXPECT_EQ(parse_cache_control(text).max_age, Duration{0}) << text;
  }
}

TEST(CacheDirectives, AMaxAgeBeyondMeaningIsTheLargestOne) {
  for (const char* text : {"max-age=2147483648", "max-age=9223372036854775807", "max-age=9223372036854775808",
                           "max-age=99999999999999999999999999"}) {
    EXPECT_EQ(parse_cache_control(text).max_age, kLongest) << text;
  }
}

TEST(CacheDirectives, OfSeveralMaxAgesTheSmallestCounts) {
  EXPECT_EQ(parse_cache_control("max-age=60, max-age=5, max-age=30").max_age, Duration{5s});
}

TEST(CacheDirectives, EachSteeringDirectiveForbidsFollowing) {
  for (const char* text : {"no-store", "no-cache", "max-age=0", "max-age=999999"}) {
    EXPECT_TRUE(parse_cache_control(text).forbids_following()) << text;
  }
  EXPECT_FALSE(parse_cache_control("only-if-cached").forbids_following());
}

TEST(CacheDirectives, AnEntryIsAcceptedUpToTheMaxAge) {
  EXPECT_TRUE(parse_cache_control("").accepts(Duration::max()));
  EXPECT_TRUE(parse_cache_control("max-age=5").accepts(5s));
  EXPECT_FALSE(parse_cache_control("max-age=5").accepts(5s + 1us));
  EXPECT_FALSE(parse_cache_control("no-cache").accepts(0s));
  EXPECT_FALSE(parse_cache_control("no-store").accepts(0s));
}

TEST(CacheDirectives, AnyBytesAreRead) {
  Random random(7);
  constexpr std::string_view kPieces[] = {"no-store", "no-cache", "max-age", "=", "\"",
                                          "\\",       ",",        " ",       "9", "\x80"};
  for (int round = 0; round < 5'000; ++round) {
    std::string text;
    for (std::uint64_t left = random.below(12); left > 0; --left)
      text += kPieces[random.below(std::size(kPieces))];
    const Directives found = parse_cache_control(text);
    if (found.max_age) {
      EXPECT_GE(*found.max_age, Duration{0}) << text;
      EXPECT_LE(*found.max_age, kLongest) << text;
    }
  }
}

std::string written(const CacheStatus& status) {
  std::string out;
  append_cache_status(out, status);
  return out;
}

TEST(CacheStatusHeader, SaysWhatHappened) {
  using enum CacheOutcome;
  EXPECT_EQ(written({.outcome = hit, .ttl = 123s, .key = ""}), "sentinel; hit; ttl=123");
  EXPECT_EQ(written({.outcome = miss, .ttl = {}, .stored = true, .key = ""}),
            "sentinel; fwd=uri-miss; stored");
  EXPECT_EQ(written({.outcome = miss, .ttl = {}, .collapsed = true, .key = ""}),
            "sentinel; fwd=uri-miss; collapsed");
  EXPECT_EQ(written({.outcome = asked, .ttl = {}, .stored = true, .key = ""}),
            "sentinel; fwd=request; stored");
  EXPECT_EQ(written({.outcome = stale, .ttl = {}, .key = ""}), "sentinel; fwd=stale");
  EXPECT_EQ(written({}), "sentinel; fwd=bypass");
  EXPECT_EQ(written({.outcome = hit, .ttl = {}, .key = "00ff"}), "sentinel; hit; key=\"00ff\"");
}

TEST(CacheStatusHeader, TheTimeLeftIsRoundedDown) {
  EXPECT_EQ(written({.outcome = CacheOutcome::hit, .ttl = 1'999'999us, .key = ""}), "sentinel; hit; ttl=1");
  EXPECT_EQ(written({.outcome = CacheOutcome::hit, .ttl = 999us, .key = ""}), "sentinel; hit; ttl=0");
  EXPECT_EQ(written({.outcome = CacheOutcome::hit, .ttl = -1us, .key = ""}), "sentinel; hit; ttl=-1");
}

TEST(CacheStatusHeader, AKeyCannotBreakOutOfItsQuotes) {
  EXPECT_EQ(written({.outcome = CacheOutcome::hit, .ttl = {}, .key = "a\"; b\\\r\n\xC3"}),
            R"(sentinel; hit; key="a\"; b\\???")");
}

TEST(CacheStatusHeader, IsAppended) {
  std::string out = "before, ";
  append_cache_status(out, {});
  EXPECT_EQ(out, "before, sentinel; fwd=bypass");
}

}  // namespace
}  // namespace sentinel::cache
