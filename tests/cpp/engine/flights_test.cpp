// Many who ask the same at once: one upstream call, everybody's bytes, one payer, and nobody hurt by another's leaving.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/runner_support.hpp"

namespace sentinel::engine {
namespace {

using journal::CacheVerdict;
using journal::Outcome;

const std::string kWithUsage =
    R"({"model":"gpt","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hello"}]})";

// Holds the answers of an upstream back until the test lets go.
class Hold {
 public:
  void release() {
    if (!go_.is_set()) go_.set();
  }
  void wait() const { go_.wait(); }
  ~Hold() { release(); }

 private:
  Signal go_;
};

class Flights : public Runners {
 protected:
  void lead_to(ScriptedUpstream& upstream, const std::string& cache = R"({"ttl_us":3600000000})") {
    service.configure(keeping(leading_to(upstream.port()), cache));
  }

  std::vector<Asked> ask_all(int count, const Asking& asking) {
    std::vector<Asked> all;
    for (int i = 0; i < count; ++i) all.push_back(ask(asking));
    let_the_loop_catch_up();
    return all;
  }

  bool all_gone() {
    return eventually([this] { return service.pipeline.in_flight() == 0; });
  }

  std::vector<journal::UsageRecord> records_of(CacheVerdict verdict) {
    std::vector<journal::UsageRecord> found;
    for (auto& record : service.ledger.records()) {
      if (record.cache == verdict) found.push_back(std::move(record));
    }
    return found;
  }

