// Limits along the path: taken in one step or not at all, and given back or settled by whatever ends the exchange.
#include "sentinel/engine/quotas.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/support.hpp"

namespace sentinel::engine {
namespace {

using journal::Outcome;
using std::chrono::seconds;

std::string rules(const std::string& rates, const std::string& concurrency = "null") {
  return R"("rules":{"rates":[)" + rates + R"(],"concurrency":)" + concurrency + "}";
}

class Quotations : public ::testing::Test {
 protected:
  // Rules of the root account, of the account that pays, of the key and of the route; empty: none.
  struct Path {
    std::string root = {};
    std::string account = {};
    std::string key = {};
    std::string route = {};
  };

  void configure(const Path& path, const std::string& more = {}) {
    SnapshotText text;
    std::string accounts;
    if (!path.root.empty()) accounts = R"({"id":"acme",)" + path.root + "}";
    if (!path.account.empty())
      accounts += (accounts.empty() ? "" : ",") + (R"({"id":"acme/search",)" + path.account) + "}";
    text.routes = R"([{"name":"gpt","targets":[{"upstream":"up","model":"","weight":1}])" +
                  (path.route.empty() ? "" : "," + path.route) + "}]";
    text.more = R"(,"accounts":[)" + accounts + "]" + more;
    service.configure(text);
    ASSERT_TRUE(service.keys.put("[" + key_text("ci", kCredential, path.key.empty() ? "" : "," + path.key) +
                                 "," + key_text("other", "other", path.key.empty() ? "" : "," + path.key) +
                                 "]"));
  }

  std::unique_ptr<Exchange> decide(const std::string& more = {}, std::string_view key = kCredential,
                                   std::string_view peer = {}, std::vector<HeaderView> headers = {}) {
    headers.push_back({"x-api-key", key});
    const std::string body = R"({"model":"gpt","messages":[{"role":"user","content":"hello"}])" + more + "}";
    return service.pipeline.decide(service.lane, {Endpoint::chat, "/v1/chat/completions", "", headers, peer},
                                   padded(body), clock.now());
  }

  static std::string code_of(const Exchange& exchange) {
    return exchange.reply ? Json(exchange.reply->body).text("/error/code") : "(accepted)";
  }

  void finish(Exchange& exchange, Outcome outcome = Outcome::done) {
    exchange.outcome = outcome;
    service.pipeline.finish(service.lane, exchange, clock.now());
  }

  // Whether a request passes now; it is given back.
  bool passes() {
    const auto exchange = decide();
    const bool passed = !exchange->reply;
    finish(*exchange, Outcome::refused);
    return passed;
  }

  std::string state() { return service.quotas.snapshot(clock.now()); }

  // Admitted and aimed; what the limits say of tokens is in its headroom.
  std::unique_ptr<Exchange> admitted(const std::string& more = {}) {
    auto exchange = decide(more);
    EXPECT_FALSE(exchange->reply) << exchange->reply->body;
    const Status made = make_ready(service, *exchange, clock.now());
    EXPECT_TRUE(made) << made.error().message;
    return exchange;
  }

  std::int64_t tokens_left() {
    auto probe = admitted();
    const std::int64_t left = probe->headroom.tokens->remaining + *probe->prompt_tokens;
    finish(*probe, Outcome::refused);
    return left;
  }

