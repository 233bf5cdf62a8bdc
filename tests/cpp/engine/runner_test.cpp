// Send, relay and settle against a real upstream: every way an exchange can end gives one end, one record, no rest.
#include "sentinel/engine/runner.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "engine/runner_support.hpp"

namespace sentinel::engine {
namespace {

using journal::Outcome;

// One ending: what the upstream does, what happens beside it, and what must be left.
struct Ending {
  std::string name;
  bool streamed = false;
  std::function<void(Peer&, const Signal& go)> upstream;
  std::function<void(class Endings&)> meanwhile = {};
  Outcome outcome = Outcome::done;
  int status = 200;
  std::string said = "";  // the client read this
  std::string error_code = "";
  std::int64_t completion_tokens = 0;
};

class Endings : public Runners, public ::testing::WithParamInterface<Ending> {
 public:
  void stop(StopReason reason) { runner.stop(flow_, reason); }
  void revoke() {
    service.keys.remove("ci");
    runner.stop_revoked();
  }
  void stop_all() { runner.stop_all(StopReason::shutdown); }
  void wait_for_text(std::string_view text) { EXPECT_TRUE(client->wait_for_text(text)); }
  void wait_for_request() { EXPECT_TRUE(received.wait()); }
  void let_time_pass() { EXPECT_TRUE(pass_until_end()); }
  void go_on() { go.set(); }

  Signal received;
  Signal go;