  // What every call costs: ten tokens at one, five at four micro-USD.
  static constexpr std::int64_t kCost = 30;
};

TEST_F(Flights, FollowersOfAPlainCallGetItsAnswerByteForByteAndPayNothing) {
  Hold hold;
  ScriptedUpstream upstream([&hold](Peer& peer, int) {
    hold.wait();
    return peer.send(plain_reply(200, kWholeAnswer));
  });
  lead_to(upstream);
  const auto all = ask_all(10, {});
  hold.release();
  for (const auto& asked : all) {
    ASSERT_TRUE(asked.heard->wait_for_end());
    EXPECT_EQ(asked.heard->text(), kWholeAnswer);
    EXPECT_EQ(asked.heard->header("x-sentinel-target"), "up/gpt");
  }
  EXPECT_EQ(upstream.count(), 1);
  EXPECT_EQ(all[0].heard->header("x-sentinel-cache"), "miss");
  EXPECT_EQ(all[9].heard->header("x-sentinel-cache"), "follow");
  EXPECT_NE(all[9].heard->header("cache-status").find("collapsed"), std::string::npos);
  EXPECT_EQ(all[9].heard->header("x-sentinel-cost-micro-usd"), "0");
  const auto leaders = records_of(CacheVerdict::miss);
  ASSERT_EQ(leaders.size(), 1U);
  EXPECT_EQ(leaders[0].cost_micro_usd, kCost);
  const auto followers = records_of(CacheVerdict::follow);
  ASSERT_EQ(followers.size(), 9U);
  for (const auto& record : followers) {
    EXPECT_EQ(record.cost_micro_usd, 0);
    EXPECT_EQ(record.saved_micro_usd, kCost);
    EXPECT_EQ(record.outcome, Outcome::done);
    EXPECT_EQ(record.target, "up/gpt");
    EXPECT_EQ(record.completion_tokens, 5);
  }
}

// Fifty streams of one call: twenty take what comes, ten take nothing, twenty leave half-way, the leader among them.
TEST_F(Flights, WhoeverIsSlowOrLeavesTheOthersGetEveryByte) {
  constexpr int kPieces = 100;
  constexpr int kEventsInPiece = 40;
  std::string piece;
  for (int i = 0; i < kEventsInPiece; ++i) piece += kDelta;
  Hold hold;
  ScriptedUpstream upstream([&hold, &piece](Peer& peer, int) {
    peer.send(kStreamHead + chunk(piece));
    hold.wait();
    for (int i = 1; i < kPieces; ++i) peer.send(chunk(piece));
    return peer.send(chunk(kUsageChunk + kDone) + kLastChunk);
  });
  lead_to(upstream);
  std::string whole;
  for (int i = 0; i < kPieces; ++i) whole += piece;
  whole += kDone;

  const auto leavers = ask_all(20, {.body = kStreamRequest});
  const auto takers = ask_all(20, {.body = kStreamRequest});
  const auto slow = ask_all(10, {.body = kStreamRequest, .takes = false});
  const auto has_first = [&piece](const Asked& asked) {
    return asked.heard->wait([&piece](const std::string& text, int) { return text == piece; });
  };
  for (const auto* group : {&leavers, &takers, &slow})
    ASSERT_TRUE(std::all_of(group->begin(), group->end(), has_first));
  for (const auto& asked : leavers) leave(asked);
  hold.release();
  for (const auto& asked : takers) {
    ASSERT_TRUE(asked.heard->wait_for_end());
    EXPECT_TRUE(asked.heard->text() == whole) << asked.heard->text().size() << " of " << whole.size();
    EXPECT_EQ(asked.heard->ends(), 1);
  }
  const auto has_ended = [](const Asked& asked) { return asked.heard->ends() > 0; };
  ASSERT_TRUE(eventually([&] {
    pass(std::chrono::seconds{1});
    return std::all_of(slow.begin(), slow.end(), has_ended);
  }));
  for (const auto& asked : slow) {
    const std::string text = asked.heard->text();
    const std::size_t error = text.find("data: {\"error\"");
    ASSERT_NE(error, std::string::npos);
    EXPECT_NE(text.find("slow_reader"), std::string::npos);
    EXPECT_TRUE(whole.starts_with(text.substr(0, error))) << "what it has is right as far as it goes";
  }
  ASSERT_TRUE(all_gone());
  EXPECT_EQ(upstream.count(), 1);

  const auto leaders = records_of(CacheVerdict::miss);
  ASSERT_EQ(leaders.size(), 1U);
  EXPECT_EQ(leaders[0].outcome, Outcome::client_gone);
  EXPECT_EQ(leaders[0].cost_micro_usd, kCost) << "who began the call pays for it";
  EXPECT_FALSE(leaders[0].estimated);
  int done = 0;
  for (const auto& record : records_of(CacheVerdict::follow)) {
    EXPECT_EQ(record.cost_micro_usd, 0);
    done += record.outcome == Outcome::done ? 1 : 0;
  }
  EXPECT_EQ(done, 20);
  EXPECT_EQ(service.ledger.records().size(), 50U);
}

// It comes in several deliveries, of which the first must not end it and the second not end it again.
TEST_F(Flights, ATerminalEventAboveTheCreditIsSettledOnce) {
  const std::string padding(200'000, 'x');
  const std::string terminal =
      "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":"
      "\"completed\",\"instructions\":\"" +
      padding + "\",\"output\":[],\"usage\":{\"input_tokens\":10,\"output_tokens\":5}}}\n\n";
  ScriptedUpstream upstream(
      [&terminal](Peer& peer, int) { return peer.send(kStreamHead + chunk(terminal) + kLastChunk); });
  SnapshotText text = leading_to(upstream.port());
  text.limits = R"({"body_bytes":1048576,"head_bytes":16384,"headers":64,"response_bytes":1048576,)"
                R"("event_bytes":1048576,"credit_bytes":65536,"in_flight":100})";
  service.configure(text);
  const Asked asked =
      ask({.body = R"({"model":"gpt","stream":true,"input":"hello"})", .endpoint = Endpoint::responses});
  ASSERT_TRUE(asked.heard->wait_for_end());
  EXPECT_TRUE(asked.heard->text() == terminal);
  ASSERT_TRUE(all_gone());
  EXPECT_EQ(service.ledger.records().size(), 1U);
}

TEST_F(Flights, ALateJoinerStartsAtTheFirstByte) {
  Hold hold;
  ScriptedUpstream upstream([&hold](Peer& peer, int) {
    peer.send(kStreamHead + chunk(kDelta));
    hold.wait();
    return peer.send(chunk(kDelta + kDone) + kLastChunk);
  });
  lead_to(upstream);
  const Asked first = ask({.body = kStreamRequest});
  ASSERT_TRUE(first.heard->wait_for_text("Hel"));
  const Asked late = ask({.body = kStreamRequest});
  ASSERT_TRUE(late.heard->wait_for_text("Hel"));
  hold.release();
  for (const auto& asked : {first, late}) {
    ASSERT_TRUE(asked.heard->wait_for_end());
    EXPECT_EQ(asked.heard->text(), kDelta + kDelta + kDone);
  }
  EXPECT_EQ(upstream.count(), 1);
}

TEST_F(Flights, UsageIsWithheldFromThoseWhoDidNotAskForItAndFromNobodyElse) {
  Hold hold;
  ScriptedUpstream upstream([&hold](Peer& peer, int) {
    hold.wait();
    return peer.send(stream_reply(kDelta + kUsageChunk + kDone));
  });
  lead_to(upstream);
  const Asked silent = ask({.body = kStreamRequest});
  const Asked asking = ask({.body = kWithUsage});
  let_the_loop_catch_up();
  hold.release();
  ASSERT_TRUE(silent.heard->wait_for_end());
  ASSERT_TRUE(asking.heard->wait_for_end());
  EXPECT_EQ(silent.heard->text(), kDelta + kDone);
  EXPECT_EQ(asking.heard->text(), kDelta + kUsageChunk + kDone);
  EXPECT_EQ(upstream.count(), 1);
}

TEST_F(Flights, WhenTheLeaderOfAPlainCallLeavesTheOthersAreAnsweredAndItStillPays) {
  Hold hold;
  ScriptedUpstream upstream([&hold](Peer& peer, int) {
    hold.wait();
    return peer.send(plain_reply(200, kWholeAnswer));
  });
  lead_to(upstream);
  const auto all = ask_all(3, {});
  ASSERT_TRUE(upstream.wait_for(1));
  leave(all[0]);
  hold.release();
  EXPECT_TRUE(all[1].heard->wait_for_end());
  EXPECT_TRUE(all[2].heard->wait_for_end());
  EXPECT_EQ(all[2].heard->text(), kWholeAnswer);
  ASSERT_TRUE(all_gone());
  const auto leaders = records_of(CacheVerdict::miss);
  ASSERT_EQ(leaders.size(), 1U);
  EXPECT_EQ(leaders[0].outcome, Outcome::client_gone);
  EXPECT_EQ(leaders[0].cost_micro_usd, kCost);
  for (const auto& record : records_of(CacheVerdict::follow)) EXPECT_EQ(record.saved_micro_usd, kCost);
}

TEST_F(Flights, AFollowersLeavingHurtsNobody) {
  Hold hold;
  ScriptedUpstream upstream([&hold](Peer& peer, int) {
    hold.wait();
    return peer.send(plain_reply(200, kWholeAnswer));
  });
  lead_to(upstream);
  const auto all = ask_all(3, {});
  ASSERT_TRUE(upstream.wait_for(1));
  leave(all[1]);
  EXPECT_EQ(all[1].heard->ends(), 1);
  hold.release();
  EXPECT_TRUE(all[0].heard->wait_for_end());
  EXPECT_TRUE(all[2].heard->wait_for_end());
  EXPECT_EQ(all[0].heard->text(), kWholeAnswer);
  const auto followers = records_of(CacheVerdict::follow);
  ASSERT_EQ(followers.size(), 2U);
  EXPECT_EQ(followers[0].outcome, Outcome::client_gone);
  EXPECT_EQ(followers[0].cost_micro_usd, 0);
}

TEST_F(Flights, WhenTheLastOneLeavesTheUpstreamIsCancelled) {
  Signal hung_up;
  ScriptedUpstream upstream([&hung_up](Peer& peer, int nth) {
    peer.send(kStreamHead + chunk(kDelta));
    peer.wait_for_hang_up();
    if (nth == 0) hung_up.set();
    return false;
  });
  lead_to(upstream);
  const auto all = ask_all(3, {.body = kStreamRequest});
  for (const auto& asked : all) ASSERT_TRUE(asked.heard->wait_for_text("Hel"));
  for (const auto& asked : all) leave(asked);
  EXPECT_TRUE(hung_up.wait());
  ASSERT_TRUE(all_gone());
  for (const auto& record : service.ledger.records()) EXPECT_EQ(record.outcome, Outcome::client_gone);
  const Asked later = ask({.body = kStreamRequest});
  EXPECT_TRUE(upstream.wait_for(2)) << "what was cut is neither kept nor followed";
}

TEST_F(Flights, WithOnAbortDrainAnAbandonedStreamIsReadToItsUsage) {
  Hold hold;
  ScriptedUpstream upstream([&hold](Peer& peer, int) {
    peer.send(kStreamHead + chunk(kDelta));
    hold.wait();
    return peer.send(chunk(kDelta + kUsageChunk + kDone) + kLastChunk);
  });
  lead_to(upstream, R"({"ttl_us":0,"on_abort":"drain"})");
  const Asked asked = ask({.body = kStreamRequest});
  ASSERT_TRUE(asked.heard->wait_for_text("Hel"));
  leave(asked);
  EXPECT_EQ(service.pipeline.in_flight(), 1) << "it is settled when its usage is known";
  hold.release();
  ASSERT_TRUE(all_gone());
  const auto records = service.ledger.records();
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].outcome, Outcome::client_gone);
  EXPECT_EQ(records[0].cost_micro_usd, kCost);
  EXPECT_FALSE(records[0].estimated);
  EXPECT_EQ(asked.heard->ends(), 1);
}

TEST_F(Flights, AJoinerRevivesACallThatIsBeingDrained) {
  Hold hold;
  ScriptedUpstream upstream([&hold](Peer& peer, int) {
    peer.send(kStreamHead + chunk(kDelta));
    hold.wait();
    return peer.send(chunk(kDone) + kLastChunk);
  });
  lead_to(upstream, R"({"ttl_us":0,"on_abort":"drain"})");
  const Asked first = ask({.body = kStreamRequest});
  ASSERT_TRUE(first.heard->wait_for_text("Hel"));
  leave(first);
  const Asked second = ask({.body = kStreamRequest});
  ASSERT_TRUE(second.heard->wait_for_text("Hel"));
  hold.release();
  ASSERT_TRUE(second.heard->wait_for_end());
  EXPECT_EQ(second.heard->text(), kDelta + kDone);
  ASSERT_TRUE(all_gone());
  EXPECT_EQ(upstream.count(), 1);
}

TEST_F(Flights, ADrainThatTakesTooLongIsCutOff) {
  Signal hung_up;
  ScriptedUpstream upstream([&hung_up](Peer& peer, int) {
    peer.send(kStreamHead + chunk(kDelta));
    peer.wait_for_hang_up();
    hung_up.set();
    return false;
  });
  lead_to(upstream, R"({"ttl_us":0,"on_abort":"drain"})");
  const Asked asked = ask({.body = kStreamRequest});
  ASSERT_TRUE(asked.heard->wait_for_text("Hel"));
  leave(asked);
  for (int i = 0; i < 29; ++i) pass(std::chrono::seconds{1});
  EXPECT_EQ(service.pipeline.in_flight(), 1);
  for (int i = 0; i < 3; ++i) pass(std::chrono::seconds{1});
  EXPECT_TRUE(hung_up.wait());
  ASSERT_TRUE(all_gone());
  EXPECT_EQ(service.ledger.records().at(0).completion_tokens, 1);
}

TEST_F(Flights, ShutdownEndsADrainedCallAtOnce) {
  Signal hung_up;
  ScriptedUpstream upstream([&hung_up](Peer& peer, int) {
    peer.send(kStreamHead + chunk(kDelta));
    peer.wait_for_hang_up();
    hung_up.set();
    return false;
  });
  lead_to(upstream, R"({"ttl_us":0,"on_abort":"drain"})");
  const Asked asked = ask({.body = kStreamRequest});
  ASSERT_TRUE(asked.heard->wait_for_text("Hel"));
  leave(asked);
  runner.stop_all(StopReason::shutdown);
  EXPECT_TRUE(hung_up.wait());
  ASSERT_TRUE(all_gone()) << "without the clock moving";
  EXPECT_EQ(service.ledger.records().size(), 1U);
}

TEST_F(Flights, ShutdownEndsLeaderAndFollowersOnceEach) {
  ScriptedUpstream upstream([](Peer& peer, int) {
    peer.send(kStreamHead + chunk(kDelta));
    peer.wait_for_hang_up();
    return false;
  });
  lead_to(upstream, R"({"ttl_us":0,"on_abort":"drain"})");
  const auto all = ask_all(5, {.body = kStreamRequest});
  for (const auto& asked : all) ASSERT_TRUE(asked.heard->wait_for_text("Hel"));
  runner.stop_all(StopReason::shutdown);
  for (const auto& asked : all) {
    ASSERT_TRUE(asked.heard->wait_for_end());
    EXPECT_NE(asked.heard->text().find("server_shutting_down"), std::string::npos);
  }
  ASSERT_TRUE(all_gone());
  for (const auto& asked : all) EXPECT_EQ(asked.heard->ends(), 1);
  const auto records = service.ledger.records();
  ASSERT_EQ(records.size(), 5U);
  for (const auto& record : records) EXPECT_EQ(record.outcome, Outcome::shutdown);
}

TEST_F(Flights, AnUpstreamsErrorReachesEverybodyOnce) {
  Hold hold;
  ScriptedUpstream upstream([&hold](Peer& peer, int) {
    hold.wait();
    return peer.send(plain_reply(400, R"({"error":{"message":"no such tool"}})"));
  });
  lead_to(upstream);
  const auto all = ask_all(5, {});
  hold.release();
  for (const auto& asked : all) {
    ASSERT_TRUE(asked.heard->wait_for_end());
    EXPECT_EQ(asked.heard->status(), 400);
    EXPECT_NE(asked.heard->text().find("no such tool"), std::string::npos);
    EXPECT_EQ(asked.heard->ends(), 1);
  }
  const auto records = service.ledger.records();
  ASSERT_EQ(records.size(), 5U);
  for (const auto& record : records) {
    EXPECT_EQ(record.outcome, Outcome::upstream_error);
    EXPECT_EQ(record.cost_micro_usd, 0);
    EXPECT_EQ(record.status, 400);
  }
  EXPECT_EQ(upstream.count(), 1);
}

TEST_F(Flights, ACutStreamEndsForEverybodyWithOneErrorEvent) {
  Hold hold;
  ScriptedUpstream upstream([&hold](Peer& peer, int) {
    peer.send(kStreamHead + chunk(kDelta));
    hold.wait();
    return false;
  });
  lead_to(upstream);
  const auto all = ask_all(5, {.body = kStreamRequest});
  const Asked plain = ask({});
  for (const auto& asked : all) ASSERT_TRUE(asked.heard->wait_for_text("Hel"));
  let_the_loop_catch_up();
  hold.release();
  for (const auto& asked : all) {
    ASSERT_TRUE(asked.heard->wait_for_end());
    EXPECT_TRUE(asked.heard->text().starts_with(kDelta + "data: {\"error\""));
    EXPECT_EQ(asked.heard->ends(), 1);
  }
  ASSERT_TRUE(plain.heard->wait_for_end());
  EXPECT_EQ(plain.heard->status(), 502);
  const auto records = service.ledger.records();
  ASSERT_EQ(records.size(), 6U);
  for (const auto& record : records) EXPECT_EQ(record.outcome, Outcome::upstream_cut);
  for (const auto& record : records_of(CacheVerdict::follow)) EXPECT_EQ(record.cost_micro_usd, 0);
}

TEST_F(Flights, APlainFollowerOfAStreamGetsAPlainBody) {
  Hold hold;
  ScriptedUpstream upstream([&hold](Peer& peer, int) {
    hold.wait();
    return peer.send(stream_reply(kWholeText + kWholeUsage + kDone));
  });
  lead_to(upstream);
  const Asked streamed = ask({.body = kStreamRequest});
  const Asked plain = ask({});
  let_the_loop_catch_up();
  hold.release();
  ASSERT_TRUE(streamed.heard->wait_for_end());
  ASSERT_TRUE(plain.heard->wait_for_end());
  EXPECT_EQ(streamed.heard->text(), kWholeText + kDone);
  const Json body(plain.heard->text());
  EXPECT_EQ(body.text("/object"), "chat.completion");
  EXPECT_EQ(body.text("/choices/0/message/content"), "Hello");
  EXPECT_EQ(body.text("/id"), "c1");
  EXPECT_NE(plain.heard->text().find("\"completion_tokens\":5"), std::string::npos);
  EXPECT_TRUE(plain.heard->header("content-type").starts_with("application/json"))
      << plain.heard->header("content-type");
  EXPECT_EQ(upstream.count(), 1);
}

TEST_F(Flights, AStreamWithUnknownMembersMakesItsPlainFollowerAskAlone) {
  Hold hold;
  ScriptedUpstream upstream([&hold](Peer& peer, int nth) {
    if (nth > 0) return peer.send(plain_reply(200, kWholeAnswer));
    hold.wait();
    return peer.send(stream_reply(known_chunk(R"({"index":0,"delta":{"content":"Hello","mood":"sunny"}})") +
                                  kWholeStop + kWholeUsage + kDone));
  });
  lead_to(upstream);
  const Asked streamed = ask({.body = kStreamRequest});
  const Asked plain = ask({});
  let_the_loop_catch_up();
  hold.release();
  ASSERT_TRUE(streamed.heard->wait_for_end());
  ASSERT_TRUE(plain.heard->wait_for_end());
  EXPECT_EQ(plain.heard->text(), kWholeAnswer);
  EXPECT_EQ(plain.heard->ends(), 1);
  EXPECT_EQ(upstream.count(), 2);
  const auto records = records_of(CacheVerdict::miss);
  ASSERT_EQ(records.size(), 2U);
  for (const auto& record : records) EXPECT_EQ(record.cost_micro_usd, kCost);
}

TEST_F(Flights, AStreamingCallerDoesNotFollowAPlainCall) {
  Hold hold;
  ScriptedUpstream upstream([&hold](Peer& peer, int nth) {
    hold.wait();
    return peer.send(nth == 0 ? plain_reply(200, kWholeAnswer) : stream_reply(kWholeText + kDone));
  });
  lead_to(upstream);
  const Asked plain = ask({});
  ASSERT_TRUE(upstream.wait_for(1));
  const Asked streamed = ask({.body = kStreamRequest});
  ASSERT_TRUE(upstream.wait_for(2));
  hold.release();
  ASSERT_TRUE(plain.heard->wait_for_end());
  ASSERT_TRUE(streamed.heard->wait_for_end());
  EXPECT_EQ(streamed.heard->text(), kWholeText + kDone);
}

TEST_F(Flights, S22TwoAccountsNeverShareACallUnlessTheRouteNamesAGroup) {
  for (const bool shared : {false, true}) {
    Hold hold;
    ScriptedUpstream upstream([&hold](Peer& peer, int) {
      hold.wait();
      return peer.send(plain_reply(200, kWholeAnswer));
    });
    lead_to(upstream, shared ? R"({"ttl_us":0,"share":"family"})" : R"({"ttl_us":0})");
    ASSERT_TRUE(service.keys.put(R"([{"id":"other","digest":")" + to_hex(service.keys.digest("other")) +
                                 R"(","accounts":["acme","acme/mail"]}])"));
    const Asked one = ask({});
    ASSERT_TRUE(upstream.wait_for(1));
    const Asked other = ask({.key = "other"});
    let_the_loop_catch_up();
    if (!shared) {
      EXPECT_TRUE(upstream.wait_for(2));
    }
    hold.release();
    EXPECT_TRUE(one.heard->wait_for_end());
    EXPECT_TRUE(other.heard->wait_for_end());
    EXPECT_EQ(upstream.count(), shared ? 1 : 2);
  }
}

