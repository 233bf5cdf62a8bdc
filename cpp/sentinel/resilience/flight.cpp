#include "sentinel/resilience/flight.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace sentinel::resilience {

Flight::Flight(FlightForm form, std::uint64_t payer, const FlightSettings& settings)
    : form_(form), payer_(payer), settings_(settings) {
  assert(settings.credit_bytes > 0);
}

bool Flight::joinable(FlightForm wanted) const {
  if (upstream_ == Upstream::over || received_ > settings_.replay_bytes) return false;
  return wanted == FlightForm::plain || form_ == FlightForm::stream;
}

std::optional<ConsumerId> Flight::join(FlightForm wanted, FlightCommands& out) {
  if (!joinable(wanted)) return std::nullopt;
  upstream_ = Upstream::live;
  consumers_.push_back({++last_id_});
  if (consumers_.size() == 1) {
    fastest_ = 0;
    leader_ = last_id_;
    if (last_id_ > 1) out.push_back(HandOver{leader_});  // it revives a call that was being drained
  }
  advance(consumers_.back(), out);
  pace(out);
  return last_id_;
}

void Flight::leave(ConsumerId consumer, Instant now, FlightCommands& out) {
  forget_consumed();
  Consumer* const leaver = find(consumer);
  if (leaver == nullptr) return;
  const bool was_fastest = leaver->consumed == fastest_;
  consumers_.erase(consumers_.begin() + (leaver - consumers_.data()));
  if (!upstream_lives()) return;
  if (consumers_.empty()) return abandon(now, out);
  name_leader(out);
  if (was_fastest) find_fastest();
  pace(out);
}

void Flight::consumed(ConsumerId consumer, std::uint64_t bytes, FlightCommands& out) {
  Consumer* const reader = find(consumer);
  if (reader == nullptr) return;
  assert(bytes <= reader->delivered - reader->consumed);
  reader->consumed += bytes;
  fastest_ = std::max(fastest_, reader->consumed);
  advance(*reader, out);
  if (complete(*reader)) consumers_.erase(consumers_.begin() + (reader - consumers_.data()));
  pace(out);
}

void Flight::bytes(Chunk chunk, FlightCommands& out) {
  if (!upstream_lives() || chunk == nullptr || chunk->empty()) return;
  forget_consumed();
  const std::uint64_t size = chunk->size();
  held_.push_back({received_, std::move(chunk)});
  received_ += size;
  if (upstream_ == Upstream::draining) {
    if (received_ - drain_from_ > settings_.drain_bytes) cut(SettleReason::drain_exceeded, out);
    return;
  }
  end_slow_readers(out);
  advance_all(out);
  pace(out);
}

void Flight::end(FlightCommands& out) {
  if (!upstream_lives()) return;
  forget_consumed();
  settle(SettleReason::done, out);
  advance_all(out);
}

void Flight::error(Error why, FlightCommands& out) {
  if (!upstream_lives()) return;
  forget_consumed();
  failure_ = std::move(why);
  settle(SettleReason::failed, out);
  advance_all(out);
}

void Flight::tick(Instant now, FlightCommands& out) {
  forget_consumed();
  if (upstream_ == Upstream::draining && now.monotonic >= drain_until_)
    cut(SettleReason::drain_exceeded, out);
}

std::optional<Duration> Flight::deadline() const {
  if (upstream_ != Upstream::draining) return std::nullopt;
  return drain_until_;
}

std::optional<ConsumerId> Flight::leader() const {
  if (consumers_.empty()) return std::nullopt;
  return consumers_.front().id;
}

std::vector<Slice> Flight::slices(std::uint64_t begin, std::uint64_t end) const {
  assert(held_from_ <= begin && begin <= end && end <= received_);
  std::vector<Slice> found;
  const auto after = [](std::uint64_t offset, const Held& held) { return offset < held.begin; };
  auto held = std::upper_bound(held_.begin(), held_.end(), begin, after);
  if (held != held_.begin()) --held;
  for (; begin < end; ++held) {
    const std::uint64_t skipped = begin - held->begin;
    const std::uint64_t taken = std::min(held->chunk->size() - skipped, end - begin);
    found.push_back({held->chunk, std::string_view(*held->chunk).substr(skipped, taken)});
    begin += taken;
  }
  return found;
}

