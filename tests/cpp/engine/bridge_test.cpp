// The door to asyncio: ids that cannot be mistaken, events in order, credit, providers, and a close that is one.
#include "sentinel/engine/bridge.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "engine/door_support.hpp"

namespace sentinel::engine {
namespace {

const auto kSilent = [](Peer& peer, int) { peer.wait_for_hang_up(); };

std::uint32_t slot_of(std::uint64_t id) { return static_cast<std::uint32_t>(id); }

class Bridges : public Doors {
 protected:
  Runner& runner() { return engine->runner_for(Exchange{}); }
};

TEST_F(Bridges, ARefusalIsAnsweredAtOnceWithoutAnId) {
  open();
  const BridgeEvent event = refused("{");
  EXPECT_EQ(event.id, 0U);
  EXPECT_EQ(event.status, 400);
  EXPECT_FALSE(event.more);
  EXPECT_EQ(find_header(event.headers, "content-length"), std::to_string(event.body.size()));
  EXPECT_EQ(engine->in_flight(), 0);
  EXPECT_FALSE(is_signalled());
}

TEST_F(Bridges, APlainReplyIsOneEvent) {
  TestServer server([](Peer& peer, int) {
    peer.read_request();
    peer.send(plain_reply(200, kAnswer));
    peer.wait_for_hang_up();
  });
  open(leading_to(server.port()));
  const std::uint64_t id = submit(kPlainRequest);
  ASSERT_TRUE(listen_to_end_of(id));
  EXPECT_EQ(heard[id].status, 200);
  EXPECT_EQ(heard[id].text, kAnswer);
  EXPECT_EQ(find_header(heard[id].headers, "content-length"), std::to_string(kAnswer.size()));
  EXPECT_EQ(engine->in_flight(), 0);
}

TEST_F(Bridges, ManyStreamsAtOnceOverSeveralLoopsArriveWholeAndInOrder) {
  TestServer server([](Peer& peer, int) {
    while (!peer.read_request().empty()) {
      std::string events;
      for (int i = 0; i < 50; ++i)
        events += "data: {\"choices\":[{\"delta\":{\"content\":\"" + std::to_string(i) + ",\"}}]}\n\n";
      peer.send(kStreamHead + chunk(events.substr(0, 777)) + chunk(events.substr(777)) + chunk(kDone) +
                kLastChunk);
    }
  });
  EngineOptions given = options(leading_to(server.port()));
  given.loops = 3;
  open(std::move(given));
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(std::get<std::uint64_t>(ask(kStreamRequest)));
  bridge->flush();
  for (const auto id : ids) ASSERT_TRUE(listen_to_end_of(id));
  for (const auto id : ids) {
    EXPECT_EQ(heard[id].text, heard[ids[0]].text);
    EXPECT_TRUE(heard[id].text.ends_with(kDone));
  }
  EXPECT_EQ(engine->in_flight(), 0);
}

TEST_F(Bridges, WhatWaitsForOneIdIsOneEventWhateverComesBetween) {
  TestServer server(kSilent);
  open(leading_to(server.port()));
  const std::uint64_t a = submit(kStreamRequest);
  const std::uint64_t b = submit(kStreamRequest);
  bridge->push(runner(), {a, 200, {}, "", true});
  bridge->push(runner(), {a, 0, {}, "1", true});
  bridge->push(runner(), {a, 0, {}, "2", true});
  bridge->push(runner(), {b, 200, {}, "3", true});
  bridge->push(runner(), {a, 0, {}, "4", true});
  bridge->push(runner(), {a, 0, {}, "", false});
  const auto events = bridge->drain();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].id, a);
  EXPECT_EQ(events[0].status, 200);
  EXPECT_EQ(events[0].body, "124");
  EXPECT_FALSE(events[0].more);
  EXPECT_EQ(events[1].id, b);
  EXPECT_EQ(events[1].body, "3");
  EXPECT_TRUE(events[1].more);
  bridge->push(runner(), {b, 0, {}, "5", true});
  EXPECT_EQ(bridge->drain().at(0).body, "5") << "what was drained is not added to";
}

