#include "sentinel/engine/runner.hpp"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <utility>

#include "sentinel/cache/forms.hpp"
#include "sentinel/engine/errors.hpp"
#include "sentinel/engine/relay.hpp"
#include "sentinel/engine/replies.hpp"
#include "sentinel/engine/upstream_request.hpp"

namespace sentinel::engine {
namespace {

constexpr int kClientClosedRequest = 499;  // nginx's word for it
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
                                std::make_shared<Flow>(*this));
}

void Runner::submit(std::vector<std::unique_ptr<Live>> batch) {
  loop_.post([this, batch = std::move(batch)]() mutable {
    for (auto& live : batch) receive(std::move(live));
  });
}

void Runner::stop(std::shared_ptr<Flow> flow, StopReason reason) {
  loop_.post([this, flow = std::move(flow), reason] {
    if (flow->live_ != nullptr) stop_here(*flow->live_, reason);
  });
}

// The post is spared as long as nobody waits for it: with credit left the relay needs no wake-up.
void Runner::taken(const std::shared_ptr<Flow>& flow, std::int64_t bytes) {
  flow->waiting_bytes_.fetch_sub(bytes);
  if (!flow->tells_.load()) return;
  loop_.post([this, flow] {
    if (flow->live_ == nullptr || !flow->live_->call) return;
    const CallPtr call = flow->live_->call;
    take_progress(*call);
    carry_out(*call);
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
    stop_each(StopReason::key_revoked, [](const Live& live) {
      return live.exchange->principal && live.exchange->principal->revoked();
    });
  });
}

void Runner::stop_all(StopReason reason) {
  loop_.post([this, reason] {
    stopping_ = reason;
    stop_each(reason, [](const Live&) { return true; });
  });
}

// Ending one may end others, so who is to be stopped is written down first.
template <class Condition>
void Runner::stop_each(StopReason reason, const Condition& condition) {
  std::vector<std::shared_ptr<Flow>> flows;
  for (Live* live = first_; live != nullptr; live = live->next) {
    if (condition(*live)) flows.push_back(live->flow);
  }
  for (const auto& flow : flows) {
    if (flow->live_ != nullptr) stop_here(*flow->live_, reason);
  }
}

void Runner::stop_here(Live& live, StopReason reason) {
  const CallPtr call = live.call;
  const bool abandoned = call && call->departed.get() == &live;
  if (abandoned && reason == StopReason::shutdown) return cancel(*call);
  if (live.stop != StopReason::none) return;
  live.stop = reason;
  if (call && !abandoned) leave(live);
}

void Runner::cancel(Call& call) {
  call.cancelled = true;
  if (call.hang_up != nullptr) call.hang_up(call.source);
  call.wake.open();
}

// ---- an exchange comes -----------------------------------------------------------------------------------

void Runner::enroll(Live& live) {
  live.flow->live_ = &live;
  live.next = first_;
  if (first_ != nullptr) first_->previous = &live;
  first_ = &live;
}

void Runner::retire(std::unique_ptr<Live> live) {
  live->flow->live_ = nullptr;
  if (live->previous != nullptr) live->previous->next = live->next;
  if (live->next != nullptr) live->next->previous = live->previous;
  if (first_ == live.get()) first_ = live->next;
  live.reset();
  on_end_();
}

void Runner::receive(std::unique_ptr<Live> live) {
  enroll(*live);
  const auto& principal = live->exchange->principal;
  live->stop = stopping_;
  if (principal && principal->revoked()) live->stop = StopReason::key_revoked;
  if (live->stop != StopReason::none) {
    conclude(*live, stop_error(live->stop));
    return retire(std::move(live));
  }
  if (join(live)) return;
  if (answer_from_cache(*live)) return retire(std::move(live));
  begin_call(std::move(live));
}

namespace {

resilience::FlightKey flight_key(const Exchange& exchange) {
  return {exchange.plan->key.partition, exchange.plan->key.identity, {}};
}

resilience::FlightForm form_of(const Exchange& exchange) {
  return exchange.facts.stream ? resilience::FlightForm::stream : resilience::FlightForm::plain;
}

bool shares(const Exchange& exchange) { return exchange.plan && exchange.plan->follow; }

}  // namespace

// 5 join: whoever asks what is being asked waits for that answer.
bool Runner::join(std::unique_ptr<Live>& live) {
  Exchange& exchange = *live->exchange;
  if (!shares(exchange)) return false;
  const CallPtr call = flights_.find(flight_key(exchange), form_of(exchange));
  if (!call || call->cancelled || (!exchange.facts.stream && !call->keeps)) return false;
  const auto consumer = call->flight().join(form_of(exchange), call->commands);
  if (!consumer) return false;
  exchange.verdict = journal::CacheVerdict::follow;
  exchange.sent_at = loop_.instant();
  live->call = call;
  live->consumer = *consumer;
  call->consumers.push_back(std::move(live));
  carry_out(*call);
  return true;
}

