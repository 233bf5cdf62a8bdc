// Kept answers: who may have them, in which form, and what is never kept.
#include "sentinel/engine/answers.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "engine/runner_support.hpp"
#include "sentinel/engine/upstream_request.hpp"

namespace sentinel::engine {
namespace {

using journal::CacheVerdict;
using journal::Outcome;
using std::chrono::seconds;

std::string chat(const std::string& more = {}) {
  return R"({"model":"gpt")" + more + R"(,"messages":[{"role":"user","content":"hello"}]})";
}
const std::string kStreamed = R"(,"stream":true)";
const std::string kStreamedWithUsage = R"(,"stream":true,"stream_options":{"include_usage":true})";

class Keeping : public ::testing::Test {
 protected:
  Keeping() {
    service.configure(keeping({}));
    EXPECT_TRUE(service.keys.put(R"([{"id":"other","digest":")" + to_hex(service.keys.digest("other")) +
                                 R"(","accounts":["acme","acme/mail"]}])"));
  }

  std::unique_ptr<Exchange> ask(const Asking& asking) {
    auto headers = asking.headers;
    headers.push_back({"x-api-key", asking.key});
    return service.pipeline.decide(service.lane, {asking.endpoint, "", "", headers, ""}, padded(asking.body),
                                   clock.now());
  }

  // Asks, and answers if nobody else does; says where the answer came from.
  std::string verdict(const Asking& asking = {}, const std::string& body = kWholeAnswer) {
    auto exchange = ask(asking);
    if (!exchange->reply) {
      EXPECT_TRUE(make_ready(service, *exchange, clock.now()));
      exchange->billable = true;
      exchange->usage = stream::Usage{.prompt = 10, .completion = 5};
      exchange->status = 200;
      service.pipeline.price(*exchange);
      const std::string type = exchange->facts.stream ? "text/event-stream" : "application/json";
      service.answers.keep(*exchange, type, body, service.lane.answers, clock.now());
    }
    service.pipeline.finish(service.lane, *exchange, clock.now());
    return std::string(name(exchange->verdict));
  }
  std::string verdict_of(const std::string& body) { return verdict(Asking{.body = body}); }

  // The reply to a question that is answered from the cache.
  Reply hit(const std::string& body, std::vector<HeaderView> headers = {}) {
    auto exchange = ask({.body = body, .headers = std::move(headers)});
    EXPECT_TRUE(exchange->reply) << "a miss";
    if (!exchange->reply) return {};
    Reply reply = *exchange->reply;
    service.pipeline.finish(service.lane, *exchange, clock.now());
    return reply;
  }

  Service service;
  ManualClock clock;
};

TEST_F(Keeping, TheSameQuestionIsAnsweredOnceAndCostsNothingAfterwards) {
  EXPECT_EQ(verdict(), "miss");
  clock.advance(seconds{100});
  const Reply reply =
      hit(R"({ "messages":[{"content":"h\u0065llo","role":"user"}],"model":"gpt","user":"x"})");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, kWholeAnswer);
  EXPECT_EQ(find_header(reply.headers, "x-sentinel-cache"), "hit-exact");
  EXPECT_EQ(find_header(reply.headers, "x-sentinel-target"), "up/gpt");
  EXPECT_EQ(find_header(reply.headers, "x-sentinel-cost-micro-usd"), "0");
  EXPECT_EQ(find_header(reply.headers, "age"), "100");
  EXPECT_EQ(find_header(reply.headers, "content-type"), "application/json");
  EXPECT_TRUE(find_header(reply.headers, "cache-status").starts_with("sentinel; hit; ttl=3500"))
      << find_header(reply.headers, "cache-status");
  const auto records = service.ledger.records();
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[1].cache, CacheVerdict::hit_exact);
  EXPECT_EQ(records[1].cost_micro_usd, 0);
  EXPECT_EQ(records[1].saved_micro_usd, 30);
  EXPECT_EQ(records[1].target, "up/gpt");
  EXPECT_EQ(records[1].completion_tokens, 5);
  EXPECT_NE(service.registry.expose().find(R"(sentinel_saved_usd_total{verdict="hit-exact"} 3e-05)"),
            std::string::npos)
      << service.registry.expose();
}

