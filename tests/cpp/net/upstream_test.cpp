// The upstream client against a real server: what it gets, how it ends, and what it leaves behind.
#include "sentinel/net/upstream.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "net/test_client.hpp"
#include "net/test_server.hpp"
#include "sentinel/net/resolver.hpp"

namespace sentinel::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

const std::string kPlain = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const std::string kChunkedHead = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const std::string kEmpty = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

// Answers every request of a connection alike.
TestServer::Script always(const std::string& reply) {
  return [reply](Peer& peer, int) {
    while (!peer.read_request().empty()) peer.send(reply);
  };
}

class Upstream : public Client {};

TEST_F(Upstream, APlainReplyComesWholeAndItsRequestArrivedWhole) {
  std::string seen;
  TestServer server([&seen](Peer& peer, int) {
    seen = peer.read_request();
    peer.send(kPlain);
    peer.wait_for_hang_up();
  });
  Exchange exchange(pool, origin_of(server));
  EXPECT_FALSE(exchange.call->sent());
  fetch(exchange, kPost, "body");
  expect_reply(exchange, "hello");
  EXPECT_EQ(exchange.head->find("content-length"), "5");
  EXPECT_TRUE(exchange.call->sent());
  EXPECT_FALSE(exchange.call->connection_reused());
  EXPECT_EQ(seen, kPost + "body");
}

TEST_F(Upstream, ChunksOfOneReadComeAsOneViewAndLaterOnesAsTheyArrive) {
  Signal first_read;
  TestServer server([&first_read](Peer& peer, int) {
    peer.read_request();
    peer.send(kChunkedHead + "3\r\nabc\r\n3\r\ndef\r\n");
    first_read.wait();
    peer.send("3\r\nghi\r\n0\r\n\r\n");
    peer.wait_for_hang_up();
  });
  Exchange exchange(pool, origin_of(server));
  loop.spawn(whole(exchange, kGet, {}));
  ASSERT_TRUE(turn_until([&exchange] { return exchange.body == "abcdef"; }))
      << "streamed bytes are not held back";
  EXPECT_FALSE(exchange.done);
  first_read.set();
  turn_until_done(exchange);
  expect_reply(exchange, "abcdefghi");
  EXPECT_EQ(pool.stats().idle, 1U);
}

TEST_F(Upstream, ABodyThatEndsWithTheConnectionIsWhole) {
  TestServer server([](Peer& peer, int) {
    peer.read_request();
    peer.send("HTTP/1.1 200 OK\r\n\r\ndata: x\n\n");
  });
  Exchange exchange(pool, origin_of(server));
  fetch(exchange);
  expect_reply(exchange, "data: x\n\n");
  expect_nothing_open();
}

TEST_F(Upstream, LargeBodiesPassBothWays) {
  const std::string large(3'000'000, 'x');
  TestServer server([&large](Peer& peer, int) {
    const std::string request = peer.read_request();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(large.size()) + "\r\n\r\n");
    peer.send(request.substr(request.size() - large.size()));
    peer.wait_for_hang_up();
  });
  Exchange exchange(pool, origin_of(server));
  fetch(exchange, "POST / HTTP/1.1\r\nContent-Length: " + std::to_string(large.size()) + "\r\n\r\n", large);
  ASSERT_FALSE(exchange.error) << exchange.message();
  EXPECT_TRUE(exchange.body == large);
}

