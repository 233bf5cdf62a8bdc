// The whole engine: one per directory, closed without a rest, drained in order, keys that end at once, dead after a fork.
#include "sentinel/engine/engine.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "engine/door_support.hpp"

namespace sentinel::engine {
namespace {

using std::chrono::seconds;

class Engines : public Doors {
 protected:
  // A stream under way that its upstream will never end.
  std::uint64_t running_stream() {
    const std::uint64_t id = submit(kStreamRequest);
    EXPECT_TRUE(listen_until([&] { return heard[id].text.find("Hel") != std::string::npos; }));
    return id;
  }

  TestServer server{[](Peer& peer, int) {
    peer.read_request();
    peer.send(kStreamHead + chunk(kDelta));
    peer.wait_for_hang_up();
  }};
};

TEST_F(Engines, ASecondOneOnTheSameDirectoryIsRefusedUntilTheFirstCloses) {
  open();
  const auto second = Engine::start(options());
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find(directory.path()), std::string::npos);
  EXPECT_NE(second.error().message.find("data_dir"), std::string::npos) << "it names the fix";
  engine->close();
  EXPECT_TRUE(Engine::start(options()));
}

TEST_F(Engines, StartNamesWhatIsWrongAndLeavesTheDirectoryFree) {
  EngineOptions bad = options();
  bad.snapshot = "{}";
  const auto started = Engine::start(std::move(bad));
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().param, "limits.body_bytes");
  EngineOptions nowhere = options();
  nowhere.data_dir = "/proc/nowhere";
  EXPECT_FALSE(Engine::start(std::move(nowhere)));
  EngineOptions no_database = options();
  no_database.usage_database = "/proc/nowhere/usage.db";
  EXPECT_FALSE(Engine::start(std::move(no_database)));
  open();
}

std::size_t entries_of(const char* directory) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) ++count;
  return count;
}

TEST_F(Engines, FiftyStartsAndClosesLeakNoThreadAndNoDescriptor) {
  const auto once = [this] {
    open(leading_to(server.port()));
    running_stream();
    bridge->close();
    engine->close();
    bridge.reset();
    engine.reset();
    heard.clear();
  };
  once();
  const std::size_t threads = entries_of("/proc/self/task");
  const std::size_t descriptors = entries_of("/proc/self/fd");
  for (int i = 0; i < 50; ++i) once();
  // The scripted server's own ends close in its own time.
  EXPECT_TRUE(eventually([&] { return entries_of("/proc/self/fd") <= descriptors; }))
      << entries_of("/proc/self/fd");
  EXPECT_TRUE(eventually([&] { return entries_of("/proc/self/task") <= threads + 51; }))
      << "threads of ended sessions aside";
}

TEST_F(Engines, CloseWithoutADrainEndsRunningStreamsWithAnErrorEvent) {
  open(leading_to(server.port()));
  const std::uint64_t id = running_stream();
  engine->close();
  engine->close();
  take_events();
  EXPECT_TRUE(heard[id].ended);
  EXPECT_NE(heard[id].text.find("server_shutting_down"), std::string::npos);
  EXPECT_EQ(engine->in_flight(), 0);
  EXPECT_EQ(engine->ledger().committed, 1U);
  EXPECT_EQ(engine->drain_state(), DrainState::stopped);
  EXPECT_EQ(refused(kPlainRequest).status, 503);
}

TEST_F(Engines, AfterCloseEveryCallIsWithoutEffect) {
  open();
  engine->close();
  engine->tick();
  engine->begin_drain(true);
  engine->note_end();
  EXPECT_TRUE(engine->put_keys("[" + key_text("x", "y") + "]"));
  EXPECT_TRUE(engine->remove_key("x"));
  EXPECT_FALSE(engine->alive());
  EXPECT_FALSE(engine->metrics().empty());
}

TEST_F(Engines, ARemovedKeysStreamsEndAtOnce) {
  open(leading_to(server.port()));
  const std::uint64_t id = running_stream();
  EXPECT_TRUE(engine->remove_key("ci"));
  ASSERT_TRUE(listen_to_end_of(id));
  EXPECT_NE(heard[id].text.find("key_revoked"), std::string::npos);
  EXPECT_EQ(refused(kPlainRequest).status, 401);
  EXPECT_FALSE(engine->remove_key("ci"));
}

TEST_F(Engines, AKeyLeftOutOfAReplacementEndsItsStreamsAndOthersGoOn) {
  open(leading_to(server.port()));
  const std::uint64_t id = running_stream();
  ASSERT_TRUE(
      engine->replace_keys("[" + key_text("ci", kCredential) + "," + key_text("other", "other") + "]"));
  ASSERT_TRUE(engine->replace_keys("[" + key_text("other", "other") + "]"));
  ASSERT_TRUE(listen_to_end_of(id));
  EXPECT_NE(heard[id].text.find("key_revoked"), std::string::npos);
}

