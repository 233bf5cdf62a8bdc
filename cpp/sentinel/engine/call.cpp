#include "sentinel/engine/call.hpp"

#include <algorithm>

#include "sentinel/engine/runner.hpp"

namespace sentinel::engine {
namespace {

resilience::FlightSettings flight_settings(const Exchange& exchange) {
  resilience::FlightSettings settings;
  settings.credit_bytes = static_cast<std::uint64_t>(exchange.snapshot->limits.credit_bytes);
  if (exchange.route->cache) settings.on_abort = exchange.route->cache->on_abort;
  return settings;
}

}  // namespace

bool shares(const Exchange& exchange) { return exchange.plan && exchange.plan->follow; }

resilience::FlightKey flight_key(const Exchange& exchange) {
  return {exchange.plan->key.partition, exchange.plan->key.identity, {}};
}

resilience::FlightForm form_of(const Exchange& exchange) {
  return exchange.facts.stream ? resilience::FlightForm::stream : resilience::FlightForm::plain;
}

Call::Call(Runner& owner, std::unique_ptr<Live> leader, net::Executor executor)
    : runner(owner),
      snapshot(leader->exchange->snapshot),
      provider(leader->provider),
      patience(leader->exchange->route->targets.front().upstream->timeouts.idle),
      keeps(leader->exchange->plan.has_value()),
      wake(executor),
      timer(&Call::on_timer, this),
      flight_(form_of(*leader->exchange), 0, flight_settings(*leader->exchange)),
      sender_(leader.get()) {
  consumers.push_back(std::move(leader));
}

Live* Call::find(resilience::ConsumerId consumer) {
  const auto older = [](const std::unique_ptr<Live>& live, resilience::ConsumerId wanted) {
    return live->consumer < wanted;
  };
  const auto found = std::lower_bound(consumers.begin(), consumers.end(), consumer, older);
  return found == consumers.end() || (*found)->consumer != consumer ? nullptr : found->get();
}

std::unique_ptr<Live> Call::take(resilience::ConsumerId consumer) {
  const auto found = std::find_if(consumers.begin(), consumers.end(),
                                  [consumer](const auto& live) { return live->consumer == consumer; });
  if (found == consumers.end()) return nullptr;
  std::unique_ptr<Live> live = std::move(*found);
  consumers.erase(found);
  return live;
}

std::string Call::bytes_for(const Live& live, std::uint64_t begin, std::uint64_t end) const {
  std::string out;
  out.reserve(end - begin);
  const auto append = [this, &out](std::uint64_t from, std::uint64_t to) {
    if (from >= to) return;
    for (const resilience::Slice& slice : flight_.slices(from, to)) out += slice.bytes;
  };
  if (live.exchange->withholds_usage) {
    for (const cache::ByteRange& range : usage_ranges) {
      if (range.end <= begin || range.begin >= end) continue;
      append(begin, range.begin);
      begin = std::min<std::uint64_t>(range.end, end);
    }
  }
  append(begin, end);
  return out;
}

void Call::on_timer(void* self) {
  auto* call = static_cast<Call*>(self);
  call->runner.on_call_timer(*call);
}

}  // namespace sentinel::engine