// 15 tokens and 30 micro-USD an answer; `limits` of the account, whose route keeps.
SnapshotText counting_hits(const std::string& rates) {
  SnapshotText text = keeping({});
  text.more += R"(,"accounts":[{"id":"acme","rules":{"rates":[],"rates_counting_hits":[)" + rates +
               R"(],"concurrency":null}}])";
  return text;
}

TEST_F(Keeping, ARuleThatCountsHitsTakesWhatTheAnswerWouldHaveCost) {
  service.configure(counting_hits(R"("1500 tokens/day")"));
  EXPECT_EQ(verdict({.body = chat(R"(,"max_tokens":5)")}), "miss");
  for (std::int64_t hits = 1; hits < 4; ++hits) {
    auto exchange = ask({.body = chat(R"(,"max_tokens":5)")});
    ASSERT_TRUE(exchange->reply);
    EXPECT_EQ(exchange->reply->status, 200);
    EXPECT_EQ(find_header(exchange->reply->headers, "x-ratelimit-remaining-tokens"),
              std::to_string(1500 - 15 * (hits + 1)));
    service.pipeline.finish(service.lane, *exchange, clock.now());
    EXPECT_EQ(exchange->cost_micro_usd, 0);
  }
}

TEST_F(Keeping, AnAnswerAboveTheBurstNeedsAFullBucketAndTheRestIsOwed) {
  service.configure(counting_hits(R"("12 tokens/min burst 12")"));
  const std::string body = chat(R"(,"max_tokens":1)");  // and 15 are used
  EXPECT_EQ(verdict({.body = body}), "miss");
  clock.advance(std::chrono::minutes{2});
  EXPECT_EQ(verdict({.body = body}), "hit-exact");
  auto again = ask({.body = body});
  ASSERT_TRUE(again->reply);
  EXPECT_EQ(again->reply->status, 429);
  EXPECT_EQ(find_header(again->reply->headers, "retry-after"), "75") << "15 of 12 a minute";
  service.pipeline.finish(service.lane, *again, clock.now());
  clock.advance(seconds{75});
  EXPECT_EQ(verdict({.body = body}), "hit-exact");
}

TEST_F(Keeping, AHitThatARuleHasNoRoomForIsRefusedAndTakesNothing) {
  service.configure(counting_hits(R"("0.00008 usd/day")"));  // 80 micro-USD: two answers
  const std::string body = chat(R"(,"max_tokens":5)");
  EXPECT_EQ(verdict({.body = body}), "miss");
  EXPECT_EQ(verdict({.body = body}), "hit-exact");
  for (int again = 0; again < 2; ++again) {
    auto exchange = ask({.body = body});
    ASSERT_TRUE(exchange->reply);
    EXPECT_EQ(exchange->reply->status, 429);
    EXPECT_NE(exchange->reply->body.find("budget_exceeded"), std::string::npos) << exchange->reply->body;
    service.pipeline.finish(service.lane, *exchange, clock.now());
  }
  const auto records = service.ledger.records();
  ASSERT_EQ(records.size(), 4U);
  EXPECT_EQ(records[3].outcome, Outcome::refused);
  EXPECT_EQ(records[3].saved_micro_usd, 0);
  EXPECT_EQ(records[3].completion_tokens, 0);
  clock.advance(std::chrono::hours{24});
  EXPECT_EQ(verdict({.body = body}), "miss") << "an hour is what it is kept";
  EXPECT_EQ(verdict({.body = body}), "hit-exact");
}

TEST_F(Keeping, AnyOtherMemberIsAnotherQuestion) {
  EXPECT_EQ(verdict(), "miss");
  for (const char* more : {R"(,"max_tokens":5)", R"(,"seed":1)", R"(,"whatever":1)", R"(,"tools":[])"}) {
    EXPECT_EQ(verdict_of(chat(more)), "miss") << more;
    EXPECT_EQ(verdict_of(chat(more)), "hit-exact") << more;
  }
  EXPECT_EQ(verdict_of(chat(R"(,"metadata":{"a":"b"},"safety_identifier":"x")")), "hit-exact");
}

