// The client side of the upstream tests: a loop on a manual clock, driven by the test's own thread.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/test_server.hpp"
#include "sentinel/base/clock.hpp"
#include "sentinel/net/loop.hpp"
#include "sentinel/net/upstream.hpp"

namespace sentinel::net {

inline const std::string kGet = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
inline const std::string kPost = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\n";

// One call and all that came of it.
struct Exchange {
  Exchange(UpstreamPool& pool, Origin origin_in, const Timeouts& timeouts = kUsual)
      : origin(std::move(origin_in)), call(std::in_place, pool, origin, timeouts) {}

  static constexpr Timeouts kUsual{std::chrono::seconds{2}, std::chrono::seconds{60},
                                   std::chrono::seconds{30}, std::chrono::minutes{10}};

  Origin origin;
  std::optional<UpstreamCall> call;
  std::optional<ResponseHead> head;
  std::string body;
  std::vector<std::string> pieces;
  std::optional<Error> error;
  bool done = false;

  std::string message() const { return error ? error->message : std::string("no error"); }
  ErrorCode code() const { return error ? error->code : ErrorCode::internal_error; }
};

inline Awaitable<void> send_only(Exchange& exchange, std::string head, std::string body) {
  Result<ResponseHead> got = co_await exchange.call->send(head, body);
  if (got) {
    exchange.head = *std::move(got);
  } else {
    exchange.error = got.error();
  }
  exchange.done = true;
}

inline Awaitable<void> read_all(Exchange& exchange) {
  for (;;) {
    Result<std::string_view> got = co_await exchange.call->read();
    if (!got) exchange.error = got.error();
    if (!got || got->empty()) break;
    exchange.body += *got;
    exchange.pieces.emplace_back(*got);
  }
  exchange.done = true;
}

inline Awaitable<void> whole(Exchange& exchange, std::string head, std::string body) {
  co_await send_only(exchange, std::move(head), std::move(body));
  exchange.done = exchange.error.has_value();
  if (!exchange.done) co_await read_all(exchange);
}

class Client : public ::testing::Test {
 protected:
  ManualClock clock;
  Loop loop{clock};
  UpstreamPool pool{loop};

  static Origin origin_of(const TestServer& server, std::size_t max_connections = 8) {
    Origin origin;
    origin.tls = false;
    origin.host = "127.0.0.1";
    origin.port = server.port();
    origin.allow_private = true;
    origin.max_connections = max_connections;
    return origin;
  }

  // Turns the loop until the condition holds; the condition may be about another thread's doing.
  template <class Condition>
  bool turn_until(Condition condition) {
    const auto give_up = std::chrono::steady_clock::now() + kTestPatience;
    while (!condition()) {
      loop.context().run_one_for(std::chrono::milliseconds{1});
      if (std::chrono::steady_clock::now() > give_up) return false;
    }
    return true;
  }

  void turn_until_done(Exchange& exchange) {
    ASSERT_TRUE(turn_until([&exchange] { return exchange.done; })) << "the call did not end";
  }

  // Everything that is ready runs; nothing is waited for.
  void settle() {
    while (loop.context().poll() > 0) {
    }
  }

  void pass(Duration time) {
    clock.advance(time);
    loop.tick_now();
    settle();
  }

  void fetch(Exchange& exchange, const std::string& head = kGet, const std::string& body = {}) {
    loop.spawn(whole(exchange, head, body));
    turn_until_done(exchange);
  }

  void read_rest(Exchange& exchange) {
    exchange.done = false;
    loop.spawn(read_all(exchange));
    turn_until_done(exchange);
  }

  void expect_reply(Exchange& exchange, std::string_view body) {
    ASSERT_FALSE(exchange.error) << exchange.message();
    EXPECT_EQ(exchange.head->status, 200);
    EXPECT_EQ(exchange.body, body);
    EXPECT_TRUE(exchange.call->complete());
  }

  // Ends with the call torn down and nothing left in the pool's books.
  void expect_nothing_open() {
    EXPECT_TRUE(turn_until([this] { return pool.stats().open == 0; })) << pool.stats().open << " still open";
    EXPECT_EQ(pool.stats().idle, 0U);
    EXPECT_EQ(pool.stats().waiting, 0U);
  }
};

}  // namespace sentinel::net
