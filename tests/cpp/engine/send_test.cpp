// Where a call goes, and when it is tried again: weights, tiers, breakers, credentials, pauses, budgets.
#include "sentinel/engine/send.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/runner_support.hpp"
#include "sentinel/engine/upstream_request.hpp"

namespace sentinel::engine {
namespace {

using journal::Outcome;
using std::chrono::milliseconds;
using std::chrono::seconds;

const std::string kOneCredential = R"(["sk-upstream-credential-0123456789"])";
const std::string kTwoCredentials = R"(["sk-first-credential-0123456789","sk-other-credential-0123456789"])";
const std::string kThreeAttempts =
    R"(,"retry":{"attempts":3,"base_us":100000,"cap_us":5000000,"longest_retry_after_us":10000000})";
const std::string kQuickBreaker =
    R"(,"breaker":{"enabled":true,"window":"count","window_calls":2,"minimum_calls":2,"failure_rate_percent":50,)"
    R"("open_wait_us":5000000,"jitter_percent":0,"probes":1,"probe_timeout_us":60000000})";

// `more` begins with a comma.
std::string upstream_at(const std::string& name, std::uint16_t port, const std::string& more = {},
                        const std::string& credentials = kOneCredential) {
  std::string text =
      SnapshotText::upstream(name, "openai", "http://127.0.0.1:" + std::to_string(port) + "/v1", more);
  return text.replace(text.find(kOneCredential), kOneCredential.size(), credentials);
}

std::uint16_t closed_port() {
  return TestServer([](Peer&, int) {}).port();
}

std::string failure(int status, const std::string& header = {}) {
  return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Type: application/json\r\n" + header +
         "Content-Length: 15\r\n\r\n{\"error\":\"sad\"}";
}

const std::string kGood = plain_reply(200, kAnswer);

// ---- without I/O -------------------------------------------------------------------------------------------

class Sendings : public ::testing::Test {
 protected:
  void configure(const std::string& upstreams, const std::string& targets) {
    SnapshotText text;
    text.upstreams = "[" + upstreams + "]";
    text.routes = R"([{"name":"gpt","targets":[)" + targets + "]}]";
    service.configure(text);
  }

  std::unique_ptr<Exchange> decided() {
    const std::vector<HeaderView> headers{{"x-api-key", kCredential}};
    auto exchange = service.pipeline.decide(service.lane, {Endpoint::chat, "", "", headers, ""},
                                            padded(kPlainRequest), clock.now());
    EXPECT_FALSE(exchange->reply);
    return exchange;
  }

  // One exchange after the other, each of which fails on every target it is given: the targets in their order.
  std::vector<std::string> tried() {
    auto exchange = decided();
    Sending sending(*exchange, service.quotas, service.lane.random);
    std::vector<std::string> targets;
    for (bool again = true; again;) {
      if (!sending.begin(clock.now())) break;
      targets.push_back(target_label(*exchange));
      sending.report_failure(clock.now());
      again = sending.next(std::nullopt, clock.now()).has_value();
    }
    return targets;
  }

