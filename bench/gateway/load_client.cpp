// The bench's client: keep-alive HTTP/1.1 POSTs over raw sockets, one thread, figures as one JSON object on stdout.
//
// Modes: `closed` keeps every connection busy with one request after another; `open` starts requests at a fixed
// rate and measures from the scheduled start, so that a slow server cannot slow the schedule; `sse` is closed and
// also times first event and gaps. `{{n}}` in the body becomes a number that this process never uses twice.
// Responses are parsed just enough to find their end: Content-Length, chunked, or the end of the connection.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMaxEvents = 256;
constexpr std::size_t kReadBytes = 64 * 1024;
// A server that refuses this many requests in a row will not recover within the run.
constexpr std::uint64_t kMaxFailures = 1000;

struct Options {
  std::string mode = "closed", path = "/v1/chat/completions", body;
  std::vector<std::string> headers;
  std::uint16_t port = 0;
  std::size_t connections = 64;
  std::uint64_t requests = 0;
  double seconds = 5, rate = 200, timeout = 60;
};

double microseconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::micro>(to - from).count();
}

// Finds the end of one response and hands out its body bytes; knows nothing of sockets.
class ResponseReader {
 public:
  enum class State {
    kHead,
    kLength,
    kUntilClose,
    kChunkSize,
    kChunkData,
    kChunkEnd,
    kTrailer,
    kDone,
    kBroken
  };

  void reset() { *this = ResponseReader(); }
  State state() const { return state_; }
  int status() const { return status_; }
  bool keeps_alive() const { return keeps_alive_; }

  // Calls on_body(piece) for every piece of body in `data`.
  template <class OnBody>
  void feed(std::string_view data, OnBody on_body) {
    while (!data.empty() && state_ != State::kDone && state_ != State::kBroken) {
      if (state_ == State::kLength || state_ == State::kChunkData || state_ == State::kUntilClose) {
        const auto piece = data.substr(0, state_ == State::kUntilClose ? data.size() : left_);
        on_body(piece);
        left_ -= piece.size();
        data.remove_prefix(piece.size());
        if (left_ == 0 && state_ != State::kUntilClose) {
          state_ = state_ == State::kLength ? State::kDone : State::kChunkEnd;
        }
        continue;
      }
      const auto end = data.find('\n');
      line_ += data.substr(0, end);
      if (end == std::string_view::npos) return;
      data.remove_prefix(end + 1);
      if (!line_.empty() && line_.back() == '\r') line_.pop_back();
      on_line();
      line_.clear();
    }
  }

 private:
  void on_line() {
    switch (state_) {
      case State::kHead: return on_head_line();
      case State::kChunkSize:
        left_ = std::strtoull(line_.c_str(), nullptr, 16);
        state_ = left_ == 0 ? State::kTrailer : State::kChunkData;
        return;
      case State::kChunkEnd: state_ = State::kChunkSize; return;
      case State::kTrailer:
        if (line_.empty()) state_ = State::kDone;
        return;
      default: return;
    }
  }

  void on_head_line() {
    if (status_ == 0) {
      status_ = line_.size() >= 12 ? std::atoi(line_.c_str() + 9) : 0;
      if (status_ == 0) state_ = State::kBroken;
    } else if (line_.empty()) {
      state_ = chunked_       ? State::kChunkSize
               : !has_length_ ? State::kUntilClose
               : left_        ? State::kLength
                              : State::kDone;
    } else if (strncasecmp(line_.c_str(), "content-length:", 15) == 0) {
      has_length_ = true;
      left_ = std::strtoull(line_.c_str() + 15, nullptr, 10);
    } else if (strncasecmp(line_.c_str(), "transfer-encoding:", 18) == 0) {
      chunked_ = true;
    } else if (strncasecmp(line_.c_str(), "connection: close", 17) == 0) {
      keeps_alive_ = false;
    }
  }

  State state_ = State::kHead;
  int status_ = 0;
  bool keeps_alive_ = true, chunked_ = false, has_length_ = false;
  std::uint64_t left_ = 0;
  std::string line_;
};

// Counts "data:" in a byte stream however it is cut.
class EventCounter {
 public:
  std::uint64_t count(std::string_view bytes) {
    std::uint64_t found = 0;
    for (const char byte : bytes) {
      matched_ = byte == kMark[matched_] ? matched_ + 1 : byte == kMark[0] ? 1 : 0;
      if (matched_ < kMark.size()) continue;
      ++found;
      matched_ = 0;
    }
    return found;
  }

 private:
  static constexpr std::string_view kMark = "data:";
  std::size_t matched_ = 0;
};

struct Connection {
  int fd = -1;
  bool busy = false;
  std::string out;
  ResponseReader reader;
  EventCounter events;
  Clock::time_point started, last_event;
  bool has_event = false;
};

struct Figures {
  std::vector<double> latency, first_event, gap;
  std::map<std::string, std::uint64_t> status;
  std::uint64_t done = 0, chunks = 0, reads = 0, failures_in_a_row = 0;
};

class Client {
 public:
  explicit Client(const Options& options);
  void run();
  void print() const;