// The answer that it missed may have come between its decision and now, and its flight be gone.
bool Runner::answer_from_cache(Live& live) {
  Exchange& exchange = *live.exchange;
  if (!shares(exchange)) return false;
  pipeline_.answers().look_again(exchange, lane_.answers, loop_.instant());
  if (!exchange.reply) return false;
  exchange.status = exchange.reply->status;
  settle(live);
  live.client->reply(std::move(*exchange.reply));
  return true;
}

void Runner::begin_call(std::unique_ptr<Live> live) {
  Status admitted = pipeline_.admit(lane_, *live->exchange, loop_.instant());  // 7 admit
  if (!admitted) {
    live->exchange->outcome = journal::Outcome::refused;
    conclude(*live, std::move(admitted.error()));
    return retire(std::move(live));
  }
  Live& leader = *live;
  const auto call = std::make_shared<Call>(*this, std::move(live), loop_.executor());
  leader.call = call;
  leader.consumer = *call->flight().join(form_of(*leader.exchange), call->commands);
  if (shares(*leader.exchange)) flights_.add(flight_key(*leader.exchange), call);
  carry_out(*call);
  loop_.spawn(carry(call));
}

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
  exchange.error.emplace(ErrorCode::upstream_error,
                         "the upstream answered with status " + std::to_string(status));
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
  call.usage_ranges = usage_ranges;
  if (call.keeps && call.kept.size() + bytes.size() > kMostKept) {
    call.keeps = false;
    call.kept = {};
  }
  if (call.keeps) call.kept += bytes;
  call.flight().bytes(std::make_shared<const std::string>(std::move(bytes)), call.commands);
  carry_out(call);
}

// ---- how a call ends ---------------------------------------------------------------------------------------

// Nobody joins a call whose end is known; later ones find what was kept, or ask anew.
void Runner::withdraw(Call& call) {
  if (shares(call.exchange())) flights_.remove(flight_key(call.exchange()), call);
}

void Runner::end_whole(Call& call, int status, std::string body, journal::Outcome outcome) {
  call.exchange().outcome = outcome;
  call.status = status;
  call.whole = std::move(body);
  pipeline_.price(call.exchange());
  note_answer(call);
  withdraw(call);
  call.flight().end(call.commands);
  carry_out(call);
}

void Runner::end_stream(Call& call, const std::string& terminal, journal::Outcome outcome) {
  Exchange& exchange = call.exchange();
  exchange.outcome = outcome;
  pipeline_.price(exchange);
  note_answer(call);
  withdraw(call);
  call.terminal_at = call.flight().received_bytes();
  if (call.keeps) call.kept += terminal;
  if (call.keeps && outcome == journal::Outcome::done) {
    pipeline_.answers().keep(exchange, call.head->find("content-type").value_or(""), call.kept, lane_.answers,
                             loop_.instant());
  }
  call.flight().bytes(std::make_shared<const std::string>(terminal), call.commands);
  carry_out(call);
  call.flight().end(call.commands);
  carry_out(call);
}

void Runner::fail(Call& call, Error error) {
  Exchange& exchange = call.exchange();
  if (!exchange.upstream_ended_at) exchange.upstream_ended_at = loop_.instant();
  pipeline_.price(exchange);
  note_answer(call);
  withdraw(call);
  call.flight().error(std::move(error), call.commands);
  carry_out(call);
}

// The call is over. Its sender is settled, if its client has gone before.
void Runner::close(const CallPtr& call) {
  call->over = true;
  if (call->departed) {
    std::unique_ptr<Live> sender = std::move(call->departed);
    sender->exchange->outcome = stop_outcome(sender->stop);
    conclude(*sender, stop_error(sender->stop));
    retire(std::move(sender));
  }
  arm(*call);
}

void Runner::carry_out(Call& call) {
  const CallPtr stays = call.shared_from_this();  // its last consumer may end here
  do {
    while (!call.commands.empty()) {
      call.doing.clear();
      call.doing.swap(call.commands);
      for (const auto& command : call.doing) perform(call, command);
      take_progress(call);
    }
  } while (await_progress(call));
  arm(call);
}

void Runner::perform(Call& call, const resilience::FlightCommand& command) {
  if (const auto* bytes = std::get_if<resilience::Deliver>(&command)) return deliver(call, *bytes);
  if (const auto* end = std::get_if<resilience::Finish>(&command)) return finish(call, *end);
  if (std::holds_alternative<resilience::Pause>(command)) call.reading = false;
  if (std::holds_alternative<resilience::CancelUpstream>(command)) cancel(call);
  if (!std::holds_alternative<resilience::ReadMore>(command)) return;
  call.reading = true;
  if (!call.pausing) call.wake.open();
}