TEST_F(Upstream, RedirectsAreRepliesAndNotFollowed) {
  TestServer server(
      always("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"));
  Exchange exchange(pool, origin_of(server));
  fetch(exchange);
  EXPECT_EQ(exchange.head->status, 302);
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(Upstream, AReplyToHeadHasNoBodyAndKeepsTheConnection) {
  TestServer server(always("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"));
  for (int i = 0; i < 2; ++i) {
    Exchange exchange(pool, origin_of(server));
    fetch(exchange, "HEAD / HTTP/1.1\r\n\r\n");
    expect_reply(exchange, "");
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(Upstream, KeepAliveReusesOneConnection) {
  TestServer server(always(kPlain));
  for (int i = 0; i < 5; ++i) {
    Exchange exchange(pool, origin_of(server));
    fetch(exchange);
    expect_reply(exchange, "hello");
    EXPECT_EQ(exchange.call->connection_reused(), i > 0);
  }
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(pool.stats().dials, 1U);
  EXPECT_EQ(pool.stats().reuses, 4U);
}

TEST_F(Upstream, TheConnectionIsBackBeforeTheLastBytesAreRead) {
  TestServer server(always(kPlain));
  Exchange first(pool, origin_of(server));
  loop.spawn(send_only(first, kGet, {}));
  turn_until_done(first);
  EXPECT_TRUE(first.call->complete());
  Exchange second(pool, origin_of(server));
  fetch(second);
  expect_reply(second, "hello");
  read_rest(first);
  expect_reply(first, "hello");
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(Upstream, OriginsThatDifferShareNothing) {
  TestServer server(always(kPlain));
  Exchange first(pool, origin_of(server));
  fetch(first);
  Origin other = origin_of(server);
  other.host = "localhost";
  Exchange second(pool, other);
  fetch(second);
  expect_reply(second, "hello");
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(Upstream, AConnectionIsNotReusedAfterCloseSurplusOrAnEarlyReply) {
  for (const std::string& reply :
       {std::string("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"),
        kPlain + "HTTP/1.1 200 OK\r\n", std::string("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")}) {
    TestServer server(always(reply));
    Exchange exchange(pool, origin_of(server));
    fetch(exchange);
    expect_reply(exchange, "hello");
    expect_nothing_open();
  }
}

TEST_F(Upstream, AnEarlyReplyEndsTheUploadAndTheConnection) {
  Signal seen;
  TestServer server([&seen](Peer& peer, int) {
    peer.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    seen.wait();
  });
  const std::string endless(64'000'000, 'x');
  Exchange exchange(pool, origin_of(server));
  fetch(exchange, "POST / HTTP/1.1\r\nContent-Length: 64000000\r\n\r\n", endless);
  ASSERT_FALSE(exchange.error) << exchange.message();
  EXPECT_EQ(exchange.head->status, 413);
  EXPECT_EQ(exchange.body, "no");
  expect_nothing_open();
  seen.set();
}

// --- Idle connections
// ----------------------------------------------------------------------------------------------

TEST_F(Upstream, AnIdleConnectionThePeerClosedIsNoticedAndDropped) {
  TestServer server([](Peer& peer, int) {
    peer.read_request();
    peer.send(kPlain);
  });
  Exchange first(pool, origin_of(server));
  fetch(first);
  expect_nothing_open();
  Exchange second(pool, origin_of(server));
  fetch(second);
  expect_reply(second, "hello");
  EXPECT_FALSE(second.call->connection_reused());
  EXPECT_EQ(pool.stats().stale_retries, 0U);
}

TEST_F(Upstream, AnIdleConnectionThatSpeaksUnaskedIsDropped) {
  Signal idle;
  TestServer server([&idle](Peer& peer, int) {
    peer.read_request();
    peer.send(kPlain);
    idle.wait();
    peer.send("HTTP/1.1 408 Request Timeout\r\n\r\n");
    peer.wait_for_hang_up();
  });
  Exchange exchange(pool, origin_of(server));
  fetch(exchange);
  EXPECT_EQ(pool.stats().idle, 1U);
  idle.set();
  expect_nothing_open();
}

TEST_F(Upstream, IdleConnectionsExpireOldestFirst) {
  TestServer server(always(kPlain));
  Exchange a(pool, origin_of(server));
  Exchange b(pool, origin_of(server));
  loop.spawn(whole(a, kGet, {}));
  loop.spawn(whole(b, kGet, {}));
  turn_until_done(a);
  turn_until_done(b);
  EXPECT_EQ(pool.stats().idle, 2U);
  pass(seconds{30});
  Exchange c(pool, origin_of(server));
  fetch(c);
  pass(seconds{25});
  EXPECT_EQ(pool.stats().idle, 1U) << "the one used in between stays";
  pass(seconds{29});
  EXPECT_EQ(pool.stats().idle, 1U);
  pass(seconds{1});
  expect_nothing_open();
}

TEST_F(Upstream, AStaleConnectionIsReplacedOnceWhenNoReplyByteCame) {
  TestServer server([](Peer& peer, int nth) {
    peer.read_request();
    peer.send(kPlain);
    peer.read_request();
    if (nth > 0) peer.send(kPlain);  // the first connection ends instead of answering its second request
  });
  Exchange first(pool, origin_of(server));
  fetch(first);
  Exchange second(pool, origin_of(server));
  fetch(second, kPost, "body");
  expect_reply(second, "hello");
  EXPECT_FALSE(second.call->connection_reused());
  EXPECT_EQ(server.connections(), 2);
  EXPECT_EQ(pool.stats().stale_retries, 1U);
}

TEST_F(Upstream, AFreshConnectionThatEndsIsNotRetried) {
  TestServer server([](Peer& peer, int) { peer.read_request(); });
  Exchange exchange(pool, origin_of(server));
  fetch(exchange);
  EXPECT_EQ(exchange.code(), ErrorCode::upstream_error);
  EXPECT_NE(exchange.message().find("before its reply"), std::string::npos) << exchange.message();
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(Upstream, AReusedConnectionThatEndsInTheMiddleOfAReplyIsNotRetried) {
  TestServer server([](Peer& peer, int) {
    peer.read_request();
    peer.send(kPlain);
    peer.read_request();
    peer.send("HTTP/1.1");
  });
  Exchange first(pool, origin_of(server));
  fetch(first);
  Exchange second(pool, origin_of(server));
  fetch(second);
  EXPECT_EQ(second.code(), ErrorCode::upstream_error);
  EXPECT_EQ(server.connections(), 1);
}

// --- Faults at every phase
// -----------------------------------------------------------------------------------------

TEST_F(Upstream, R7AReplyCutAtAnyByteIsAnError) {
  for (const std::string& reply : {kPlain, kChunkedHead + "5\r\nhello\r\n0\r\n\r\n"}) {
    for (std::size_t cut = 0; cut < reply.size(); cut += 3) {
      TestServer server([&reply, cut](Peer& peer, int) {
        peer.read_request();
        peer.send(std::string_view(reply).substr(0, cut));
      });
      Exchange exchange(pool, origin_of(server));
      fetch(exchange);
      EXPECT_EQ(exchange.code(), ErrorCode::upstream_error) << "cut at " << cut;
      EXPECT_FALSE(exchange.call->complete());
      expect_nothing_open();
    }
  }
}

TEST_F(Upstream, R7AResetBeforeAndInsideTheBodyNamesThePhase) {
  for (const bool in_body : {false, true}) {
    Signal may_reset;
    TestServer server([in_body, &may_reset](Peer& peer, int) {
      peer.read_request();
      if (in_body) peer.send(kChunkedHead + "5\r\nhello\r\n");
      may_reset.wait();
      peer.reset();
    });
    Exchange exchange(pool, origin_of(server));
    loop.spawn(whole(exchange, kGet, {}));
    ASSERT_TRUE(turn_until([&] { return in_body ? exchange.body == "hello" : exchange.call->sent(); }));
    may_reset.set();
    turn_until_done(exchange);
    EXPECT_EQ(exchange.code(), ErrorCode::upstream_error);
    EXPECT_EQ(exchange.message(), in_body ? "upstream body: Connection reset by peer"
                                          : "upstream head: Connection reset by peer");
  }
}

TEST_F(Upstream, R7GoodBytesBeforeAFaultArriveBeforeTheError) {
  TestServer server([](Peer& peer, int) {
    peer.read_request();
    peer.send(kChunkedHead + "5\r\nhello\r\nnot a chunk\r\n");
    peer.wait_for_hang_up();
  });
  Exchange exchange(pool, origin_of(server));
  fetch(exchange);
  EXPECT_EQ(exchange.body, "hello");
  EXPECT_EQ(exchange.code(), ErrorCode::upstream_error);
  expect_nothing_open();
}

TEST_F(Upstream, ARefusedConnectionIsAnErrorOfItsPhaseAndSendsNothing) {
  std::uint16_t port = 0;
  {
    TestServer gone(always(kPlain));
    port = gone.port();
  }
  TestServer other(always(kPlain));
  Origin origin = origin_of(other);
  origin.port = port;
  Exchange exchange(pool, origin);
  fetch(exchange);
  EXPECT_EQ(exchange.code(), ErrorCode::upstream_error);
  EXPECT_EQ(exchange.message(), "upstream connect: Connection refused");
  EXPECT_FALSE(exchange.call->sent());
  expect_nothing_open();
}

TEST_F(Upstream, S7ErrorsNeverRepeatTheRequest) {
  TestServer server([](Peer& peer, int) {
    const std::string request = peer.read_request();
    peer.send("HTTP/1.1 200 OK\r\nX: " + request.substr(0, 20) + "\x01\r\n\r\n");
    peer.wait_for_hang_up();
  });
  Exchange exchange(pool, origin_of(server));
  fetch(exchange, "GET /canary HTTP/1.1\r\nAuthorization: Bearer canary\r\n\r\n");
  EXPECT_EQ(exchange.message().find("canary"), std::string::npos) << exchange.message();
  EXPECT_EQ(exchange.message().find("127.0.0.1"), std::string::npos) << exchange.message();
}

// --- Deadlines
// -----------------------------------------------------------------------------------------------------

TEST_F(Upstream, TheFirstByteDeadlineCoversTheWholeHeadHoweverItTrickles) {
  Signal timed_out;
  std::atomic<int> trickled{0};
  TestServer server([&](Peer& peer, int) {
    peer.read_request();
    for (const char byte : std::string("HTTP/1.1 200 OK\r\nX")) {
      peer.send({&byte, 1});
      ++trickled;
    }
    peer.wait_for_hang_up();
    timed_out.set();
  });
  Exchange exchange(pool, origin_of(server));
  loop.spawn(whole(exchange, kGet, {}));
  ASSERT_TRUE(turn_until([&trickled] { return trickled == 18; }));
  pass(seconds{60} - Duration{1});
  EXPECT_FALSE(exchange.done);
  pass(Duration{1});
  turn_until_done(exchange);
  EXPECT_EQ(exchange.code(), ErrorCode::upstream_timeout);
  EXPECT_EQ(exchange.message(), "upstream first byte deadline exceeded");
  EXPECT_TRUE(timed_out.wait()) << "the upstream sees the hang-up";
  expect_nothing_open();
}

TEST_F(Upstream, TheFirstByteDeadlineCoversAnUploadNobodyReads) {
  Signal go;
  TestServer server([&go](Peer&, int) { go.wait(); });
  const std::string endless(64'000'000, 'x');
  Exchange exchange(pool, origin_of(server));
  loop.spawn(whole(exchange, "POST / HTTP/1.1\r\nContent-Length: 64000000\r\n\r\n", endless));
  ASSERT_TRUE(turn_until([&exchange] { return exchange.call->sent(); }));
  settle();
  pass(seconds{60});
  turn_until_done(exchange);
  EXPECT_EQ(exchange.message(), "upstream first byte deadline exceeded while sending the request");
  go.set();
}

TEST_F(Upstream, TheIdleDeadlineBeginsAnewWithEachRead) {
  Signal more;
  Signal hang_up;
  TestServer server([&](Peer& peer, int) {
    peer.read_request();
    peer.send(kChunkedHead + "1\r\na\r\n");
    more.wait();
    peer.send("1\r\nb\r\n");
    peer.wait_for_hang_up();
    hang_up.set();
  });
  Exchange exchange(pool, origin_of(server));
  loop.spawn(whole(exchange, kGet, {}));
  ASSERT_TRUE(turn_until([&exchange] { return exchange.body == "a"; }));
  pass(seconds{29});
  more.set();
  ASSERT_TRUE(turn_until([&exchange] { return exchange.body == "ab"; }));
  pass(seconds{29});
  EXPECT_FALSE(exchange.done);
  pass(seconds{1});
  turn_until_done(exchange);
  EXPECT_EQ(exchange.code(), ErrorCode::upstream_timeout);
  EXPECT_EQ(exchange.message(), "upstream idle deadline exceeded");
  EXPECT_TRUE(hang_up.wait());
}

TEST_F(Upstream, R7FramingThatTricklesWithoutABodyByteDoesNotMoveTheIdleDeadline) {
  Signal more;
  std::atomic<bool> sent_more{false};
  TestServer server([&](Peer& peer, int) {
    peer.read_request();
    peer.send(kChunkedHead + "1\r\na\r\n");
    more.wait();
    peer.send("5;ext=");
    sent_more = true;
    peer.wait_for_hang_up();
  });
  Exchange exchange(pool, origin_of(server));
  loop.spawn(whole(exchange, kGet, {}));
  ASSERT_TRUE(turn_until([&exchange] { return exchange.body == "a"; }));
  pass(seconds{20});
  more.set();
  ASSERT_TRUE(turn_until([&sent_more] { return sent_more.load(); }));
  settle();
  pass(seconds{10});
  turn_until_done(exchange);
  EXPECT_EQ(exchange.message(), "upstream idle deadline exceeded");
}

TEST_F(Upstream, TheTotalDeadlineHoldsAlsoWhileNobodyReads) {
  Signal hang_up;
  TestServer server([&hang_up](Peer& peer, int) {
    peer.read_request();
    peer.send(kChunkedHead + "1\r\na\r\n");
    peer.wait_for_hang_up();
    hang_up.set();
  });
  Exchange exchange(pool, origin_of(server));
  loop.spawn(send_only(exchange, kGet, {}));
  turn_until_done(exchange);
  pass(seconds{60});
  EXPECT_FALSE(hang_up.is_set());
  pass(minutes{10});
  EXPECT_TRUE(hang_up.wait());
  read_rest(exchange);
  EXPECT_EQ(exchange.code(), ErrorCode::upstream_timeout);
  EXPECT_EQ(exchange.message(), "upstream total deadline exceeded");
}

TEST_F(Upstream, ACompleteReplyHasNoDeadlineLeft) {
  TestServer server(always(kPlain));
  Exchange exchange(pool, origin_of(server));
  loop.spawn(send_only(exchange, kGet, {}));
  turn_until_done(exchange);
  pass(minutes{20});
  read_rest(exchange);
  expect_reply(exchange, "hello");
}

// A port whose queue of half-open connections is full, so that nobody answers a dial.
class DeafPort {
 public:
  DeafPort() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listener_, 0), 0);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    for (int& descriptor : fillers_) {
      descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
      (void)::connect(descriptor, reinterpret_cast<sockaddr*>(&address), size);
    }
  }
  DeafPort(const DeafPort&) = delete;
  DeafPort& operator=(const DeafPort&) = delete;
  ~DeafPort() {
    for (const int descriptor : fillers_) ::close(descriptor);
    ::close(listener_);
  }
  std::uint16_t port() const { return port_; }

 private:
  int listener_ = -1;
  int fillers_[4] = {};
  std::uint16_t port_ = 0;
};

TEST_F(Upstream, TheConnectDeadlineEndsADialNobodyAnswers) {
  TestServer server(always(kPlain));
  const DeafPort deaf;
  Origin origin = origin_of(server);
  origin.port = deaf.port();
  Exchange exchange(pool, origin);
  loop.spawn(whole(exchange, kGet, {}));
  settle();
  pass(seconds{2} - Duration{1});
  EXPECT_FALSE(exchange.done);
  pass(Duration{1});
  turn_until_done(exchange);
  EXPECT_EQ(exchange.code(), ErrorCode::upstream_timeout);
  EXPECT_EQ(exchange.message(), "upstream connect deadline exceeded");
  EXPECT_FALSE(exchange.call->sent());
  expect_nothing_open();
}

// --- Hanging up
// ----------------------------------------------------------------------------------------------------

TEST_F(Upstream, R8CancelEndsAPendingSendAtOnceAndTheUpstreamSeesIt) {
  Signal got_request;
  Signal hang_up;
  TestServer server([&](Peer& peer, int) {
    peer.read_request();
    got_request.set();
    peer.wait_for_hang_up();
    hang_up.set();
  });
  Exchange exchange(pool, origin_of(server));
  loop.spawn(whole(exchange, kGet, {}));
  ASSERT_TRUE(turn_until([&got_request] { return got_request.is_set(); }));
  exchange.call->cancel();
  exchange.call->cancel();
  EXPECT_FALSE(exchange.done) << "cancel resumes nobody before it returns";
  settle();
  EXPECT_TRUE(exchange.done);
  EXPECT_EQ(exchange.code(), ErrorCode::upstream_error);
  EXPECT_EQ(exchange.message(), "cancelled");
  EXPECT_TRUE(hang_up.wait());
  expect_nothing_open();
}

TEST_F(Upstream, R8CancelEndsAPendingRead) {
  Signal hang_up;
  TestServer server([&hang_up](Peer& peer, int) {
    peer.read_request();
    peer.send(kChunkedHead + "5\r\nhello\r\n");
    peer.wait_for_hang_up();
    hang_up.set();
  });
  Exchange exchange(pool, origin_of(server));
  loop.spawn(whole(exchange, kGet, {}));
  ASSERT_TRUE(turn_until([&exchange] { return exchange.body == "hello"; }));
  exchange.call->cancel();
  settle();
  EXPECT_TRUE(exchange.done);
  EXPECT_EQ(exchange.message(), "cancelled");
  EXPECT_TRUE(hang_up.wait());
}

TEST_F(Upstream, R8CancelBetweenReadsHangsUpAndFailsTheNextRead) {
  Signal hang_up;
  TestServer server([&hang_up](Peer& peer, int) {
    peer.read_request();
    peer.send(kChunkedHead + "5\r\nhello\r\n");
    peer.wait_for_hang_up();
    hang_up.set();
  });
  Exchange exchange(pool, origin_of(server));
  loop.spawn(send_only(exchange, kGet, {}));
  turn_until_done(exchange);
  exchange.call->cancel();
  EXPECT_TRUE(hang_up.wait());
  read_rest(exchange);
  EXPECT_EQ(exchange.message(), "cancelled");
}

TEST_F(Upstream, R8DestroyingACallHangsUp) {
  Signal hang_up;
  TestServer server([&hang_up](Peer& peer, int) {
    peer.read_request();
    peer.send(kChunkedHead + "5\r\nhello\r\n");
    peer.wait_for_hang_up();
    hang_up.set();
  });
  Exchange exchange(pool, origin_of(server));
  loop.spawn(send_only(exchange, kGet, {}));
  turn_until_done(exchange);
  exchange.call.reset();
  EXPECT_TRUE(hang_up.wait());
  expect_nothing_open();
}

TEST_F(Upstream, CancelBeforeSendMakesItFailWithoutDialling) {
  TestServer server(always(kPlain));
  Exchange exchange(pool, origin_of(server));
  exchange.call->cancel();
  fetch(exchange);
  EXPECT_EQ(exchange.message(), "cancelled");
  EXPECT_EQ(server.connections(), 0);
}

TEST_F(Upstream, CancelAfterTheWholeReplyChangesNothing) {
  TestServer server(always(kPlain));
  Exchange exchange(pool, origin_of(server));
  loop.spawn(send_only(exchange, kGet, {}));
  turn_until_done(exchange);
  exchange.call->cancel();
  read_rest(exchange);
  expect_reply(exchange, "hello");
  EXPECT_EQ(pool.stats().idle, 1U);
}

TEST_F(Upstream, CancelWhileDiallingAndResolving) {
  TestServer server(always(kPlain));
  const DeafPort deaf;
  Origin dialling = origin_of(server);
  dialling.port = deaf.port();
  Origin resolving = origin_of(server);
  resolving.host = "localhost";
  for (const Origin& origin : {dialling, resolving}) {
    Exchange exchange(pool, origin);
    loop.spawn(whole(exchange, kGet, {}));
    loop.context().poll_one();
    EXPECT_FALSE(exchange.done);
    exchange.call->cancel();
    turn_until_done(exchange);
    EXPECT_EQ(exchange.message(), "cancelled");
    expect_nothing_open();
  }
}

TEST_F(Upstream, R8CancelInTheMiddleOfAnUpload) {
  Signal go;
  TestServer server([&go](Peer& peer, int) {
    go.wait();
    peer.wait_for_hang_up();
  });
  const std::string endless(64'000'000, 'x');
  Exchange exchange(pool, origin_of(server));
  loop.spawn(whole(exchange, "POST / HTTP/1.1\r\nContent-Length: 64000000\r\n\r\n", endless));
  ASSERT_TRUE(turn_until([&exchange] { return exchange.call->sent(); }));
  exchange.call->cancel();
  turn_until_done(exchange);
  EXPECT_EQ(exchange.message(), "cancelled");
  go.set();
}

TEST_F(Upstream, R8TwentyHangUpsCancelTwentyUpstreamCalls) {
  std::atomic<int> hang_ups{0};
  TestServer server([&hang_ups](Peer& peer, int) {
    peer.read_request();
    peer.send(kChunkedHead + "5\r\nhello\r\n");
    peer.wait_for_hang_up();
    ++hang_ups;
  });
  std::vector<std::unique_ptr<Exchange>> exchanges;
  for (int i = 0; i < 20; ++i) {
    exchanges.push_back(std::make_unique<Exchange>(pool, origin_of(server, 20)));
    loop.spawn(whole(*exchanges.back(), kGet, {}));
  }
  for (auto& exchange : exchanges) ASSERT_TRUE(turn_until([&exchange] { return exchange->body == "hello"; }));
  for (auto& exchange : exchanges) exchange->call->cancel();
  for (auto& exchange : exchanges) turn_until_done(*exchange);
  EXPECT_TRUE(turn_until([&hang_ups] { return hang_ups == 20; }));
  expect_nothing_open();
}

// --- Back-pressure
// -------------------------------------------------------------------------------------------------

TEST_F(Upstream, NothingIsReadWhileNobodyAsks) {
  std::atomic<std::size_t> sent{0};
  TestServer server([&sent](Peer& peer, int) {
    peer.read_request();
    const std::string block(65'536, 'x');
    peer.send("HTTP/1.1 200 OK\r\n\r\n");
    while (sent < 256 * block.size() && peer.send(block)) sent += block.size();
  });
  Exchange exchange(pool, origin_of(server));
  loop.spawn(send_only(exchange, kGet, {}));
  turn_until_done(exchange);
  std::size_t before = 0;
  for (int still = 0; still < 50;) {  // until the kernel's buffers are full
    loop.context().run_one_for(milliseconds{1});
    still = sent == before ? still + 1 : 0;
    before = sent;
  }
  EXPECT_LT(before, 255U * 65'536U) << "the upstream could send everything though nobody read";
  read_rest(exchange);
  EXPECT_FALSE(exchange.error) << exchange.message();
  EXPECT_EQ(exchange.body.size(), 256U * 65'536U);
}

// --- The bound on connections
// --------------------------------------------------------------------------------------

class Bounded : public Upstream {
 protected:
  // Answers when told to, one request after the other.
  std::atomic<int> answers_allowed{0};
  std::atomic<int> requests{0};
  std::atomic<bool> ending{false};
  TestServer server{[this](Peer& peer, int) {
    while (!peer.read_request().empty()) {
      const int mine = ++requests;
      while (answers_allowed < mine && !ending) std::this_thread::yield();
      peer.send(kPlain);
    }
  }};

  ~Bounded() override { ending = true; }
};

TEST_F(Bounded, CallsWaitInLineAndTakeOverTheConnection) {
  const Origin one = origin_of(server, 1);
  Exchange a(pool, one);
  Exchange b(pool, one);
  Exchange c(pool, one);
  for (Exchange* exchange : {&a, &b, &c}) loop.spawn(whole(*exchange, kGet, {}));
  ASSERT_TRUE(turn_until([this] { return requests == 1; }));
  EXPECT_EQ(pool.stats().waiting, 2U);
  answers_allowed = 1;
  ASSERT_TRUE(turn_until([this] { return requests == 2; }));
  EXPECT_TRUE(a.done);
  EXPECT_FALSE(c.done);
  answers_allowed = 2;
  turn_until_done(b);
  EXPECT_TRUE(b.call->connection_reused());
  answers_allowed = 3;
  turn_until_done(c);
  expect_reply(c, "hello");
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(pool.stats().waiting, 0U);
}

TEST_F(Bounded, WaitingEndsOverloadedAtTheConnectDeadline) {
  const Origin one = origin_of(server, 1);
  Exchange a(pool, one);
  Exchange b(pool, one);
  loop.spawn(whole(a, kGet, {}));
  ASSERT_TRUE(turn_until([this] { return requests == 1; }));
  loop.spawn(whole(b, kGet, {}));
  settle();
  pass(seconds{2});
  EXPECT_TRUE(b.done);
  EXPECT_EQ(b.code(), ErrorCode::overloaded);
  EXPECT_FALSE(a.done);
  EXPECT_EQ(pool.stats().waiting, 0U);
  answers_allowed = 1;
  turn_until_done(a);
  expect_reply(a, "hello");
}

TEST_F(Bounded, AHangUpLetsTheNextOneDial) {
  const Origin one = origin_of(server, 1);
  Exchange a(pool, one);
  Exchange b(pool, one);
  Exchange c(pool, one);
  for (Exchange* exchange : {&a, &b, &c}) loop.spawn(whole(*exchange, kGet, {}));
  ASSERT_TRUE(turn_until([this] { return requests == 1; }));
  b.call->cancel();  // leaves the line
  a.call->cancel();  // frees its connection
  ASSERT_TRUE(turn_until([this] { return requests == 2; }));
  answers_allowed = 2;
  turn_until_done(c);
  expect_reply(c, "hello");
  EXPECT_EQ(b.message(), "cancelled");
  EXPECT_EQ(pool.stats().open, 1U);
}

TEST_F(Bounded, ClosingThePoolEndsEverything) {
  const Origin one = origin_of(server, 1);
  Exchange a(pool, one);
  Exchange b(pool, one);
  for (Exchange* exchange : {&a, &b}) loop.spawn(whole(*exchange, kGet, {}));
  ASSERT_TRUE(turn_until([this] { return requests == 1; }));
  pool.close();
  pool.close();
  turn_until_done(a);
  turn_until_done(b);
  EXPECT_EQ(a.message(), "cancelled");
  EXPECT_EQ(b.message(), "cancelled");
  expect_nothing_open();
  Exchange late(pool, one);
  fetch(late);
  EXPECT_EQ(late.message(), "cancelled");
}

// --- Where to
// ------------------------------------------------------------------------------------------------------

TEST_F(Upstream, S6PrivateAddressesAreRefusedUnlessConfigurationNamesThem) {
  TestServer server(always(kPlain));
  for (const char* host :
       {"127.0.0.1", "localhost", "::1", "[::1]", "::ffff:127.0.0.1", "127.1", "2130706433", "0x7f000001",
        "0177.0.0.1", "169.254.169.254", "0.0.0.0", "::", "10.0.0.1"}) {
    Origin origin = origin_of(server);
    origin.host = host;
    origin.allow_private = false;
    Exchange exchange(pool, origin);
    fetch(exchange);
    EXPECT_EQ(exchange.code(), ErrorCode::upstream_error) << host;
    EXPECT_NE(exchange.message().find("not allowed"), std::string::npos)
        << host << ": " << exchange.message();
    EXPECT_FALSE(exchange.call->sent());
    expect_nothing_open();
  }
  EXPECT_EQ(server.connections(), 0);
}

TEST_F(Upstream, S6ANameThatMovesToAPrivateAddressIsNotFollowedThere) {
  TestServer server(always(kPlain));
  Origin origin = origin_of(server);
  origin.host = "rebound.example";
  origin.allow_private = false;
  pool.resolver().remember(origin.host, {asio::ip::make_address("127.0.0.1")});
  Exchange exchange(pool, origin);
  fetch(exchange);
  EXPECT_EQ(exchange.message(),
            "upstream resolve: the name leads to a loopback address, which is not allowed");
  EXPECT_EQ(server.connections(), 0);
}

TEST_F(Upstream, SeveralAddressesAreTriedInTurn) {
  TestServer server(always(kPlain));
  Origin origin = origin_of(server);
  origin.host = "several.example";
  pool.resolver().remember(origin.host,
                           {asio::ip::make_address("127.0.0.2"), asio::ip::make_address("127.0.0.1")});
  Exchange exchange(pool, origin);
  fetch(exchange);
  expect_reply(exchange, "hello");
}

TEST_F(Upstream, AnAddressThatDoesNotAnswerGetsItsShareOfTheDeadlineOnly) {
  const DeafPort deaf;
  TestServer server(always(kPlain));
  Origin origin = origin_of(server);
  origin.host = "several.example";
  origin.port = deaf.port();  // 127.0.0.1 is deaf there, 127.0.0.2 refuses
  pool.resolver().remember(origin.host,
                           {asio::ip::make_address("127.0.0.1"), asio::ip::make_address("127.0.0.2")});
  Exchange exchange(pool, origin);
  loop.spawn(whole(exchange, kGet, {}));
  settle();
  pass(seconds{1} - Duration{1});
  EXPECT_FALSE(exchange.done);
  pass(Duration{1});
  turn_until_done(exchange);
  EXPECT_EQ(exchange.message(), "upstream connect: Connection refused");
}

TEST_F(Upstream, AnUnknownNameIsAnErrorOfItsPhase) {
  TestServer server(always(kPlain));
  Origin origin = origin_of(server);
  origin.host = "no-such-name.invalid";
  Exchange exchange(pool, origin);
  fetch(exchange);
  EXPECT_EQ(exchange.code(), ErrorCode::upstream_error);
  EXPECT_EQ(exchange.message().rfind("upstream resolve: ", 0), 0U) << exchange.message();
  expect_nothing_open();
}

TEST(OriginKey, NamesSchemeHostAndPort) {
  Origin origin;
  origin.host = "api.example.com";
  EXPECT_EQ(origin.key(), "https://api.example.com:443");
  origin.tls = false;
  origin.host = "::1";
  origin.port = 80;
  EXPECT_EQ(origin.key(), "http://[::1]:80");
}

}  // namespace
}  // namespace sentinel::net
