// The upstream client: pooled HTTP/1.1 connections of one loop, and one call (a request and its reply) over
// them.
//
// Contract of a call: send() once, then read() until it gives an empty view (or an Error); the connection is
// back in the pool the moment the last byte of the message has been received. Nothing is read from the
// socket while nobody asks: back-pressure is the kernel's. Redirects are replies like any other. A reused
// connection that turns out to be closed before any byte of the reply came is replaced by a fresh one, once.
// Deadlines are absolute and kept by the loop's wheel: `connect` (waiting for a free connection, name, TCP,
// TLS), `first_byte` (first byte of the request written -> whole response head), `idle` (each read()),
// `total` (from the call's construction, also while nobody reads). Zero means: at the next tick.
// Errors: upstream_timeout names the deadline; upstream_error names the phase (resolve, connect, tls, send,
// head, body), never an address, a header or a body byte; overloaded: no connection came free in time.
// Cost of a call on a warm connection: one sendmsg, one epoll_ctl, one recv. A 64 KiB buffer is held only
// while bytes are being handed out; what is allocated is the parser's.
// Thread rule: the loop's thread only. Failure rule: values; using a call out of order is a broken promise
// (assert).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/base/clock.hpp"
#include "sentinel/base/result.hpp"
#include "sentinel/base/timer_wheel.hpp"
#include "sentinel/net/asio.hpp"
#include "sentinel/net/gate.hpp"
#include "sentinel/net/origin.hpp"
#include "sentinel/net/response_parser.hpp"

namespace sentinel::net {

class Loop;
class Connection;
class Resolver;
struct Lookup;

struct PoolStats {
  std::size_t open = 0;     // connections: dialling, busy or idle
  std::size_t idle = 0;     // ready for the next call
  std::size_t waiting = 0;  // calls waiting for a connection to come free
  std::uint64_t dials = 0;
  std::uint64_t reuses = 0;
  std::uint64_t stale_retries = 0;
};

class UpstreamCall;

class UpstreamPool {
 public:
  explicit UpstreamPool(Loop& loop);
  UpstreamPool(const UpstreamPool&) = delete;
  UpstreamPool& operator=(const UpstreamPool&) = delete;
  ~UpstreamPool();  // every call must have ended

  PoolStats stats() const;
  void close();  // closes idle connections, cancels live calls, refuses new ones; idempotent

  Loop& loop() { return loop_; }
  Resolver& resolver();  // the names this loop knows

 private:
  friend class UpstreamCall;
  struct Shared;
  Loop& loop_;
  std::unique_ptr<Shared> shared_;
};

class UpstreamCall {
 public:
  // The origin must outlive the call. The total deadline starts here.
  UpstreamCall(UpstreamPool& pool, const Origin& origin, const Timeouts& timeouts);
  UpstreamCall(const UpstreamCall&) = delete;
  UpstreamCall& operator=(const UpstreamCall&) = delete;
  ~UpstreamCall();  // hangs up if the reply was not received to its end

  // Sends a whole request (head with its empty line, body) and waits for the reply's head. The views must
  // stay valid until it returns.
  Awaitable<Result<ResponseHead>> send(std::string_view head, std::string_view body);

  // The next body bytes, valid until the next call; an empty view when the message is complete.
  Awaitable<Result<std::string_view>> read();

  // Hangs up. A pending send or read ends with an Error, later ones fail. Idempotent, nothing to a complete
  // reply; resumes nobody before it returns.
  void cancel();

  bool sent() const { return sent_; }  // a byte of the request may have reached the upstream
  bool complete() const {
    return phase_ == Phase::complete;
  }  // received whole; read() may still hold its tail
  bool connection_reused() const { return reused_; }

 private:
  friend class UpstreamPool;
  struct OriginPool;
  enum class Phase : std::uint8_t {
    unused,
    waiting,
    resolve,
    connect,
    tls,
    send,
    head,
    paused,
    body,
    complete
  };
  enum class Step : std::uint8_t { moved, wait, stale, failed };

  static void on_timer(void* self);
  static void on_ready(void* self, Connection& connection);

  // Cold: a connection of one's own. Each gives false when the call has ended.
  Awaitable<bool> obtain_connection();
  Awaitable<bool> resolve(std::shared_ptr<Lookup>& answer);
  Awaitable<bool> connect(const std::vector<asio::ip::address>& addresses);
  Awaitable<bool> start_tls();
  bool take_idle();
  std::vector<asio::ip::address> permitted(const Lookup& answer);

  // One attempt each; they never wait.
  Step write_some(std::string_view head, std::string_view body);
  Step read_some();
  Step accept(std::string_view bytes);
  Step accept_end();
  Step refuse(const Error& error);
  void gather(std::span<const std::string_view> pieces);
  std::string_view reading_phase() const;

  void finish();
  void fail(Error error);
  void retire();
  void enter(Phase phase, Duration phase_deadline);
  Duration deadline() const;
  void expire();
  void borrow_buffer();
  void return_buffer();
  Error ended() const { return *ended_; }

  UpstreamPool& pool_;
  const Origin& origin_;
  const Timeouts timeouts_;
  const Duration total_deadline_;
  Duration phase_deadline_;
  Phase phase_ = Phase::unused;
  Timer timer_;
  Gate wake_;

  OriginPool* home_ = nullptr;
  bool holds_slot_ = false;  // counts among the origin's open connections
  bool more_addresses_ = false;
  bool sent_ = false;
  bool reused_ = false;
  std::size_t written_ = 0;
  std::size_t to_write_ = 0;
  std::shared_ptr<Connection> connection_;
  std::optional<ResponseParser> parser_;
  std::unique_ptr<char[]> buffer_;
  std::string_view received_;  // body bytes not handed out yet
  bool head_received_ = false;
  std::optional<Error> ended_;

  UpstreamCall* previous_live_ = nullptr;
  UpstreamCall* next_live_ = nullptr;
};

}  // namespace sentinel::net