 protected:
  std::shared_ptr<Flow> flow_;
};

TEST_P(Endings, GiveTheClientOneEndAndTheLedgerOneRecord) {
  const Ending& ending = GetParam();
  TestServer server([this, &ending](Peer& peer, int) {
    if (peer.read_request().empty()) return;
    received.set();
    ending.upstream(peer, go);
  });
  service.configure(leading_to(server.port()));
  flow_ = start(ending.streamed ? kStreamRequest : kPlainRequest);
  if (ending.meanwhile) ending.meanwhile(*this);
  ASSERT_TRUE(client->wait_for_end()) << "no end";
  const auto record = only_record();
  EXPECT_EQ(name(record.outcome), name(ending.outcome));
  EXPECT_EQ(record.status, ending.status);
  EXPECT_EQ(record.error_code, ending.error_code);
  EXPECT_EQ(record.completion_tokens, ending.completion_tokens);
  EXPECT_NE(client->text().find(ending.said), std::string::npos) << client->text();
  if (ending.outcome != Outcome::done) {
    EXPECT_EQ(client->text().find("[DONE]"), std::string::npos);
  }
}

std::string name_of_ending(const ::testing::TestParamInfo<Ending>& tested) { return tested.param.name; }

const auto kSilent = [](Peer& peer, const Signal&) { peer.wait_for_hang_up(); };
const auto kHalfStream = [](Peer& peer, const Signal&) {
  peer.send(kStreamHead + chunk(kDelta));
  peer.wait_for_hang_up();
};
const auto answer = [](std::string bytes) {
  return [bytes](Peer& peer, const Signal&) {
    peer.send(bytes);
    peer.wait_for_hang_up();
  };
};
const auto answer_and_cut = [](std::string bytes) {
  return [bytes](Peer& peer, const Signal&) { peer.send(bytes); };
};
const auto after_delta = [](std::function<void(Endings&)> then) {
  return [then](Endings& test) {
    test.wait_for_text("Hel");
    then(test);
  };
};
const auto after_request = [](std::function<void(Endings&)> then) {
  return [then](Endings& test) {
    test.wait_for_request();
    then(test);
  };
};
const auto kTimePasses = [](Endings& test) { test.let_time_pass(); };
const auto kClientLeaves = [](Endings& test) { test.stop(StopReason::client_gone); };
const auto kKeyRevoked = [](Endings& test) { test.revoke(); };
const auto kShutdown = [](Endings& test) { test.stop_all(); };

INSTANTIATE_TEST_SUITE_P(
    Whole, Endings,
    ::testing::Values(Ending{.name = "Plain",
                             .upstream = answer(plain_reply(200, kAnswer)),
                             .said = "\"hi\"",
                             .completion_tokens = 5},
                      Ending{
                          .name = "Stream",
                          .streamed = true,
                          .upstream = answer(kStreamHead + chunk(kDelta + kUsageChunk + kDone) + kLastChunk),
                          .said = kDelta + kDone,
                          .completion_tokens = 5},
                      Ending{.name = "StreamWithoutUsage",
                             .streamed = true,
                             .upstream = answer(kStreamHead + chunk(kDelta + kDelta + kDone) + kLastChunk),
                             .said = kDelta + kDelta + kDone,
                             .completion_tokens = 2},
                      Ending{.name = "StreamWhoseUpstreamNeverHangsUpAfterItsTerminalEvent",
                             .streamed = true,
                             .upstream = answer(kStreamHead + chunk(kDelta + kDone)),
                             .said = kDelta + kDone,
                             .completion_tokens = 1},
                      Ending{.name = "StreamCutAfterItsTerminalEvent",
                             .streamed = true,
                             .upstream = answer_and_cut(kStreamHead + chunk(kDelta + kDone)),
                             .said = kDelta + kDone,
                             .completion_tokens = 1}),
    name_of_ending);

INSTANTIATE_TEST_SUITE_P(
    UpstreamFaults, Endings,
    ::testing::Values(
        Ending{.name = "OwnRefusal",
               .upstream = answer(plain_reply(429, R"({"error":{"message":"slow down","code":"rate"}})")),
               .outcome = Outcome::upstream_error,
               .status = 429,
               .said = "slow down",
               .error_code = "upstream_error"},
        Ending{.name = "OwnFailureToAStream",
               .streamed = true,
               .upstream = answer(plain_reply(500, "<html>sk-upstream-credential-0123456789</html>",
                                              "text/html")),
               .outcome = Outcome::upstream_error,
               .status = 500,
               .said = "<html>[redacted]</html>",
               .error_code = "upstream_error"},
        Ending{.name = "Html",
               .upstream = answer(plain_reply(200, "<html>", "text/html")),
               .outcome = Outcome::upstream_error,
               .status = 502,
               .said = "upstream_error",
               .error_code = "upstream_error"},
        Ending{.name = "HtmlToAStream",
               .streamed = true,
               .upstream = answer(plain_reply(200, "<html>", "text/html")),
               .outcome = Outcome::upstream_error,
               .status = 502,
               .said = "upstream_error",
               .error_code = "upstream_error"},
        Ending{.name = "BrokenJson",
               .upstream = answer(plain_reply(200, "{")),
               .outcome = Outcome::upstream_error,
               .status = 502,
               .said = "upstream_error",
               .error_code = "upstream_error"},
        Ending{.name = "ErrorInTwoHundred",
               .upstream = answer(plain_reply(200, R"({"error":{"message":"sk"}})")),
               .outcome = Outcome::upstream_error,
               .status = 502,
               .said = "upstream_error",
               .error_code = "upstream_error"},
        Ending{.name = "Redirect",
               .upstream = answer("HTTP/1.1 302 X\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n"),
               .outcome = Outcome::upstream_error,
               .status = 502,
               .said = "status 302",
               .error_code = "upstream_error"},
        Ending{.name = "Nonsense",
               .upstream = answer("SSH-2.0-OpenSSH\r\n\r\n"),
               .outcome = Outcome::upstream_error,
               .status = 502,
               .said = "upstream_error",
               .error_code = "upstream_error"},
        Ending{
            .name = "GzipThatNobodyAskedFor",
            .upstream = answer("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"),
            .outcome = Outcome::upstream_error,
            .status = 502,
            .said = "upstream_error",
            .error_code = "upstream_error"},
        Ending{.name = "TooLarge",
               .upstream = answer(plain_reply(200, std::string(2U << 20U, ' '))),
               .outcome = Outcome::upstream_error,
               .status = 502,
               .said = "over 1048576 bytes",
               .error_code = "upstream_error"},
        Ending{.name = "CutBeforeTheHead",
               .upstream = answer_and_cut("HTTP/1.1 200"),
               .outcome = Outcome::upstream_error,
               .status = 502,
               .said = "upstream_error",
               .error_code = "upstream_error"},
        Ending{.name = "CutInAPlainBody",
               .upstream = answer_and_cut("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
               .outcome = Outcome::upstream_cut,
               .status = 502,
               .said = "upstream_error",
               .error_code = "upstream_error"},
        Ending{.name = "CutInAnEvent",
               .streamed = true,
               .upstream = answer_and_cut(kStreamHead + chunk(kDelta + "data: {")),
               .outcome = Outcome::upstream_cut,
               .said = "upstream_error",
               .error_code = "upstream_error",
               .completion_tokens = 1},
        Ending{.name = "StreamWithoutItsTerminalEvent",
               .streamed = true,
               .upstream = answer(kStreamHead + chunk(kDelta) + kLastChunk),
               .outcome = Outcome::upstream_cut,
               .said = "terminal event",
               .error_code = "upstream_error",
               .completion_tokens = 1},
        Ending{.name = "EmptyStream",
               .streamed = true,
               .upstream = answer(kStreamHead + kLastChunk),
               .outcome = Outcome::upstream_cut,
               .status = 502,
               .said = "terminal event",
               .error_code = "upstream_error"},
        Ending{.name = "BrokenEvent",
               .streamed = true,
               .upstream = answer(kStreamHead + chunk(kDelta + "data: {\n\n" + kDone) + kLastChunk),
               .outcome = Outcome::upstream_error,
               .said = "not a JSON object",
               .error_code = "upstream_error",
               .completion_tokens = 1},
        Ending{.name = "ErrorEvent",
               .streamed = true,
               .upstream = answer(kStreamHead +
                                  chunk(kDelta + "data: {\"error\":{\"message\":\"sad\"}}\n\n") + kLastChunk),
               .outcome = Outcome::upstream_error,
               .said = "sad",
               .completion_tokens = 1}),
    name_of_ending);

INSTANTIATE_TEST_SUITE_P(
    Deadlines, Endings,
    ::testing::Values(Ending{.name = "NoHead",
                             .upstream = kSilent,
                             .meanwhile = after_request(kTimePasses),
                             .outcome = Outcome::upstream_error,
                             .status = 504,
                             .said = "first byte",
                             .error_code = "upstream_timeout"},
                      Ending{.name = "NoBody",
                             .upstream = answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
                             .meanwhile = after_request(kTimePasses),
                             .outcome = Outcome::upstream_cut,
                             .status = 504,
                             .said = "deadline",
                             .error_code = "upstream_timeout"},
                      Ending{.name = "StalledStream",
                             .streamed = true,
                             .upstream = kHalfStream,
                             .meanwhile = after_delta(kTimePasses),
                             .outcome = Outcome::upstream_cut,
                             .said = "upstream_timeout",
                             .error_code = "upstream_timeout",
                             .completion_tokens = 1}),
    name_of_ending);

INSTANTIATE_TEST_SUITE_P(Stops, Endings,
                         ::testing::Values(Ending{.name = "ClientLeavesBeforeTheHead",
                                                  .upstream = kSilent,
                                                  .meanwhile = after_request(kClientLeaves),
                                                  .outcome = Outcome::client_gone,
                                                  .status = 499,
                                                  .error_code = "request_timeout"},
                                           Ending{.name = "ClientLeavesAtOnce",
                                                  .upstream = kSilent,
                                                  .meanwhile = kClientLeaves,
                                                  .outcome = Outcome::client_gone,
                                                  .status = 499,
                                                  .error_code = "request_timeout"},
                                           Ending{.name = "ClientLeavesAStream",
                                                  .streamed = true,
                                                  .upstream = kHalfStream,
                                                  .meanwhile = after_delta(kClientLeaves),
                                                  .outcome = Outcome::client_gone,
                                                  .error_code = "request_timeout",
                                                  .completion_tokens = 1},
                                           Ending{.name = "KeyRevokedBeforeTheHead",
                                                  .upstream = kSilent,
                                                  .meanwhile = after_request(kKeyRevoked),
                                                  .outcome = Outcome::refused,
                                                  .status = 401,
                                                  .said = "key_revoked",
                                                  .error_code = "key_revoked"},
                                           Ending{.name = "KeyRevokedInAStream",
                                                  .streamed = true,
                                                  .upstream = kHalfStream,
                                                  .meanwhile = after_delta(kKeyRevoked),
                                                  .outcome = Outcome::refused,
                                                  .said = "key_revoked",
                                                  .error_code = "key_revoked",
                                                  .completion_tokens = 1},
                                           Ending{.name = "ShutdownBeforeTheHead",
                                                  .upstream = kSilent,
                                                  .meanwhile = after_request(kShutdown),
                                                  .outcome = Outcome::shutdown,
                                                  .status = 503,
                                                  .said = "server_shutting_down",
                                                  .error_code = "server_shutting_down"},
                                           Ending{.name = "ShutdownInAStream",
                                                  .streamed = true,
                                                  .upstream = kHalfStream,
                                                  .meanwhile = after_delta(kShutdown),
                                                  .outcome = Outcome::shutdown,
                                                  .said = "server_shutting_down",
                                                  .error_code = "server_shutting_down",
                                                  .completion_tokens = 1}),
                         name_of_ending);

TEST_F(Runners, NobodyListeningIsAnUpstreamErrorThatCostsNothing) {
  std::uint16_t port = 0;
  {
    port = TestServer([](Peer&, int) {}).port();
  }
  service.configure(leading_to(port));
  start(kPlainRequest);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->status(), 502);
  const auto record = only_record();
  EXPECT_EQ(record.outcome, Outcome::upstream_error);
  EXPECT_EQ(record.prompt_tokens, 0);
  EXPECT_EQ(record.cost_micro_usd, 0);
}

TEST_F(Runners, AKeyRevokedBetweenDecisionAndSendingSendsNothing) {
  TestServer server([](Peer& peer, int) { EXPECT_EQ(peer.read_request(), ""); });
  service.configure(leading_to(server.port()));
  const std::vector<HeaderView> headers{{"x-api-key", kCredential}};
  auto exchange = service.pipeline.decide(service.lane, {Endpoint::chat, "", "", headers, ""},
                                          padded(kPlainRequest), clock.now());
  service.keys.remove("ci");
  client = std::make_shared<Recorder>();
  std::vector<std::unique_ptr<Live>> batch;
  batch.push_back(runner.prepare(std::move(exchange), client, nullptr));
  runner.submit(std::move(batch));
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->status(), 401);
  EXPECT_EQ(server.connections(), 0);
  EXPECT_EQ(only_record().outcome, Outcome::refused);
}

TEST_F(Runners, AnExchangeThatComesAfterTheStopOfAllIsStoppedToo) {
  TestServer server([](Peer& peer, int) { peer.wait_for_hang_up(); });
  service.configure(leading_to(server.port()));
  runner.stop_all(StopReason::shutdown);
  start(kPlainRequest);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->status(), 503);
  EXPECT_EQ(only_record().outcome, Outcome::shutdown);
}