TEST_F(Engines, ANewCredentialForAKeyEndsTheStreamsOfTheOldOne) {
  open(leading_to(server.port()));
  const std::uint64_t id = running_stream();
  ASSERT_TRUE(engine->put_keys("[" + key_text("ci", "rolled-over-credential") + "]"));
  ASSERT_TRUE(listen_to_end_of(id));
  EXPECT_NE(heard[id].text.find("key_revoked"), std::string::npos);
}

TEST_F(Engines, ABadConfigurationChangesNothing) {
  open(leading_to(server.port()));
  const auto before = engine->snapshot();
  EXPECT_FALSE(engine->configure("{}"));
  EXPECT_EQ(engine->snapshot(), before);
  ASSERT_TRUE(engine->configure(leading_to(server.port()).str()));
  EXPECT_NE(engine->snapshot(), before);
  running_stream();
}

TEST_F(Engines, TheInFlightGaugeCountsWhatRuns) {
  open(leading_to(server.port()));
  running_stream();
  EXPECT_NE(engine->metrics().find("\nsentinel_in_flight 1"), std::string::npos) << engine->metrics();
}

class Restarts : public Doors {
 protected:
  SnapshotText text(std::uint16_t port) {
    SnapshotText given;
    given.upstreams =
        "[" +
        SnapshotText::upstream(
            "up", "openai", "http://127.0.0.1:" + std::to_string(port),
            R"(,"breaker":{"enabled":true,"window_calls":2,"minimum_calls":2,"open_wait_us":5000000,"jitter_percent":0})") +
        "]";
    given.more = R"(,"accounts":[{"id":"acme","rules":{"rates":["3/min"]}}])";
    return given;
  }
  void restart(const SnapshotText& given) {
    bridge->close();
    bridge.reset();
    engine.reset();
    heard.clear();
    open(given);
  }
  int answered() {
    auto submitted = ask(kPlainRequest);
    bridge->flush();
    if (auto* event = std::get_if<BridgeEvent>(&submitted)) return event->status;
    const std::uint64_t id = std::get<std::uint64_t>(submitted);
    EXPECT_TRUE(listen_to_end_of(id));
    return heard[id].status;
  }
};

TEST_F(Restarts, B25LimitsSurviveARestart) {
  ScriptedUpstream upstream({plain_reply(200, kAnswer)});
  open(text(upstream.port()));
  for (int i = 0; i < 2; ++i) EXPECT_EQ(answered(), 200);
  restart(text(upstream.port()));
  EXPECT_EQ(answered(), 200);
  EXPECT_EQ(answered(), 429);
  clock->advance(seconds{20});
  EXPECT_EQ(answered(), 200) << "a third of a minute gives one back";
}

TEST_F(Restarts, B25BreakersSurviveARestart) {
  ScriptedUpstream upstream({plain_reply(500, "{}"), plain_reply(500, "{}"), plain_reply(200, kAnswer)});
  open(text(upstream.port()));
  for (int i = 0; i < 2; ++i) EXPECT_EQ(answered(), 500);
  restart(text(upstream.port()));
  EXPECT_EQ(answered(), 503);
  EXPECT_EQ(upstream.count(), 2);
  EXPECT_NE(engine->metrics().find("sentinel_breaker_state{target=\"up/*\"} 2"), std::string::npos);
  clock->advance(seconds{5});
  EXPECT_EQ(answered(), 200);
}

TEST_F(Restarts, TheStateIsWrittenEverySecondSoThatAKillLosesLittle) {
  ScriptedUpstream upstream({plain_reply(200, kAnswer)});
  open(text(upstream.port()));
  EXPECT_EQ(answered(), 200);
  const auto kept = [this] { return StateFile(directory.path() + "/state").load(); };
  const std::string before = (*kept())->limits;
  pass(seconds{1});
  EXPECT_TRUE(eventually([&] { return kept() && (*kept())->limits != before; })) << "without a close";
}

TEST_F(Restarts, ADamagedStateIsNoReasonNotToStart) {
  ScriptedUpstream upstream({plain_reply(200, kAnswer)});
  open(text(upstream.port()));
  engine->close();
  std::filesystem::resize_file(directory.path() + "/state", 10);
  restart(text(upstream.port()));
  EXPECT_EQ(answered(), 200);
}

