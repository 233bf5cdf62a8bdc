// A runner on a manual clock between a scripted upstream and a client that records what it hears.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
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
    changed_.notify_all();
  }
  void end() override {
    const std::lock_guard lock(mutex_);
    ++ends_;
    changed_.notify_all();
  }

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

inline std::string chunk(const std::string& text) {
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", text.size());
  return size + text + "\r\n";
}

inline std::string plain_reply(int status, const std::string& body,
                               const std::string& type = "application/json") {
  return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Type: " + type +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

class Runners : public ::testing::Test {
 protected:
  void SetUp() override { runner.start(); }
  void TearDown() override {
    runner.stop_all(StopReason::shutdown);
    runner.join();
    EXPECT_EQ(service.pipeline.in_flight(), 0);
  }

  std::shared_ptr<Flow> start(const std::string& body, std::shared_ptr<ProviderPort> provider = nullptr,
                              Endpoint endpoint = Endpoint::chat) {
    const std::vector<HeaderView> headers{{"x-api-key", kCredential}};
    const RequestHead head{endpoint, "/v1/chat/completions", "", headers};
    auto exchange = service.pipeline.decide(service.lane, head, padded(body), clock.now());
    EXPECT_FALSE(exchange->reply) << exchange->reply->body;
    client = std::make_shared<Recorder>();
    auto live = runner.prepare(std::move(exchange), client, std::move(provider));
    auto flow = live->flow;
    std::vector<std::unique_ptr<Live>> batch;
    batch.push_back(std::move(live));
    runner.submit(std::move(batch));
    return flow;
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