TEST_F(Keeping, AnAnswerLivesAsLongAsItsRouteSays) {
  EXPECT_EQ(verdict(), "miss");
  clock.advance(seconds{3599});
  EXPECT_EQ(verdict(), "hit-exact");
  clock.advance(seconds{1});
  EXPECT_EQ(verdict(), "miss");
}

TEST_F(Keeping, WithoutACacheOnTheRouteEveryCallIsABypass) {
  service.configure({});
  EXPECT_EQ(verdict(), "bypass");
  EXPECT_EQ(verdict(), "bypass");
  EXPECT_EQ(service.cache.stats().entries, 0U);
}

TEST_F(Keeping, WithATtlOfNothingAnswersAreSharedOnlyWhileTheyCome) {
  service.configure(keeping({}, R"({"ttl_us":0})"));
  EXPECT_EQ(verdict(), "miss");
  EXPECT_EQ(verdict(), "miss");
  EXPECT_TRUE(ask({})->plan->follow);
}

TEST_F(Keeping, S22AnotherAccountNeverGetsIt) {
  EXPECT_EQ(verdict(), "miss");
  EXPECT_EQ(verdict({.key = "other"}), "miss");
  EXPECT_EQ(verdict({.key = "other"}), "hit-exact") << "its own";
  ASSERT_TRUE(service.keys.put("[" + key_text("second", "second") + "]"));
  EXPECT_EQ(verdict({.key = "second"}), "hit-exact") << "another key of the same account";
}

TEST_F(Keeping, S27ASharingGroupSharesAndOnlyWithinTheRoute) {
  service.configure(keeping({}, R"({"ttl_us":3600000000,"share":"family"})"));
  EXPECT_EQ(verdict(), "miss");
  EXPECT_EQ(verdict({.key = "other"}), "hit-exact");
  SnapshotText text;
  text.routes = R"([{"name":"gpt","targets":[{"upstream":"up","model":"else","weight":1}],)"
                R"("cache":{"ttl_us":3600000000,"share":"family"}}])";
  service.configure(text);
  EXPECT_EQ(verdict({.key = "other"}), "miss") << "other targets, other answers";
}

TEST_F(Keeping, WhatTheProtocolVersionsAndTheEndpointAreIsPartOfTheQuestion) {
  EXPECT_EQ(verdict(), "miss");
  EXPECT_EQ(verdict({.body = chat(), .headers = {{"openai-beta", "assistants=v2"}}}), "miss");
  EXPECT_EQ(verdict(), "hit-exact");
}

TEST_F(Keeping, WhatIsAskedToVaryIsNotKeptUnlessTheRouteSaysSo) {
  for (const bool sampled : {false, true}) {
    service.configure(
        keeping({}, sampled ? R"({"ttl_us":3600000000,"sampled":true})" : R"({"ttl_us":3600000000})"));
    for (const char* more : {R"(,"temperature":0.7)", R"(,"n":2)"}) {
      EXPECT_EQ(verdict_of(chat(more)), sampled ? "miss" : "bypass") << more;
      EXPECT_EQ(verdict_of(chat(more)), sampled ? "hit-exact" : "bypass") << more;
    }
    const Asking once{.body = chat(), .headers = {{"idempotency-key", "k1"}}};
    EXPECT_EQ(verdict(once), sampled ? "miss" : "bypass");
    service.cache.clear();
  }
  EXPECT_EQ(verdict_of(chat(R"(,"temperature":0)")), "miss");
  EXPECT_EQ(verdict_of(chat(R"(,"temperature":0.0)")), "hit-exact");
}

TEST_F(Keeping, NoStoreNeitherTakesNorKeeps) {
  const Asking silent{.body = chat(), .headers = {{"cache-control", "no-store"}}};
  EXPECT_EQ(verdict(silent), "bypass");
  EXPECT_EQ(verdict(), "miss") << "nothing was kept";
  EXPECT_EQ(verdict(silent), "bypass") << "nor is it given";
}