TEST_F(Runners, TheClientSeesListedHeadersAndOurOwn) {
  TestServer server([](Peer& peer, int) {
    peer.read_request();
    peer.send(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSet-Cookie: a=b\r\nX-Request-Id: "
        "up-1\r\nServer: x\r\n"
        "Openai-Processing-Ms: 12\r\nContent-Length: " +
        std::to_string(kAnswer.size()) + "\r\n\r\n" + kAnswer);
    peer.wait_for_hang_up();
  });
  service.configure(leading_to(server.port()));
  start(kPlainRequest);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->text(), kAnswer);
  EXPECT_EQ(client->header("x-sentinel-upstream-request-id"), "up-1");
  EXPECT_EQ(client->header("x-sentinel-target"), "up/gpt");
  EXPECT_EQ(client->header("x-sentinel-cost-micro-usd"), "30");
  EXPECT_EQ(client->header("openai-processing-ms"), "12");
  EXPECT_TRUE(client->header("x-request-id").starts_with("req_"));
  EXPECT_EQ(client->header("set-cookie"), "(none)");
  EXPECT_EQ(client->header("server"), "(none)");
}

TEST_F(Runners, R8LeavingHangsUpOnTheUpstreamAtOnce) {
  Signal hung_up;
  TestServer server([&hung_up](Peer& peer, int) {
    peer.read_request();
    peer.send(kStreamHead + chunk(kDelta));
    peer.wait_for_hang_up();
    hung_up.set();
  });
  service.configure(leading_to(server.port()));
  const auto flow = start(kStreamRequest);
  ASSERT_TRUE(client->wait_for_text("Hel"));
  runner.stop(flow, StopReason::client_gone);
  EXPECT_TRUE(hung_up.wait());
}

