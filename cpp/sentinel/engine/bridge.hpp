// The door to asyncio: requests in, completions out through one eventfd, provider calls beside them.
//
// Contract: one bridge per running asyncio loop. submit() decides in the caller's thread and answers at once, or gives
// an id; what follows for that id comes from drain() in order, the last event with more == false. An id is a slot and a
// generation: one that has ended or was cancelled is ignored everywhere. After close(), and in a forked child, submit
// answers 503.
// Bytes: submit_wire() takes a connection's bytes instead of a parsed head, and what follows for its id is bytes again,
// to be written as they are: `body` holds them, `headers` is empty.
// Back-pressure: taken(id, bytes) returns credit once the door has written the bytes, written(id) all that was drained.
// Batches: what is submitted waits until flush(), which wakes each loop once; completions wait until the loop has
// done all that was ready, then the eventfd is written once. So the two threads do not take turns for each exchange
// when they share a core (docs/decisions/0005).
// Thread rule: submit, refuse, drain, taken, cancel, close on the asyncio loop's thread; everything else from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "sentinel/engine/exchange.hpp"
#include "sentinel/engine/pipeline.hpp"
#include "sentinel/engine/ports.hpp"
#include "sentinel/engine/runner.hpp"
#include "sentinel/metrics/lane.hpp"
#include "sentinel/net/reply_wire.hpp"

namespace sentinel::engine {

class Engine;

struct BridgeEvent {
  std::uint64_t id = 0;
  int status = 0;  // 0: more of a stream that has begun
  HeaderList headers;
  std::string body;
  bool more = false;
  bool close = false;  // of bytes for a connection: it ends with this reply
};

// Provider work for Python: a request to serve, credit for one that waits, or a call nobody waits for any more.
struct ProviderWork {
  enum class Kind : std::uint8_t { serve, resume, withdraw };
  Kind kind = Kind::serve;
  ProviderRequest request;  // of `serve`; otherwise only call_id is set
  std::shared_ptr<ProviderCredit> credit;
};

class Bridge final : public ProviderPort, public std::enable_shared_from_this<Bridge> {
 public:
  // `serves_provider`: somebody will look after drain_provider().
  static Result<std::shared_ptr<Bridge>> open(Engine& engine, bool serves_provider);
  ~Bridge() override;

  int descriptor() const { return eventfd_; }

  using Submitted = std::variant<std::uint64_t, BridgeEvent>;
  Submitted submit(const RequestHead& head, std::string_view body);
  // A request for a governed endpoint that lies whole in `bytes`, at most `most_body_bytes` of it body; nullopt, and
  // nothing done, if it is anything else.
  std::optional<Submitted> submit_wire(std::string_view bytes, std::string_view peer,
                                       std::size_t most_body_bytes);
  void flush();  // sends on what was submitted since the last flush
  BridgeEvent refuse(const RequestHead& head, Error error);

  std::vector<BridgeEvent> drain();
  std::vector<ProviderWork> drain_provider();
  void taken(std::uint64_t id, std::int64_t bytes);
  void written(std::uint64_t id);
  void cancel(std::uint64_t id);
  void close();

  // False: the provider must wait for a `resume` before it hands over more.
  bool answer(std::uint64_t call_id, ProviderAnswer answer);

  // From the loops; `runner` is the one whose thread it is.
  void push(Runner& runner, BridgeEvent event);
  bool ask(ProviderRequest request, std::shared_ptr<ProviderCredit> credit) override;
  void resume(std::uint64_t call_id) override;
  void withdraw(std::uint64_t call_id) override;

 private:
  struct Slot {
    std::uint32_t generation = 1;
    bool used = false;
    std::shared_ptr<Flow> flow;
    std::optional<net::Length> wire;   // its events are a connection's bytes; how a body is written there
    std::int64_t unwritten_bytes = 0;  // of bodies, since the last written()
  };
  Bridge(Engine& engine, int eventfd, bool serves_provider);
  std::uint64_t take_slot();
  Slot* find(std::uint64_t id);
  void free(std::uint64_t id);
  bool push_work(ProviderWork work);
  void signal() const;
  BridgeEvent answered(Exchange& exchange);
  BridgeEvent not_running(const RequestHead& head);
  Submitted decide(const RequestHead& head, std::string body);
  net::Length to_wire(BridgeEvent& event, net::Length length);

  Engine& engine_;
  const int eventfd_;
  const bool serves_provider_;
  metrics::MetricLane metrics_;
  Lane lane_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::vector<std::unique_ptr<Live>> outbox_;
  std::vector<HeaderView> headers_;  // of the request that submit_wire reads
  net::HttpDate date_;
  std::unordered_map<std::uint64_t, std::shared_ptr<ProviderCredit>> provider_credits_;

  std::mutex mutex_;  // guards what the loops push
  std::vector<BridgeEvent> events_;
  std::vector<std::size_t>
      last_event_;  // by slot: 1 + the place of what waits for it, so that it can be added to
  std::vector<ProviderWork> provider_work_;
  bool woken_ = false;
  std::atomic<bool> closed_{false};
};

}  // namespace sentinel::engine