TEST_F(Keeping, NoCacheAsksAgainAndKeepsWhatComes) {
  EXPECT_EQ(verdict(), "miss");
  std::string fresh = kWholeAnswer;
  fresh.replace(fresh.find("Hello"), 5, "Howdy");
  EXPECT_EQ(verdict({.body = chat(), .headers = {{"cache-control", "no-cache"}}}, fresh), "miss");
  EXPECT_EQ(hit(chat()).body, fresh);
}

TEST_F(Keeping, MaxAgeRefusesWhatIsOlder) {
  EXPECT_EQ(verdict(), "miss");
  clock.advance(seconds{60});
  const auto with_age = [this](std::string_view directive) {
    auto exchange = ask({.body = chat(), .headers = {{"cache-control", directive}}});
    const bool taken = exchange->reply.has_value();
    service.pipeline.finish(service.lane, *exchange, clock.now());
    return taken;
  };
  EXPECT_TRUE(with_age("max-age=60"));
  EXPECT_FALSE(with_age("max-age=59"));
  EXPECT_FALSE(with_age("max-age=soon"));
}

TEST_F(Keeping, APlainAnswerIsStreamedToWhoeverAsksForAStream) {
  EXPECT_EQ(verdict(), "miss");
  const Reply reply = hit(chat(kStreamed));
  EXPECT_EQ(find_header(reply.headers, "content-type"), "text/event-stream");
  EXPECT_NE(reply.body.find("chat.completion.chunk"), std::string::npos);
  EXPECT_NE(reply.body.find("Hello"), std::string::npos);
  EXPECT_EQ(reply.body.find("completion_tokens"), std::string::npos);
  EXPECT_TRUE(reply.body.ends_with(kDone));
  EXPECT_NE(hit(chat(kStreamedWithUsage)).body.find("\"completion_tokens\":5"), std::string::npos);
}

TEST_F(Keeping, AStreamIsGivenWholeWithOrWithoutItsUsageAndAsAPlainBody) {
  EXPECT_EQ(verdict({.body = chat(kStreamed)}, kWholeText + kWholeUsage + kDone), "miss");
  EXPECT_EQ(hit(chat(kStreamed)).body, kWholeText + kDone);
  EXPECT_EQ(hit(chat(kStreamedWithUsage)).body, kWholeText + kWholeUsage + kDone);
  const Reply plain = hit(chat());
  EXPECT_EQ(find_header(plain.headers, "content-type"), "application/json");
  EXPECT_EQ(Json(plain.body).text("/choices/0/message/content"), "Hello");
}

TEST_F(Keeping, AnAnswerThatIsNotUnderstoodInTheOtherFormIsAMissForThatForm) {
  std::string odd = kWholeAnswer;
  odd.replace(odd.find("\"role\""), 0, "\"mood\":\"sunny\",");
  EXPECT_EQ(verdict(Asking{}, odd), "miss");
  EXPECT_EQ(verdict({.body = chat(kStreamed)}, kWholeText + kWholeUsage + kDone), "miss");
  EXPECT_EQ(hit(kPlainRequest).body, odd) << "each form by itself";
  EXPECT_EQ(hit(chat(kStreamed)).body, kWholeText + kDone);
}

TEST_F(Keeping, S26FilteredUnfinishedAndToolRunAnswersAreNotKept) {
  for (const char* reason : {"content_filter", "error", "abort"}) {
    std::string body = kWholeAnswer;
    body.replace(body.find("stop"), 4, reason);
    EXPECT_EQ(verdict(Asking{}, body), "miss") << reason;
    EXPECT_EQ(service.cache.stats().entries, 0U) << reason;
  }
  EXPECT_EQ(verdict({.body = chat(kStreamed)}, kWholeRole + kWholeDelta + kDone), "miss")
      << "no finish_reason";
  EXPECT_EQ(service.cache.stats().entries, 0U);
  EXPECT_EQ(verdict_of(chat(R"(,"store":true)")), "bypass");
}

