// The bench's upstream: an OpenAI-compatible server that costs next to nothing, so that a gateway's own cost shows.
//
// One thread, epoll, keep-alive, TCP_NODELAY, no dependencies. It is fast and well-behaved; the upstream that
// misbehaves is sentinel.testing's. Usage: mock_upstream PORT. The behaviour of one call is written inside the
// request body, so that it survives any gateway, every key optional:
//   [[chunks=200 gap_us=20000 ttft_us=10000 size=1000]]
// Routes: POST */chat/completions (plain and streamed), GET */models, GET /stats, POST /reset.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

constexpr std::size_t kReadBytes = 64 * 1024;
constexpr int kMaxEvents = 256;
// What the JSON around the content of a plain reply weighs; `size` counts it in.
constexpr std::size_t kReplyFrameBytes = 260;

struct Counters {
  std::uint64_t requests = 0, chat = 0, streams_started = 0, streams_done = 0, streams_aborted = 0,
                chunks = 0;
  std::uint64_t in_flight = 0, max_in_flight = 0, connections = 0;
};

// What the directive of one call asks for.
struct Behaviour {
  std::uint64_t chunks = 200, size = 1000;
  microseconds gap{0}, first{0};
};

enum class Phase { kIdle, kDelayedReply, kStreaming };

struct Connection {
  std::uint64_t id = 0;
  std::string in, out;
  bool waits_for_write = false, reports_usage = false;
  Phase phase = Phase::kIdle;
  Behaviour behaviour;
  std::uint64_t sent = 0;
};

struct Timer {
  Clock::time_point at;
  int fd;
  std::uint64_t connection;
  bool operator<(const Timer& other) const { return at > other.at; }
};

struct Request {
  std::string_view line, body;
  std::size_t bytes = 0;
  std::string unchunked;
};

std::uint64_t number_after(std::string_view text, std::string_view key, std::uint64_t otherwise) {
  const auto found = text.find(key);
  if (found == std::string_view::npos) return otherwise;
  return std::strtoull(std::string(text.substr(found + key.size(), 20)).c_str(), nullptr, 10);
}

Behaviour read_behaviour(std::string_view body) {
  Behaviour behaviour;
  const auto open = body.find("[[");
  if (open == std::string_view::npos) return behaviour;
  const auto text = body.substr(open, body.find("]]", open) - open);
  behaviour.chunks = number_after(text, "chunks=", behaviour.chunks);
  behaviour.size = number_after(text, "size=", behaviour.size);
  behaviour.gap = microseconds(number_after(text, "gap_us=", 0));
  behaviour.first = microseconds(number_after(text, "ttft_us=", 0));
  return behaviour;
}

void append_reply(std::string& out, std::string_view body) {
  out += "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
  out += std::to_string(body.size());
  out += "\r\n\r\n";
  out += body;
}

void append_chunk(std::string& out, std::string_view event) {
  std::array<char, 24> size{};
  const int length = std::snprintf(size.data(), size.size(), "%zx\r\n", event.size());
  out.append(size.data(), static_cast<std::size_t>(length));
  out += event;
  out += "\r\n";
}

std::string chat_reply(std::uint64_t number, std::size_t size) {
  std::string body = R"({"id":"chatcmpl-)" + std::to_string(number) +
                     R"(","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini","choices":[{)"
                     R"("index":0,"message":{"role":"assistant","content":")";
  body.append(size > kReplyFrameBytes ? size - kReplyFrameBytes : 1, 'x');
  body +=
      R"("},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":200,)"
      R"("total_tokens":220},"system_fingerprint":"fp_mock"})";
  return body;
}

constexpr std::string_view kChunkHead =
    R"(data: {"id":"chatcmpl-mock","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini",)"
    R"("system_fingerprint":"fp_mock","choices":[)";

std::string content_event(std::uint64_t number) {
  std::string event(kChunkHead);
  event += R"({"index":0,"delta":{)";
  event += number == 0 ? R"("role":"assistant","content":"tok)" : R"("content":" tok)";
  event += std::to_string(number) + "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";
  return event;
}

std::string finish_event() {
  return std::string(kChunkHead) +
         "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n";
}

std::string usage_event(std::uint64_t chunks) {
  return std::string(kChunkHead) + R"(],"usage":{"prompt_tokens":20,"completion_tokens":)" +
         std::to_string(chunks) + R"(,"total_tokens":)" + std::to_string(20 + chunks) + "}}\n\n";
}