  Service service;
  ManualClock clock;
};

std::string target(const std::string& model, int tier, int weight = 1, const std::string& upstream = "up") {
  return R"({"upstream":")" + upstream + R"(","model":")" + model + R"(","weight":)" +
         std::to_string(weight) + R"(,"tier":)" + std::to_string(tier) + "}";
}

TEST_F(Sendings, ATierIsUsedUpBeforeTheNextOneAndTheOrderInTheFileDoesNotMatter) {
  configure(upstream_at("up", 1, R"(,"retry":{"attempts":4})"),
            target("d", 2) + "," + target("b", 1) + "," + target("a1", 0) + "," + target("a2", 0));
  std::set<std::string> firsts;
  for (int i = 0; i < 50; ++i) {
    const auto targets = tried();
    ASSERT_EQ(targets.size(), 4U);
    EXPECT_EQ((std::set<std::string>{targets[0], targets[1]}), (std::set<std::string>{"up/a1", "up/a2"}));
    EXPECT_EQ(targets[2], "up/b");
    EXPECT_EQ(targets[3], "up/d");
    firsts.insert(targets[0]);
  }
  EXPECT_EQ(firsts.size(), 2U) << "the tier shares the traffic";
}

TEST_F(Sendings, AttemptsInAllAreBoundedByTheUpstream) {
  configure(upstream_at("up", 1, R"(,"retry":{"attempts":2})"),
            target("a", 0) + "," + target("b", 0) + "," + target("c", 0));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(tried().size(), 2U);
}

TEST_F(Sendings, WhenNoOtherTargetIsLeftTheSameOneIsTriedAgainAfterAPauseWithinItsBackoff) {
  configure(upstream_at("up", 1, kThreeAttempts), target("a", 0));
  for (int i = 0; i < 20; ++i) {
    clock.advance(seconds{20});
    auto exchange = decided();
    Sending sending(*exchange, service.quotas, service.lane.random);
    ASSERT_TRUE(sending.begin(clock.now()));
    sending.report_failure(clock.now());
    const auto first = sending.next(std::nullopt, clock.now());
    ASSERT_TRUE(first);
    EXPECT_LE(*first, milliseconds{100});
    ASSERT_TRUE(sending.begin(clock.now()));
    sending.report_failure(clock.now());
    const auto second = sending.next(seconds{2}, clock.now());
    ASSERT_TRUE(second);
    EXPECT_GE(*second, seconds{2}) << "not before the target said so";
    EXPECT_LE(*second, seconds{2} + milliseconds{200});
    ASSERT_TRUE(sending.begin(clock.now()));
    sending.report_failure(clock.now());
    EXPECT_FALSE(sending.next(std::nullopt, clock.now())) << "three attempts were made";
  }
}

TEST_F(Sendings, ATargetThatAsksForMoreTimeThanWeGiveIsNotTriedAgain) {
  configure(upstream_at("up", 1, kThreeAttempts), target("a", 0));
  auto exchange = decided();
  Sending sending(*exchange, service.quotas, service.lane.random);
  ASSERT_TRUE(sending.begin(clock.now()));
  sending.report_failure(clock.now());
  EXPECT_FALSE(sending.next(seconds{11}, clock.now()));
}

TEST_F(Sendings, RetriesOfOneTargetStopWithItsBudget) {
  configure(
      upstream_at(
          "up", 1,
          R"(,"retry":{"attempts":2,"budget_percent":0,"budget_per_second":1,"budget_window_seconds":10})"),
      target("a", 0));
  std::size_t retries = 0;
  for (int i = 0; i < 40; ++i) retries += tried().size() - 1;
  EXPECT_EQ(retries, 10U) << "one a second over ten seconds";
  clock.advance(seconds{11});
  EXPECT_EQ(tried().size(), 2U);
}

TEST_F(Sendings, AnOpenBreakerIsPassedOverAndWhenAllAreOpenTheWaitIsTold) {
  configure(upstream_at("up", 1, kQuickBreaker), target("a", 0) + "," + target("b", 1));
  EXPECT_EQ(tried(), std::vector<std::string>{"up/a"});
  EXPECT_EQ(tried(), std::vector<std::string>{"up/a"});
  EXPECT_EQ(tried(), std::vector<std::string>{"up/b"}) << "a is open";
  EXPECT_EQ(tried(), std::vector<std::string>{"up/b"});
  auto exchange = decided();
  Sending sending(*exchange, service.quotas, service.lane.random);
  clock.advance(seconds{2});
  const Status refused = sending.begin(clock.now());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::circuit_open);
  EXPECT_EQ(refused.error().retry_after_seconds, 3);
}

TEST_F(Sendings, AnAttemptWithoutAReportLeavesNoTraceInTheBreaker) {
  configure(upstream_at("up", 1, kQuickBreaker), target("a", 0));
  for (int i = 0; i < 100; ++i) {
    auto exchange = decided();
    Sending sending(*exchange, service.quotas, service.lane.random);
    ASSERT_TRUE(sending.begin(clock.now()));
  }
  const auto& health = *service.snapshots.get()->routes[0]->targets[0].health;
  EXPECT_EQ(health.state(), resilience::BreakerState::closed);
  EXPECT_EQ(tried(), std::vector<std::string>{"up/a"});
  EXPECT_EQ(health.state(), resilience::BreakerState::closed) << "one failure is not yet two calls";
}

TEST_F(Sendings, TheProbeOfAHalfOpenBreakerComesBackWhenItsClientLeaves) {
  configure(upstream_at("up", 1, kQuickBreaker), target("a", 0));
  tried();
  tried();
  clock.advance(seconds{6});
  for (int i = 0; i < 3; ++i) {
    auto exchange = decided();
    Sending probe(*exchange, service.quotas, service.lane.random);
    ASSERT_TRUE(probe.begin(clock.now())) << i;
    auto other = decided();
    EXPECT_FALSE(Sending(*other, service.quotas, service.lane.random).begin(clock.now()))
        << "one probe at a time";
  }
  auto exchange = decided();
  Sending probe(*exchange, service.quotas, service.lane.random);
  ASSERT_TRUE(probe.begin(clock.now()));
  probe.report_answer(clock.now());
  EXPECT_EQ(service.snapshots.get()->routes[0]->targets[0].health->state(), resilience::BreakerState::closed);
}

TEST_F(Sendings, AFullTargetIsPassedOverAndItsPlaceComesBack) {
  configure(upstream_at("up", 1, R"(,"concurrency":{"least":1,"most":4,"initial":1})"),
            target("a", 0) + "," + target("b", 1));
  auto first = decided();
  auto second = decided();
  auto third = decided();
  Sending third_sending(*third, service.quotas, service.lane.random);
  {
    Sending first_sending(*first, service.quotas, service.lane.random);
    Sending second_sending(*second, service.quotas, service.lane.random);
    ASSERT_TRUE(first_sending.begin(clock.now()));
    ASSERT_TRUE(second_sending.begin(clock.now()));
    EXPECT_EQ(target_label(*first), "up/a");
    EXPECT_EQ(target_label(*second), "up/b");
    const Status full = third_sending.begin(clock.now());
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().code, ErrorCode::overloaded);
  }
  auto fourth = decided();
  ASSERT_TRUE(Sending(*fourth, service.quotas, service.lane.random).begin(clock.now()));
  EXPECT_EQ(target_label(*fourth), "up/a");
}