TEST_F(Keeping, S26AFallbacksAnswerIsKeptOnlyIfTheRouteSaysSo) {
  for (const bool kept : {false, true}) {
    service.cache.clear();
    SnapshotText text;
    text.upstreams =
        "[" +
        SnapshotText::upstream("up", "openai", "http://a",
                               R"(,"breaker":{"enabled":true,"window_calls":1,"minimum_calls":1})") +
        "," + SnapshotText::upstream("spare", "openai", "http://b") + "]";
    text.routes =
        std::string(R"([{"name":"gpt","targets":[{"upstream":"up","model":"","weight":1},)") +
        R"({"upstream":"spare","model":"","weight":1,"tier":1}],"cache":{"ttl_us":3600000000,"store_fallback":)" +
        (kept ? "true" : "false") + "}}]";
    service.configure(text);
    service.snapshots.get()->routes[0]->targets[0].health->force(resilience::BreakerMode::forced_open);
    EXPECT_EQ(verdict(), "miss");
    EXPECT_EQ(verdict(), kept ? "hit-exact" : "miss");
    if (kept) {
      EXPECT_EQ(find_header(hit(chat()).headers, "x-sentinel-target"), "spare/gpt");
    }
  }
}

// ---- embeddings, item by item ------------------------------------------------------------------------------

class Embeddings : public Keeping {
 protected:
  static std::string question(const std::string& input) { return R"({"model":"gpt","input":)" + input + "}"; }
  static std::string vector_of(const std::string& item) {
    return "[0." + std::to_string(item.size()) + ",-1.5e-3]";
  }
  static std::int64_t tokens_of(const std::vector<std::string>& items) {
    std::int64_t tokens = 0;
    for (const auto& item : items) tokens += static_cast<std::int64_t>(item.size() + 2);
    return tokens;
  }
  // As the provider answers the items: their vectors, a token for each byte of an item with its quotes.
  static std::string answer_to(const std::vector<std::string>& items) {
    std::string body = R"({"object":"list","data":[)";
    for (std::size_t i = 0; i < items.size(); ++i) {
      body += (i > 0 ? "," : "") + (R"({"object":"embedding","index":)" + std::to_string(i)) +
              R"(,"embedding":)" + vector_of(items[i]) + "}";
    }
    const std::string tokens = std::to_string(tokens_of(items));
    return body + R"(],"model":"gpt","usage":{"prompt_tokens":)" + tokens + R"(,"total_tokens":)" + tokens +
           "}}";
  }

  struct Round {
    std::string sent;  // what went upstream; empty: nothing
    std::string reply;
    std::string verdict;
    std::int64_t cost = 0;
    std::int64_t saved = 0;
  };
  Round ask_for(const std::string& input, const std::vector<std::string>& answered,
                std::vector<HeaderView> headers = {}) {
    Round round;
    auto exchange =
        ask({.body = question(input), .headers = std::move(headers), .endpoint = Endpoint::embeddings});
    if (exchange->reply) {
      round.reply = exchange->reply->body;
    } else {
      EXPECT_TRUE(make_ready(service, *exchange, clock.now()));
      round.sent = body_to_send(*exchange);
      exchange->billable = true;
      exchange->usage = stream::Usage{.prompt = tokens_of(answered)};
      service.pipeline.price(*exchange);
      auto body = service.answers.complete(*exchange, answer_to(answered), service.lane.answers, clock.now());
      EXPECT_TRUE(body);
      round.reply = body ? *body : "";
    }
    service.pipeline.finish(service.lane, *exchange, clock.now());
    round.verdict = std::string(name(exchange->verdict));
    round.cost = exchange->cost_micro_usd;
    round.saved = exchange->saved_micro_usd;
    return round;
  }
};

