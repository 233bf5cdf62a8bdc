#include "sentinel/net/connection.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include <boost/asio/redirect_error.hpp>

namespace sentinel::net {
namespace {

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

iovec as_iovec(std::string_view bytes) {
  return {const_cast<char*>(bytes.data()), bytes.size()};  // sendmsg only reads
}

}  // namespace

Awaitable<SocketError> Connection::connect(asio::ip::tcp::endpoint endpoint) {
  SocketError error;
  co_await socket_.async_connect(endpoint, asio::redirect_error(use_awaitable, error));
  if (!error && socket_.is_open()) socket_.set_option(asio::ip::tcp::no_delay(true), error);
  co_return error;
}

void Connection::start_tls(ssl_ctx_st& context, const std::string& host, ssl_session_st* resume) {
  tls_.emplace(context, socket_.native_handle(), host, resume);
}

Moved Connection::handshake() {
  const Moved moved = tls_->handshake();
  if (moved.state == Moved::State::failed) failure_ = tls_->failure();
  return moved;
}

Moved Connection::read(std::span<char> into) {
  if (!tls_) return receive(into);
  const Moved moved = tls_->read(into);
  readable_ = moved.state == Moved::State::done && !tls_->socket_drained();
  if (moved.state == Moved::State::failed) failure_ = tls_->failure();
  return moved;
}

Moved Connection::receive(std::span<char> into) {
  const ssize_t got = ::recv(socket_.native_handle(), into.data(), into.size(), MSG_DONTWAIT);
  readable_ = got == static_cast<ssize_t>(into.size());  // less than asked for: the socket is empty now
  if (got > 0) return {Moved::State::done, static_cast<std::size_t>(got)};
  if (got == 0) return {Moved::State::closed, 0};
  if (would_block()) return {Moved::State::want_read, 0};
  failure_ = std::generic_category().message(errno);
  return {Moved::State::failed, 0};
}

Moved Connection::write(std::string_view head, std::string_view body) {
  if (tls_) {
    const Moved moved = tls_->write(head.empty() ? body : head);
    if (moved.state == Moved::State::failed) failure_ = tls_->failure();
    return moved;
  }
  iovec parts[2] = {as_iovec(head), as_iovec(body)};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = body.empty() ? 1 : 2;
  const ssize_t put = ::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (put >= 0) return {Moved::State::done, static_cast<std::size_t>(put)};
  if (would_block()) return {Moved::State::want_write, 0};
  failure_ = std::generic_category().message(errno);
  return {Moved::State::failed, 0};
}

void Connection::tell() {
  if (is_open() && ready_ != nullptr) ready_(user_, *this);
}

void Connection::watch_read() {
  if (watches_read_ || !is_open()) return;
  watches_read_ = true;
  socket_.async_wait(TcpSocket::wait_read, [self = shared_from_this()](const SocketError&) {
    self->watches_read_ = false;
    self->readable_ = true;
    self->tell();
  });
}

void Connection::watch_write() {
  if (watches_write_ || !is_open()) return;
  watches_write_ = true;
  socket_.async_wait(TcpSocket::wait_write, [self = shared_from_this()](const SocketError&) {
    self->watches_write_ = false;
    self->tell();
  });
}

bool Connection::quiet() {
  if (!is_open()) return false;
  readable_ = false;
  if (tls_) return tls_->quiet();
  char byte = 0;
  return ::recv(socket_.native_handle(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && would_block();
}

void Connection::close() {
  ready_ = nullptr;
  SocketError ignored;
  socket_.close(ignored);
}

}  // namespace sentinel::net