TEST_F(Bridges, ASignalComesForTheFirstEventAndGoesWithTheDrain) {
  TestServer server(kSilent);
  open(leading_to(server.port()));
  const std::uint64_t id = submit(kStreamRequest);
  EXPECT_FALSE(is_signalled());
  bridge->push(runner(), {id, 200, {}, "", true});
  ASSERT_TRUE(eventually([this] { return is_signalled(); }));
  EXPECT_EQ(bridge->drain().size(), 1U);
  EXPECT_FALSE(is_signalled());
  EXPECT_TRUE(bridge->drain().empty());
}

TEST_F(Bridges, ACancelledIdIsDeadAndItsSlotComesBackUnderAnother) {
  TestServer server(kSilent);
  open(leading_to(server.port()));
  const std::uint64_t first = submit(kStreamRequest);
  bridge->cancel(first);
  const std::uint64_t second = submit(kStreamRequest);
  EXPECT_EQ(slot_of(first), slot_of(second));
  EXPECT_NE(first, second);
  bridge->push(runner(), {first, 200, {}, "late", false});
  bridge->cancel(first);
  bridge->taken(first, 100);
  bridge->push(runner(), {second, 200, {}, "mine", true});
  ASSERT_TRUE(listen_until([&] { return heard.contains(second); }));
  EXPECT_FALSE(heard.contains(first)) << "the exchange's own end after the cancel is ignored too";
  EXPECT_EQ(heard[second].text, "mine");
  ASSERT_TRUE(eventually([this] { return engine->in_flight() == 1; }));
}

TEST_F(Bridges, AnIdThatHasEndedIsIgnoredEverywhere) {
  TestServer server([](Peer& peer, int) {
    while (!peer.read_request().empty()) peer.send(plain_reply(200, kAnswer));
  });
  open(leading_to(server.port()));
  const std::uint64_t id = submit(kPlainRequest);
  ASSERT_TRUE(listen_to_end_of(id));
  bridge->cancel(id);
  bridge->taken(id, 1);
  bridge->cancel(~std::uint64_t{0});
  bridge->taken(12345, 1);
  const std::uint64_t next = submit(kPlainRequest);
  ASSERT_TRUE(listen_to_end_of(next));
  EXPECT_EQ(heard[next].status, 200);
}

TEST_F(Bridges, CancellingBeforeTheFlushStopsTheExchangeToo) {
  TestServer server(kSilent);
  open(leading_to(server.port()));
  const std::uint64_t id = std::get<std::uint64_t>(ask(kStreamRequest));
  bridge->cancel(id);
  EXPECT_TRUE(eventually([this] { return engine->in_flight() == 0; }));
}

TEST_F(Bridges, CloseEndsWhatRunsAnswersFiveHundredThreeAndIsIdempotent) {
  TestServer server(kSilent);
  open(leading_to(server.port()));
  submit(kStreamRequest);
  (void)ask(kStreamRequest);  // not flushed
  bridge->close();
  bridge->close();
  EXPECT_TRUE(eventually([this] { return engine->in_flight() == 0; }));
  const BridgeEvent event = refused(kPlainRequest);
  EXPECT_EQ(event.status, 503);
  EXPECT_EQ(Json(event.body).text("/error/code"), "not_started");
  EXPECT_TRUE(bridge->drain().empty());
  ASSERT_TRUE(engine->flush(std::chrono::seconds{20}));
  EXPECT_EQ(engine->ledger().committed, 2U);
}

TEST_F(Bridges, AnotherBridgeGoesOnWhenOneCloses) {
  TestServer server([](Peer& peer, int) {
    while (!peer.read_request().empty()) peer.send(plain_reply(200, kAnswer));
  });
  open(leading_to(server.port()));
  const auto other = *Bridge::open(*engine, false);
  other->close();
  const std::uint64_t id = submit(kPlainRequest);
  ASSERT_TRUE(listen_to_end_of(id));
  EXPECT_EQ(heard[id].status, 200);
}

// ---- bytes of a connection instead of a parsed head ----------------------------------------------------------------

class WireBridges : public Bridges {
 protected:
  static std::string post(const std::string& body, const std::string& path = "/v1/chat/completions") {
    return "POST " + path + " HTTP/1.1\r\nHost: gateway\r\nX-Api-Key: " + std::string(kCredential) +
           "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  std::optional<Bridge::Submitted> send(const std::string& bytes, std::size_t most_body_bytes = 1 << 20) {
    auto submitted = bridge->submit_wire(bytes, "", most_body_bytes);
    bridge->flush();
    return submitted;
  }
};