TEST_F(Embeddings, OnlyTheMissingItemsGoUpstreamAndTheReplyIsAsIfAllHad) {
  const Round first = ask_for(R"(["a","bb","ccc"])", {"a", "bb", "ccc"});
  EXPECT_EQ(first.verdict, "miss");
  EXPECT_EQ(first.sent, question(R"(["a","bb","ccc"])"));
  EXPECT_EQ(first.reply, answer_to({"a", "bb", "ccc"}));
  const Round second = ask_for(R"(["dddd","bb","a","eeeee"])", {"dddd", "eeeee"});
  EXPECT_EQ(second.verdict, "miss");
  EXPECT_EQ(second.sent, question(R"(["dddd","eeeee"])"));
  EXPECT_EQ(second.reply, answer_to({"dddd", "bb", "a", "eeeee"}));
  EXPECT_EQ(second.cost, tokens_of({"dddd", "eeeee"}));
  EXPECT_EQ(second.saved, tokens_of({"bb", "a"}));
}

TEST_F(Embeddings, AllItemsKnownIsAHitInAnyOrderAndAnyNumber) {
  ask_for(R"(["a","bb","ccc"])", {"a", "bb", "ccc"});
  const Round round = ask_for(R"(["ccc","ccc","a"])", {});
  EXPECT_EQ(round.verdict, "hit-exact");
  EXPECT_EQ(round.sent, "");
  EXPECT_EQ(round.reply, answer_to({"ccc", "ccc", "a"}));
  EXPECT_EQ(round.cost, 0);
  EXPECT_EQ(ask_for(R"("bb")", {}).reply, answer_to({"bb"})) << "a string is a list of one";
}

TEST_F(Embeddings, TheSharesOfTheUsageAddUpToAllOfIt) {
  const std::vector<std::string> items{"a", "a much longer item than the other one"};
  ask_for(R"(["a","a much longer item than the other one"])", items);
  const Round both = ask_for(R"(["a much longer item than the other one","a"])", {});
  EXPECT_EQ(Json(both.reply).root().at_pointer("/usage/prompt_tokens").get_int64().value(), tokens_of(items));
  EXPECT_EQ(both.saved, tokens_of(items));
}

TEST_F(Embeddings, AnotherSizeOrAccountIsAnotherItem) {
  ask_for(R"(["a"])", {"a"});
  const Round sized = ask_for(R"(["a"],"dimensions":2)", {"a"});
  EXPECT_NE(sized.sent, "");
  auto other = ask({.body = question(R"(["a"])"), .key = "other", .endpoint = Endpoint::embeddings});
  EXPECT_FALSE(other->reply);
  service.pipeline.finish(service.lane, *other, clock.now());
}

TEST_F(Embeddings, NoCacheAsksForAllItemsAndMaxAgeForTheOldOnes) {
  ask_for(R"(["a"])", {"a"});
  clock.advance(seconds{100});
  ask_for(R"(["bb"])", {"bb"});
  EXPECT_EQ(ask_for(R"(["a","bb"])", {"a"}, {{"cache-control", "max-age=50"}}).sent, question(R"(["a"])"));
  EXPECT_EQ(ask_for(R"(["a","bb"])", {"a", "bb"}, {{"cache-control", "no-cache"}}).sent,
            question(R"(["a","bb"])"));
}

TEST_F(Embeddings, ListsOfTokenIdsAreItemsToo) {
  ask_for("[[1,2,3],[4]]", {"x", "yy"});
  EXPECT_EQ(ask_for("[[4],[5,6]]", {"zzz"}).sent, question("[[5,6]]"));
  EXPECT_EQ(ask_for("[5,6]", {}).verdict, "hit-exact") << "one item as a bare list";
}

TEST_F(Embeddings, VectorsThatCannotBePutTogetherAreAnError) {
  ask_for(R"(["a"])", {"a"});
  auto exchange = ask({.body = question(R"(["a","bb"])"), .endpoint = Endpoint::embeddings});
  ASSERT_FALSE(exchange->reply);
  ASSERT_TRUE(make_ready(service, *exchange, clock.now()));
  const auto body = service.answers.complete(*exchange, answer_to({"bb", "what is this"}),
                                             service.lane.answers, clock.now());
  ASSERT_FALSE(body);
  EXPECT_EQ(body.error().code, ErrorCode::upstream_error);
  service.pipeline.finish(service.lane, *exchange, clock.now());
}

