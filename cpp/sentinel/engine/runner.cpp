#include "sentinel/engine/runner.hpp"

#include <pthread.h>
#include <signal.h>

#include <utility>

#include "sentinel/engine/errors.hpp"
#include "sentinel/engine/relay.hpp"
#include "sentinel/engine/replies.hpp"

namespace sentinel::engine {
namespace {

constexpr std::size_t kMostErrorBytes = std::size_t{1} << 20U;

// What ends an exchange early, as its client reads it.
Error stop_error(StopReason reason) {
  switch (reason) {
    case StopReason::key_revoked: return Error(ErrorCode::key_revoked, "the API key was revoked");
    case StopReason::shutdown: return Error(ErrorCode::server_shutting_down, "the server is shutting down");
    case StopReason::slow_reader:
      return Error(ErrorCode::slow_reader, "the client takes its answer too slowly");
    case StopReason::client_gone:
    case StopReason::none: break;
  }
  return Error(ErrorCode::request_timeout, "the client left");
}

journal::Outcome stop_outcome(StopReason reason) {
  if (reason == StopReason::client_gone || reason == StopReason::slow_reader)
    return journal::Outcome::client_gone;
  return reason == StopReason::shutdown ? journal::Outcome::shutdown : journal::Outcome::refused;
}

template <class Source>
void cancel_source(void* source) {
  static_cast<Source*>(source)->cancel();
}

}  // namespace

Runner::Runner(Pipeline& pipeline, const Clock& clock, metrics::MetricRegistry& metrics, std::uint64_t seed,
               std::uint64_t first_call_id, std::function<void()> on_end)
    : pipeline_(pipeline),
      loop_(clock),
      upstreams_(loop_),
      metrics_(metrics),
      lane_(seed, metrics_),
      on_end_(std::move(on_end)),
      next_call_id_(first_call_id) {}

Runner::~Runner() = default;

void Runner::start() {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { loop_.run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Runner::join() {
  if (!thread_.joinable()) return;
  loop_.post([this] { upstreams_.close(); });
  loop_.finish();
  thread_.join();
}

std::unique_ptr<Live> Runner::prepare(std::unique_ptr<Exchange> exchange, std::shared_ptr<ClientSide> client,
                                      std::shared_ptr<ProviderPort> provider) {
  return std::make_unique<Live>(std::move(exchange), std::move(client), std::move(provider),
                                std::make_shared<Flow>(*this), loop_.executor());
}

void Runner::submit(std::vector<std::unique_ptr<Live>> batch) {
  loop_.post([this, batch = std::move(batch)]() mutable {
    for (auto& live : batch) loop_.spawn(run(std::move(live)));
  });
}

void Runner::stop(std::shared_ptr<Flow> flow, StopReason reason) {
  loop_.post([this, flow = std::move(flow), reason] {
    if (flow->live_ != nullptr) stop_here(*flow->live_, reason);
  });
}

// The post is spared as long as the relay does not wait: with credit left it needs no wake-up.
void Runner::taken(const std::shared_ptr<Flow>& flow, std::int64_t bytes) {
  flow->waiting_bytes_.fetch_sub(bytes);
  if (!flow->relay_waits_.load()) return;
  loop_.post([flow] {
    if (flow->live_ != nullptr) flow->live_->credit.open();
  });
}

void Runner::answer(std::uint64_t call_id, ProviderAnswer answer) {
  loop_.post([this, call_id, answer = std::move(answer)]() mutable {
    const auto call = provider_calls_.find(call_id);
    if (call != provider_calls_.end()) call->second->answer(std::move(answer));
  });
}

void Runner::stop_revoked() {
  loop_.post([this] {
    for (Live* live = first_; live != nullptr; live = live->next) {
      const auto& principal = live->exchange->principal;
      if (principal && principal->revoked()) stop_here(*live, StopReason::key_revoked);
    }
  });
}

void Runner::stop_all(StopReason reason) {
  loop_.post([this, reason] {
    stopping_ = reason;
    for (Live* live = first_; live != nullptr; live = live->next) stop_here(*live, reason);
  });
}

void Runner::stop_here(Live& live, StopReason reason) {
  if (live.stop != StopReason::none) return;
  live.stop = reason;
  if (live.cancel != nullptr) live.cancel(live.source);
  live.credit.open();
}

net::Awaitable<void> Runner::run(std::unique_ptr<Live> live) {
  live->flow->live_ = live.get();
  live->next = first_;
  if (first_ != nullptr) first_->previous = live.get();
  first_ = live.get();
  const auto& principal = live->exchange->principal;
  live->stop = stopping_;
  if (principal && principal->revoked()) live->stop = StopReason::key_revoked;

  const bool python = live->exchange->target->upstream->kind == UpstreamKind::python;
  if (live->stop != StopReason::none) {
    conclude(*live, stop_error(live->stop));
  } else if (python) {
    co_await run_provider(*live);
  } else {
    co_await run_upstream(*live);
  }

  live->flow->live_ = nullptr;
  if (live->previous != nullptr) live->previous->next = live->next;
  if (live->next != nullptr) live->next->previous = live->previous;
  if (first_ == live.get()) first_ = live->next;
  live.reset();
  on_end_();
}

net::Awaitable<void> Runner::run_upstream(Live& live) {
  const Upstream& upstream = *live.exchange->target->upstream;
  net::UpstreamCall call(upstreams_, upstream.origin, upstream.timeouts);
  co_await carry(live, call);
}

net::Awaitable<void> Runner::run_provider(Live& live) {
  if (!live.provider) {
    live.exchange->outcome = journal::Outcome::refused;
    conclude(live, Error(ErrorCode::not_implemented, "no Python provider is connected to this door"));
    co_return;
  }
  const std::uint64_t call_id = next_call_id_++;
  ProviderCall call(loop_, *live.provider, call_id, live.exchange->target->upstream->timeouts);
  provider_calls_.emplace(call_id, &call);
  co_await carry(live, call);
  provider_calls_.erase(call_id);
}

namespace {

net::Awaitable<Result<net::ResponseHead>> send(net::UpstreamCall& call, const Exchange& exchange) {
  return call.send(exchange.upstream_head, exchange.upstream_body);
}

net::Awaitable<Result<net::ResponseHead>> send(ProviderCall& call, const Exchange& exchange) {
  return call.send(exchange);
}

}  // namespace

template <class Source>
net::Awaitable<void> Runner::carry(Live& live, Source& source) {
  Exchange& exchange = *live.exchange;
  live.cancel = &cancel_source<Source>;
  live.source = &source;
  exchange.sent_at = loop_.instant();
  Result<net::ResponseHead> head = co_await send(source, exchange);
  exchange.billable = source.sent();
  if (!head) {
    exchange.outcome = journal::Outcome::upstream_error;
    conclude(live, std::move(head.error()));
  } else {
    note_head(live, *head, source.sent());
    const bool streams = exchange.facts.stream && head->status == 200;
    // Not a conditional expression: GCC 12 destroys the result of `c ? co_await a : co_await b` twice.
    Status relayed = Done{};
    if (streams) {
      relayed = co_await relay_stream(live, source, *head);
    } else {
      relayed = co_await relay_plain(live, source, *head);
    }
    if (!relayed) conclude(live, std::move(relayed.error()));
  }
  live.cancel = nullptr;
  live.source = nullptr;
}

void Runner::note_head(Live& live, const net::ResponseHead& head, bool sent) {
  Exchange& exchange = *live.exchange;
  exchange.billable = sent && head.status < 300;
  for (const char* name : {"x-request-id", "request-id", "apim-request-id"}) {
    const auto id = head.find(name);
    if (!id || id->size() > 128) continue;
    if (id->find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") !=
        std::string_view::npos)
      continue;
    exchange.upstream_request_id = *id;
    return;
  }
}

template <class Source>
net::Awaitable<Result<std::string>> Runner::read_whole(Exchange& exchange, Source& source, std::size_t most) {
  std::string body;
  for (;;) {
    Result<std::string_view> piece = co_await source.read();
    if (!piece) co_return std::move(piece.error());
    if (piece->empty()) co_return body;
    if (body.size() + piece->size() > most) {
      exchange.outcome = journal::Outcome::upstream_error;
      co_return Error(ErrorCode::upstream_error,
                      "the upstream's reply is over " + std::to_string(most) + " bytes");
    }
    body += *piece;
  }
}

template <class Source>
net::Awaitable<Status> Runner::relay_plain(Live& live, Source& source, const net::ResponseHead& head) {
  Exchange& exchange = *live.exchange;
  const bool failed = head.status >= 400;
  exchange.outcome = journal::Outcome::upstream_cut;
  const std::size_t most = failed ? kMostErrorBytes : exchange.snapshot->limits.response_bytes;
  Result<std::string> body = co_await read_whole(exchange, source, most);
  if (!body) co_return std::move(body.error());
  exchange.upstream_ended_at = loop_.instant();
  exchange.outcome = journal::Outcome::upstream_error;
  if (!failed && head.status != 200) {
    co_return Error(ErrorCode::upstream_error,
                    "the upstream answered with status " + std::to_string(head.status));
  }
  Reply reply;
  reply.status = head.status;
  if (failed) {
    reply.body = exchange.credential == nullptr ? std::move(*body) : scrub(*body, *exchange.credential);
    exchange.error.emplace(ErrorCode::upstream_error,
                           "the upstream answered with status " + std::to_string(head.status));
  } else {
    Status accepted = accept_plain(exchange, head.find("content-type").value_or(""), *body, lane_.answers);
    if (!accepted) co_return std::move(accepted.error());
    exchange.first_token_at = exchange.upstream_ended_at;
    exchange.outcome = journal::Outcome::done;
    reply.body = std::move(*body);
  }
  exchange.status = head.status;
  settle(live);
  reply.headers = reply_headers(exchange, head);
  append_settled_headers(reply.headers, exchange, loop_.instant());
  live.client->reply(std::move(reply));
  co_return Done{};
}

template <class Source>
net::Awaitable<Status> Runner::relay_stream(Live& live, Source& source, const net::ResponseHead& head) {
  Exchange& exchange = *live.exchange;
  if (head.find("content-type").value_or("").find("text/event-stream") == std::string_view::npos) {
    exchange.outcome = journal::Outcome::upstream_error;
    co_return Error(ErrorCode::upstream_error,
                    "a stream was asked for and the upstream answered with something else");
  }
  StreamRelay relay(exchange, lane_.answers);
  exchange.status = 200;
  Status outcome = Done{};
  exchange.outcome = journal::Outcome::upstream_cut;
  for (;;) {
    Result<std::string_view> piece = co_await source.read();
    if (!piece) outcome = std::move(piece.error());
    if (!piece || piece->empty()) break;
    std::string out;
    outcome = relay.feed(*piece, loop_.instant(), out);
    if (!out.empty()) send_data(live, head, std::move(out));
    if (!outcome) exchange.outcome = journal::Outcome::upstream_error;
    if (!outcome || relay.finished()) break;
    if (lacks_credit(live)) co_await wait_for_credit(live);
    if (live.stop != StopReason::none) break;
  }
  exchange.upstream_ended_at = loop_.instant();
  const bool stopped = live.stop != StopReason::none && !relay.finished();
  if (outcome && !stopped) outcome = relay.finish();
  relay.report();
  if (!outcome) co_return outcome;
  if (stopped) co_return stop_error(live.stop);
  exchange.outcome = relay.failed_in_band() ? journal::Outcome::upstream_error : journal::Outcome::done;
  settle(live);
  const std::string terminal = relay.last_bytes();
  if (!terminal.empty()) send_data(live, head, terminal);
  live.client->end();
  co_await read_out(source);
  co_return Done{};
}

// The client has its whole answer and waits for nobody. What little the upstream still sends is taken, so that its
// connection can serve the next call.
template <class Source>
net::Awaitable<void> Runner::read_out(Source& source) {
  constexpr std::size_t kMostBytes = std::size_t{64} * 1024;
  for (std::size_t bytes = 0; bytes < kMostBytes;) {
    Result<std::string_view> piece = co_await source.read();
    if (!piece || piece->empty()) co_return;
    bytes += piece->size();
  }
}

// Ends an exchange that did not come to its own end; `error` is what its client is told.
void Runner::conclude(Live& live, Error error) {
  Exchange& exchange = *live.exchange;
  if (live.stop != StopReason::none) {
    error = stop_error(live.stop);
    exchange.outcome = stop_outcome(live.stop);
  }
  exchange.error = error;
  if (!exchange.upstream_ended_at) exchange.upstream_ended_at = loop_.instant();
  if (live.begun) {
    settle(live);
    live.client->data(error_event(error, exchange.endpoint, exchange.request_id));
    live.client->end();
    return;
  }
  Reply reply = error_reply(exchange, error);
  exchange.status = live.stop == StopReason::client_gone ? 499 : reply.status;
  settle(live);
  append_settled_headers(reply.headers, exchange, loop_.instant());
  live.client->reply(std::move(reply));
}

void Runner::send_data(Live& live, const net::ResponseHead& head, std::string bytes) {
  if (!live.begun) live.client->begin(200, reply_headers(*live.exchange, head));
  live.begun = true;
  live.flow->waiting_bytes_.fetch_add(static_cast<std::int64_t>(bytes.size()));
  live.client->data(std::move(bytes));
}

bool Runner::lacks_credit(const Live& live) {
  return live.flow->waiting_bytes_.load() >= live.exchange->snapshot->limits.credit_bytes;
}

// A client that takes nothing for as long as the upstream may stay silent is too slow to be kept.
net::Awaitable<void> Runner::wait_for_credit(Live& live) {
  while (lacks_credit(live) && live.stop == StopReason::none) {
    // Anew for whatever it takes: a big event may be many times the credit, and is no reason to hurry.
    live.slow_reader.set(loop_.timers(), loop_.now() + live.exchange->target->upstream->timeouts.idle);
    live.credit.reset();
    live.flow->relay_waits_.store(true);
    // The door may have taken bytes between the check above and the store: look again before waiting.
    if (lacks_credit(live)) co_await live.credit.wait();
    live.flow->relay_waits_.store(false);
  }
  live.slow_reader.cancel();
}

void Runner::settle(Live& live) { pipeline_.finish(lane_, *live.exchange, loop_.instant()); }

}  // namespace sentinel::engine
