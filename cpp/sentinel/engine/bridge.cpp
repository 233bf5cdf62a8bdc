#include "sentinel/engine/bridge.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "sentinel/engine/engine.hpp"
#include "sentinel/engine/errors.hpp"
#include "sentinel/engine/replies.hpp"

namespace sentinel::engine {
namespace {

constexpr std::size_t kMostProviderWork = 4096;
constexpr std::size_t kHeadBytes = 1024;  // about what a head needs on the wire
constexpr std::size_t kFrameBytes = 32;

std::uint32_t slot_of(std::uint64_t id) { return static_cast<std::uint32_t>(id); }
std::uint32_t generation_of(std::uint64_t id) { return static_cast<std::uint32_t>(id >> 32U); }

void add_length(Reply& reply) {
  reply.headers.emplace_back("content-length", std::to_string(reply.body.size()));
}

// The endpoint of a request as it stands on a connection. /v1/query and /v1/models are the door's to shape.
std::optional<Endpoint> endpoint_of(const net::WholeRequest& request) {
  constexpr std::array kPosts{Endpoint::chat, Endpoint::completions, Endpoint::embeddings,
                              Endpoint::responses, Endpoint::messages};
  for (const Endpoint endpoint : kPosts)
    if (request.path == info(endpoint).name) return endpoint;
  return std::nullopt;
}

std::string padded_copy(std::string_view body) {
  std::string copy;
  copy.reserve(body.size() + kBodyPadding);
  copy.assign(body);
  return copy;
}

bool says_close(const HeaderList& headers) {
  return std::ranges::any_of(
      headers, [](const auto& field) { return field.first == "connection" && field.second == "close"; });
}

// One exchange's way back to its bridge.
class BridgeClient final : public ClientSide {
 public:
  BridgeClient(std::shared_ptr<Bridge> bridge, Runner& runner, std::uint64_t id)
      : bridge_(std::move(bridge)), runner_(runner), id_(id) {}

  void reply(Reply reply) override {
    add_length(reply);
    bridge_->push(runner_, {id_, reply.status, std::move(reply.headers), std::move(reply.body), false});
  }
  void begin(int status, HeaderList headers) override {
    bridge_->push(runner_, {id_, status, std::move(headers), {}, true});
  }
  void data(std::string bytes) override { bridge_->push(runner_, {id_, 0, {}, std::move(bytes), true}); }
  void end() override { bridge_->push(runner_, {id_, 0, {}, {}, false}); }