// Finds one complete request in `in`; false while bytes are missing. Trusts its peer: it is ours.
bool read_request(const std::string& in, Request& request) {
  const auto head_end = in.find("\r\n\r\n");
  if (head_end == std::string::npos) return false;
  const std::string_view head(in.data(), head_end + 2);
  const auto line_end = head.find("\r\n");
  std::size_t length = 0;
  bool chunked = false;
  for (auto start = line_end + 2; start < head.size();) {
    const auto end = head.find("\r\n", start);
    const auto line = head.substr(start, end - start);
    if (line.size() > 15 && strncasecmp(line.data(), "content-length:", 15) == 0) {
      length = std::strtoul(std::string(line.substr(15)).c_str(), nullptr, 10);
    }
    chunked = chunked || (line.size() > 18 && strncasecmp(line.data(), "transfer-encoding:", 18) == 0);
    start = end + 2;
  }
  request.line = head.substr(0, line_end);
  const auto body_start = head_end + 4;
  if (!chunked) {
    if (in.size() < body_start + length) return false;
    request.body = std::string_view(in).substr(body_start, length);
    request.bytes = body_start + length;
    return true;
  }
  for (auto at = body_start;;) {
    const auto end = in.find("\r\n", at);
    if (end == std::string::npos) return false;
    const auto size = std::strtoul(in.c_str() + at, nullptr, 16);
    if (in.size() < end + 2 + size + 2) return false;
    request.unchunked.append(in, end + 2, size);
    at = end + 2 + size + 2;
    if (size > 0) continue;
    request.body = request.unchunked;
    request.bytes = at;
    return true;
  }
}

class Server {
 public:
  explicit Server(std::uint16_t port);
  [[noreturn]] void run();

 private:
  void accept_all();
  void on_readable(int fd, Connection& connection);
  void on_writable(int fd, Connection& connection);
  void serve_buffered(int fd, Connection& connection);
  void answer(int fd, Connection& connection, const Request& request);
  void start_stream(int fd, Connection& connection);
  void pump(int fd, Connection& connection);
  void finish(Connection& connection);
  void on_timer(const Timer& timer);
  void schedule(int fd, const Connection& connection, microseconds delay);
  void flush(int fd, Connection& connection);
  void watch_writes(int fd, Connection& connection, bool wanted);
  void drop(int fd);
  std::string stats() const;

  int epoll_ = epoll_create1(0);
  int listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  std::map<int, Connection> connections_;
  std::vector<int> broken_;
  std::priority_queue<Timer> timers_;
  Counters counters_;
  std::uint64_t next_connection_ = 0, next_reply_ = 0;
};

Server::Server(std::uint16_t port) {
  const int one = 1;
  setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener_, 4096) != 0) {
    std::perror("mock_upstream: bind");
    std::exit(1);
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = listener_;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event);
}

void Server::run() {
  std::array<epoll_event, kMaxEvents> events{};
  for (;;) {
    timespec wait{};
    if (!timers_.empty()) {
      const auto left = std::max(Clock::duration::zero(), timers_.top().at - Clock::now());
      const auto nanoseconds = std::chrono::nanoseconds(left).count();
      wait = {nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
    }
    const int count =
        epoll_pwait2(epoll_, events.data(), kMaxEvents, timers_.empty() ? nullptr : &wait, nullptr);
    for (int index = 0; index < count; ++index) {
      const auto& event = events[static_cast<std::size_t>(index)];
      const int fd = event.data.fd;
      if (fd == listener_) {
        accept_all();
        continue;
      }
      const auto found = connections_.find(fd);
      if (found == connections_.end()) continue;
      if ((event.events & EPOLLIN) != 0) {
        on_readable(fd, found->second);
      } else if ((event.events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0) {
        broken_.push_back(fd);
      }
      if ((event.events & EPOLLOUT) != 0) on_writable(fd, found->second);
    }
    while (!timers_.empty() && timers_.top().at <= Clock::now()) {
      const Timer timer = timers_.top();
      timers_.pop();
      on_timer(timer);
    }
    // Connections die here only, so that no reference above outlives its connection.
    for (const int fd : broken_) drop(fd);
    broken_.clear();
  }
}

void Server::accept_all() {
  for (;;) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK);
    if (fd < 0) return;
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connections_[fd].id = ++next_connection_;
    ++counters_.connections;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.fd = fd;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }
}

void Server::on_readable(int fd, Connection& connection) {
  static std::array<char, kReadBytes> buffer;
  const auto count = recv(fd, buffer.data(), buffer.size(), 0);
  if (count == 0 || (count < 0 && errno != EAGAIN)) broken_.push_back(fd);
  if (count <= 0) return;
  connection.in.append(buffer.data(), static_cast<std::size_t>(count));
  serve_buffered(fd, connection);
}

void Server::on_writable(int fd, Connection& connection) {
  flush(fd, connection);
  const bool unpaced = connection.phase == Phase::kStreaming && connection.behaviour.gap.count() == 0;
  if (unpaced && connection.out.empty()) pump(fd, connection);
  serve_buffered(fd, connection);
}

void Server::serve_buffered(int fd, Connection& connection) {
  while (connection.phase == Phase::kIdle) {
    Request request;
    if (!read_request(connection.in, request)) return;
    answer(fd, connection, request);
    connection.in.erase(0, request.bytes);
    flush(fd, connection);
  }
}