TEST_F(WireBridges, ARefusalIsAWholeReplyOnTheWire) {
  open();
  const BridgeEvent event = std::get<BridgeEvent>(*send(post("{")));
  EXPECT_EQ(event.status, 400);
  EXPECT_TRUE(event.headers.empty());
  EXPECT_FALSE(event.more);
  EXPECT_FALSE(event.close);
  EXPECT_TRUE(event.body.starts_with("HTTP/1.1 400 Bad Request\r\ndate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"));
  EXPECT_NE(event.body.find("\r\ncontent-length: "), std::string::npos);
  EXPECT_TRUE(event.body.ends_with("}"));
}

TEST_F(WireBridges, WhatIsNotAGovernedRequestIsLeftAloneAndCountsNothing) {
  open();
  EXPECT_FALSE(send(post("{", "/v1/models")));
  EXPECT_FALSE(send(post("{", "/v1/query")));
  EXPECT_FALSE(send(post("{", "/v1/chat/completions/")));
  EXPECT_FALSE(send(post("{", "/healthz")));
  EXPECT_FALSE(send(post("{}", "/v1/chat/completions"), 1));
  EXPECT_FALSE(send(post("{") + "more"));
  EXPECT_EQ(engine->metrics().find("status=\"400\""), std::string::npos);
}