void Runner::deliver(Call& call, const resilience::Deliver& command) {
  Live* const live = call.find(command.consumer);
  if (live == nullptr) return;
  live->delivered = command.end;
  if (!live->exchange->facts.stream) return;  // gets its answer whole, at the end
  std::string bytes = call.bytes_for(*live, command.begin, command.end);
  if (command.end > call.terminal_at) settle_answer(call, *live);
  if (!bytes.empty()) send_data(call, *live, std::move(bytes));
}

void Runner::finish(Call& call, const resilience::Finish& command) {
  std::unique_ptr<Live> live = call.take(command.consumer);
  if (!live) return;
  if (command.reason == resilience::FinishReason::done) return finish_done(call, std::move(live));
  if (command.reason == resilience::FinishReason::slow_reader) {
    live->stop = StopReason::slow_reader;
    return part(call, std::move(live));
  }
  adopt_answer(call, *live);
  conclude(*live, *call.flight().failure());
  retire(std::move(live));
}

void Runner::finish_done(Call& call, std::unique_ptr<Live> live) {
  if (call.whole) {
    reply_whole(call, *live, call.consumers.empty() ? std::move(*call.whole) : *call.whole);
    return retire(std::move(live));
  }
  if (live->exchange->facts.stream) {
    if (!live->exchange->settled) settle_answer(call, *live);
    if (!live->begun) live->client->begin(200, reply_headers(*live->exchange, *call.head));
    live->client->end();
    return retire(std::move(live));
  }
  std::optional<std::string> body;
  if (call.keeps)
    body = cache::stream_to_plain(info(live->exchange->endpoint).protocol, call.kept, lane_.answers);
  if (!body) return ask_alone(std::move(live));
  reply_whole(call, *live, std::move(*body));
  retire(std::move(live));
}

// The stream that it followed holds something that has no plain form: its own call will have it.
void Runner::ask_alone(std::unique_ptr<Live> live) {
  live->call.reset();
  live->delivered = live->consumed = 0;
  Exchange& exchange = *live->exchange;
  exchange.verdict = journal::CacheVerdict::miss;
  exchange.waited += loop_.instant() - *exchange.sent_at;
  exchange.sent_at.reset();
  exchange.plan->follow = false;
  begin_call(std::move(live));
}

// What is known of the answer so far, for those who only follow.
void Runner::note_answer(Call& call) {
  const Exchange& exchange = call.exchange();
  call.answered = {exchange.outcome,
                   exchange.error,
                   target_label(exchange),
                   exchange.upstream_model,
                   exchange.upstream_request_id,
                   exchange.usage,
                   exchange.estimated,
                   exchange.cost_micro_usd + exchange.saved_micro_usd};
}

// What a follower's records and headers say of the answer it was given.
void Runner::adopt_answer(const Call& call, Live& live) {
  Exchange& exchange = *live.exchange;
  if (exchange.verdict != journal::CacheVerdict::follow) return;
  const AnswerFacts& answered = call.answered;
  exchange.outcome = answered.outcome;
  exchange.error = answered.error;
  exchange.upstream_ended_at = loop_.instant();
  exchange.answer_target = answered.target;
  exchange.upstream_model = answered.upstream_model;
  exchange.upstream_request_id = answered.upstream_request_id;
  exchange.usage = answered.usage;
  exchange.estimated = answered.estimated;
  exchange.saved_micro_usd = answered.worth_micro_usd;
}

void Runner::settle_answer(const Call& call, Live& live) {
  adopt_answer(call, live);
  live.exchange->status = call.status;
  settle(live);
}

// ---- pace --------------------------------------------------------------------------------------------------

// Tells the flight what the clients have taken since it was last told.
void Runner::take_progress(Call& call) {
  for (const auto& live : call.consumers) {
    const bool plain = !live->exchange->facts.stream;
    const auto waiting =
        plain ? 0 : static_cast<std::uint64_t>(std::max<std::int64_t>(live->flow->waiting_bytes_.load(), 0));
    const std::uint64_t taken = live->delivered - std::min(waiting, live->delivered);
    if (taken <= live->consumed) continue;
    const std::uint64_t more = taken - live->consumed;
    live->consumed = taken;
    call.progressed = true;
    call.flight().consumed(live->consumer, more, call.commands);
  }
}

// Asks to hear from the clients on which something waits. True if one of them has taken bytes meanwhile.
bool Runner::await_progress(Call& call) {
  const bool upstream_waits = !call.reading && !call.flight().upstream_over();
  for (const auto& live : call.consumers) {
    live->flow->tells_.store(upstream_waits || live->delivered < call.flight().received_bytes());
  }
  take_progress(call);
  return !call.commands.empty();
}

