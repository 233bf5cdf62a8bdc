// An engine with one bridge in front of it, on a manual clock, as a door sees it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/runner_support.hpp"
#include "sentinel/engine/bridge.hpp"
#include "sentinel/engine/engine.hpp"

namespace sentinel::engine {

struct Heard {
  int status = 0;
  HeaderList headers;
  std::string text;
  bool ended = false;
};

class Doors : public ::testing::Test {
 protected:
  ~Doors() override {
    bridge.reset();
    engine.reset();
    ::close(log);
  }

  EngineOptions options(const SnapshotText& text = {}) {
    EngineOptions given;
    given.snapshot = text.str();
    given.pepper = kPepper;
    given.data_dir = directory.path();
    given.vocabulary_directory = vocabulary_directory();
    given.log_descriptor = log;
    given.manual_clock = clock;
    return given;
  }

  void open(EngineOptions given) {
    auto started = Engine::start(std::move(given));
    ASSERT_TRUE(started) << started.error().message;
    engine = std::move(*started);
    ASSERT_TRUE(engine->put_keys("[" + key_text("ci", kCredential) + "]"));
    bridge = *Bridge::open(*engine, true);
  }
  void open(const SnapshotText& text = {}) { open(options(text)); }

  static SnapshotText to_python() {
    SnapshotText text;
    text.upstreams = "[" + SnapshotText::upstream("up", "python", "") + "]";
    return text;
  }

  Bridge::Submitted ask(const std::string& body, std::string_view key = kCredential) {
    const std::vector<HeaderView> headers{{"x-api-key", key}};
    return bridge->submit({Endpoint::chat, "/v1/chat/completions", "", headers, ""}, padded(body));
  }
  std::uint64_t submit(const std::string& body) {
    auto submitted = ask(body);
    bridge->flush();
    EXPECT_TRUE(std::holds_alternative<std::uint64_t>(submitted));
    return std::get<std::uint64_t>(submitted);
  }
  BridgeEvent refused(const std::string& body, std::string_view key = kCredential) {
    auto submitted = ask(body, key);
    EXPECT_TRUE(std::holds_alternative<BridgeEvent>(submitted));
    return std::get<BridgeEvent>(std::move(submitted));
  }

  void take_events() {
    for (BridgeEvent& event : bridge->drain()) {
      Heard& heard_here = heard[event.id];
      EXPECT_FALSE(heard_here.ended) << "nothing comes after the end";
      if (event.status != 0) {
        EXPECT_EQ(heard_here.status, 0);
        heard_here.status = event.status;
        heard_here.headers = std::move(event.headers);
      }
      heard_here.text += event.body;
      heard_here.ended = !event.more;
    }
  }
  template <class Condition>
  bool listen_until(Condition condition) {
    return eventually([&] {
      take_events();
      return condition();
    });
  }
  bool listen_to_end_of(std::uint64_t id) {
    return listen_until([this, id] { return heard[id].ended; });
  }

  void pass(Duration time) {
    clock->advance(time);
    engine->tick();
  }

  bool is_signalled() const {
    pollfd wanted{bridge->descriptor(), POLLIN, 0};
    return ::poll(&wanted, 1, 0) == 1;
  }

  TemporaryDirectory directory;
  const int log = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>();
  std::unique_ptr<Engine> engine;
  std::shared_ptr<Bridge> bridge;
  std::map<std::uint64_t, Heard> heard;
};

}  // namespace sentinel::engine