TEST_F(Restarts, AReloadKeepsLimitsAndBreakers) {
  ScriptedUpstream upstream({plain_reply(500, "{}")});
  open(text(upstream.port()));
  for (int i = 0; i < 2; ++i) EXPECT_EQ(answered(), 500);
  ASSERT_TRUE(engine->configure(text(upstream.port()).str()));
  EXPECT_EQ(answered(), 503) << "the breaker is open still";
  EXPECT_EQ(upstream.count(), 2);
}

TEST_F(Restarts, OneQuestionMeetsItselfWhicheverLoopTakesIt) {
  Signal go;
  ScriptedUpstream upstream([&go](Peer& peer, int) {
    go.wait();
    return peer.send(plain_reply(200, kAnswer));
  });
  EngineOptions given = options(keeping(leading_to(upstream.port()), R"({"ttl_us":0})"));
  given.loops = 4;
  open(std::move(given));
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(submit(kPlainRequest));
  ASSERT_TRUE(upstream.wait_for(1));
  go.set();
  for (const auto id : ids) {
    ASSERT_TRUE(listen_to_end_of(id));
    EXPECT_EQ(heard[id].text, kAnswer);
  }
  EXPECT_EQ(upstream.count(), 1);
}

class Drains : public Engines {
 protected:
  void SetUp() override {
    EngineOptions given = options(leading_to(server.port()));
    given.drain_delay = seconds{5};
    given.drain_timeout = seconds{10};
    given.loops = 2;
    open(std::move(given));
  }
  bool comes_to(DrainState state) {
    return eventually([&] { return engine->drain_state() == state; });
  }
};

TEST_F(Drains, AnnounceServeRefuseAbortStop) {
  const std::uint64_t id = running_stream();
  engine->begin_drain(true);
  ASSERT_TRUE(comes_to(DrainState::announced));
  const std::uint64_t late = running_stream();
  EXPECT_EQ(find_header(heard[late].headers, "connection"), "close");
  pass(seconds{6});
  ASSERT_TRUE(comes_to(DrainState::refusing));
  const BridgeEvent event = refused(kPlainRequest);
  EXPECT_EQ(event.status, 503);
  EXPECT_EQ(Json(event.body).text("/error/code"), "server_shutting_down");
  EXPECT_FALSE(heard[id].ended);
  pass(seconds{8});
  EXPECT_FALSE(heard[id].ended);
  pass(seconds{2});
  for (const std::uint64_t running : {id, late}) {
    ASSERT_TRUE(listen_to_end_of(running));
    EXPECT_NE(heard[running].text.find("server_shutting_down"), std::string::npos);
  }
  ASSERT_TRUE(comes_to(DrainState::stopped));
  EXPECT_EQ(engine->in_flight(), 0);
}

TEST_F(Drains, TheLastOneThatFinishesEndsIt) {
  const std::uint64_t id = running_stream();
  engine->begin_drain(false);
  ASSERT_TRUE(comes_to(DrainState::refusing));
  bridge->cancel(id);
  EXPECT_TRUE(comes_to(DrainState::stopped)) << "without the clock moving";
}

TEST_F(Drains, AnIdleEngineStopsAtOnceWithoutADelay) {
  engine->begin_drain(false);
  EXPECT_TRUE(comes_to(DrainState::stopped));
}

TEST_F(Drains, ARefusalDuringTheDrainDoesNotHoldItUp) {
  const std::uint64_t id = running_stream();
  engine->begin_drain(false);
  ASSERT_TRUE(comes_to(DrainState::refusing));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(refused(kPlainRequest).status, 503);
  bridge->cancel(id);
  EXPECT_TRUE(comes_to(DrainState::stopped));
}

TEST_F(Drains, CloseInTheMiddleOfADrainReturns) {
  running_stream();
  engine->begin_drain(true);
  engine->close();
  EXPECT_EQ(engine->in_flight(), 0);
  EXPECT_EQ(engine->drain_state(), DrainState::stopped);
}

#ifndef __SANITIZE_THREAD__
TEST_F(Engines, InAForkedChildTheEngineIsDeadAndTheParentsLives) {
  open(leading_to(server.port()));
  const std::uint64_t id = running_stream();
  const pid_t child = ::fork();
  if (child == 0) {
    bool dead = !engine->alive();
    const auto answered = ask(kPlainRequest);
    const auto* event = std::get_if<BridgeEvent>(&answered);
    dead = dead && event != nullptr && event->status == 503;
    engine->tick();
    engine->begin_drain(false);
    engine->close();
    engine->tick();
    ::_exit(dead ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_TRUE(engine->alive());
  bridge->cancel(id);
  EXPECT_TRUE(eventually([this] { return engine->in_flight() == 0; }));
}
#endif

}  // namespace
}  // namespace sentinel::engine