 private:
  const std::shared_ptr<Bridge> bridge_;
  Runner& runner_;
  const std::uint64_t id_;
};

}  // namespace

Result<std::shared_ptr<Bridge>> Bridge::open(Engine& engine, bool serves_provider) {
  const int descriptor = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (descriptor < 0)
    return Error(ErrorCode::internal_error, std::string("eventfd: ") + std::strerror(errno));
  return std::shared_ptr<Bridge>(new Bridge(engine, descriptor, serves_provider));
}

Bridge::Bridge(Engine& engine, int eventfd, bool serves_provider)
    : engine_(engine),
      eventfd_(eventfd),
      serves_provider_(serves_provider),
      metrics_(engine.registry()),
      lane_(engine.next_seed(), metrics_) {}

Bridge::~Bridge() { ::close(eventfd_); }

Bridge::Submitted Bridge::submit(const RequestHead& head, std::string_view body) {
  return decide(head, padded_copy(body));
}

std::optional<Bridge::Submitted> Bridge::submit_wire(std::string_view bytes, std::string_view peer,
                                                     std::size_t most_body_bytes) {
  const auto request = net::read_whole_request(bytes, headers_);
  if (!request || request->body.size() > most_body_bytes) return std::nullopt;
  const auto endpoint = endpoint_of(*request);
  if (!endpoint) return std::nullopt;
  const RequestHead head{*endpoint, request->path, request->query, headers_, peer};
  Submitted submitted = decide(head, padded_copy(request->body));
  if (auto* event = std::get_if<BridgeEvent>(&submitted)) {
    to_wire(*event, net::Length::declared);
  } else {
    slots_[slot_of(std::get<std::uint64_t>(submitted))].wire = net::Length::declared;
  }
  return submitted;
}

Bridge::Submitted Bridge::decide(const RequestHead& head, std::string body) {
  if (closed_ || !engine_.alive()) return not_running(head);
  const Instant now = engine_.clock().now();
  auto exchange = engine_.pipeline().decide(lane_, head, std::move(body), now);
  if (exchange->reply) return answered(*exchange);
  const std::uint64_t id = take_slot();
  Runner& runner = engine_.runner_for(*exchange);
  auto client = std::make_shared<BridgeClient>(shared_from_this(), runner, id);
  outbox_.push_back(runner.prepare(std::move(exchange), std::move(client),
                                   serves_provider_ ? shared_from_this() : nullptr));
  slots_[slot_of(id)].flow = outbox_.back()->flow;
  return id;
}

void Bridge::flush() {
  while (!outbox_.empty()) {
    Runner& runner = outbox_.back()->flow->runner();
    const auto others = std::stable_partition(outbox_.begin(), outbox_.end(), [&runner](const auto& live) {
      return &live->flow->runner() != &runner;
    });
    std::vector<std::unique_ptr<Live>> batch(std::make_move_iterator(others),
                                             std::make_move_iterator(outbox_.end()));
    outbox_.erase(others, outbox_.end());
    runner.submit(std::move(batch));
  }
}

BridgeEvent Bridge::refuse(const RequestHead& head, Error error) {
  if (closed_ || !engine_.alive()) return not_running(head);
  const Instant now = engine_.clock().now();
  auto exchange = engine_.pipeline().refuse(lane_, head, std::move(error), now);
  return answered(*exchange);
}

// Kept out of the books: in a forked child their locks and threads are the parent's.
BridgeEvent Bridge::not_running(const RequestHead& head) {
  Exchange exchange;
  exchange.endpoint = head.endpoint;
  exchange.request_id = "req_";
  lane_.random.append_hex(exchange.request_id);
  lane_.random.append_hex(exchange.request_id);
  Reply reply = error_reply(exchange, Error(ErrorCode::not_started, "the engine is not running"));
  add_length(reply);
  return {0, reply.status, std::move(reply.headers), std::move(reply.body), false};
}

BridgeEvent Bridge::answered(Exchange& exchange) {
  engine_.pipeline().finish(lane_, exchange, engine_.clock().now());
  engine_.note_end();
  Reply& reply = *exchange.reply;
  add_length(reply);
  return {0, reply.status, std::move(reply.headers), std::move(reply.body), false};
}

std::vector<BridgeEvent> Bridge::drain() {
  std::vector<BridgeEvent> ready;
  {
    const std::lock_guard lock(mutex_);
    ready.swap(events_);
    for (const BridgeEvent& event : ready) last_event_[slot_of(event.id)] = 0;
    if (std::exchange(woken_, false)) {
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t got = ::read(eventfd_, &count, sizeof count);
    }
  }
  std::erase_if(ready, [this](const BridgeEvent& event) { return find(event.id) == nullptr; });
  for (BridgeEvent& event : ready) {
    Slot& slot = *find(event.id);
    if (slot.wire) {
      slot.unwritten_bytes += static_cast<std::int64_t>(event.body.size());
      slot.wire = to_wire(event, *slot.wire);
    }
    if (!event.more) free(event.id);
  }
  return ready;
}

// Puts into the event's body what of it goes over the connection, and says how what follows will.
net::Length Bridge::to_wire(BridgeEvent& event, net::Length length) {
  std::string wire;
  wire.reserve(event.body.size() + (event.status == 0 ? kFrameBytes : kHeadBytes));
  if (event.status != 0) {
    length =
        net::append_reply_head(wire, event.status, event.headers, date_.at(engine_.clock().now().unix_time));
    event.close = says_close(event.headers);
    event.headers.clear();
  }
  if (length == net::Length::declared) {
    wire += event.body;
  } else {
    net::append_chunk(wire, event.body);
    if (!event.more) net::append_last_chunk(wire);
  }
  event.body = std::move(wire);
  return length;
}

std::vector<ProviderWork> Bridge::drain_provider() {
  std::vector<ProviderWork> ready;
  {
    const std::lock_guard lock(mutex_);
    ready.swap(provider_work_);
  }
  for (const ProviderWork& work : ready) {
    if (work.kind == ProviderWork::Kind::serve) provider_credits_[work.request.call_id] = work.credit;
    if (work.kind == ProviderWork::Kind::withdraw) provider_credits_.erase(work.request.call_id);
  }
  return ready;
}

void Bridge::taken(std::uint64_t id, std::int64_t bytes) {
  const Slot* slot = find(id);
  if (slot != nullptr && slot->flow) slot->flow->runner().taken(slot->flow, bytes);
}

void Bridge::written(std::uint64_t id) {
  Slot* slot = find(id);
  if (slot == nullptr) return;
  const std::int64_t bytes = std::exchange(slot->unwritten_bytes, 0);
  if (bytes > 0) taken(id, bytes);
}

void Bridge::cancel(std::uint64_t id) {
  flush();  // a stop must not overtake the exchange it stops
  Slot* slot = find(id);
  if (slot == nullptr) return;
  if (slot->flow && !closed_) slot->flow->runner().stop(slot->flow, StopReason::client_gone);
  free(id);
}

void Bridge::close() {
  if (closed_.exchange(true)) return;
  if (engine_.alive()) flush();
  for (std::uint32_t index = 0; index < slots_.size(); ++index) {
    const Slot& slot = slots_[index];
    if (!slot.used) continue;
    if (engine_.alive()) slot.flow->runner().stop(slot.flow, StopReason::client_gone);
    free((std::uint64_t{slot.generation} << 32U) | index);
  }
  const std::lock_guard lock(mutex_);
  events_.clear();
  last_event_.clear();
  provider_work_.clear();
}

bool Bridge::answer(std::uint64_t call_id, ProviderAnswer answer) {
  const auto known = provider_credits_.find(call_id);
  if (known == provider_credits_.end() || closed_) return true;
  const std::shared_ptr<ProviderCredit> credit = known->second;
  if (answer.end || answer.failure) provider_credits_.erase(known);
  const auto bytes = static_cast<std::int64_t>(answer.data.size());
  const std::int64_t waiting = credit->waiting_bytes.fetch_add(bytes) + bytes;
  const bool full = waiting >= ProviderCredit::kMostBytes;
  if (full) credit->provider_waits.store(true);
  engine_.runner_of_call(call_id).answer(call_id, std::move(answer));
  return !full;
}

void Bridge::push(Runner& runner, BridgeEvent event) {
  const std::lock_guard lock(mutex_);
  const std::size_t slot = slot_of(event.id);
  if (slot >= last_event_.size()) last_event_.resize(slot + 1);
  const std::size_t place = last_event_[slot];
  const bool continues = place > 0 && events_[place - 1].id == event.id && event.status == 0;
  if (continues) {
    events_[place - 1].body += event.body;
    events_[place - 1].more = event.more;
  } else {
    events_.push_back(std::move(event));
    last_event_[slot] = events_.size();
  }
  if (std::exchange(woken_, true)) return;
  runner.loop().post([self = shared_from_this()] { self->signal(); });
}

bool Bridge::ask(ProviderRequest request, std::shared_ptr<ProviderCredit> credit) {
  return push_work({ProviderWork::Kind::serve, std::move(request), std::move(credit)});
}

void Bridge::resume(std::uint64_t call_id) {
  ProviderWork work{ProviderWork::Kind::resume, {}, {}};
  work.request.call_id = call_id;
  push_work(std::move(work));
}

void Bridge::withdraw(std::uint64_t call_id) {
  ProviderWork work{ProviderWork::Kind::withdraw, {}, {}};
  work.request.call_id = call_id;
  push_work(std::move(work));
}

// Only new requests are refused by a full queue: news about running calls is bounded by their number.
bool Bridge::push_work(ProviderWork work) {
  const std::lock_guard lock(mutex_);
  const bool full = closed_ || provider_work_.size() >= kMostProviderWork;
  if (full && work.kind == ProviderWork::Kind::serve) return false;
  provider_work_.push_back(std::move(work));
  if (!std::exchange(woken_, true)) signal();
  return true;
}

void Bridge::signal() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t put = ::write(eventfd_, &one, sizeof one);
}

std::uint64_t Bridge::take_slot() {
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const std::uint32_t index = free_slots_.back();
  free_slots_.pop_back();
  slots_[index].used = true;
  return (std::uint64_t{slots_[index].generation} << 32U) | index;
}

Bridge::Slot* Bridge::find(std::uint64_t id) {
  if (slot_of(id) >= slots_.size()) return nullptr;
  Slot& slot = slots_[slot_of(id)];
  return slot.used && slot.generation == generation_of(id) ? &slot : nullptr;
}

void Bridge::free(std::uint64_t id) {
  Slot& slot = slots_[slot_of(id)];
  slot.used = false;
  slot.flow.reset();
  slot.wire.reset();
  slot.unwritten_bytes = 0;
  ++slot.generation;
  free_slots_.push_back(slot_of(id));
}

}  // namespace sentinel::engine
