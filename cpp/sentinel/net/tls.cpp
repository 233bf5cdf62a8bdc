#include "sentinel/net/tls.hpp"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <limits>
#include <system_error>

namespace sentinel::net {
namespace {

constexpr unsigned char kAlpn[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

bool is_address(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  return inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 ||
         inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

std::string last_openssl_error() {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? std::string("protocol error") : std::string(reason);
}

int as_int(std::size_t size) {
  return static_cast<int>(std::min(size, static_cast<std::size_t>(std::numeric_limits<int>::max())));
}

Result<TlsContext> make_context(const std::string& trust_file) {
  TlsContext context(SSL_CTX_new(TLS_client_method()));
  if (!context) return Error(ErrorCode::upstream_error, "upstream tls: out of memory");
  SSL_CTX* raw = context.get();
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(
      raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(raw, 1);
  SSL_CTX_set_verify(raw, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_alpn_protos(raw, kAlpn, sizeof kAlpn);
  ERR_clear_error();
  if (SSL_CTX_load_verify_locations(raw, trust_file.c_str(), nullptr) != 1) {
    return Error(ErrorCode::upstream_error,
                 "upstream tls: the trust file cannot be used: " + last_openssl_error());
  }
  return context;
}

}  // namespace

// The socket as OpenSSL sees it. Ours, because OpenSSL's own writes can raise SIGPIPE, and because we want to
// know whether a read took all there was.
struct TlsStream::Wire {
  int descriptor = -1;
  bool drained = true;
  bool ended = false;

  static Wire& of(BIO* bio) { return *static_cast<Wire*>(BIO_get_data(bio)); }

  static bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

  static int read(BIO* bio, char* into, int size) {
    Wire& wire = of(bio);
    BIO_clear_retry_flags(bio);
    const ssize_t got = ::recv(wire.descriptor, into, static_cast<std::size_t>(size), MSG_DONTWAIT);
    wire.drained = got < size;
    wire.ended = got == 0;
    if (got < 0 && would_block()) BIO_set_retry_read(bio);
    return static_cast<int>(got);
  }

  static int write(BIO* bio, const char* from, int size) {
    BIO_clear_retry_flags(bio);
    const auto length = static_cast<std::size_t>(size);
    const ssize_t put = ::send(of(bio).descriptor, from, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0 && would_block()) BIO_set_retry_write(bio);
    return static_cast<int>(put);
  }

  static long control(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_FLUSH) return 1;
    if (command == BIO_CTRL_EOF) return of(bio).ended ? 1 : 0;
    return 0;
  }

  static BIO* make_bio(Wire& wire) {
    static BIO_METHOD* const kMethod = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sentinel socket");
      BIO_meth_set_read(made, &Wire::read);
      BIO_meth_set_write(made, &Wire::write);
      BIO_meth_set_ctrl(made, &Wire::control);
      return made;
    }();
    BIO* bio = BIO_new(kMethod);
    if (bio == nullptr) return nullptr;
    BIO_set_data(bio, &wire);
    BIO_set_init(bio, 1);
    return bio;
  }
};

void TlsDeleter::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }
void TlsDeleter::operator()(ssl_session_st* session) const { SSL_SESSION_free(session); }
void TlsDeleter::operator()(ssl_st* stream) const { SSL_free(stream); }

Result<ssl_ctx_st*> TlsContexts::find(const std::string& ca_file,
                                      const std::vector<std::string>& trust_files) {
  const auto can_be_read = [](const std::string& path) { return ::access(path.c_str(), R_OK) == 0; };
  const std::string* file = &ca_file;
  if (ca_file.empty()) {
    const auto found = std::find_if(trust_files.begin(), trust_files.end(), can_be_read);
    if (found == trust_files.end())
      return Error(ErrorCode::upstream_error, "upstream tls: no trust file was found");
    file = &*found;
  }
  if (const auto known = contexts_.find(*file); known != contexts_.end()) return known->second.get();
  Result<TlsContext> made = make_context(*file);
  if (!made) return made.error();
  ssl_ctx_st* context = made->get();
  contexts_.emplace(*file, *std::move(made));
  return context;
}

TlsStream::TlsStream(ssl_ctx_st& context, int descriptor, const std::string& host, ssl_session_st* resume)
    : wire_(std::make_unique<Wire>()), stream_(SSL_new(&context)) {
  wire_->descriptor = descriptor;
  BIO* bio = Wire::make_bio(*wire_);
  SSL* raw = stream_.get();
  assert(raw != nullptr && bio != nullptr);
  SSL_set_bio(raw, bio, bio);
  SSL_set_connect_state(raw);
  X509_VERIFY_PARAM* expected = SSL_get0_param(raw);
  if (is_address(host)) {
    X509_VERIFY_PARAM_set1_ip_asc(expected, host.c_str());
  } else {
    SSL_set_tlsext_host_name(raw, host.c_str());
    X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    X509_VERIFY_PARAM_set1_host(expected, host.data(), host.size());
  }
  if (resume != nullptr) SSL_set_session(raw, resume);
}

// Hanging up without close_notify would make OpenSSL forbid the ticket that the next connection may want to
// use.
TlsStream::~TlsStream() { SSL_set_shutdown(stream_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); }

Moved TlsStream::outcome(int returned) {
  const int problem = SSL_get_error(stream_.get(), returned);
  if (problem == SSL_ERROR_WANT_READ) return {Moved::State::want_read, 0};
  if (problem == SSL_ERROR_WANT_WRITE) return {Moved::State::want_write, 0};
  if (problem == SSL_ERROR_ZERO_RETURN) return {Moved::State::closed, 0};
  if (problem == SSL_ERROR_SYSCALL && errno != 0) {
    failure_ = std::generic_category().message(errno);
  } else {
    failure_ = last_openssl_error();
  }
  return {Moved::State::failed, 0};
}

Moved TlsStream::handshake() {
  ERR_clear_error();
  errno = 0;
  const int returned = SSL_do_handshake(stream_.get());
  if (returned == 1) return {Moved::State::done, 0};
  const Moved moved = outcome(returned);
  const long verified = SSL_get_verify_result(stream_.get());
  if (moved.state == Moved::State::failed && verified != X509_V_OK) {
    failure_ = std::string("certificate not accepted: ") + X509_verify_cert_error_string(verified);
  }
  return moved;
}

Moved TlsStream::read(std::span<char> into) {
  ERR_clear_error();
  errno = 0;
  const int got = SSL_read(stream_.get(), into.data(), as_int(into.size()));
  return got > 0 ? Moved{Moved::State::done, static_cast<std::size_t>(got)} : outcome(got);
}

Moved TlsStream::write(std::string_view bytes) {
  ERR_clear_error();
  errno = 0;
  const int put = SSL_write(stream_.get(), bytes.data(), as_int(bytes.size()));
  return put > 0 ? Moved{Moved::State::done, static_cast<std::size_t>(put)} : outcome(put);
}

bool TlsStream::quiet() {
  ERR_clear_error();
  errno = 0;
  char byte = 0;
  const int got = SSL_peek(stream_.get(), &byte, 1);
  return got <= 0 && outcome(got).state == Moved::State::want_read;
}

bool TlsStream::may_hold_bytes() const { return SSL_has_pending(stream_.get()) == 1; }
bool TlsStream::socket_drained() const { return wire_->drained; }
std::string TlsStream::failure() const { return failure_; }

TlsTicket TlsStream::ticket() const {
  TlsTicket ticket(SSL_get1_session(stream_.get()));
  if (ticket && SSL_SESSION_is_resumable(ticket.get()) != 1) ticket.reset();
  return ticket;
}

}  // namespace sentinel::net