TEST_F(Flights, WhoeverSteersTheCacheFollowsNobody) {
  Hold hold;
  ScriptedUpstream upstream([&hold](Peer& peer, int) {
    hold.wait();
    return peer.send(plain_reply(200, kWholeAnswer));
  });
  lead_to(upstream);
  std::vector<Asked> all{ask({})};
  int wanted = 1;
  for (const std::string_view directive : {"no-cache", "no-store", "max-age=5"}) {
    all.push_back(ask({.headers = {{"cache-control", directive}}}));
    EXPECT_TRUE(upstream.wait_for(++wanted)) << directive;
  }
  all.push_back(ask({.headers = {{"idempotency-key", "once"}}}));
  EXPECT_TRUE(upstream.wait_for(++wanted));
  all.push_back(
      ask({.body = R"({"model":"gpt","temperature":1,"messages":[{"role":"user","content":"hello"}]})"}));
  all.push_back(
      ask({.body = R"({"model":"gpt","temperature":1,"messages":[{"role":"user","content":"hello"}]})"}));
  wanted += 2;
  EXPECT_TRUE(upstream.wait_for(wanted));
  hold.release();
  for (const auto& asked : all) EXPECT_TRUE(asked.heard->wait_for_end());
}

TEST_F(Flights, ARevokedKeyLosesItsPlaceAndTheOthersKeepTheirs) {
  Hold hold;
  ScriptedUpstream upstream([&hold](Peer& peer, int) {
    peer.send(kStreamHead + chunk(kDelta));
    hold.wait();
    return peer.send(chunk(kDone) + kLastChunk);
  });
  lead_to(upstream);
  ASSERT_TRUE(service.keys.put("[" + key_text("second", "second") + "]"));
  const Asked first = ask({.body = kStreamRequest});
  const Asked second = ask({.body = kStreamRequest, .key = "second"});
  ASSERT_TRUE(first.heard->wait_for_text("Hel"));
  ASSERT_TRUE(second.heard->wait_for_text("Hel"));
  service.keys.remove("ci");
  runner.stop_revoked();
  ASSERT_TRUE(first.heard->wait_for_end());
  EXPECT_NE(first.heard->text().find("key_revoked"), std::string::npos);
  hold.release();
  ASSERT_TRUE(second.heard->wait_for_end());
  EXPECT_EQ(second.heard->text(), kDelta + kDone);
  ASSERT_TRUE(all_gone());
  EXPECT_EQ(upstream.count(), 1);
  EXPECT_EQ(first.heard->ends(), 1);
}