TEST_F(Runners, AConnectionServesTheNextCallAfterAWholeStream) {
  TestServer server([](Peer& peer, int) {
    while (!peer.read_request().empty()) peer.send(kStreamHead + chunk(kDelta + kDone) + kLastChunk);
  });
  service.configure(leading_to(server.port()));
  for (int i = 0; i < 5; ++i) {
    start(kStreamRequest);
    ASSERT_TRUE(client->wait_for_end());
  }
  EXPECT_EQ(server.connections(), 1);
}

// Everything the client was handed and has not taken stays within the credit and one read of 64 KiB.
TEST_F(Runners, WithoutCreditTheUpstreamIsNotRead) {
  constexpr std::size_t kEvents = 20'000;
  TestServer server([](Peer& peer, int) {
    peer.read_request();
    peer.send(kStreamHead);
    std::string many;
    for (int i = 0; i < 100; ++i) many += kDelta;
    for (std::size_t i = 0; i < kEvents / 100; ++i) peer.send(chunk(many));
    peer.send(chunk(kDone) + kLastChunk);
    peer.wait_for_hang_up();
  });
  service.configure(leading_to(server.port()));
  const auto flow = start(kStreamRequest);
  constexpr std::size_t kMost = 65'536 + 65'536;
  std::size_t taken = 0;
  std::size_t most = 0;
  while (client->ends() == 0) {
    ASSERT_TRUE(
        client->wait([taken](const std::string& text, int ends) { return ends > 0 || text.size() > taken; }));
    const std::size_t there = client->text().size();
    most = std::max(most, there - taken);
    runner.taken(flow, static_cast<std::int64_t>(there - taken));
    taken = there;
  }
  EXPECT_EQ(client->text().size(), kEvents * kDelta.size() + kDone.size());
  EXPECT_LE(most, kMost);
  EXPECT_EQ(only_record().completion_tokens, static_cast<std::int64_t>(kEvents));
}

