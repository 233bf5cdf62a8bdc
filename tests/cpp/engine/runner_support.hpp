// A runner on a manual clock between a scripted upstream and a client that records what it hears.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engine/support.hpp"
#include "net/test_server.hpp"
#include "sentinel/engine/runner.hpp"

namespace sentinel::engine {

using net::Peer;
using net::Signal;
using net::TestServer;

// The condition depends on another thread's doing: it is asked again every millisecond.
template <class Condition>
bool eventually(Condition condition) {
  const auto give_up = std::chrono::steady_clock::now() + net::kTestPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    ::poll(nullptr, 0, 1);
  }
  return true;
}

class Recorder final : public ClientSide {
 public:
  void reply(Reply reply) override {
    const std::lock_guard lock(mutex_);
    status_ = reply.status;
    headers_ = std::move(reply.headers);
    text_ += reply.body;
    ++ends_;
    changed_.notify_all();
  }
  void begin(int status, HeaderList headers) override {
    const std::lock_guard lock(mutex_);
    EXPECT_EQ(status_, 0) << "a stream begins once";
    status_ = status;
    headers_ = std::move(headers);
  }
  void data(std::string bytes) override {
    const std::lock_guard lock(mutex_);
    EXPECT_EQ(ends_, 0);
    text_ += bytes;
    if (taking_) taking_->runner().taken(taking_, static_cast<std::int64_t>(bytes.size()));
    changed_.notify_all();
  }
  void end() override {
    const std::lock_guard lock(mutex_);
    ++ends_;
    changed_.notify_all();
  }

  // From now on it takes what comes; before it is submitted.
  void take(std::shared_ptr<Flow> flow) { taking_ = std::move(flow); }

  template <class Condition>
  bool wait(Condition condition, std::chrono::milliseconds patience = net::kTestPatience) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [&] { return condition(text_, ends_); });
  }
  bool wait_for_end(std::chrono::milliseconds patience = net::kTestPatience) {
    return wait([](const std::string&, int ends) { return ends > 0; }, patience);
  }
  bool wait_for_text(std::string_view part) {
    return wait([part](const std::string& text, int) { return text.find(part) != std::string::npos; });
  }

  std::string text() {
    const std::lock_guard lock(mutex_);
    return text_;
  }
  int status() {
    const std::lock_guard lock(mutex_);
    return status_;
  }
  int ends() {
    const std::lock_guard lock(mutex_);
    return ends_;
  }
  std::string header(std::string_view name) {
    const std::lock_guard lock(mutex_);
    return find_header(headers_, name);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int status_ = 0;
  HeaderList headers_;
  std::string text_;
  int ends_ = 0;
  std::shared_ptr<Flow> taking_;
};

inline const std::string kPlainRequest = R"({"model":"gpt","messages":[{"role":"user","content":"hello"}]})";
inline const std::string kStreamRequest =
    R"({"model":"gpt","stream":true,"messages":[{"role":"user","content":"hello"}]})";
inline const std::string kAnswer =
    R"({"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5}})";
inline const std::string kDelta = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n";
inline const std::string kUsageChunk =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\n";
inline const std::string kDone = "data: [DONE]\n\n";
inline const std::string kStreamHead =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nX-Request-Id: "
    "up-1\r\n\r\n";
inline const std::string kLastChunk = "0\r\n\r\n";

// An answer of which every member is known, in both forms.
inline const std::string kWholeAnswer =
    R"({"id":"c1","object":"chat.completion","created":1700000000,"model":"gpt","choices":[{"index":0,)"
    R"("message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],)"
    R"("usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}})";
inline std::string known_chunk(const std::string& choices, const std::string& more = {}) {
  return R"(data: {"id":"c1","object":"chat.completion.chunk","created":1700000000,"model":"gpt","choices":[)" +
         choices + "]" + more + "}\n\n";
}
inline const std::string kWholeRole =
    known_chunk(R"({"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null})");
inline const std::string kWholeDelta =
    known_chunk(R"({"index":0,"delta":{"content":"Hello"},"finish_reason":null})");
inline const std::string kWholeStop = known_chunk(R"({"index":0,"delta":{},"finish_reason":"stop"})");
inline const std::string kWholeUsage =
    known_chunk("", R"(,"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15})");
inline const std::string kWholeText = kWholeRole + kWholeDelta + kWholeStop;  // without usage and the end

inline std::string chunk(const std::string& text) {
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", text.size());
  return size + text + "\r\n";
}

inline std::string stream_reply(const std::string& events) {
  return kStreamHead + chunk(events) + kLastChunk;
}