 private:
  bool wants_more() const;
  void start_ready();
  void start(std::size_t index, Clock::time_point scheduled);
  void connect(Connection& connection, std::size_t index);
  void send_all(Connection& connection);
  void on_readable(Connection& connection);
  void on_bytes(Connection& connection, std::string_view data);
  void finish(Connection& connection, std::string status);
  void fail_overdue();
  std::string request();
  timespec next_wait() const;
  Clock::time_point scheduled_start(std::uint64_t number) const;

  const Options& options_;
  const Clock::time_point begin_ = Clock::now();
  Clock::time_point end_;
  int epoll_ = epoll_create1(0);
  std::vector<Connection> connections_;
  std::vector<std::size_t> idle_;
  std::deque<Clock::time_point> due_;
  std::uint64_t started_ = 0, scheduled_ = 0, number_ = 0, total_ = 0;
  std::string head_;
  Figures figures_;
};

Client::Client(const Options& options) : options_(options), connections_(options.connections) {
  head_ = "POST " + options.path + " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(options.port) +
          "\r\nContent-Type: application/json\r\nAccept: */*\r\n";
  for (const auto& header : options.headers) head_ += header + "\r\n";
  for (std::size_t index = 0; index < connections_.size(); ++index) idle_.push_back(index);
  total_ =
      options.mode == "open" ? static_cast<std::uint64_t>(options.rate * options.seconds) : options.requests;
}

bool Client::wants_more() const {
  if (figures_.failures_in_a_row >= kMaxFailures) return false;
  if (total_ > 0) return started_ < total_;
  return std::chrono::duration<double>(Clock::now() - begin_).count() < options_.seconds;
}

void Client::run() {
  std::array<epoll_event, kMaxEvents> events{};
  for (;;) {
    start_ready();
    if (!wants_more() && idle_.size() == connections_.size()) break;
    const timespec wait = next_wait();
    const int count = epoll_pwait2(epoll_, events.data(), kMaxEvents, &wait, nullptr);
    for (int index = 0; index < count; ++index) {
      on_readable(connections_[events[static_cast<std::size_t>(index)].data.u64]);
    }
    if (count == 0) fail_overdue();
  }
  end_ = Clock::now();
}