// One deadline for whatever the call waits for: its clients, or the end of what nobody waits for any more.
void Runner::arm(Call& call) {
  if (call.pausing) return;
  const auto abandoned_until = call.flight().deadline();
  if (abandoned_until) return call.timer.set(loop_.timers(), *abandoned_until);
  const bool stuck = call.flight().upstream_over() ? !call.consumers.empty() : !call.reading;
  if (!stuck) return call.timer.cancel();
  if (call.timer.armed() && !std::exchange(call.progressed, false)) return;
  call.timer.set(loop_.timers(), loop_.now() + call.patience);
}

void Runner::on_call_timer(Call& call) {
  if (call.pausing) return call.wake.open();
  if (call.flight().deadline()) {
    call.flight().tick(loop_.instant(), call.commands);
    return carry_out(call);
  }
  // Clients that take nothing for as long as the upstream may stay silent are too slow to be kept.
  std::vector<std::shared_ptr<Flow>> stuck;
  for (const auto& live : call.consumers) {
    if (live->flow->tells_.load()) stuck.push_back(live->flow);
  }
  for (const auto& flow : stuck) {
    if (flow->live_ != nullptr) stop_here(*flow->live_, StopReason::slow_reader);
  }
}

// ---- an exchange ends --------------------------------------------------------------------------------------

void Runner::leave(Live& live) {
  const CallPtr call = live.call;
  const resilience::ConsumerId consumer = live.consumer;
  call->flight().leave(consumer, loop_.instant(), call->commands);
  std::unique_ptr<Live> own = call->take(consumer);
  if (own) part(*call, std::move(own));
  carry_out(*call);
  if (stopping_ != StopReason::none && call->departed) cancel(*call);  // nothing is drained now
}

// One that will not hear the call's end. The sender stays, unheard, because it pays.
void Runner::part(Call& call, std::unique_ptr<Live> live) {
  const bool pays = live.get() == &call.sender() && !live->exchange->settled && !call.over;
  if (!pays) {
    conclude(*live, stop_error(live->stop));
    return retire(std::move(live));
  }
  const bool goes_on = !call.consumers.empty() || !call.flight().upstream_over();  // for others, or drained
  if (goes_on) tell(*live, stop_error(live->stop));
  call.departed = std::move(live);
}

// Ends an exchange that did not come to its own end; `error` is what its client is told.
void Runner::conclude(Live& live, Error error) {
  Exchange& exchange = *live.exchange;
  if (live.stop != StopReason::none) {
    error = stop_error(live.stop);
    exchange.outcome = stop_outcome(live.stop);
  }
  if (!exchange.settled) {
    exchange.error = error;
    if (!exchange.upstream_ended_at && exchange.sent_at) exchange.upstream_ended_at = loop_.instant();
    if (!live.begun)
      exchange.status = live.stop == StopReason::client_gone ? kClientClosedRequest : info(error.code).status;
    settle(live);
  }
  tell(live, error);
}

void Runner::tell(Live& live, const Error& error) {
  if (std::exchange(live.told, true)) return;
  Exchange& exchange = *live.exchange;
  if (live.begun) {
    live.client->data(error_event(error, exchange.endpoint, exchange.request_id));
    live.client->end();
    return;
  }
  Reply reply = error_reply(exchange, error);
  append_settled_headers(reply.headers, exchange, loop_.instant());
  live.client->reply(std::move(reply));
}

void Runner::reply_whole(const Call& call, Live& live, std::string body) {
  Exchange& exchange = *live.exchange;
  settle_answer(call, live);
  Reply reply;
  reply.status = call.status;
  reply.headers = reply_headers(exchange, *call.head);
  const bool from_stream = !call.whole;
  for (auto& [name, value] : reply.headers) {
    if (from_stream && name == "content-type") value = "application/json";
  }
  append_settled_headers(reply.headers, exchange, loop_.instant());
  reply.body = std::move(body);
  live.client->reply(std::move(reply));
}

void Runner::send_data(const Call& call, Live& live, std::string bytes) {
  Exchange& exchange = *live.exchange;
  if (!live.begun) {
    if (exchange.verdict == journal::CacheVerdict::follow) {
      exchange.answer_target = call.answered.target;
      exchange.upstream_request_id = call.answered.upstream_request_id;
      exchange.first_token_at = loop_.instant();
    }
    exchange.status = call.status;
    live.client->begin(call.status, reply_headers(exchange, *call.head));
  }
  live.begun = true;
  live.flow->waiting_bytes_.fetch_add(static_cast<std::int64_t>(bytes.size()));
  live.client->data(std::move(bytes));
}

void Runner::settle(Live& live) { pipeline_.finish(lane_, *live.exchange, loop_.instant()); }

}  // namespace sentinel::engine