void Server::answer(int fd, Connection& connection, const Request& request) {
  const auto asks = [&](std::string_view path) { return request.line.find(path) != std::string_view::npos; };
  if (asks(" /stats ")) return append_reply(connection.out, stats());
  if (asks(" /reset ")) {
    const auto before = counters_;
    counters_ = Counters{};
    counters_.connections = before.connections;
    counters_.in_flight = before.in_flight;
    return append_reply(connection.out, stats());
  }
  ++counters_.requests;
  if (!asks("/chat/completions")) {
    return append_reply(connection.out,
                        R"({"object":"list","data":[{"id":"gpt-4o-mini","object":"model"}]})");
  }
  ++counters_.chat;
  counters_.max_in_flight = std::max(counters_.max_in_flight, ++counters_.in_flight);
  connection.behaviour = read_behaviour(request.body);
  connection.reports_usage = request.body.find("include_usage") != std::string_view::npos;
  const bool streams = request.body.find("\"stream\":true") != std::string_view::npos ||
                       request.body.find("\"stream\": true") != std::string_view::npos;
  if (streams) return start_stream(fd, connection);
  connection.phase = Phase::kDelayedReply;
  if (connection.behaviour.first.count() > 0) return schedule(fd, connection, connection.behaviour.first);
  append_reply(connection.out, chat_reply(++next_reply_, connection.behaviour.size));
  finish(connection);
}

void Server::start_stream(int fd, Connection& connection) {
  ++counters_.streams_started;
  connection.phase = Phase::kStreaming;
  connection.sent = 0;
  connection.out +=
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
      "Transfer-Encoding: chunked\r\n\r\n";
  flush(fd, connection);
  if (connection.behaviour.first.count() > 0) return schedule(fd, connection, connection.behaviour.first);
  pump(fd, connection);
}

// Sends the next chunk, one write each; without a gap as many as the socket takes.
void Server::pump(int fd, Connection& connection) {
  do {
    if (connection.sent == connection.behaviour.chunks) {
      append_chunk(connection.out, finish_event());
      if (connection.reports_usage) append_chunk(connection.out, usage_event(connection.sent));
      append_chunk(connection.out, "data: [DONE]\n\n");
      connection.out += "0\r\n\r\n";
      ++counters_.streams_done;
      finish(connection);
      return flush(fd, connection);
    }
    append_chunk(connection.out, content_event(connection.sent++));
    ++counters_.chunks;
    flush(fd, connection);
    if (connection.behaviour.gap.count() > 0) return schedule(fd, connection, connection.behaviour.gap);
  } while (connection.out.empty());
}

void Server::finish(Connection& connection) {
  connection.phase = Phase::kIdle;
  --counters_.in_flight;
}

void Server::on_timer(const Timer& timer) {
  const auto found = connections_.find(timer.fd);
  if (found == connections_.end() || found->second.id != timer.connection) return;
  auto& connection = found->second;
  if (connection.phase == Phase::kStreaming) {
    pump(timer.fd, connection);
  } else {
    append_reply(connection.out, chat_reply(++next_reply_, connection.behaviour.size));
    finish(connection);
    flush(timer.fd, connection);
  }
  serve_buffered(timer.fd, connection);
}

void Server::schedule(int fd, const Connection& connection, microseconds delay) {
  timers_.push({Clock::now() + delay, fd, connection.id});
}

void Server::flush(int fd, Connection& connection) {
  while (!connection.out.empty()) {
    const auto count = send(fd, connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
    if (count > 0) {
      connection.out.erase(0, static_cast<std::size_t>(count));
      continue;
    }
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      connection.out.clear();
      return broken_.push_back(fd);
    }
    return watch_writes(fd, connection, true);
  }
  watch_writes(fd, connection, false);
}

void Server::watch_writes(int fd, Connection& connection, bool wanted) {
  if (connection.waits_for_write == wanted) return;
  connection.waits_for_write = wanted;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | (wanted ? EPOLLOUT : 0U);
  event.data.fd = fd;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
}

void Server::drop(int fd) {
  const auto found = connections_.find(fd);
  if (found == connections_.end()) return;
  if (found->second.phase != Phase::kIdle) --counters_.in_flight;
  if (found->second.phase == Phase::kStreaming) ++counters_.streams_aborted;
  --counters_.connections;
  connections_.erase(found);
  close(fd);
}

std::string Server::stats() const {
  const auto member = [](std::string_view name, std::uint64_t value) {
    return "\"" + std::string(name) + "\":" + std::to_string(value);
  };
  return "{" + member("requests", counters_.requests) + "," + member("chat", counters_.chat) + "," +
         member("streams_started", counters_.streams_started) + "," +
         member("streams_done", counters_.streams_done) + "," +
         member("streams_aborted", counters_.streams_aborted) + "," + member("chunks", counters_.chunks) +
         "," + member("in_flight", counters_.in_flight) + "," +
         member("max_in_flight", counters_.max_in_flight) + "," +
         member("connections", counters_.connections) + "}";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: mock_upstream PORT\n", stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  Server(static_cast<std::uint16_t>(std::atoi(argv[1]))).run();
}