TEST_F(Runners, AClientThatTakesNothingIsGivenUpAfterTheIdleDeadline) {
  TestServer server([](Peer& peer, int) {
    peer.read_request();
    peer.send(kStreamHead);
    while (peer.send(chunk(kDelta + kDelta + kDelta + kDelta))) {
    }
  });
  service.configure(leading_to(server.port()));
  start(kStreamRequest);
  ASSERT_TRUE(client->wait([](const std::string& text, int) { return text.size() >= 65'536; }));
  ASSERT_TRUE(pass_until_end());
  EXPECT_NE(client->text().find("slow_reader"), std::string::npos);
  EXPECT_LE(client->text().size(), 65'536U + 65'536U + 1024U);
  EXPECT_EQ(only_record().outcome, Outcome::client_gone);
}

TEST_F(Runners, ATrickledHeadEndsAtItsDeadline) {
  Signal first;
  TestServer server([&first](Peer& peer, int) {
    peer.read_request();
    first.set();
    while (peer.send("X")) {
    }
  });
  service.configure(leading_to(server.port()));
  start(kPlainRequest);
  ASSERT_TRUE(first.wait());
  ASSERT_TRUE(pass_until_end());
  EXPECT_EQ(only_record().outcome, Outcome::upstream_error);
}

TEST_F(Runners, TwentyHangUpsCancelTwentyUpstreamCallsAndRecordWhatPassed) {
  std::atomic<int> hung_up{0};
  Signal all;
  TestServer server([&hung_up, &all](Peer& peer, int) {
    peer.read_request();
    peer.send(kStreamHead + chunk(kDelta + kDelta + kDelta));
    peer.wait_for_hang_up();
    if (++hung_up == 20) all.set();
  });
  SnapshotText text;
  text.upstreams =
      "[" + SnapshotText::upstream("up", "openai", "http://127.0.0.1:" + std::to_string(server.port())) + "]";
  text.upstreams.replace(text.upstreams.find("\"max_connections\":8"), 19, "\"max_connections\":32");
  service.configure(text);
  std::vector<std::pair<std::shared_ptr<Flow>, std::shared_ptr<Recorder>>> running;
  for (int i = 0; i < 20; ++i) {
    auto flow = start(kStreamRequest);
    running.emplace_back(std::move(flow), client);
  }
  for (auto& [flow, recorder] : running) ASSERT_TRUE(recorder->wait_for_text("Hel"));
  for (auto& [flow, recorder] : running) runner.stop(flow, StopReason::client_gone);
  EXPECT_TRUE(all.wait());
  for (auto& [flow, recorder] : running) ASSERT_TRUE(recorder->wait_for_end());
  const auto records = service.ledger.records();
  ASSERT_EQ(records.size(), 20U);
  for (const auto& record : records) EXPECT_EQ(record.completion_tokens, 3);
}

}  // namespace
}  // namespace sentinel::engine