// Until the next scheduled start, exactly: spinning here would take the mock's core away.
timespec Client::next_wait() const {
  if (options_.mode != "open" || scheduled_ == total_) return {1, 0};
  const auto left = std::max(Clock::duration::zero(), scheduled_start(scheduled_) - Clock::now());
  const auto nanoseconds = std::chrono::nanoseconds(left).count();
  return {nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
}

Clock::time_point Client::scheduled_start(std::uint64_t number) const {
  const auto offset = std::chrono::duration<double>(static_cast<double>(number) / options_.rate);
  return begin_ + std::chrono::duration_cast<Clock::duration>(offset);
}

void Client::start_ready() {
  if (options_.mode != "open") {
    while (!idle_.empty() && wants_more()) start(idle_.back(), Clock::now());
    return;
  }
  for (; scheduled_ < total_; ++scheduled_) {
    const auto at = scheduled_start(scheduled_);
    if (at > Clock::now()) break;
    due_.push_back(at);
  }
  while (!idle_.empty() && !due_.empty()) {
    const auto at = due_.front();
    due_.pop_front();
    start(idle_.back(), at);
  }
}

std::string Client::request() {
  static constexpr std::string_view kNumber = "{{n}}";
  std::string body = options_.body;
  if (const auto place = body.find(kNumber); place != std::string::npos) {
    const auto number = std::to_string(++number_);
    for (auto at = place; at != std::string::npos; at = body.find(kNumber, at)) {
      body.replace(at, kNumber.size(), number);
    }
  }
  return head_ + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

void Client::start(std::size_t index, Clock::time_point scheduled) {
  idle_.erase(std::find(idle_.rbegin(), idle_.rend(), index).base() - 1);
  auto& connection = connections_[index];
  ++started_;
  connection.busy = true;
  connection.started = scheduled;
  connection.has_event = false;
  connection.reader.reset();
  connection.out = request();
  if (connection.fd < 0) connect(connection, index);
  send_all(connection);
}

void Client::connect(Connection& connection, std::size_t index) {
  connection.fd = socket(AF_INET, SOCK_STREAM, 0);
  const int one = 1;
  setsockopt(connection.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(options_.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // A refused connection shows at the first send; connecting on loopback does not block for long.
  static_cast<void>(::connect(connection.fd, reinterpret_cast<sockaddr*>(&address), sizeof address));
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP;
  event.data.u64 = index;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.fd, &event);
}

void Client::send_all(Connection& connection) {
  while (!connection.out.empty()) {
    const auto count = send(connection.fd, connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
    if (count <= 0) return finish(connection, "error:send");
    connection.out.erase(0, static_cast<std::size_t>(count));
  }
}

void Client::on_readable(Connection& connection) {
  static std::array<char, kReadBytes> buffer;
  if (connection.fd < 0) return;
  const auto count = recv(connection.fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (count < 0 && errno == EAGAIN) return;
  if (count > 0 && connection.busy) {
    return on_bytes(connection, {buffer.data(), static_cast<std::size_t>(count)});
  }
  if (!connection.busy) {
    close(connection.fd);
    connection.fd = -1;
    return;
  }
  const bool complete = connection.reader.state() == ResponseReader::State::kUntilClose;
  const auto status = std::to_string(connection.reader.status());
  finish(connection, complete ? status : "cut:" + status);
}

void Client::on_bytes(Connection& connection, std::string_view data) {
  const bool streams = options_.mode == "sse";
  std::uint64_t events = 0;
  const auto on_body = [&](std::string_view piece) {
    if (streams) events += connection.events.count(piece);
  };
  connection.reader.feed(data, on_body);
  if (events > 0) {
    const auto now = Clock::now();
    auto& times = connection.has_event ? figures_.gap : figures_.first_event;
    times.push_back(
        microseconds_between(connection.has_event ? connection.last_event : connection.started, now));
    connection.has_event = true;
    connection.last_event = now;
    figures_.chunks += events;
    ++figures_.reads;
  }
  if (connection.reader.state() == ResponseReader::State::kDone) {
    finish(connection, std::to_string(connection.reader.status()));
  } else if (connection.reader.state() == ResponseReader::State::kBroken) {
    finish(connection, "error:response");
  }
}

void Client::finish(Connection& connection, std::string status) {
  const bool ended = connection.reader.state() == ResponseReader::State::kDone;
  const bool good = status.front() >= '0' && status.front() <= '9';
  figures_.failures_in_a_row = good ? 0 : figures_.failures_in_a_row + 1;
  figures_.latency.push_back(microseconds_between(connection.started, Clock::now()));
  ++figures_.status[std::move(status)];
  ++figures_.done;
  connection.busy = false;
  if (!ended || !connection.reader.keeps_alive()) {
    close(connection.fd);
    connection.fd = -1;
  }
  idle_.push_back(static_cast<std::size_t>(&connection - connections_.data()));
}

void Client::fail_overdue() {
  for (auto& connection : connections_) {
    const auto age = microseconds_between(connection.started, Clock::now()) / 1e6;
    if (connection.busy && age > options_.timeout) finish(connection, "error:timeout");
  }
}

void print_distribution(const char* name, std::vector<double> values) {
  if (values.empty()) return;
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    const auto index = static_cast<std::size_t>(share * static_cast<double>(values.size()));
    return values[std::min(index, values.size() - 1)];
  };
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  std::printf(",\"%s\":{\"mean\":%.1f,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f}",
              name, mean, at(0.5), at(0.9), at(0.99), at(0.999), values.back());
}

void Client::print() const {
  const double elapsed = std::chrono::duration<double>(end_ - begin_).count();
  std::printf(
      "{\"mode\":\"%s\",\"elapsed_seconds\":%.4f,\"done\":%lu,\"requests_per_second\":%.1f,\"status\":{",
      options_.mode.c_str(), elapsed, figures_.done, static_cast<double>(figures_.done) / elapsed);
  const char* comma = "";
  for (const auto& [status, count] : figures_.status) {
    std::printf("%s\"%s\":%lu", comma, status.c_str(), count);
    comma = ",";
  }
  std::printf("},\"chunks\":%lu,\"reads\":%lu", figures_.chunks, figures_.reads);
  print_distribution("latency_us", figures_.latency);
  print_distribution("first_event_us", figures_.first_event);
  print_distribution("gap_us", figures_.gap);
  std::puts("}");
}

[[noreturn]] void usage() {
  std::fputs(
      "usage: load_client --port P --body JSON [--mode closed|open|sse] [--path P] [--header 'K: V']...\n"
      "       [--connections 64] [--requests N | --seconds 5] [--rate 200] [--timeout 60]\n",
      stderr);
  std::exit(2);
}

Options read_options(int argc, char** argv) {
  Options options;
  for (int index = 1; index + 1 < argc; index += 2) {
    const std::string_view name = argv[index];
    const char* value = argv[index + 1];
    if (name == "--mode")
      options.mode = value;
    else if (name == "--path")
      options.path = value;
    else if (name == "--body")
      options.body = value;
    else if (name == "--header")
      options.headers.emplace_back(value);
    else if (name == "--port")
      options.port = static_cast<std::uint16_t>(std::atoi(value));
    else if (name == "--connections")
      options.connections = std::strtoull(value, nullptr, 10);
    else if (name == "--requests")
      options.requests = std::strtoull(value, nullptr, 10);
    else if (name == "--seconds")
      options.seconds = std::atof(value);
    else if (name == "--rate")
      options.rate = std::atof(value);
    else if (name == "--timeout")
      options.timeout = std::atof(value);
    else
      usage();
  }
  const bool known = options.mode == "closed" || options.mode == "open" || options.mode == "sse";
  if (argc % 2 == 0 || options.port == 0 || options.connections == 0 || !known) usage();
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = read_options(argc, argv);
  Client client(options);
  client.run();
  client.print();
}
