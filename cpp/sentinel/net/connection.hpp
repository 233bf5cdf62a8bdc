// One connection to an upstream, plain or TLS: bytes move at once or not at all, and readiness is told to
// its user.
//
// Contract: read() and write() are one attempt each. Readiness is watched once at a time and on request:
// watch_read() leaves a single wait with the reactor, and it stays there while the connection idles in the
// pool, which is how the peer's close is noticed without a system call per request. The user's callback is
// the last thing the handler does. After close() nothing is told any more. A connection must be owned by
// shared_ptr: pending waits keep it alive.
// Cost: watch_read() one epoll_ctl when no wait is pending; read() and write() one system call.
// Thread rule: the loop's thread. Failure rule: Moved::State::failed, with failure() in words.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "sentinel/net/asio.hpp"
#include "sentinel/net/tls.hpp"

namespace sentinel::net {

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Ready = void (*)(void* user, Connection& connection);

  explicit Connection(Executor executor) : socket_(executor) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Awaitable<SocketError> connect(asio::ip::tcp::endpoint endpoint);
  void start_tls(ssl_ctx_st& context, const std::string& host, ssl_session_st* resume);
  Moved handshake();

  Moved read(std::span<char> into);
  Moved write(std::string_view head, std::string_view body);  // gathered; may take a part

  void set_user(Ready ready, void* user) {
    ready_ = ready;
    user_ = user;
  }
  void watch_read();
  void watch_write();

  bool is_open() const { return socket_.is_open(); }
  bool is_tls() const { return tls_.has_value(); }
  bool readable() const { return readable_ || (tls_ && tls_->may_hold_bytes()); }  // worth an attempt to read
  void expect_end() { readable_ = true; }  // a write failed: reading tells what the peer said last
  bool quiet();                            // an idle connection that may stay: no bytes, no end
  TlsTicket ticket() const { return tls_ ? tls_->ticket() : nullptr; }
  const std::string& failure() const { return failure_; }
  void close();

 private:
  Moved receive(std::span<char> into);
  void tell();

  TcpSocket socket_;
  std::optional<TlsStream> tls_;
  Ready ready_ = nullptr;
  void* user_ = nullptr;
  bool readable_ = false;
  bool watches_read_ = false;
  bool watches_write_ = false;
  std::string failure_;
};

}  // namespace sentinel::net