TEST_F(Sendings, CredentialsTakeTurnsAndARestingOneIsLeftOut) {
  configure(upstream_at("up", 1, kThreeAttempts, kTwoCredentials), target("a", 0));
  const auto sent_with = [this](bool refused) {
    auto exchange = decided();
    Sending sending(*exchange, service.quotas, service.lane.random);
    EXPECT_TRUE(sending.begin(clock.now()));
    const std::string used = exchange->credential->substr(3, 5);
    refused ? sending.report_refusal(seconds{30}, clock.now()) : sending.report_answer(clock.now());
    return used;
  };
  EXPECT_EQ(sent_with(false), "first");
  EXPECT_EQ(sent_with(false), "other");
  EXPECT_EQ(sent_with(true), "first");
  EXPECT_EQ(sent_with(false), "other");
  EXPECT_EQ(sent_with(false), "other");
  clock.advance(seconds{31});
  EXPECT_EQ(sent_with(false), "first");
  EXPECT_EQ(sent_with(true), "other");
  EXPECT_EQ(sent_with(true), "first");
  auto exchange = decided();
  Sending sending(*exchange, service.quotas, service.lane.random);
  const Status refused = sending.begin(clock.now());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::rate_limit_exceeded);
  EXPECT_EQ(refused.error().retry_after_seconds, 30);
}

TEST_F(Sendings, AfterARefusalOfItsOnlyCredentialATargetIsNotTriedAgainBeforeThatHasRested) {
  configure(upstream_at("up", 1, kThreeAttempts), target("a", 0));
  auto exchange = decided();
  Sending sending(*exchange, service.quotas, service.lane.random);
  ASSERT_TRUE(sending.begin(clock.now()));
  sending.report_refusal(std::nullopt, clock.now());
  const auto pause = sending.next(std::nullopt, clock.now());
  ASSERT_TRUE(pause);
  clock.advance(*pause);
  EXPECT_TRUE(sending.begin(clock.now())) << "a pause after which nobody can be called is waited for nothing";
}