  Service service;
  ManualClock clock;
};

TEST_F(Quotations, WithoutRulesNothingIsTakenOrCounted) {
  configure({});
  auto exchange = admitted();
  EXPECT_FALSE(exchange->entry_reservation);
  EXPECT_FALSE(exchange->use_reservation);
  EXPECT_FALSE(exchange->prompt_tokens);
  EXPECT_EQ(find_header(service.pipeline
                            .refuse(service.lane, {Endpoint::chat, "", "", {}, ""},
                                    Error(ErrorCode::request_timeout, ""), clock.now())
                            ->reply->headers,
                        "x-ratelimit-limit-requests"),
            "(none)");
}

TEST_F(Quotations, TheWholePathIsTakenInOneStepOrNothingOfIt) {
  const std::string plenty = rules(R"("100/min")");
  const std::string one = rules(R"("1/min")");
  for (int node = 0; node < 4; ++node) {
    configure({node == 0 ? one : plenty, node == 1 ? one : plenty, node == 2 ? one : plenty,
               node == 3 ? one : plenty});
    clock.advance(std::chrono::hours{1});
    const auto first = decide();
    EXPECT_EQ(code_of(*first), "(accepted)");
    const std::string before = state();
    const auto second = decide();
    EXPECT_EQ(code_of(*second), "rate_limit_exceeded") << node;
    EXPECT_EQ(second->reply->status, 429);
    EXPECT_EQ(find_header(second->reply->headers, "retry-after"), "60");
    EXPECT_EQ(find_header(second->reply->headers, "x-ratelimit-remaining-requests"), "0");
    EXPECT_EQ(second->refused_by, metrics::LimitName::requests);
    EXPECT_EQ(state(), before) << "the other nodes kept theirs";
    finish(*second, Outcome::refused);
    finish(*first);
  }
}

TEST_F(Quotations, AnAccountsLimitHoldsForAllItsKeysAndAKeysOnlyForItself) {
  configure({.account = rules(R"("3/min")"), .key = rules(R"("2/min")")});
  EXPECT_EQ(code_of(*decide()), "(accepted)");
  EXPECT_EQ(code_of(*decide()), "(accepted)");
  EXPECT_EQ(code_of(*decide()), "rate_limit_exceeded");
  EXPECT_EQ(code_of(*decide({}, "other")), "(accepted)");
  EXPECT_EQ(code_of(*decide({}, "other")), "rate_limit_exceeded");
}

TEST_F(Quotations, TheTightestLimitIsTheOneThatIsTold) {
  configure({.root = rules(R"("100/min")"), .key = rules(R"("5/min","1000 tokens/min")")});
  auto exchange = admitted();
  EXPECT_EQ(exchange->headroom.requests->limit, 5);
  EXPECT_EQ(exchange->headroom.requests->remaining, 4);
  EXPECT_EQ(exchange->headroom.tokens->limit, 1000);
  EXPECT_EQ(exchange->headroom.tokens->remaining, 1000 - *exchange->prompt_tokens);
}

TEST_F(Quotations, AWindowsRequestsComeBackWithTime) {
  configure({.key = rules(R"("2/min")")});
  EXPECT_EQ(code_of(*decide()), "(accepted)");
  EXPECT_EQ(code_of(*decide()), "(accepted)");
  EXPECT_FALSE(passes());
  clock.advance(seconds{29});
  EXPECT_FALSE(passes());
  clock.advance(seconds{1});
  EXPECT_TRUE(passes());
}

TEST_F(Quotations, APlaceAmongTheConcurrentCallsComesBackWhateverEndsTheCall) {
  configure({.account = rules("", "1")});
  for (const auto outcome : {Outcome::done, Outcome::client_gone, Outcome::upstream_error,
                             Outcome::upstream_cut, Outcome::refused, Outcome::shutdown}) {
    auto running = admitted();
    auto second = decide();
    EXPECT_EQ(code_of(*second), "rate_limit_exceeded");
    EXPECT_EQ(second->refused_by, metrics::LimitName::concurrency);
    finish(*second, Outcome::refused);
    finish(*running, outcome);
    EXPECT_TRUE(passes()) << name(outcome);
  }
}

TEST_F(Quotations, OneThatIsRefusedForItsTokensGivesItsRequestBack) {
  configure({.root = rules(R"("10/min")"), .key = rules(R"("100 tokens/min")")});
  const std::string before = state();
  auto exchange = decide(R"(,"max_tokens":101)");
  ASSERT_FALSE(exchange->reply) << "tokens are asked only before sending";
  const Status refused = make_ready(service, *exchange, clock.now());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::rate_limit_exceeded);
  EXPECT_EQ(refused.error().retry_after_seconds, 0) << "it will never pass";
  EXPECT_EQ(exchange->refused_by, metrics::LimitName::tokens);
  finish(*exchange, Outcome::refused);
  EXPECT_EQ(state(), before);
}

TEST_F(Quotations, WhatWasUsedReplacesWhatWasReserved) {
  configure({.key = rules(R"("1000 tokens/min")")});
  auto exchange = admitted(R"(,"max_tokens":500)");
  EXPECT_EQ(exchange->headroom.tokens->remaining, 500 - *exchange->prompt_tokens);
  exchange->billable = true;
  exchange->usage = stream::Usage{.prompt = 10, .completion = 20};
  finish(*exchange);
  EXPECT_EQ(tokens_left(), 970);
}

TEST_F(Quotations, AnOverrunIsOwedAndHoldsTheNextOneUp) {
  configure({.key = rules(R"("60 tokens/min")")});
  auto exchange = admitted(R"(,"max_tokens":10)");
  exchange->billable = true;
  exchange->usage = stream::Usage{.prompt = 10, .completion = 90};
  finish(*exchange);
  auto next = decide();
  const Status refused = make_ready(service, *next, clock.now());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().retry_after_seconds, 40 + *next->prompt_tokens) << "a token a second";
}

