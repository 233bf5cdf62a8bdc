#include "sentinel/engine/runner.hpp"

#include <pthread.h>
#include <signal.h>

#include <utility>

#include "sentinel/engine/errors.hpp"
#include "sentinel/engine/replies.hpp"
#include "sentinel/engine/stop.hpp"

namespace sentinel::engine {
namespace {

constexpr int kClientClosedRequest = 499;  // nginx's word for it

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
  loop_.post([this] {
    for (const auto& [id, call] : provider_calls_) call->cancel();
    upstreams_.close();
  });
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
  if (answer_from_cache(live)) return;
  begin_call(std::move(live));
}

// 5 join: whoever asks what is being asked waits for that answer.
bool Runner::join(std::unique_ptr<Live>& live) {
  Exchange& exchange = *live->exchange;
  if (!shares(exchange)) return false;
  const CallPtr call = flights_.find(flight_key(exchange), form_of(exchange));
  if (!call || call->cancelled || (!exchange.facts.stream && !call->keeps)) return false;
  Status admitted = pipeline_.admit_follower(lane_, exchange, loop_.instant());
  if (!admitted) {
    refuse(std::move(live), std::move(admitted.error()));
    return true;
  }
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
bool Runner::answer_from_cache(std::unique_ptr<Live>& live) {
  Exchange& exchange = *live->exchange;
  if (!shares(exchange)) return false;
  Status looked = pipeline_.answers().look_again(exchange, lane_.answers, loop_.instant());
  if (!looked) {
    refuse(std::move(live), std::move(looked.error()));
    return true;
  }
  if (!exchange.reply) return false;
  exchange.status = exchange.reply->status;
  settle(*live);
  live->client->reply(std::move(*exchange.reply));
  retire(std::move(live));
  return true;
}

void Runner::refuse(std::unique_ptr<Live> live, Error error) {
  live->exchange->outcome = journal::Outcome::refused;
  conclude(*live, std::move(error));
  retire(std::move(live));
}

void Runner::begin_call(std::unique_ptr<Live> live) {
  Status admitted = pipeline_.admit(lane_, *live->exchange, loop_.instant());  // 7 admit
  if (!admitted) return refuse(std::move(live), std::move(admitted.error()));
  Live& leader = *live;
  const auto call = std::make_shared<Call>(*this, std::move(live), loop_.executor());
  leader.call = call;
  leader.consumer = *call->flight().join(form_of(*leader.exchange), call->commands);
  if (shares(*leader.exchange)) flights_.add(flight_key(*leader.exchange), call);
  carry_out(*call);
  loop_.spawn(carry(call));
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

// A follower that goes early has had what came so far, and rules that count hits want to know how much that is.
void Runner::count_share(Call& call, Live& live) {
  Exchange& exchange = *live.exchange;
  if (!exchange.use_reservation || !live.begun || exchange.is_own_call()) return;
  if (call.ended) return adopt_answer(call, live);
  exchange.upstream_model = call.exchange().upstream_model;
  exchange.relayed_deltas = call.exchange().relayed_deltas;
  pipeline_.estimate_usage(exchange);
}

// One that will not hear the call's end. The sender stays, unheard, because it pays.
void Runner::part(Call& call, std::unique_ptr<Live> live) {
  const bool pays = !call.ended && live.get() == &call.sender() && !live->exchange->settled;
  if (!pays) {
    if (!live->exchange->settled) count_share(call, *live);
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
    exchange.error = error.code;
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