TEST_F(Sendings, ACredentialThatHasUsedUpItsOwnLimitIsLeftOutToo) {
  configure(
      upstream_at(
          "up", 1,
          R"(,"credential_rules":[{"rates":["2/min"],"concurrency":null},{"rates":[],"concurrency":1}])",
          kTwoCredentials),
      target("a", 0));
  std::vector<std::unique_ptr<Exchange>> running;
  std::multiset<std::string> used;
  for (int i = 0; i < 3; ++i) {
    running.push_back(decided());
    ASSERT_TRUE(make_ready(service, *running.back(), clock.now()));
    used.insert(running.back()->credential->substr(3, 5));
  }
  EXPECT_EQ(used, (std::multiset<std::string>{"first", "first", "other"}));
  auto refused = decided();
  EXPECT_FALSE(make_ready(service, *refused, clock.now()));
  const auto on_other = std::find_if(running.begin(), running.end(), [](const auto& exchange) {
    return exchange->credential->substr(3, 5) == "other";
  });
  service.pipeline.finish(service.lane, **on_other, clock.now());
  auto next = decided();
  ASSERT_TRUE(make_ready(service, *next, clock.now())) << "its call is over";
  EXPECT_EQ(next->credential->substr(3, 5), "other");
}

// ---- over the loop -----------------------------------------------------------------------------------------

class Retries : public Runners {
 protected:
  void configure(const std::string& upstreams, const std::string& targets) {
    SnapshotText text;
    text.upstreams = "[" + upstreams + "]";
    text.routes = R"([{"name":"gpt","targets":[)" + targets + "]}]";
    service.configure(text);
  }
  void one_upstream(ScriptedUpstream& upstream, const std::string& more,
                    const std::string& credentials = kOneCredential) {
    configure(upstream_at("up", upstream.port(), more, credentials), target("", 0));
  }
};