TEST_F(WireBridges, APlainReplyIsOneEventOfBytes) {
  TestServer server([](Peer& peer, int) {
    peer.read_request();
    peer.send(plain_reply(200, kAnswer));
    peer.wait_for_hang_up();
  });
  open(leading_to(server.port()));
  const auto id = std::get<std::uint64_t>(*send(post(kPlainRequest)));
  ASSERT_TRUE(listen_to_end_of(id));
  EXPECT_EQ(heard[id].status, 200);
  EXPECT_TRUE(heard[id].headers.empty());
  EXPECT_TRUE(heard[id].text.starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT_TRUE(heard[id].text.ends_with("\r\n\r\n" + kAnswer));
}

TEST_F(WireBridges, AStreamIsChunkedAndItsCreditIsThatOfItsBodies) {
  TestServer server([](Peer& peer, int) {
    peer.read_request();
    peer.send(kStreamHead + chunk("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n") +
              chunk(kDone) + kLastChunk);
    peer.wait_for_hang_up();
  });
  open(leading_to(server.port()));
  const auto id = std::get<std::uint64_t>(*send(post(kStreamRequest)));
  ASSERT_TRUE(listen_until([&] {
    bridge->written(id);
    return heard[id].ended;
  }));
  const std::string& text = heard[id].text;
  const std::size_t body = text.find("\r\n\r\n") + 4;
  EXPECT_NE(text.find("\r\ntransfer-encoding: chunked\r\n"), std::string::npos);
  EXPECT_TRUE(text.ends_with("0\r\n\r\n"));
  std::string plain;
  for (std::size_t at = body;;) {
    const std::size_t size = std::stoul(text.substr(at), nullptr, 16);
    at = text.find("\r\n", at) + 2;
    if (size == 0) break;
    plain += text.substr(at, size);
    at += size + 2;
  }
  EXPECT_TRUE(plain.ends_with(kDone));
  bridge->written(id);  // of one that has ended: ignored
}

TEST_F(WireBridges, AReplyWhileDrainingEndsItsConnection) {
  EngineOptions given = options();
  given.drain_delay = std::chrono::seconds(10);
  open(std::move(given));
  engine->begin_drain(true);
  ASSERT_TRUE(eventually([this] { return engine->drain_state() == DrainState::announced; }));
  const BridgeEvent event = std::get<BridgeEvent>(*send(post("{")));
  EXPECT_TRUE(event.close);
  EXPECT_NE(event.body.find("\r\nconnection: close\r\n"), std::string::npos);
}

TEST_F(WireBridges, AClosedBridgeAnswersFiveHundredThreeOnTheWireToo) {
  open();
  bridge->close();
  const BridgeEvent event = std::get<BridgeEvent>(*send(post("{}")));
  EXPECT_TRUE(event.body.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
}

class ProviderBridges : public Doors {
 protected:
  ProviderWork wait_for(ProviderWork::Kind kind) {
    ProviderWork found;
    EXPECT_TRUE(listen_until([&] {
      for (auto& work : bridge->drain_provider()) {
        if (work.kind != kind) continue;
        found = std::move(work);
        return true;
      }
      return false;
    }));
    return found;
  }
  bool data(std::uint64_t call, std::string bytes) {
    ProviderAnswer answer;
    answer.data = std::move(bytes);
    return bridge->answer(call, std::move(answer));
  }
  bool head(std::uint64_t call, std::string type) {
    ProviderAnswer answer;
    answer.status = 200;
    answer.headers = {{"content-type", std::move(type)}};
    return bridge->answer(call, std::move(answer));
  }
  bool end(std::uint64_t call) {
    ProviderAnswer answer;
    answer.end = true;
    return bridge->answer(call, std::move(answer));
  }
};

TEST_F(ProviderBridges, AProviderServesACallOnItsLoop) {
  EngineOptions given = options(to_python());
  given.loops = 2;
  open(std::move(given));
  for (int i = 0; i < 4; ++i) {
    const std::uint64_t id = submit(kPlainRequest);
    const std::uint64_t call = wait_for(ProviderWork::Kind::serve).request.call_id;
    EXPECT_TRUE(head(call, "application/json"));
    EXPECT_TRUE(data(call, kAnswer));
    EXPECT_TRUE(end(call));
    ASSERT_TRUE(listen_to_end_of(id));
    EXPECT_EQ(heard[id].text, kAnswer);
    EXPECT_TRUE(data(call, "late")) << "a call that has ended is ignored";
  }
}

TEST_F(ProviderBridges, AProviderWithoutCreditWaitsForItsResume) {
  open(to_python());
  const std::uint64_t id = submit(kStreamRequest);
  const std::uint64_t call = wait_for(ProviderWork::Kind::serve).request.call_id;
  head(call, "text/event-stream");
  std::string events;
  while (events.size() < ProviderCredit::kMostBytes) events += kDelta;
  EXPECT_FALSE(data(call, events)) << "full";
  bridge->taken(id, 1 << 20);
  EXPECT_EQ(wait_for(ProviderWork::Kind::resume).request.call_id, call);
  EXPECT_TRUE(data(call, kDone));
  end(call);
  ASSERT_TRUE(listen_to_end_of(id));
  EXPECT_TRUE(heard[id].text.ends_with(kDone));
}

TEST_F(ProviderBridges, CancellingTellsTheProvider) {
  open(to_python());
  const std::uint64_t id = submit(kStreamRequest);
  const std::uint64_t call = wait_for(ProviderWork::Kind::serve).request.call_id;
  bridge->cancel(id);
  EXPECT_EQ(wait_for(ProviderWork::Kind::withdraw).request.call_id, call);
  EXPECT_TRUE(data(call, "late"));
}

TEST_F(ProviderBridges, TheQueueToPythonIsBounded) {
  SnapshotText text = to_python();
  text.limits.replace(text.limits.find("\"in_flight\":100"), 15, "\"in_flight\":9999");
  open(text);
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 4100; ++i) ids.push_back(std::get<std::uint64_t>(ask(kPlainRequest)));
  bridge->flush();
  ASSERT_TRUE(listen_until([&] { return heard.size() == 4; }))
      << "those over 4096 are refused, the others wait";
  for (const auto& [id, ending] : heard) EXPECT_EQ(ending.status, 503);
  EXPECT_EQ(engine->in_flight(), 4096);
  EXPECT_EQ(bridge->drain_provider().size(), 4096U);
}

TEST_F(ProviderBridges, ADeadlineOnTheManualClockEndsASilentProvider) {
  open(to_python());
  const std::uint64_t id = submit(kPlainRequest);
  const std::uint64_t call = wait_for(ProviderWork::Kind::serve).request.call_id;
  ASSERT_TRUE(listen_until([&] {
    pass(std::chrono::seconds{1});
    return heard[id].ended;
  }));
  EXPECT_EQ(heard[id].status, 504);
  EXPECT_EQ(wait_for(ProviderWork::Kind::withdraw).request.call_id, call);
}

}  // namespace
}  // namespace sentinel::engine
