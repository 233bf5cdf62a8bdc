#include "sentinel/net/upstream.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <deque>
#include <functional>
#include <unordered_map>
#include <utility>

#include "sentinel/net/address_policy.hpp"
#include "sentinel/net/connection.hpp"
#include "sentinel/net/loop.hpp"
#include "sentinel/net/resolver.hpp"
#include "sentinel/net/tls.hpp"

namespace sentinel::net {
namespace {

constexpr Duration kNever = Duration::max();
constexpr Duration kIdleLife =
    std::chrono::seconds{55};  // shorter than the 60 s at which many servers hang up
constexpr std::size_t kBufferBytes = std::size_t{64} * 1024;
constexpr std::size_t kSpareBuffers = 32;

Duration after(Duration now, Duration wait) { return wait > kNever - now ? kNever : now + wait; }

// Of an origin, everything that decides whether two calls may share a connection.
struct SameOrigin {
  bool operator()(const Origin& a, const Origin& b) const {
    return a.port == b.port && a.tls == b.tls && a.allow_private == b.allow_private && a.host == b.host &&
           a.ca_file == b.ca_file && a.trust_files == b.trust_files;
  }
};

struct OriginHash {
  std::size_t operator()(const Origin& origin) const {
    return std::hash<std::string>{}(origin.host) ^ origin.port;
  }
};

AddressKind kind_of(const asio::ip::address& address) {
  return address.is_v4() ? classify(address.to_v4().to_bytes()) : classify(address.to_v6().to_bytes());
}

std::string bare_host(const std::string& host) {
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  return bracketed ? host.substr(1, host.size() - 2) : host;
}

Error upstream_error(std::string_view phase, std::string_view what) {
  return {ErrorCode::upstream_error, "upstream " + std::string(phase) + ": " + std::string(what)};
}

Error cancelled() { return {ErrorCode::upstream_error, "cancelled"}; }

}  // namespace

std::string Origin::key() const {
  const bool v6 = host.find(':') != std::string::npos && host.front() != '[';
  return (tls ? "https://" : "http://") + (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

// The connections of one origin: idle ones, how many there are in all, and who waits for one.
struct UpstreamCall::OriginPool {
  struct Idle {
    std::shared_ptr<Connection> connection;
    Duration since;
  };

  OriginPool(Loop& loop_in, PoolStats& counts_in) : loop(loop_in), counts(counts_in) {}
  OriginPool(const OriginPool&) = delete;
  OriginPool& operator=(const OriginPool&) = delete;

  std::shared_ptr<Connection> pop_idle() {
    if (idle.empty()) return nullptr;
    std::shared_ptr<Connection> connection = std::move(idle.back().connection);
    idle.pop_back();
    --counts.idle;
    return connection;
  }

  bool take_slot() {
    if (open >= max_connections) return false;
    ++open;
    ++counts.open;
    return true;
  }

  void wait(UpstreamCall& call) {
    waiting.push_back(&call);
    ++counts.waiting;
  }

  void stop_waiting(UpstreamCall& call) {
    const auto found = std::find(waiting.begin(), waiting.end(), &call);
    if (found == waiting.end()) return;
    waiting.erase(found);
    --counts.waiting;
  }

  UpstreamCall* next_waiting() {
    if (waiting.empty()) return nullptr;
    UpstreamCall* call = waiting.front();
    stop_waiting(*call);
    return call;
  }

  // A connection less: whoever waits longest may dial instead.
  void give_slot_back() {
    if (UpstreamCall* call = next_waiting()) {
      call->holds_slot_ = true;
      call->wake_.open();
      return;
    }
    --open;
    --counts.open;
  }

  void give_back(std::shared_ptr<Connection> connection) {
    if (UpstreamCall* call = next_waiting()) {
      connection->set_user(&UpstreamCall::on_ready, call);
      call->connection_ = std::move(connection);
      call->holds_slot_ = true;
      call->wake_.open();
      return;
    }
    connection->set_user(&OriginPool::on_idle_ready, this);
    connection->watch_read();
    const Duration now = loop.now();
    idle.push_back({std::move(connection), now});
    ++counts.idle;
    if (!expiry.armed()) expiry.set(loop.timers(), now + kIdleLife);
  }

  // The peer hung up, or spoke without being asked.
  static void on_idle_ready(void* self, Connection& connection) {
    OriginPool& pool = *static_cast<OriginPool*>(self);
    if (connection.quiet()) {
      connection.watch_read();
      return;
    }
    const auto is_it = [&connection](const Idle& entry) { return entry.connection.get() == &connection; };
    pool.drop(std::find_if(pool.idle.begin(), pool.idle.end(), is_it));
  }

  void drop(std::vector<Idle>::iterator entry) {
    assert(entry != idle.end());
    entry->connection->close();
    idle.erase(entry);
    --counts.idle;
    give_slot_back();
  }

  static void on_expiry(void* self) {
    OriginPool& pool = *static_cast<OriginPool*>(self);
    const Duration now = pool.loop.now();
    while (!pool.idle.empty() && pool.idle.front().since + kIdleLife <= now) pool.drop(pool.idle.begin());
    if (!pool.idle.empty()) pool.expiry.set(pool.loop.timers(), pool.idle.front().since + kIdleLife);
  }

  void drop_all() {
    while (!idle.empty()) drop(idle.begin());
    expiry.cancel();
  }

  Loop& loop;
  PoolStats& counts;
  std::vector<Idle> idle;  // oldest first; taken from the back, so that what is not needed grows old
  std::deque<UpstreamCall*> waiting;
  std::size_t open = 0;
  std::size_t max_connections = 0;
  TlsTicket ticket;
  Timer expiry{&OriginPool::on_expiry, this};
};

struct UpstreamPool::Shared {
  explicit Shared(Loop& loop_in) : loop(loop_in), resolver(loop_in) {}

  UpstreamCall::OriginPool& find(const Origin& origin) {
    auto [entry, made] = origins.try_emplace(origin, loop, counts);
    entry->second.max_connections = origin.max_connections;
    return entry->second;
  }

  Loop& loop;
  Resolver resolver;
  TlsContexts tls;
  PoolStats counts;
  std::unordered_map<Origin, UpstreamCall::OriginPool, OriginHash, SameOrigin> origins;
  std::vector<std::unique_ptr<char[]>> buffers;
  UpstreamCall* live = nullptr;  // calls between send() and their end
  bool closed = false;
};

UpstreamPool::UpstreamPool(Loop& loop) : loop_(loop), shared_(std::make_unique<Shared>(loop)) {}

UpstreamPool::~UpstreamPool() {
  close();
  assert(shared_->counts.open == 0);
}

PoolStats UpstreamPool::stats() const { return shared_->counts; }

Resolver& UpstreamPool::resolver() { return shared_->resolver; }

void UpstreamPool::close() {
  shared_->closed = true;
  while (shared_->live != nullptr) shared_->live->cancel();
  for (auto& [origin, pool] : shared_->origins) pool.drop_all();
  shared_->resolver.cancel();
}

UpstreamCall::UpstreamCall(UpstreamPool& pool, const Origin& origin, const Timeouts& timeouts)
    : pool_(pool),
      origin_(origin),
      timeouts_(timeouts),
      total_deadline_(after(pool.loop().now(), timeouts.total)),
      phase_deadline_(kNever),
      timer_(&UpstreamCall::on_timer, this),
      wake_(pool.loop().executor()) {}

UpstreamCall::~UpstreamCall() {
  assert(!wake_.has_waiter());
  if (phase_ != Phase::complete && !ended_) fail(cancelled());
  return_buffer();
}

// --- One request
// --------------------------------------------------------------------------------------------------

Awaitable<Result<ResponseHead>> UpstreamCall::send(std::string_view head, std::string_view body) {
  assert(phase_ == Phase::unused);
  if (pool_.shared_->closed && !ended_) fail(cancelled());
  if (ended_) co_return ended();
  home_ = &pool_.shared_->find(origin_);
  next_live_ = pool_.shared_->live;
  if (next_live_ != nullptr) next_live_->previous_live_ = this;
  pool_.shared_->live = this;

  to_write_ = head.size() + body.size();
  bool connected = take_idle();
  for (;;) {
    if (!connected) {
      connected = co_await obtain_connection();
      if (!connected) co_return ended();
    }
    parser_.emplace(head.starts_with("HEAD "));
    written_ = 0;
    enter(Phase::send, after(pool_.loop().now(), timeouts_.first_byte));
    while (phase_ == Phase::send) {
      if (write_some(head, body) == Step::wait) {
        wake_.reset();
        co_await wake_.wait();
      }
      if (ended_) co_return ended();
    }
    while (connected && !head_received_) {
      const Step step = read_some();
      if (step == Step::stale) connected = false;
      if (step == Step::wait) {
        wake_.reset();
        co_await wake_.wait();
      }
      if (ended_) co_return ended();
    }
    if (head_received_) break;
  }
  if (phase_ != Phase::complete) enter(Phase::paused, kNever);
  co_return parser_->take_head();
}

Awaitable<Result<std::string_view>> UpstreamCall::read() {
  assert(head_received_ || ended_);
  if (ended_) co_return ended();
  if (received_.empty() && phase_ != Phase::complete) {
    enter(Phase::body, after(pool_.loop().now(), timeouts_.idle));
    while (received_.empty() && phase_ == Phase::body) {
      const Step step = read_some();
      if (step == Step::wait) {
        wake_.reset();
        co_await wake_.wait();
      }
      if (ended_) co_return ended();
    }
    if (phase_ == Phase::body) enter(Phase::paused, kNever);
  }
  const std::string_view bytes = std::exchange(received_, {});
  if (bytes.empty()) return_buffer();
  co_return bytes;
}

void UpstreamCall::cancel() { fail(cancelled()); }

// --- Getting a connection
// -----------------------------------------------------------------------------------------

bool UpstreamCall::take_idle() {
  while (std::shared_ptr<Connection> connection = home_->pop_idle()) {
    if (connection->readable() && !connection->quiet()) {
      connection->close();
      home_->give_slot_back();
      continue;
    }
    connection->set_user(&UpstreamCall::on_ready, this);
    connection_ = std::move(connection);
    holds_slot_ = true;
    reused_ = true;
    ++home_->counts.reuses;
    return true;
  }
  return false;
}

Awaitable<bool> UpstreamCall::obtain_connection() {
  enter(Phase::waiting, after(pool_.loop().now(), timeouts_.connect));
  if (!holds_slot_) holds_slot_ = home_->take_slot();
  if (!holds_slot_) home_->wait(*this);
  while (!holds_slot_ && !ended_) {
    wake_.reset();
    co_await wake_.wait();
  }
  if (ended_) co_return false;
  if (connection_ && connection_->readable() && !connection_->quiet()) {
    connection_->close();
    connection_.reset();
  }
  if (connection_) {  // handed over by the call before us
    reused_ = true;
    ++home_->counts.reuses;
    co_return true;
  }
  ++home_->counts.dials;
  std::shared_ptr<Lookup> answer;
  bool going_on = co_await resolve(answer);
  if (!going_on) co_return false;
  const std::vector<asio::ip::address> addresses = permitted(*answer);
  if (ended_) co_return false;
  going_on = co_await connect(addresses);
  if (going_on && origin_.tls) going_on = co_await start_tls();
  co_return going_on;
}

Awaitable<bool> UpstreamCall::resolve(std::shared_ptr<Lookup>& answer) {
  phase_ = Phase::resolve;
  answer = pool_.shared_->resolver.look_up(bare_host(origin_.host));
  if (!answer->done) answer->waiting.push_back(&wake_);
  while (!answer->done && !ended_) {
    wake_.reset();
    co_await wake_.wait();
  }
  std::erase(answer->waiting, &wake_);
  if (!ended_ && answer->addresses.empty()) fail(upstream_error("resolve", answer->failure));
  co_return !ended_;
}

std::vector<asio::ip::address> UpstreamCall::permitted(const Lookup& answer) {
  std::vector<asio::ip::address> open;
  for (const asio::ip::address& address : answer.addresses) {
    if (may_dial(kind_of(address), origin_.allow_private)) open.push_back(address);
  }
  if (!open.empty()) return open;
  const std::string_view kind = name(kind_of(answer.addresses.front()));
  fail(upstream_error("resolve",
                      "the name leads to a " + std::string(kind) + " address, which is not allowed"));
  return open;
}

Awaitable<bool> UpstreamCall::connect(const std::vector<asio::ip::address>& addresses) {
  phase_ = Phase::connect;
  const Duration until = phase_deadline_;
  std::string failure;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    // Each address but the last gets its share of what is left, so that a dead one cannot use up all of it.
    const auto left = static_cast<std::int64_t>(addresses.size() - i);
    more_addresses_ = left > 1;
    const Duration now = pool_.loop().now();
    enter(Phase::connect, more_addresses_ ? now + (until - now) / left : until);
    connection_ = std::make_shared<Connection>(pool_.loop().executor());
    const asio::ip::tcp::endpoint endpoint(addresses[i], origin_.port);
    const SocketError error = co_await connection_->connect(endpoint);
    if (ended_) co_return false;
    if (!error && connection_->is_open()) {
      more_addresses_ = false;
      enter(Phase::connect, until);
      connection_->set_user(&UpstreamCall::on_ready, this);
      co_return true;
    }
    failure = error ? error.message() : "no answer";
    connection_->close();
    connection_.reset();
  }
  fail(upstream_error("connect", failure));
  co_return false;
}

Awaitable<bool> UpstreamCall::start_tls() {
  phase_ = Phase::tls;
  Result<ssl_ctx_st*> context = pool_.shared_->tls.find(origin_.ca_file, origin_.trust_files);
  if (!context) {
    fail(context.error());
    co_return false;
  }
  connection_->start_tls(**context, bare_host(origin_.host), home_->ticket.get());
  for (;;) {
    const Moved moved = connection_->handshake();
    if (moved.state == Moved::State::done) co_return true;
    if (moved.state == Moved::State::closed) fail(upstream_error("tls", "the peer closed the connection"));
    if (moved.state == Moved::State::failed) fail(upstream_error("tls", connection_->failure()));
    if (ended_) co_return false;
    moved.state == Moved::State::want_read ? connection_->watch_read() : connection_->watch_write();
    wake_.reset();
    co_await wake_.wait();
    if (ended_) co_return false;
  }
}

// --- Moving bytes
// -------------------------------------------------------------------------------------------------

UpstreamCall::Step UpstreamCall::write_some(std::string_view head, std::string_view body) {
  std::string_view first = head.substr(std::min(written_, head.size()));
  std::string_view second = body.substr(written_ - (head.size() - first.size()));
  if (connection_->is_tls() && to_write_ <= kBufferBytes) {  // one record instead of two
    if (!buffer_) {
      borrow_buffer();
      head.copy(buffer_.get(), head.size());
      body.copy(buffer_.get() + head.size(), body.size());
    }
    first = {buffer_.get() + written_, to_write_ - written_};
    second = {};
  }
  const Moved moved = connection_->write(first, second);
  switch (moved.state) {
    case Moved::State::done:
      sent_ = true;
      written_ += moved.bytes;
      if (written_ == to_write_) phase_ = Phase::head;
      return Step::moved;
    case Moved::State::want_read: connection_->watch_read(); return Step::wait;
    case Moved::State::want_write:
      if (connection_->readable()) {  // an early reply, or the end: no need to send the rest
        phase_ = Phase::head;
        return Step::moved;
      }
      connection_->watch_read();
      connection_->watch_write();
      return Step::wait;
    case Moved::State::closed:
    case Moved::State::failed: break;
  }
  phase_ =
      Phase::head;  // what the peer said before it hung up, if anything, tells more than our failed write
  connection_->expect_end();
  return Step::moved;
}

UpstreamCall::Step UpstreamCall::read_some() {
  if (parser_->failed()) return refuse(parser_->feed({}).error());
  if (!connection_->readable()) {
    return_buffer();
    connection_->watch_read();
    return Step::wait;
  }
  borrow_buffer();
  const Moved moved = connection_->read({buffer_.get(), kBufferBytes});
  switch (moved.state) {
    case Moved::State::done: return accept({buffer_.get(), moved.bytes});
    case Moved::State::want_read:
      return_buffer();
      connection_->watch_read();
      return Step::wait;
    case Moved::State::want_write: connection_->watch_write(); return Step::wait;
    case Moved::State::closed: return accept_end();
    case Moved::State::failed: break;
  }
  return refuse(upstream_error(reading_phase(), connection_->failure()));
}

UpstreamCall::Step UpstreamCall::accept(std::string_view bytes) {
  const Result<ResponseParser::Progress> progress = parser_->feed(bytes);
  if (!progress) return refuse(progress.error());
  head_received_ = head_received_ || progress->head;
  gather(progress->body);
  if (progress->complete) finish();
  return Step::moved;
}

UpstreamCall::Step UpstreamCall::accept_end() {
  const Result<ResponseParser::Progress> progress = parser_->eof();
  if (!progress) return refuse(progress.error());
  finish();
  return Step::moved;
}

// The peer may close an idle connection just when we take it: then the request goes out again on a fresh one,
// once (a fresh one is not reused_), and only if no byte of a reply came.
UpstreamCall::Step UpstreamCall::refuse(const Error& error) {
  if (reused_ && !parser_->started()) {
    connection_->close();
    connection_.reset();
    return_buffer();
    reused_ = false;
    ++home_->counts.stale_retries;
    return Step::stale;
  }
  fail(error);
  return Step::failed;
}

// The body bytes of one read, side by side at the place of the first: one view for the reader instead of one
// a chunk.
void UpstreamCall::gather(std::span<const std::string_view> pieces) {
  if (pieces.empty()) return;
  char* const begin = buffer_.get() + (pieces.front().data() - buffer_.get());
  char* end = begin;
  for (const std::string_view piece : pieces) {
    if (end != piece.data()) std::memmove(end, piece.data(), piece.size());
    end += piece.size();
  }
  received_ = {begin, static_cast<std::size_t>(end - begin)};
}

std::string_view UpstreamCall::reading_phase() const {
  if (head_received_) return "body";
  return written_ < to_write_ ? "send" : "head";
}

// --- Ends
// ---------------------------------------------------------------------------------------------------------

void UpstreamCall::finish() {
  phase_ = Phase::complete;
  retire();
  holds_slot_ = false;
  const std::shared_ptr<Connection> connection = std::move(connection_);
  const bool keep = parser_->reusable() && written_ == to_write_;
  if (!keep) {
    connection->close();
    home_->give_slot_back();
    return;
  }
  if (connection->is_tls() && !reused_) home_->ticket = connection->ticket();
  home_->give_back(connection);
}

void UpstreamCall::fail(Error error) {
  if (ended_ || phase_ == Phase::complete) return;
  ended_.emplace(std::move(error));
  retire();
  if (home_ != nullptr) home_->stop_waiting(*this);
  if (connection_) connection_->close();  // kept: a coroutine of ours may still be inside it
  if (std::exchange(holds_slot_, false)) home_->give_slot_back();
  wake_.open();
}

void UpstreamCall::retire() {
  timer_.cancel();
  UpstreamCall*& first = pool_.shared_->live;
  if (first != this && previous_live_ == nullptr) return;
  (first == this ? first : previous_live_->next_live_) = next_live_;
  if (next_live_ != nullptr) next_live_->previous_live_ = previous_live_;
  previous_live_ = next_live_ = nullptr;
}

// --- Deadlines
// ----------------------------------------------------------------------------------------------------

Duration UpstreamCall::deadline() const { return std::min(phase_deadline_, total_deadline_); }

// The timer is only ever brought forward here; one that turns out to be early is set again when it fires.
void UpstreamCall::enter(Phase phase, Duration phase_deadline) {
  phase_ = phase;
  phase_deadline_ = phase_deadline;
  if (!timer_.armed() || deadline() < timer_.deadline()) timer_.set(pool_.loop().timers(), deadline());
}

void UpstreamCall::on_timer(void* self) { static_cast<UpstreamCall*>(self)->expire(); }

void UpstreamCall::expire() {
  if (pool_.loop().now() < deadline()) {
    timer_.set(pool_.loop().timers(), deadline());
    return;
  }
  const auto timeout = [](std::string_view what) {
    return Error(ErrorCode::upstream_timeout, "upstream " + std::string(what));
  };
  if (total_deadline_ <= phase_deadline_) return fail(timeout("total deadline exceeded"));
  switch (phase_) {
    case Phase::waiting:
      return fail(
          {ErrorCode::overloaded, "every connection to the upstream stayed busy until the connect deadline"});
    case Phase::resolve: return fail(timeout("connect deadline exceeded while resolving the name"));
    case Phase::connect:
      if (more_addresses_) return connection_->close();  // this address had its share; the next one is tried
      return fail(timeout("connect deadline exceeded"));
    case Phase::tls: return fail(timeout("connect deadline exceeded in the TLS handshake"));
    case Phase::send: return fail(timeout("first byte deadline exceeded while sending the request"));
    case Phase::head: return fail(timeout("first byte deadline exceeded"));
    case Phase::body: return fail(timeout("idle deadline exceeded"));
    case Phase::unused:
    case Phase::paused:
    case Phase::complete: return;
  }
}

void UpstreamCall::on_ready(void* self, Connection&) { static_cast<UpstreamCall*>(self)->wake_.open_here(); }

// --- Buffers
// ------------------------------------------------------------------------------------------------------

void UpstreamCall::borrow_buffer() {
  if (buffer_) return;
  auto& spare = pool_.shared_->buffers;
  if (spare.empty()) {
    buffer_ = std::make_unique_for_overwrite<char[]>(kBufferBytes);
    return;
  }
  buffer_ = std::move(spare.back());
  spare.pop_back();
}

void UpstreamCall::return_buffer() {
  if (!buffer_) return;
  auto& spare = pool_.shared_->buffers;
  if (spare.size() < kSpareBuffers) spare.push_back(std::move(buffer_));
  buffer_.reset();
}

}  // namespace sentinel::net
