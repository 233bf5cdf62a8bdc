// The runner's upstream calls: pipeline steps 8 and 9.
#include <utility>

#include "sentinel/engine/relay.hpp"
#include "sentinel/engine/runner.hpp"
#include "sentinel/engine/stop.hpp"
#include "sentinel/engine/upstream_request.hpp"

namespace sentinel::engine {
namespace {

constexpr std::size_t kMostErrorBytes = std::size_t{1} << 20U;

template <class Source>
void cancel_source(void* source) {
  static_cast<Source*>(source)->cancel();
}

}  // namespace

// ---- 8 send ------------------------------------------------------------------------------------------------

net::Awaitable<void> Runner::carry(CallPtr call) {
  Sending sending(call->exchange(), pipeline_.quotas(), lane_.random);
  for (;;) {
    Status ready = sending.begin(loop_.instant());
    if (!ready) {
      call->exchange().outcome = journal::Outcome::refused;
      fail(*call, std::move(ready.error()));
      break;
    }
    const std::optional<Duration> again = co_await attempt(*call, sending);
    if (!again) break;
    Exchange& exchange = call->exchange();
    lane_.metrics.observe_retried({exchange.target->metric_id, loop_.instant() - *exchange.sent_at});
    exchange.waited += loop_.instant() - *exchange.sent_at + *again;
    exchange.upstream_ended_at.reset();
    if (*again > Duration{0}) co_await pause(*call, *again);
    if (call->cancelled || call->consumers.empty()) {  // nothing is sent again for nobody
      fail(*call, stop_error(StopReason::client_gone));
      break;
    }
  }
  close(call);
}

net::Awaitable<void> Runner::pause(Call& call, Duration delay) {
  call.timer.set(loop_.timers(), loop_.now() + delay);
  call.wake.reset();
  call.pausing = true;
  if (!call.cancelled) co_await call.wake.wait();
  call.pausing = false;
  call.timer.cancel();
}

// The pause before the next attempt; nothing when the call has its end.
net::Awaitable<std::optional<Duration>> Runner::attempt(Call& call, Sending& sending) {
  const Upstream& upstream = *call.exchange().target->upstream;
  const net::Timeouts timeouts = sending.timeouts(loop_.instant());
  if (upstream.kind != UpstreamKind::python) {
    net::UpstreamCall source(upstreams_, upstream.origin, timeouts);
    co_return co_await exchange_with(call, sending, source);
  }
  if (!call.provider) {
    call.exchange().outcome = journal::Outcome::refused;
    fail(call, Error(ErrorCode::not_implemented, "no Python provider is connected to this door"));
    co_return std::nullopt;
  }
  const std::uint64_t call_id = next_call_id_++;
  ProviderCall source(loop_, *call.provider, call_id, timeouts);
  provider_calls_.emplace(call_id, &source);
  const std::optional<Duration> again = co_await exchange_with(call, sending, source);
  provider_calls_.erase(call_id);
  co_return again;
}

namespace {

net::Awaitable<Result<net::ResponseHead>> send(net::UpstreamCall& call, const Exchange& exchange) {
  return call.send(exchange.upstream_head, body_to_send(exchange));
}

net::Awaitable<Result<net::ResponseHead>> send(ProviderCall& call, const Exchange& exchange) {
  return call.send(exchange);
}

// The target's own trouble, which another attempt may not meet.
bool is_target_fault(int status) { return status >= 500 || status == 408; }

}  // namespace

template <class Source>
net::Awaitable<std::optional<Duration>> Runner::exchange_with(Call& call, Sending& sending, Source& source) {
  Exchange& exchange = call.exchange();
  call.hang_up = &cancel_source<Source>;
  call.source = &source;
  exchange.sent_at = loop_.instant();
  Result<net::ResponseHead> head = co_await send(source, exchange);
  exchange.billable = source.sent();
  std::optional<Duration> again;
  if (!head) {
    if (!call.cancelled) sending.report_failure(loop_.instant());
    if (!call.cancelled) again = sending.next(std::nullopt, loop_.instant());
    if (!again) exchange.outcome = journal::Outcome::upstream_error;
    if (!again) fail(call, std::move(head.error()));
  } else {
    note_head(exchange, *head, source.sent());
    call.head = std::move(*head);
    note_answer(call);
    // Not a conditional expression: GCC 12 destroys the result of `c ? co_await a : co_await b` twice.
    if (call.head->status >= 400) {
      again = co_await take_refusal(call, sending, source);
    } else if (exchange.facts.stream && call.head->status == 200) {
      co_await relay_stream(call, sending, source);
    } else {
      co_await relay_plain(call, sending, source);
    }
  }
  call.hang_up = nullptr;
  call.source = nullptr;
  co_return again;
}

void Runner::note_head(Exchange& exchange, const net::ResponseHead& head, bool sent) {
  exchange.billable = sent && head.status < 300;
  exchange.upstream_request_id.clear();
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
  exchange.outcome = journal::Outcome::upstream_cut;  // until it is whole
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

// An error status: tried again where that may help, otherwise passed on as it is, without our credential (S9).
template <class Source>
net::Awaitable<std::optional<Duration>> Runner::take_refusal(Call& call, Sending& sending, Source& source) {
  Exchange& exchange = call.exchange();
  const int status = call.head->status;
  Result<std::string> body = co_await read_whole(exchange, source, kMostErrorBytes);
  const Instant now = loop_.instant();
  exchange.upstream_ended_at = now;
  if (call.cancelled) {
    fail(call, stop_error(StopReason::client_gone));
    co_return std::nullopt;
  }
  const auto wait = resilience::parse_retry_after(call.head->find("retry-after").value_or(""), now);
  if (is_target_fault(status)) {
    sending.report_failure(now);
  } else if (status == 429) {
    sending.report_refusal(wait, now);
  } else {
    sending.report_answer(now);
  }
  if (is_target_fault(status) || status == 429) {
    const std::optional<Duration> again = sending.next(wait, now);
    if (again) co_return again;
  }
  if (!body) {
    fail(call, std::move(body.error()));
    co_return std::nullopt;
  }
  exchange.error = ErrorCode::upstream_error;
  if (exchange.credential != nullptr) body = scrub(*body, *exchange.credential);
  end_whole(call, status, std::move(*body), journal::Outcome::upstream_error);
  co_return std::nullopt;
}

// ---- 9 relay -----------------------------------------------------------------------------------------------

template <class Source>
net::Awaitable<void> Runner::relay_plain(Call& call, Sending& sending, Source& source) {
  Exchange& exchange = call.exchange();
  Result<std::string> body = co_await read_whole(exchange, source, exchange.snapshot->limits.response_bytes);
  exchange.upstream_ended_at = loop_.instant();
  Status accepted = Done{};
  if (body) exchange.outcome = journal::Outcome::upstream_error;  // until it is accepted
  if (!body) {
    accepted = std::move(body.error());
  } else if (call.head->status != 200) {
    accepted = Error(ErrorCode::upstream_error,
                     "the upstream answered with status " + std::to_string(call.head->status));
  } else {
    accepted = accept_plain(exchange, call.head->find("content-type").value_or(""), *body, lane_.answers);
  }
  if (call.cancelled || !accepted) {
    if (!call.cancelled) sending.report_failure(loop_.instant());
    fail(call, accepted ? stop_error(StopReason::client_gone) : std::move(accepted.error()));
    co_return;
  }
  exchange.first_token_at = exchange.upstream_ended_at;
  sending.report_answer(loop_.instant());
  pipeline_.price(exchange);
  if (exchange.plan && exchange.plan->embeddings) {
    body = pipeline_.answers().complete(exchange, std::move(*body), lane_.answers, loop_.instant());
    if (!body) {
      fail(call, std::move(body.error()));
      co_return;
    }
  } else {
    pipeline_.answers().keep(exchange, call.head->find("content-type").value_or(""), *body, lane_.answers,
                             loop_.instant());
  }
  end_whole(call, 200, std::move(*body), journal::Outcome::done);
}

template <class Source>
net::Awaitable<void> Runner::relay_stream(Call& call, Sending& sending, Source& source) {
  Exchange& exchange = call.exchange();
  if (call.head->find("content-type").value_or("").find("text/event-stream") == std::string_view::npos) {
    sending.report_failure(loop_.instant());
    exchange.outcome = journal::Outcome::upstream_error;
    fail(call, Error(ErrorCode::upstream_error,
                     "a stream was asked for and the upstream answered with something else"));
    co_return;
  }
  StreamRelay relay(exchange, lane_.answers);
  call.status = 200;
  Status outcome = Done{};
  exchange.outcome = journal::Outcome::upstream_cut;
  for (;;) {
    Result<std::string_view> piece = co_await source.read();
    if (!piece) outcome = std::move(piece.error());
    if (!piece || piece->empty()) break;
    const Instant now = loop_.instant();
    std::string out;
    outcome = relay.feed(*piece, now, out);
    sending.note_piece(now);
    if (exchange.first_token_at) sending.note_first_token(*exchange.first_token_at);
    if (!out.empty()) spread(call, relay.usage_ranges(), std::move(out));
    if (!outcome) exchange.outcome = journal::Outcome::upstream_error;
    if (!outcome || relay.finished()) break;
    while (!call.reading && !call.cancelled) {
      call.wake.reset();
      co_await call.wake.wait();
    }
    if (call.cancelled) break;
  }
  exchange.upstream_ended_at = loop_.instant();
  const bool stopped = call.cancelled && !relay.finished();
  if (outcome && !stopped) outcome = relay.finish();
  relay.report();
  if (stopped || !outcome) {
    if (!stopped) sending.report_failure(loop_.instant());
    fail(call, outcome ? stop_error(StopReason::client_gone) : std::move(outcome.error()));
    co_return;
  }
  const bool failed = relay.failed_in_band();
  if (failed) sending.report_failure(loop_.instant());
  if (!failed) sending.report_answer(loop_.instant());
  end_stream(call, relay.last_bytes(), failed ? journal::Outcome::upstream_error : journal::Outcome::done);
  co_await read_out(source);
}

// The clients have their whole answer and wait for nobody. What little the upstream still sends is taken, so that its
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

void Runner::spread(Call& call, const std::vector<cache::ByteRange>& usage_ranges, std::string bytes) {
  constexpr std::size_t kMostKept = std::size_t{4} << 20U;  // a flight's replay buffer
  const bool grown = call.usage_ranges.size() != usage_ranges.size();
  if (grown || (!usage_ranges.empty() && call.usage_ranges.back() != usage_ranges.back()))
    call.usage_ranges = usage_ranges;
  if (call.keeps && call.kept.size() + bytes.size() > kMostKept) {
    call.keeps = false;
    call.kept = {};
  }
  if (call.keeps) call.kept += bytes;
  call.flight().bytes(std::make_shared<const std::string>(std::move(bytes)), call.commands);
  carry_out(call);
}

}  // namespace sentinel::engine
