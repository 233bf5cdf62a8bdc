// The runner and its flights: how a call ends, what its consumers are given, and at whose pace.
#include <algorithm>
#include <utility>

#include "sentinel/cache/forms.hpp"
#include "sentinel/engine/replies.hpp"
#include "sentinel/engine/runner.hpp"
#include "sentinel/engine/stop.hpp"
#include "sentinel/engine/upstream_request.hpp"

namespace sentinel::engine {

// ---- how a call ends ---------------------------------------------------------------------------------------

// Nobody joins a call whose end is known; later ones find what was kept, or ask anew.
void Runner::withdraw(Call& call) {
  if (shares(call.exchange())) flights_.remove(flight_key(call.exchange()), call);
}

// What the answer is, is known: what it costs, and what followers are told of it.
void Runner::end_answer(Call& call) {
  call.ended = true;
  pipeline_.price(call.exchange());
  note_answer(call);
  withdraw(call);
}

void Runner::end_whole(Call& call, int status, std::string body, journal::Outcome outcome) {
  call.exchange().outcome = outcome;
  call.status = status;
  call.whole = std::move(body);
  end_answer(call);
  call.flight().end(call.commands);
  carry_out(call);
}

void Runner::end_stream(Call& call, const std::string& terminal, journal::Outcome outcome) {
  Exchange& exchange = call.exchange();
  exchange.outcome = outcome;
  end_answer(call);
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
  end_answer(call);
  call.flight().error(std::move(error), call.commands);
  carry_out(call);
}

// The call is over. Its sender is settled, if its client has gone before.
void Runner::close(const CallPtr& call) {
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
  // A large terminal event comes in several deliveries.
  if (command.end > call.terminal_at && !live->exchange->settled) settle_answer(call, *live);
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
  if (!shares(exchange)) return;
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

}  // namespace sentinel::engine