TEST_F(Retries, NobodyListeningSendsTheCallToTheNextTierAtOnce) {
  ScriptedUpstream spare({kGood});
  configure(upstream_at("up", closed_port(), kThreeAttempts) + "," + upstream_at("spare", spare.port()),
            target("", 0) + "," + target("big", 1, 1, "spare"));
  start(kPlainRequest);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->text(), kAnswer);
  EXPECT_EQ(client->header("x-sentinel-target"), "spare/big");
  const auto record = only_record();
  EXPECT_EQ(record.outcome, Outcome::done);
  EXPECT_EQ(record.target, "spare/big");
  EXPECT_NE(spare.requests().at(0).find(R"("model":"big")"), std::string::npos);
  EXPECT_NE(service.registry.expose().find(R"(sentinel_upstream_retries_total{target="up/*"} 1)"),
            std::string::npos)
      << service.registry.expose();
}

TEST_F(Retries, AServersErrorIsTriedAgainOnTheSameTargetAfterItsPause) {
  ScriptedUpstream upstream({failure(500), kGood});
  one_upstream(upstream, kThreeAttempts);
  start(kPlainRequest);
  ASSERT_TRUE(pass_until_end());
  EXPECT_EQ(client->text(), kAnswer);
  EXPECT_EQ(upstream.count(), 2);
  EXPECT_EQ(only_record().cost_micro_usd, 30) << "the failed one costs nothing";
}

TEST_F(Retries, AHangUpBeforeTheHeadIsTriedAgain) {
  ScriptedUpstream upstream([](Peer& peer, int nth) { return nth > 0 && peer.send(kGood); });
  one_upstream(upstream, kThreeAttempts);
  start(kPlainRequest);
  ASSERT_TRUE(pass_until_end());
  EXPECT_EQ(client->text(), kAnswer);
}

TEST_F(Retries, AStreamIsTriedAgainBeforeItsFirstByte) {
  ScriptedUpstream upstream({failure(503), stream_reply(kDelta + kDone)});
  one_upstream(upstream, kThreeAttempts);
  start(kStreamRequest);
  ASSERT_TRUE(pass_until_end());
  EXPECT_EQ(client->text(), kDelta + kDone);
}

TEST_F(Retries, RetryAfterIsWaitedFor) {
  ScriptedUpstream upstream({failure(503, "Retry-After: 2\r\n"), kGood});
  one_upstream(upstream, kThreeAttempts);
  start(kPlainRequest);
  ASSERT_TRUE(upstream.wait_for(1));
  ASSERT_TRUE(pass_until_end());
  EXPECT_EQ(client->text(), kAnswer);
  EXPECT_GE(clock.now().monotonic, seconds{2});
}

TEST_F(Retries, TheLastFailureIsToldAsItIsWhenTheAttemptsAreUsedUp) {
  ScriptedUpstream upstream({failure(500)});
  one_upstream(upstream, kThreeAttempts);
  start(kPlainRequest);
  ASSERT_TRUE(pass_until_end());
  EXPECT_EQ(upstream.count(), 3);
  EXPECT_EQ(client->status(), 500);
  EXPECT_EQ(client->text(), R"({"error":"sad"})");
  EXPECT_EQ(only_record().outcome, Outcome::upstream_error);
}

TEST_F(Retries, TheClientsOwnFaultIsNotTriedAgain) {
  ScriptedUpstream upstream({failure(400)});
  one_upstream(upstream, kThreeAttempts);
  start(kPlainRequest);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->status(), 400);
  EXPECT_EQ(upstream.count(), 1);
}

TEST_F(Retries, AfterTheFirstByteNothingIsTriedAgain) {
  ScriptedUpstream upstream([](Peer& peer, int) {
    peer.send(kStreamHead + chunk(kDelta));
    return false;
  });
  one_upstream(upstream, kThreeAttempts);
  start(kStreamRequest);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(upstream.count(), 1);
  EXPECT_EQ(only_record().outcome, Outcome::upstream_cut);
}

TEST_F(Retries, ARefusalForGoingTooFastRestsTheCredentialAndTheOtherOneServesAtOnce) {
  ScriptedUpstream upstream({failure(429, "Retry-After: 30\r\n"), kGood});
  one_upstream(upstream, kThreeAttempts, kTwoCredentials);
  start(kPlainRequest);
  ASSERT_TRUE(client->wait_for_end()) << "without the clock moving";
  EXPECT_EQ(client->text(), kAnswer);
  start(kPlainRequest);
  ASSERT_TRUE(client->wait_for_end());
  const auto requests = upstream.requests();
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_NE(requests[0].find("sk-first"), std::string::npos);
  EXPECT_NE(requests[1].find("sk-other"), std::string::npos);
  EXPECT_NE(requests[2].find("sk-other"), std::string::npos) << "the first one rests";
  EXPECT_EQ(service.snapshots.get()->routes[0]->targets[0].health->state(), resilience::BreakerState::closed);
}

TEST_F(Retries, WhenAllCredentialsRestTheClientIsToldWhenToComeBack) {
  ScriptedUpstream upstream({failure(429, "Retry-After: 30\r\n")});
  one_upstream(upstream, {});
  start(kPlainRequest);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->status(), 429);
  start(kPlainRequest);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->status(), 429);
  EXPECT_EQ(client->header("retry-after"), "30");
  EXPECT_EQ(upstream.count(), 1);
}

TEST_F(Retries, AnOpenBreakerRefusesWithoutCallingAndLetsAProbeThroughLater) {
  ScriptedUpstream upstream({failure(500), failure(500), kGood});
  one_upstream(upstream, kQuickBreaker);
  for (int i = 0; i < 2; ++i) {
    start(kPlainRequest);
    ASSERT_TRUE(client->wait_for_end());
    EXPECT_EQ(client->status(), 500);
  }
  start(kPlainRequest);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->status(), 503);
  EXPECT_EQ(Json(client->text()).text("/error/code"), "circuit_open");
  EXPECT_EQ(client->header("retry-after"), "5");
  EXPECT_EQ(upstream.count(), 2);
  pass(seconds{5});
  for (int i = 0; i < 3; ++i) {
    start(kPlainRequest);
    ASSERT_TRUE(client->wait_for_end());
    EXPECT_EQ(client->status(), 200);
  }
  const auto records = service.ledger.records();
  ASSERT_EQ(records.size(), 6U);
  EXPECT_EQ(records[2].outcome, Outcome::refused);
  EXPECT_EQ(records[2].error_code, "circuit_open");
  EXPECT_EQ(records[2].cost_micro_usd, 0);
}

TEST_F(Retries, AProbeWhoseClientLeavesDoesNotKeepTheBreakerShut) {
  ScriptedUpstream upstream([](Peer& peer, int nth) {
    if (nth < 2) return peer.send(failure(500));
    if (nth == 2) peer.wait_for_hang_up();
    return nth > 2 && peer.send(kGood);
  });
  one_upstream(upstream, kQuickBreaker);
  for (int i = 0; i < 2; ++i) {
    start(kPlainRequest);
    ASSERT_TRUE(client->wait_for_end());
  }
  pass(seconds{5});
  const auto flow = start(kPlainRequest);
  ASSERT_TRUE(upstream.wait_for(3));
  runner.stop(flow, StopReason::client_gone);
  ASSERT_TRUE(client->wait_for_end());
  start(kPlainRequest);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->status(), 200);
}

TEST_F(Retries, LeavingDuringAPauseEndsTheCall) {
  ScriptedUpstream upstream({failure(503, "Retry-After: 5\r\n"), kGood});
  one_upstream(upstream, kThreeAttempts);
  const auto flow = start(kPlainRequest);
  ASSERT_TRUE(upstream.wait_for(1));
  ASSERT_TRUE(eventually([this] {
    return service.registry.expose().find("retries_total{target=\"up/*\"} 1") != std::string::npos;
  }));
  runner.stop(flow, StopReason::client_gone);
  ASSERT_TRUE(client->wait_for_end()) << "without the clock moving";
  EXPECT_EQ(upstream.count(), 1);
  EXPECT_EQ(only_record().outcome, Outcome::client_gone);
}

TEST_F(Retries, ShutdownDuringAPauseEndsTheCall) {
  ScriptedUpstream upstream({failure(503, "Retry-After: 5\r\n"), kGood});
  one_upstream(upstream, kThreeAttempts);
  start(kPlainRequest);
  ASSERT_TRUE(upstream.wait_for(1));
  runner.stop_all(StopReason::shutdown);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->status(), 503);
  EXPECT_EQ(only_record().outcome, Outcome::shutdown);
}

TEST_F(Retries, AFailureThatOpensTheBreakerIsToldAsItIs) {
  ScriptedUpstream upstream({failure(500)});
  one_upstream(upstream,
               kThreeAttempts + R"(,"breaker":{"enabled":true,"window_calls":1,"minimum_calls":1})");
  start(kPlainRequest);
  ASSERT_TRUE(pass_until_end());
  EXPECT_EQ(upstream.count(), 1);
  EXPECT_EQ(client->status(), 500) << "what the upstream said, not that it will not be asked again";
  EXPECT_EQ(only_record().outcome, Outcome::upstream_error);
}

TEST_F(Retries, ARefusalOfTheOnlyCredentialIsWaitedForOrToldAsItIs) {
  ScriptedUpstream upstream({failure(429), kGood});
  one_upstream(upstream, kThreeAttempts);
  start(kPlainRequest);
  ASSERT_TRUE(pass_until_end());
  EXPECT_TRUE(client->text() == kAnswer || client->text() == R"({"error":"sad"})") << client->text();
}

TEST_F(Retries, TheTimeOfFailedAttemptsAndPausesIsNotOurOverhead) {
  ScriptedUpstream upstream({failure(503, "Retry-After: 2\r\n"), kGood});
  one_upstream(upstream, kThreeAttempts);
  Asking asking;
  asking.headers = {{"x-sentinel-overhead-us", "1"}};
  const Duration began = clock.now().monotonic;
  client = ask(asking).heard;
  ASSERT_TRUE(upstream.wait_for(1));
  ASSERT_TRUE(pass_until_end());
  EXPECT_EQ(client->text(), kAnswer);
  // The clock moves on in steps, so more than the pause may have passed; the pause is none of ours.
  const Duration passed = clock.now().monotonic - began;
  ASSERT_GE(passed, seconds{2});
  EXPECT_LE(std::stoll(client->header("x-sentinel-overhead-us")), (passed - seconds{2}).count());
}

}  // namespace
}  // namespace sentinel::engine
