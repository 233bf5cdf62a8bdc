// Pipeline steps 8 and 9 with I/O: one loop thread that carries exchanges to their upstream and back.
//
// Contract: submit() hands exchanges over for good; the client's side hears exactly one end, and Pipeline::finish has
// run before it does. Stopping (the client left, the key was revoked, shutdown) hangs up on the upstream at once.
// A `Flow` is what a door keeps of a running exchange: it may outlive it, and is then without effect.
// Back-pressure: the relay reads on only while fewer than `credit_bytes` wait at the client's side.
// Thread rule: submit, stop, taken and answer from any thread; everything else happens on the loop's thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "sentinel/engine/exchange.hpp"
#include "sentinel/engine/live.hpp"
#include "sentinel/engine/pipeline.hpp"
#include "sentinel/engine/ports.hpp"
#include "sentinel/metrics/lane.hpp"
#include "sentinel/net/loop.hpp"
#include "sentinel/net/upstream.hpp"

namespace sentinel::engine {

class Runner;

class Flow {
 public:
  explicit Flow(Runner& runner) : runner_(runner) {}
  Runner& runner() { return runner_; }

 private:
  friend class Runner;
  Runner& runner_;
  std::atomic<std::int64_t> waiting_bytes_{0};  // handed to the client's side and not yet taken
  std::atomic<bool> relay_waits_{false};
  Live* live_ = nullptr;  // loop thread only
};

class Runner {
 public:
  // Provider calls are numbered from `first_call_id`; `on_end` is called on the loop's thread after each exchange.
  Runner(Pipeline& pipeline, const Clock& clock, metrics::MetricRegistry& metrics, std::uint64_t seed,
         std::uint64_t first_call_id, std::function<void()> on_end);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  void start();
  void join();  // after stop_all: returns when the last exchange has ended

  // Makes an exchange ready to be submitted; its `flow` is what the door keeps.
  std::unique_ptr<Live> prepare(std::unique_ptr<Exchange> exchange, std::shared_ptr<ClientSide> client,
                                std::shared_ptr<ProviderPort> provider);
  // One wake-up of the loop for all of them.
  void submit(std::vector<std::unique_ptr<Live>> batch);
  void stop(std::shared_ptr<Flow> flow, StopReason reason);
  void taken(const std::shared_ptr<Flow>& flow, std::int64_t bytes);
  void answer(std::uint64_t call_id, ProviderAnswer answer);
  void stop_revoked();
  void stop_all(StopReason reason);

  net::Loop& loop() { return loop_; }

 private:
  net::Awaitable<void> run(std::unique_ptr<Live> live);
  net::Awaitable<void> run_upstream(Live& live);
  net::Awaitable<void> run_provider(Live& live);
  template <class Source>
  net::Awaitable<void> carry(Live& live, Source& source);
  template <class Source>
  net::Awaitable<Status> relay_stream(Live& live, Source& source, const net::ResponseHead& head);
  template <class Source>
  net::Awaitable<Status> relay_plain(Live& live, Source& source, const net::ResponseHead& head);
  template <class Source>
  net::Awaitable<Result<std::string>> read_whole(Exchange& exchange, Source& source, std::size_t most);
  template <class Source>
  static net::Awaitable<void> read_out(Source& source);

  void note_head(Live& live, const net::ResponseHead& head, bool sent);
  void conclude(Live& live, Error error);
  void send_data(Live& live, const net::ResponseHead& head, std::string bytes);
  static bool lacks_credit(const Live& live);
  net::Awaitable<void> wait_for_credit(Live& live);
  void stop_here(Live& live, StopReason reason);
  void settle(Live& live);

  Pipeline& pipeline_;
  net::Loop loop_;
  net::UpstreamPool upstreams_;
  metrics::MetricLane metrics_;
  Lane lane_;
  const std::function<void()> on_end_;
  Live* first_ = nullptr;                   // the running exchanges
  StopReason stopping_ = StopReason::none;  // what meets an exchange that comes after stop_all
  std::unordered_map<std::uint64_t, ProviderCall*> provider_calls_;
  std::uint64_t next_call_id_;
  std::thread thread_;
};

}  // namespace sentinel::engine
