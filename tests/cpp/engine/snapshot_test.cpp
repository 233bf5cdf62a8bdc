// The configuration document: what is accepted, how what is wrong is named, and how names and prices are found.
#include "sentinel/engine/snapshot.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "engine/support.hpp"
#include "sentinel/base/random.hpp"

namespace sentinel::engine {
namespace {

std::string one_upstream(const std::string& more = {},
                         const std::string& url = "https://api.example.com/v1/") {
  return "[" + SnapshotText::upstream("up", "openai", url, more) + "]";
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Snapshot, AGoodDocumentIsReadWhole) {
  SnapshotText text;
  text.upstreams = one_upstream(
      R"(,"query":{"api-version":"2024-10-21","a b":"c&d"},"path_template":"/x/{model}/{endpoint}")",
      "https://api.example.com:8443/v1/");
  text.routes = R"([{"name":"gpt","aliases":["g"],"default_output_tokens":77,"targets":[)"
                R"({"upstream":"up","model":"gpt-4o","weight":3},{"upstream":"up","model":"","weight":1}]}])";
  const auto snapshot = make_snapshot(text);
  EXPECT_EQ(snapshot->version, "v1");
  EXPECT_FALSE(snapshot->insecure);
  EXPECT_EQ(snapshot->limits.body_bytes, 1048576U);
  const Upstream& upstream = *snapshot->upstreams.at(0);
  EXPECT_EQ(upstream.host_header, "api.example.com:8443");
  EXPECT_EQ(upstream.base_path, "/v1");
  EXPECT_EQ(upstream.query, "api-version=2024-10-21&a%20b=c%26d");
  EXPECT_TRUE(upstream.origin.tls);
  EXPECT_EQ(upstream.origin.port, 8443);
  EXPECT_EQ(upstream.timeouts.idle, std::chrono::seconds{30});
  const Route& route = *snapshot->find_route("g");
  EXPECT_EQ(&route, snapshot->find_route("gpt"));
  EXPECT_EQ(route.targets.at(0).weight + route.targets.at(1).weight, 4U);
  EXPECT_EQ(route.targets.at(0).label, "up/gpt-4o");
  EXPECT_EQ(route.targets.at(1).label, "up/*");
  EXPECT_EQ(route.default_output_tokens, 77);
}

struct Origin {
  std::string url;
  std::string host;
  std::uint16_t port;
  std::string header;
  std::string path;
};

class BaseUrls : public ::testing::TestWithParam<Origin> {};

TEST_P(BaseUrls, AreTakenApart) {
  SnapshotText text;
  text.upstreams = one_upstream({}, GetParam().url);
  const auto snapshot = make_snapshot(text);
  const Upstream& upstream = *snapshot->upstreams.at(0);
  EXPECT_EQ(upstream.origin.host, GetParam().host);
  EXPECT_EQ(upstream.origin.port, GetParam().port);
  EXPECT_EQ(upstream.host_header, GetParam().header);
  EXPECT_EQ(upstream.base_path, GetParam().path);
}

INSTANTIATE_TEST_SUITE_P(
    Good, BaseUrls,
    ::testing::Values(Origin{"http://a", "a", 80, "a", ""}, Origin{"https://a/", "a", 443, "a", ""},
                      Origin{"http://a:8080/v1//", "a", 8080, "a:8080", "/v1"},
                      Origin{"https://a:443/x", "a", 443, "a", "/x"},
                      Origin{"http://[::1]:11434/v1", "::1", 11434, "[::1]:11434", "/v1"},
                      Origin{"https://[2001:db8::1]", "2001:db8::1", 443, "[2001:db8::1]", ""}));

class BadUrls : public ::testing::TestWithParam<std::string> {};

TEST_P(BadUrls, AreRefusedByName) {
  SnapshotText text;
  text.upstreams = one_upstream({}, GetParam());
  const auto snapshot = Snapshot::from_json(text.str());
  ASSERT_FALSE(snapshot) << GetParam();
  EXPECT_EQ(snapshot.error().param, "upstreams.up.base_url");
}

INSTANTIATE_TEST_SUITE_P(Bad, BadUrls,
                         ::testing::Values("", "api.example.com", "ftp://a", "http://", "http:///v1",
                                           "http://a:0", "http://a:65536", "http://a:x",
                                           "http://a:", "http://u:p@a", "http://a b", "http://a/v 1",
                                           "http://a/v1?x=1", "http://a/v1#x", "http://a\\\\b",
                                           "http://a/\\r\\nX: 1", "http://caf\\u00e9", "HTTP://a"));

struct Wrong {
  std::string from;
  std::string to;
  std::string path;
};

class WrongMembers : public ::testing::TestWithParam<Wrong> {};

TEST_P(WrongMembers, AreNamed) {
  SnapshotText text;
  text.upstreams = one_upstream(R"(,"path_template":"/t")");
  const auto snapshot = Snapshot::from_json(replaced(text.str(), GetParam().from, GetParam().to));
  ASSERT_FALSE(snapshot) << GetParam().to;
  EXPECT_EQ(snapshot.error().param, GetParam().path) << snapshot.error().message;
}

INSTANTIATE_TEST_SUITE_P(
    Members, WrongMembers,
    ::testing::Values(
        Wrong{R"("body_bytes":1048576)", R"("body_bytes":0)", "limits.body_bytes"},
        Wrong{R"("head_bytes":16384)", R"("head_bytes":-1)", "limits.head_bytes"},
        Wrong{R"("headers":64)", R"("headers":"64")", "limits.headers"},
        Wrong{R"("response_bytes":1048576,)", "", "limits.response_bytes"},
        Wrong{R"("event_bytes":65536)", R"("event_bytes":1.5)", "limits.event_bytes"},
        Wrong{R"("credit_bytes":65536)", R"("credit_bytes":null)", "limits.credit_bytes"},
        Wrong{R"("in_flight":100)", R"("in_flight":18446744073709551615)", "limits.in_flight"},
        Wrong{R"("name":"up")", R"("name":"")", "upstreams."},
        Wrong{R"("kind":"openai")", R"("kind":"gopher")", "upstreams.up"},
        Wrong{R"("connect":2000000)", R"("connect":0)", "upstreams.up.timeouts_us.connect"},
        Wrong{R"("idle":30000000)", R"("idle":-1)", "upstreams.up.timeouts_us.idle"},
        Wrong{R"("total":600000000)", R"("total":"10m")", "upstreams.up.timeouts_us.total"},
        Wrong{R"("auth_header":"Authorization")", R"("auth_header":"")", "upstreams.up.auth_header"},
        Wrong{R"("auth_header":"Authorization")", R"("auth_header":"A: b\r\nC")", "upstreams.up.auth_header"},
        Wrong{"sk-upstream-credential-0123456789", R"(a\r\nHost: evil)", "upstreams.up.credentials"},
        Wrong{"sk-upstream-credential-0123456789", "", "upstreams.up.credentials"},
        Wrong{R"("path_template":"/t")", R"("path_template":"/t HTTP/1.1")", "upstreams.up.path_template"},
        Wrong{R"("upstream":"up")", R"("upstream":"nowhere")", "routes.gpt.targets"},
        Wrong{R"("weight":1)", R"("weight":0)", "routes.gpt.targets"},
        Wrong{R"("weight":1)", R"("weight":1000001)", "routes.gpt.targets"},
        Wrong{R"("upstream":"up","model":"")", R"("upstream":"up","model":"a\r\nb")", "routes.gpt.targets"},
        Wrong{R"([{"upstream":"up","model":"","weight":1}])", "[]", "routes.gpt"},
        Wrong{R"("name":"gpt")", R"("name":"")", "routes."},
        Wrong{R"("prompt":1000000)", R"("prompt":-1)", "prices.gpt"}));

TEST(Snapshot, WhatIsNotADocumentIsRefused) {
  for (const char* text : {"", "null", "[]", "1", "{", "{}", R"({"limits":[]})"})
    EXPECT_FALSE(Snapshot::from_json(text)) << text;
}

SnapshotText with_routes(std::initializer_list<std::string_view> names) {
  SnapshotText text;
  text.routes = "[";
  for (const auto name : names) {
    if (text.routes.size() > 1) text.routes += ',';
    text.routes +=
        R"({"name":")" + std::string(name) + R"(","targets":[{"upstream":"up","model":"","weight":1}]})";
  }
  text.routes += "]";
  return text;
}

TEST(Routes, AnExactNameBeatsEveryWildcard) {
  const auto snapshot = make_snapshot(with_routes({"*", "gpt-*", "gpt-4o"}));
  EXPECT_EQ(snapshot->find_route("gpt-4o")->name, "gpt-4o");
  EXPECT_EQ(snapshot->find_route("gpt-4o-mini")->name, "gpt-*");
  EXPECT_EQ(snapshot->find_route("claude")->name, "*");
}

TEST(Routes, TheLongestWildcardIsTriedFirstWhereverItStands) {
  const auto snapshot = make_snapshot(with_routes({"gpt-*", "gpt-4*-mini", "*-mini", "gpt-4*"}));
  EXPECT_EQ(snapshot->find_route("gpt-4o-mini")->name, "gpt-4*-mini");
  EXPECT_EQ(snapshot->find_route("gpt-4-mini")->name, "gpt-4*-mini");
  EXPECT_EQ(snapshot->find_route("gpt-4o")->name, "gpt-4*");
  EXPECT_EQ(snapshot->find_route("gpt-3-mini")->name, "*-mini");
  EXPECT_EQ(snapshot->find_route("o1"), nullptr);
}

TEST(Routes, AWildcardNeedsRoomForBothItsEnds) {
  EXPECT_TRUE(matches_pattern("ab*ba", "abba"));
  EXPECT_FALSE(matches_pattern("ab*ba", "aba"));
  EXPECT_TRUE(matches_pattern("*", ""));
  EXPECT_FALSE(matches_pattern("a", "ab"));
  EXPECT_FALSE(matches_pattern("A*", "ab")) << "names are compared as they are";
}

// The same by a plain model: every name, every pattern, longest first, document order among equals.
TEST(Routes, FindWhatAPlainSearchFinds) {
  Random random(3);
  constexpr std::array<std::string_view, 10> kNames{"a",   "ab",  "abc", "a*",  "*c",
                                                    "a*c", "ab*", "*",   "*bc", "b*c"};
  for (int round = 0; round < 200; ++round) {
    NameTable table;
    std::vector<std::string> added;
    for (const auto name : kNames) {
      if (random.below(2) > 0) continue;
      table.add(std::string(name), added.size());
      added.emplace_back(name);
    }
    for (const std::string_view wanted : {"a", "ab", "abc", "abbc", "bc", "c", "", "bac", "zz"}) {
      std::size_t best = added.size();
      for (std::size_t i = 0; i < added.size(); ++i) {
        if (!matches_pattern(added[i], wanted)) continue;
        const bool exact = added[i] == wanted;
        const bool longer =
            best == added.size() || (added[best] != wanted && added[i].size() > added[best].size());
        if (exact || longer) best = i;
      }
      const std::size_t* found = table.find(wanted);
      ASSERT_EQ(found == nullptr ? added.size() : *found, best) << wanted << " in round " << round;
    }
  }
}

TEST(Prices, AreFoundByTheTargetsModelWithWildcards) {
  SnapshotText text;
  text.prices =
      R"({"version":"2025-01","models":[{"model":"gpt-*","prompt":1,"cached":1,"cache_write":1,"completion":1},)"
      R"({"model":"gpt-4o","prompt":2,"cached":1,"cache_write":1,"completion":1}]})";
  const auto snapshot = make_snapshot(text);
  EXPECT_EQ(snapshot->price_version, "2025-01");
  EXPECT_EQ(snapshot->price_of("gpt-4o")->prompt, 2);
  EXPECT_EQ(snapshot->price_of("gpt-5")->prompt, 1);
  EXPECT_EQ(snapshot->price_of("claude"), nullptr);
}

TEST(Prices, CostIsRoundedUpAndTokenKindsAreApart) {
  const Price price{1'000'000, 100'000, 2'000'000, 4'000'000};
  EXPECT_EQ(cost_micro_usd(price, {.prompt = 10, .completion = 5}), 30);
  EXPECT_EQ(cost_micro_usd(price, {.prompt = 10, .completion = 0, .cached = 4, .cache_write = 2}), 4 + 1 + 4);
  EXPECT_EQ(cost_micro_usd({1, 0, 0, 0}, {.prompt = 1}), 1) << "a millionth of a micro-dollar is one";
  EXPECT_EQ(cost_micro_usd({1, 0, 0, 0}, {.prompt = 1'000'001}), 2);
  EXPECT_EQ(cost_micro_usd(price, {}), 0);
  EXPECT_EQ(cost_micro_usd(price, {.completion = 5, .reasoning = 5}), 20)
      << "reasoning is part of completion";
}

TEST(Prices, ACostThatNoIntegerHoldsIsTheLargest) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(cost_micro_usd({kMost, 0, 0, kMost},
                           {.prompt = std::int64_t{1} << 53, .completion = std::int64_t{1} << 53}),
            kMost);
}

// Exact to the last micro-dollar, computed with digits in base 10^6 instead of wide integers.
TEST(Prices, CostIsExactForRandomFigures) {
  Random random(11);
  for (int round = 0; round < 20'000; ++round) {
    const auto tokens = [&random] {
      return static_cast<std::int64_t>(random.next() >> (30 + random.below(34)));
    };
    const Price price{tokens() % 100'000'000, tokens() % 100'000'000, tokens() % 100'000'000,
                      tokens() % 100'000'000};
    stream::Usage usage{.prompt = tokens(), .completion = tokens()};
    usage.cached = usage.prompt / 3;
    usage.cache_write = usage.prompt / 7;
    std::int64_t whole = 0;
    std::int64_t rest = 0;
    const auto add = [&whole, &rest](std::int64_t count, std::int64_t each) {
      whole += (count / 1'000'000) * each;
      rest += (count % 1'000'000) * each;
    };
    add(usage.prompt - usage.cached - usage.cache_write, price.prompt);
    add(usage.cached, price.cached);
    add(usage.cache_write, price.cache_write);
    add(usage.completion, price.completion);
    ASSERT_EQ(cost_micro_usd(price, usage), whole + (rest + 999'999) / 1'000'000) << round;
  }
}

}  // namespace
}  // namespace sentinel::engine