TEST_F(Quotations, WhatNobodyCanBeBilledForComesBackWhole) {
  configure({.key = rules(R"("100/min","1000 tokens/min","1 usd/day")")});
  for (const auto outcome : {Outcome::upstream_error, Outcome::client_gone, Outcome::shutdown}) {
    auto exchange = admitted(R"(,"max_tokens":500)");
    exchange->billable = false;  // a status of 400 or above, or never sent
    finish(*exchange, outcome);
    EXPECT_EQ(tokens_left(), 1000) << name(outcome);
  }
  auto last = admitted();
  EXPECT_EQ(last->headroom.requests->remaining, 96) << "a request is a request";
}

TEST_F(Quotations, AClientThatLeavesPaysForWhatPassed) {
  configure({.key = rules(R"("1000 tokens/min")")});
  auto exchange = admitted(R"(,"max_tokens":500)");
  const std::int64_t prompt = *exchange->prompt_tokens;
  exchange->billable = true;
  exchange->relayed_deltas = 42;
  finish(*exchange, Outcome::client_gone);
  EXPECT_EQ(tokens_left(), 1000 - prompt - 42) << "our own count of the prompt, a token for each piece";
}

TEST_F(Quotations, WithoutMaxTokensTheRoutesDefaultTimesTheChoicesIsReserved) {
  configure({.key = rules(R"("10000 tokens/min")"), .route = R"("default_output_tokens":300)"});
  const auto reserved = [this](const std::string& more) {
    auto exchange = admitted(more);
    const std::int64_t taken = 10'000 - exchange->headroom.tokens->remaining - *exchange->prompt_tokens;
    finish(*exchange, Outcome::refused);
    return taken;
  };
  EXPECT_EQ(reserved(""), 300);
  EXPECT_EQ(reserved(R"(,"n":3)"), 900);
  EXPECT_EQ(reserved(R"(,"n":3,"max_tokens":20)"), 60);
  EXPECT_EQ(reserved(R"(,"max_completion_tokens":7)"), 7);
}

TEST_F(Quotations, TheDearestTargetOfTheRouteIsReserved) {
  SnapshotText text;
  text.routes =
      R"([{"name":"gpt","default_output_tokens":1000,"rules":{"rates":["0.01 usd/day"]},"targets":[)"
      R"({"upstream":"up","model":"cheap","weight":1},{"upstream":"up","model":"dear","weight":1,"tier":1}]}])";
  const auto priced = [&text](const std::string& dear) {
    text.prices =
        R"({"version":"1","models":[{"model":"cheap","prompt":0,"cached":0,"cache_write":0,"completion":1000000},)"
        R"({"model":"dear","prompt":0,"cached":0,"cache_write":0,"completion":)" +
        dear + "}]}";
    return text;
  };
  service.configure(priced("10000000"));  // 1000 tokens: 0.01 USD
  EXPECT_TRUE(make_ready(service, *decide(), clock.now()));
  clock.advance(std::chrono::hours{48});
  service.configure(priced("10001000"));
  auto exchange = decide();
  const Status refused = make_ready(service, *exchange, clock.now());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::budget_exceeded);
  EXPECT_EQ(exchange->refused_by, metrics::LimitName::money);
}

TEST_F(Quotations, MoneyIsSettledAsItWasSpent) {
  configure({.key = rules(R"("0.0001 usd/day")")});  // 100 micro-USD
  for (int i = 0; i < 3; ++i) {
    auto exchange = admitted();
    exchange->billable = true;
    exchange->usage = stream::Usage{.prompt = 10, .completion = 5};
    finish(*exchange);
    EXPECT_EQ(exchange->cost_micro_usd, 30);
  }
  auto last = decide();
  const Status refused = make_ready(service, *last, clock.now());
  EXPECT_TRUE(refused) << "10 are left, and the prompt costs " << last->prompt_tokens.value_or(0);
  auto over = decide(R"(,"max_tokens":10)");
  EXPECT_FALSE(make_ready(service, *over, clock.now()));
}

