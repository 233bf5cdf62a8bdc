// TLS for the upstream client: trust, verification and a session that moves bytes without ever waiting.
//
// Contract: TLS 1.2 or later, ALPN http/1.1, no renegotiation. The peer's chain is verified against one file
// of trust anchors and its certificate against the host: a name by SNI and DNS name, an address by its IP
// entries and without SNI. An end of the connection without close_notify is an error, so that a cut body
// cannot pass for a whole one.
// Cost: reading a trust file happens once per file (tens of milliseconds for a system bundle) and blocks the
// loop.
// Thread rule: the loop's thread. Failure rule: values; OpenSSL's words, never a byte of what was sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sentinel/base/result.hpp"

struct ssl_ctx_st;
struct ssl_session_st;
struct ssl_st;

namespace sentinel::net {

// What one attempt to move bytes through a non-blocking connection came to.
struct Moved {
  enum class State : std::uint8_t { done, want_read, want_write, closed, failed };
  State state = State::failed;
  std::size_t bytes = 0;
};

struct TlsDeleter {
  void operator()(ssl_ctx_st* context) const;
  void operator()(ssl_session_st* session) const;
  void operator()(ssl_st* stream) const;
};
using TlsContext = std::unique_ptr<ssl_ctx_st, TlsDeleter>;
using TlsTicket =
    std::unique_ptr<ssl_session_st, TlsDeleter>;  // resumes an earlier session of the same origin

// The contexts of one loop, one for each trust file.
class TlsContexts {
 public:
  // `ca_file` alone if it is given, otherwise the first of `trust_files` that can be read.
  Result<ssl_ctx_st*> find(const std::string& ca_file, const std::vector<std::string>& trust_files);

 private:
  std::unordered_map<std::string, TlsContext> contexts_;
};

class TlsStream {
 public:
  // Client side of a session over a connected, non-blocking socket that outlives it.
  TlsStream(ssl_ctx_st& context, int descriptor, const std::string& host, ssl_session_st* resume);
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;
  ~TlsStream();

  Moved handshake();
  Moved read(std::span<char> into);
  Moved write(std::string_view bytes);
  bool quiet();  // nothing but protocol housekeeping has arrived
  bool may_hold_bytes()
      const;  // bytes taken from the socket wait inside; the socket may never be readable again
  bool socket_drained() const;  // the last read took all the socket had

  std::string failure() const;  // why the last attempt failed, in words
  TlsTicket ticket() const;     // null when the peer gave none

 private:
  struct Wire;
  Moved outcome(int returned);

  std::unique_ptr<Wire> wire_;
  std::unique_ptr<ssl_st, TlsDeleter> stream_;
  std::string failure_;
};

}  // namespace sentinel::net