Flight::Consumer* Flight::find(ConsumerId id) {
  const auto older = [](const Consumer& consumer, ConsumerId wanted) { return consumer.id < wanted; };
  const auto found = std::lower_bound(consumers_.begin(), consumers_.end(), id, older);
  return found == consumers_.end() || found->id != id ? nullptr : &*found;
}

// Hands over what its credit allows, and the end once nothing is left.
void Flight::advance(Consumer& consumer, FlightCommands& out) {
  const std::uint64_t until = std::min(received_, consumer.consumed + settings_.credit_bytes);
  if (until > consumer.delivered) {
    out.push_back(Deliver{consumer.id, consumer.delivered, until});
    consumer.delivered = until;
  }
  if (!complete(consumer)) return;
  out.push_back(Finish{consumer.id, failure_ ? FinishReason::failed : FinishReason::done});
}

bool Flight::complete(const Consumer& consumer) const {
  return upstream_ == Upstream::over && consumer.delivered == received_;
}

void Flight::advance_all(FlightCommands& out) {
  for (Consumer& consumer : consumers_) advance(consumer, out);
  std::erase_if(consumers_, [this](const Consumer& consumer) { return complete(consumer); });
}

void Flight::end_slow_readers(FlightCommands& out) {
  if (received_ <= settings_.replay_bytes) return;
  const std::uint64_t least = std::min(received_ - settings_.replay_bytes, fastest_);
  const auto too_far_behind = [&](const Consumer& consumer) {
    if (consumer.consumed >= least) return false;
    out.push_back(Finish{consumer.id, FinishReason::slow_reader});
    return true;
  };
  std::erase_if(consumers_, too_far_behind);
  name_leader(out);
}

void Flight::name_leader(FlightCommands& out) {
  if (consumers_.empty() || consumers_.front().id == leader_) return;
  leader_ = consumers_.front().id;
  out.push_back(HandOver{leader_});
}

void Flight::find_fastest() {
  fastest_ = 0;
  for (const Consumer& consumer : consumers_) fastest_ = std::max(fastest_, consumer.consumed);
}

void Flight::pace(FlightCommands& out) {
  if (!upstream_lives()) return;
  const bool wanted = upstream_ == Upstream::draining || received_ - fastest_ < settings_.credit_bytes;
  if (wanted == reading_) return;
  reading_ = wanted;
  if (wanted) {
    out.push_back(ReadMore{});
  } else {
    out.push_back(Pause{});
  }
}

void Flight::abandon(Instant now, FlightCommands& out) {
  if (settings_.on_abort == OnAbort::cancel) return cut(SettleReason::cancelled, out);
  upstream_ = Upstream::draining;
  drain_from_ = received_;
  drain_until_ = now.monotonic + settings_.drain_time;
  pace(out);
}

void Flight::cut(SettleReason reason, FlightCommands& out) {
  out.push_back(CancelUpstream{});
  settle(reason, out);
}

void Flight::settle(SettleReason reason, FlightCommands& out) {
  upstream_ = Upstream::over;
  out.push_back(Settle{payer_, reason, consumers_.empty(), received_});
}

// Looks at every consumer, so consumed(), the most frequent event, does without. Only at the start of an
// event: the commands of the last one may name anything that was held then.
void Flight::forget_consumed() {
  if (joinable(FlightForm::plain)) return;
  std::uint64_t needed_from = received_;
  for (const Consumer& consumer : consumers_) needed_from = std::min(needed_from, consumer.consumed);
  while (!held_.empty() && held_.front().begin + held_.front().chunk->size() <= needed_from) {
    held_from_ = held_.front().begin + held_.front().chunk->size();
    held_.pop_front();
  }
}

}  // namespace sentinel::resilience