// The limits of end users are their account's; each has buckets of its own.
TEST_F(Quotations, AnEndUserIsALeafBelowTheAccountThatLimitsIt) {
  const std::string each = R"("end_user_rules":{"rates":["1/min","1000 tokens/min"],"concurrency":null})";
  configure({.root = each, .account = rules(R"("4/min")")});
  const auto asks_as = [this](const std::string& user, std::string_view key = kCredential) {
    return code_of(*decide(R"(,"user":")" + user + "\"", key));
  };
  EXPECT_EQ(asks_as("ann"), "(accepted)");
  EXPECT_EQ(asks_as("ann"), "rate_limit_exceeded");
  EXPECT_EQ(asks_as("ann", "other"), "rate_limit_exceeded") << "the same user through another key";
  EXPECT_EQ(asks_as("bob"), "(accepted)");
  EXPECT_EQ(code_of(*decide()), "(accepted)") << "nobody in particular";
  EXPECT_EQ(code_of(*decide()), "(accepted)");
  EXPECT_EQ(asks_as("cat"), "rate_limit_exceeded") << "four are all that the account has";
  clock.advance(seconds{60});
  EXPECT_EQ(asks_as("cat"), "(accepted)") << "the refusal took nothing of hers";
  auto known = admitted(R"(,"max_tokens":100,"user":"dan")");
  EXPECT_EQ(known->headroom.tokens->limit, 1000);
  finish(*known);
  EXPECT_EQ(state().find("dan"), std::string::npos) << "a name is personal: only its digest is kept";
}

TEST_F(Quotations, TheNearestAccountsRulesForEndUsersHold) {
  const auto each = [](const std::string& rate) {
    return R"("end_user_rules":{"rates":[")" + rate + R"("],"concurrency":null})";
  };
  configure({.root = each("1/min"), .account = each("2/min")});
  const std::string ann = R"(,"safety_identifier":"ann")";
  EXPECT_EQ(code_of(*decide(ann)), "(accepted)");
  EXPECT_EQ(code_of(*decide(ann)), "(accepted)");
  EXPECT_EQ(code_of(*decide(ann)), "rate_limit_exceeded");
}

TEST_F(Quotations, D22AnAddressIsLimitedBeforeItsKeyIsLookedAt) {
  configure({}, R"(,"address":{"rules":{"rates":["2/min"]},"trusted_proxies":["10.0.0.0/8"]})");
  EXPECT_EQ(code_of(*decide({}, "nobody", "203.0.113.7")), "invalid_api_key");
  EXPECT_EQ(code_of(*decide({}, "nobody", "203.0.113.7")), "invalid_api_key");
  const auto third = decide({}, "nobody", "203.0.113.7");
  EXPECT_EQ(code_of(*third), "rate_limit_exceeded");
  EXPECT_EQ(third->refused_by, metrics::LimitName::address);
  EXPECT_EQ(find_header(third->reply->headers, "retry-after"), "30");
  EXPECT_EQ(code_of(*decide({}, kCredential, "203.0.113.8")), "(accepted)") << "another address";
  const auto behind = [this](std::string_view forwarded) {
    return code_of(*decide({}, kCredential, "10.1.2.3", {{"x-forwarded-for", forwarded}}));
  };
  EXPECT_EQ(behind("203.0.113.7"), "rate_limit_exceeded") << "the same client through a trusted proxy";
  EXPECT_EQ(behind("203.0.113.7, 203.0.113.9"), "(accepted)")
      << "what the client itself wrote does not count";
  EXPECT_EQ(code_of(*decide({}, kCredential, "203.0.113.7", {{"x-forwarded-for", "198.51.100.1"}})),
            "rate_limit_exceeded")
      << "nobody else is trusted";
}

TEST_F(Quotations, WhatIsOwedSurvivesARestart) {
  configure({.key = rules(R"("2/min","1000 tokens/min")")});
  auto exchange = admitted();
  exchange->billable = true;
  exchange->usage = stream::Usage{.prompt = 400, .completion = 500};
  finish(*exchange);
  auto second = decide();
  const std::string kept = state();
  Quotas restored(std::chrono::hours{1}, 99);
  ASSERT_TRUE(restored.restore(kept, clock.now()));
  Exchange again;
  again.snapshot = service.snapshots.get();
  again.principal = service.keys.find(kCredential);
  again.route = again.snapshot->find_route("gpt");
  EXPECT_FALSE(restored.take_entry(again, clock.now()));
  clock.advance(seconds{30});
  EXPECT_TRUE(restored.take_entry(again, clock.now()));
  EXPECT_FALSE(Quotas(std::chrono::hours{1}, 1).restore("junk", clock.now()));
}

TEST_F(Quotations, ARefusalIsCountedByWhatWasLimited) {
  configure({.key = rules(R"("1/min")")});
  auto first = decide();
  auto second = decide();
  finish(*first);
  finish(*second, Outcome::refused);
  EXPECT_NE(service.registry.expose().find(R"(sentinel_limit_refusals_total{limit="requests"} 1)"),
            std::string::npos);
}

}  // namespace
}  // namespace sentinel::engine