inline std::string plain_reply(int status, const std::string& body,
                               const std::string& type = "application/json") {
  return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Type: " + type +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// An upstream that keeps its connections, and what it was asked. A script that returns false hangs up.
class ScriptedUpstream {
 public:
  using Script = std::function<bool(Peer& peer, int nth)>;  // the nth request, over all connections

  explicit ScriptedUpstream(Script script) : script_(std::move(script)) {}
  // Answers the nth request with the nth text, all later ones with the last.
  explicit ScriptedUpstream(std::vector<std::string> answers)
      : ScriptedUpstream([answers](Peer& peer, int nth) {
          const auto last = answers.size() - 1;
          return peer.send(answers[std::min(static_cast<std::size_t>(nth), last)]);
        }) {}

  std::uint16_t port() const { return server_.port(); }
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  int count() { return static_cast<int>(requests().size()); }
  bool wait_for(int count) {
    return eventually([this, count] { return this->count() >= count; });
  }

 private:
  void serve(Peer& peer) {
    for (std::string request = peer.read_request(); !request.empty(); request = peer.read_request()) {
      int nth = 0;
      {
        const std::lock_guard lock(mutex_);
        nth = static_cast<int>(requests_.size());
        requests_.push_back(std::move(request));
      }
      if (!script_(peer, nth)) return;
    }
  }

  const Script script_;
  std::mutex mutex_;
  std::vector<std::string> requests_;
  TestServer server_{[this](Peer& peer, int) { serve(peer); }};
};

struct Asking {
  std::string body = kPlainRequest;
  std::string_view key = kCredential;
  std::vector<HeaderView> headers = {};  // beside the key
  Endpoint endpoint = Endpoint::chat;
  bool takes = true;  // what comes, at once
  std::shared_ptr<ProviderPort> provider = nullptr;
};

struct Asked {
  std::shared_ptr<Flow> flow;  // null: it was answered without a loop
  std::shared_ptr<Recorder> heard;
};

class Runners : public ::testing::Test {
 protected:
  void SetUp() override { runner.start(); }
  void TearDown() override {
    runner.stop_all(StopReason::shutdown);
    runner.join();
    EXPECT_EQ(service.pipeline.in_flight(), 0);
  }

  // As a door does it.
  Asked ask(Asking asking) {
    asking.headers.push_back({"x-api-key", asking.key});
    const RequestHead head{asking.endpoint, "/v1/chat/completions", "", asking.headers, "127.0.0.1"};
    auto exchange = service.pipeline.decide(service.lane, head, padded(asking.body), clock.now());
    const auto recorder = std::make_shared<Recorder>();
    if (exchange->reply) {
      service.pipeline.finish(service.lane, *exchange, clock.now());
      recorder->reply(std::move(*exchange->reply));
      return {nullptr, recorder};
    }
    auto live = runner.prepare(std::move(exchange), recorder, std::move(asking.provider));
    auto flow = live->flow;
    if (asking.takes) recorder->take(flow);
    std::vector<std::unique_ptr<Live>> batch;
    batch.push_back(std::move(live));
    runner.submit(std::move(batch));
    return {flow, recorder};
  }

  std::shared_ptr<Flow> start(const std::string& body, std::shared_ptr<ProviderPort> provider = nullptr,
                              Endpoint endpoint = Endpoint::chat) {
    Asking asking{.body = body};
    asking.endpoint = endpoint;
    asking.takes = false;
    asking.provider = std::move(provider);
    Asked asked = ask(std::move(asking));
    EXPECT_TRUE(asked.flow) << asked.heard->text();
    client = asked.heard;
    return asked.flow;
  }

  // All that was posted to the loop before has been done.
  void let_the_loop_catch_up() {
    Signal done;
    runner.loop().post([&done] { done.set(); });
    EXPECT_TRUE(done.wait());
  }

  void leave(const Asked& asked) {
    runner.stop(asked.flow, StopReason::client_gone);
    let_the_loop_catch_up();
  }

  void pass(Duration time) {
    clock.advance(time);
    runner.loop().tick_now();
    let_the_loop_catch_up();
  }

  // Lets time pass, a second at a time, until the client has its end.
  bool pass_until_end() {
    const auto give_up = std::chrono::steady_clock::now() + net::kTestPatience;
    while (!client->wait_for_end(std::chrono::milliseconds{1})) {
      if (std::chrono::steady_clock::now() > give_up) return false;
      clock.advance(std::chrono::seconds{1});
      runner.loop().tick_now();
    }
    return true;
  }

  // What is left of exactly one exchange once its client has heard the end.
  journal::UsageRecord only_record() {
    EXPECT_EQ(client->ends(), 1);
    EXPECT_EQ(service.pipeline.in_flight(), 0);
    const auto records = service.ledger.records();
    EXPECT_EQ(records.size(), 1U);
    return records.empty() ? journal::UsageRecord{} : records.front();
  }

  Service service;
  ManualClock clock;
  std::atomic<int> ended{0};
  Runner runner{service.pipeline, clock, service.registry, 1, 1, [this] { ++ended; }};
  std::shared_ptr<Recorder> client;
};

}  // namespace sentinel::engine
