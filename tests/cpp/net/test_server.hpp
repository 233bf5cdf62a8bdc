// A real server for tests: every accepted connection runs a script of raw bytes on its own thread, over
// loopback.
//
// Scripts block on their socket, never on time; the destructor hangs up on all of them and joins. A script
// that needs the test to go on first waits on a Signal.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <openssl/ssl.h>

namespace sentinel::net {

constexpr std::chrono::seconds kTestPatience{20};  // a test that hangs fails instead

// Set once by one side, awaited by the other.
class Signal {
 public:
  void set() { promise_.set_value(); }
  bool is_set() const { return future_.wait_for(std::chrono::seconds{0}) == std::future_status::ready; }
  bool wait() const { return future_.wait_for(kTestPatience) == std::future_status::ready; }

 private:
  std::promise<void> promise_;
  std::shared_future<void> future_{promise_.get_future()};
};

// The server's end of one connection.
class Peer {
 public:
  explicit Peer(int descriptor, SSL_CTX* tls = nullptr) : descriptor_(descriptor) {
    if (tls == nullptr) return;
    stream_ = SSL_new(tls);
    SSL_set_fd(stream_, descriptor);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() {
    SSL_free(stream_);
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  bool accept_tls() { return SSL_accept(stream_) == 1; }
  bool resumed() const { return SSL_session_reused(stream_) == 1; }

  // One request (head and the body its Content-Length tells of); empty at the end of the connection.
  std::string read_request() {
    std::string request;
    std::size_t wanted = 0;
    while (wanted == 0 || request.size() < wanted) {
      char bytes[4096];
      const long got = receive(bytes, sizeof bytes);
      if (got <= 0) return {};
      request.append(bytes, static_cast<std::size_t>(got));
      const std::size_t head_end = request.find("\r\n\r\n");
      if (wanted == 0 && head_end != std::string::npos) wanted = head_end + 4 + content_length(request);
    }
    return request;
  }

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const long put = stream_ != nullptr ? SSL_write(stream_, bytes.data(), static_cast<int>(bytes.size()))
                                          : ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (put <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(put));
    }
    return true;
  }

  // Reads until the client hangs up.
  void wait_for_hang_up() {
    char bytes[65536];
    while (receive(bytes, sizeof bytes) > 0) {
    }
  }

  void say_goodbye() { SSL_shutdown(stream_); }  // TLS only: announces the end

  void reset() {  // the connection ends with RST
    const linger at_once{1, 0};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    ::close(descriptor_.exchange(-1));
  }

  void shut_down() const {
    if (descriptor_ >= 0) ::shutdown(descriptor_, SHUT_RDWR);
  }

 private:
  long receive(char* into, std::size_t size) {
    if (stream_ != nullptr) return SSL_read(stream_, into, static_cast<int>(size));
    return ::recv(descriptor_, into, size, 0);
  }

  static std::size_t content_length(const std::string& request) {
    const std::size_t at = request.find("Content-Length: ");
    return at == std::string::npos ? 0 : std::stoul(request.substr(at + 16));
  }

  std::atomic<int> descriptor_;  // the server shuts it down from its own thread
  SSL* stream_ = nullptr;
};

class TestServer {
 public:
  using Script = std::function<void(Peer& peer, int nth)>;  // nth connection, from 0

  explicit TestServer(Script script, SSL_CTX* tls = nullptr) : script_(std::move(script)), tls_(tls) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listener_, 64), 0);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;
  ~TestServer() {
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    {
      const std::lock_guard lock(mutex_);
      for (const Session& session : sessions_) {
        if (!session.ended) session.peer->shut_down();
      }
    }
    for (Session& session : sessions_) session.thread.join();
    ::close(listener_);
  }

  std::uint16_t port() const { return port_; }
  int connections() const { return connections_; }

 private:
  struct Session {
    std::unique_ptr<Peer> peer;
    std::thread thread;
    bool ended = false;
  };

  void accept_all() {
    for (;;) {
      const int descriptor = ::accept(listener_, nullptr, nullptr);
      if (descriptor < 0) return;
      const int nth = connections_++;
      const std::lock_guard lock(mutex_);
      Session& session = sessions_.emplace_back();
      session.peer = std::make_unique<Peer>(descriptor, tls_);
      session.thread = std::thread([this, &session, nth] { run(session, nth); });
    }
  }

  void run(Session& session, int nth) {
    script_(*session.peer, nth);
    const std::lock_guard lock(mutex_);
    session.ended = true;
    session.peer.reset();  // hangs up
  }

  Script script_;
  SSL_CTX* tls_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<int> connections_{0};
  std::mutex mutex_;
  std::list<Session> sessions_;
  std::thread acceptor_;
};

}  // namespace sentinel::net
