// Pipeline steps 5, 7, 8 and 9 with I/O: one loop thread that carries exchanges to their upstream and back.
//
// Contract: submit() hands exchanges over for good; the client's side hears exactly one end, and Pipeline::finish has
// run before it does (but for a payer who leaves a call that others follow: it is settled when the call is over).
// An exchange whose question is under way follows that call (call.hpp); any other leads one. A call is tried again, on
// the same or another target, only before the first byte of an answer (send.hpp says when). Stopping (the client left,
// the key was revoked, shutdown) ends that exchange; the call goes on while somebody waits for it.
// A `Flow` is what a door keeps of a running exchange: it may outlive it, and is then without effect.
// Back-pressure: an upstream is read only while the fastest of its clients has fewer than `credit_bytes` to take.
// Thread rule: submit, stop, taken and answer from any thread; everything else happens on the loop's thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "sentinel/engine/call.hpp"
#include "sentinel/engine/exchange.hpp"
#include "sentinel/engine/live.hpp"
#include "sentinel/engine/pipeline.hpp"
#include "sentinel/engine/ports.hpp"
#include "sentinel/engine/send.hpp"
#include "sentinel/metrics/lane.hpp"
#include "sentinel/net/loop.hpp"
#include "sentinel/net/upstream.hpp"
#include "sentinel/resilience/flight_table.hpp"

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
  std::atomic<bool> tells_{false};              // the loop wants to hear of what is taken
  Live* live_ = nullptr;                        // loop thread only
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
  friend class Call;
  using CallPtr = std::shared_ptr<Call>;

  // An exchange comes.
  void enroll(Live& live);
  void receive(std::unique_ptr<Live> live);
  bool join(std::unique_ptr<Live>& live);
  bool answer_from_cache(std::unique_ptr<Live>& live);
  void refuse(std::unique_ptr<Live> live, Error error);
  void count_share(Call& call, Live& live);
  void begin_call(std::unique_ptr<Live> live);

  // Its upstream call.
  net::Awaitable<void> carry(CallPtr call);
  net::Awaitable<void> pause(Call& call, Duration delay);
  net::Awaitable<std::optional<Duration>> attempt(Call& call, Sending& sending);
  template <class Source>
  net::Awaitable<std::optional<Duration>> exchange_with(Call& call, Sending& sending, Source& source);
  template <class Source>
  net::Awaitable<std::optional<Duration>> take_refusal(Call& call, Sending& sending, Source& source);
  template <class Source>
  net::Awaitable<void> relay_plain(Call& call, Sending& sending, Source& source);
  template <class Source>
  net::Awaitable<void> relay_stream(Call& call, Sending& sending, Source& source);
  template <class Source>
  static net::Awaitable<Result<std::string>> read_whole(Exchange& exchange, Source& source, std::size_t most);
  template <class Source>
  static net::Awaitable<void> read_out(Source& source);
  static void note_head(Exchange& exchange, const net::ResponseHead& head, bool sent);
  void spread(Call& call, const std::vector<cache::ByteRange>& usage_ranges, std::string bytes);

  // How the call ends.
  void withdraw(Call& call);
  void end_answer(Call& call);
  void end_whole(Call& call, int status, std::string body, journal::Outcome outcome);
  void end_stream(Call& call, const std::string& terminal, journal::Outcome outcome);
  void fail(Call& call, Error error);
  void close(const CallPtr& call);
  static void cancel(Call& call);

  // What the flight commands.
  void carry_out(Call& call);
  void perform(Call& call, const resilience::FlightCommand& command);
  void deliver(Call& call, const resilience::Deliver& command);
  void finish(Call& call, const resilience::Finish& command);
  void finish_done(Call& call, std::unique_ptr<Live> live);
  void ask_alone(std::unique_ptr<Live> live);
  static void note_answer(Call& call);
  void adopt_answer(const Call& call, Live& live);
  void settle_answer(const Call& call, Live& live);
  static void take_progress(Call& call);
  static bool await_progress(Call& call);
  void arm(Call& call);
  void on_call_timer(Call& call);

  // One exchange's end.
  template <class Condition>
  void stop_each(StopReason reason, const Condition& condition);
  void stop_here(Live& live, StopReason reason);
  void leave(Live& live);
  void part(Call& call, std::unique_ptr<Live> live);
  void conclude(Live& live, Error error);
  void tell(Live& live, const Error& error);
  void reply_whole(const Call& call, Live& live, std::string body);
  void send_data(const Call& call, Live& live, std::string bytes);
  void settle(Live& live);
  void retire(std::unique_ptr<Live> live);

  Pipeline& pipeline_;
  net::Loop loop_;
  net::UpstreamPool upstreams_;
  metrics::MetricLane metrics_;
  Lane lane_;
  const std::function<void()> on_end_;
  Live* first_ = nullptr;                   // the running exchanges
  StopReason stopping_ = StopReason::none;  // what meets an exchange that comes after stop_all
  resilience::FlightTable<Call> flights_;
  std::unordered_map<std::uint64_t, ProviderCall*> provider_calls_;
  std::uint64_t next_call_id_;
  std::thread thread_;
};

}  // namespace sentinel::engine