// ---- over the loop -----------------------------------------------------------------------------------------

class KeptAnswers : public Runners {
 protected:
  void lead_to(ScriptedUpstream& upstream) { service.configure(keeping(leading_to(upstream.port()))); }
  std::shared_ptr<Recorder> answered(const Asking& asking) {
    const auto heard = ask(asking).heard;
    EXPECT_TRUE(heard->wait_for_end());
    return heard;
  }
};

TEST_F(KeptAnswers, WhatTheLoopRelaysIsKeptBeforeItsClientHasItAll) {
  ScriptedUpstream upstream({stream_reply(kWholeText + kWholeUsage + kDone)});
  lead_to(upstream);
  EXPECT_EQ(answered({.body = kStreamRequest})->text(), kWholeText + kDone);
  const auto second = answered({.body = kStreamRequest});
  EXPECT_EQ(second->header("x-sentinel-cache"), "hit-exact");
  EXPECT_EQ(second->text(), kWholeText + kDone);
  EXPECT_EQ(Json(answered({})->text()).text("/choices/0/message/content"), "Hello");
  EXPECT_EQ(upstream.count(), 1);
}

TEST_F(KeptAnswers, APlainAnswerSaysThatItWasStoredAndUnderWhichName) {
  ScriptedUpstream upstream({plain_reply(200, kWholeAnswer)});
  lead_to(upstream);
  const std::string status = answered({})->header("cache-status");
  EXPECT_TRUE(status.starts_with("sentinel; fwd=uri-miss; stored; key=\"")) << status;
  const std::string key = status.substr(status.find("key=\"") + 5, 32);
  EXPECT_EQ(service.cache.erase(key), 1U);
  EXPECT_EQ(answered({})->header("x-sentinel-cache"), "miss");
}

TEST_F(KeptAnswers, S26ErrorsAndCutAnswersAreAskedAnew) {
  const std::vector<std::pair<std::string, std::string>> faults{
      {kPlainRequest, plain_reply(500, kWholeAnswer)},
      {kPlainRequest, plain_reply(200, R"({"error":{"message":"sad"}})")},
      {kStreamRequest, stream_reply(kWholeText)},
      {kStreamRequest, stream_reply(kWholeText + "data: {\"error\":{\"message\":\"sad\"}}\n\n" + kDone)}};
  for (const auto& [request, reply] : faults) {
    ScriptedUpstream upstream({reply});
    lead_to(upstream);
    answered({.body = request});
    answered({.body = request});
    EXPECT_EQ(upstream.count(), 2) << reply;
    EXPECT_EQ(service.cache.stats().entries, 0U);
  }
}

TEST_F(KeptAnswers, EmbeddingsAreSplitAndPutTogetherOverTheLoop) {
  const auto body = [](const std::string& data, int tokens) {
    return R"({"object":"list","data":[)" + data + R"(],"model":"gpt","usage":{"prompt_tokens":)" +
           std::to_string(tokens) + R"(,"total_tokens":)" + std::to_string(tokens) + "}}";
  };
  const auto vector = [](int index, const std::string& value) {
    return R"({"object":"embedding","index":)" + std::to_string(index) + R"(,"embedding":[)" + value + "]}";
  };
  ScriptedUpstream upstream(
      {plain_reply(200, body(vector(0, "0.1"), 7)), plain_reply(200, body(vector(0, "0.2"), 8))});
  lead_to(upstream);
  answered({.body = R"({"model":"gpt","input":["one"]})", .endpoint = Endpoint::embeddings});
  const auto both =
      answered({.body = R"({"model":"gpt","input":["two","one"]})", .endpoint = Endpoint::embeddings});
  EXPECT_EQ(both->text(), body(vector(0, "0.2") + "," + vector(1, "0.1"), 15));
  EXPECT_NE(upstream.requests().at(1).find(R"("input":["two"])"), std::string::npos);
  const auto records = service.ledger.records();
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[1].cost_micro_usd, 8);
  EXPECT_EQ(records[1].saved_micro_usd, 7);
}

}  // namespace
}  // namespace sentinel::engine