TEST_F(Flights, AFollowerMayJoinWhileTheCallWaitsToBeTriedAgain) {
  ScriptedUpstream upstream(
      {"HTTP/1.1 503 X\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n", stream_reply(kDelta + kDone)});
  SnapshotText text = keeping(leading_to(upstream.port()));
  text.upstreams.replace(text.upstreams.rfind("}]"), 1, R"(,"retry":{"attempts":2}})");
  service.configure(text);
  const Asked first = ask({.body = kStreamRequest});
  ASSERT_TRUE(
      eventually([this] { return service.registry.expose().find("retries_total{") != std::string::npos; }));
  const Asked second = ask({.body = kStreamRequest});
  let_the_loop_catch_up();
  for (int i = 0; i < 7; ++i) pass(std::chrono::seconds{1});
  for (const auto& asked : {first, second}) {
    ASSERT_TRUE(asked.heard->wait_for_end());
    EXPECT_EQ(asked.heard->text(), kDelta + kDone);
  }
  EXPECT_EQ(upstream.count(), 2);
}

TEST_F(Flights, ARevokedKeysClientHearsItsEndAtOnceEvenIfItsCallIsDrained) {
  Hold hold;
  ScriptedUpstream upstream([&hold](Peer& peer, int) {
    peer.send(kStreamHead + chunk(kDelta));
    hold.wait();
    return peer.send(chunk(kDone) + kLastChunk);
  });
  lead_to(upstream, R"({"ttl_us":0,"on_abort":"drain"})");
  const Asked asked = ask({.body = kStreamRequest});
  ASSERT_TRUE(asked.heard->wait_for_text("Hel"));
  service.keys.remove("ci");
  runner.stop_revoked();
  let_the_loop_catch_up();
  EXPECT_EQ(asked.heard->ends(), 1) << "not only when the drained call is over";
  EXPECT_NE(asked.heard->text().find("key_revoked"), std::string::npos);
  hold.release();
  ASSERT_TRUE(all_gone());
  EXPECT_EQ(asked.heard->ends(), 1);
}

TEST_F(Flights, FollowersAndHitsTakeOneRequestAndNoTokens) {
  Hold hold;
  ScriptedUpstream upstream([&hold](Peer& peer, int) {
    hold.wait();
    return peer.send(plain_reply(200, kWholeAnswer));
  });
  SnapshotText text = keeping(leading_to(upstream.port()));
  text.more = R"(,"accounts":[{"id":"acme","rules":{"rates":["100/min","1000 tokens/min"]}}])";
  service.configure(text);
  Asking asking;
  asking.body = R"({"model":"gpt","max_tokens":900,"messages":[{"role":"user","content":"hello"}]})";
  const auto all = ask_all(5, asking);
  hold.release();
  for (const auto& asked : all) {
    ASSERT_TRUE(asked.heard->wait_for_end());
    EXPECT_EQ(asked.heard->status(), 200) << "two reservations of 900 tokens do not fit";
  }
  const Asked hit = ask(asking);
  EXPECT_EQ(hit.heard->header("x-sentinel-cache"), "hit-exact");
  EXPECT_EQ(hit.heard->header("x-ratelimit-remaining-requests"), "94");
  EXPECT_EQ(upstream.count(), 1);
}

}  // namespace
}  // namespace sentinel::engine
