// How the engine reaches Python: calls go out through a bounded queue, answers come back by post to the loop.
//
// What: a provider port (targets of kind `python`). A call carries a copy of the request; the answer is a head, pieces
// under credit, and an end or a failure. Every call has the upstream's deadlines; a late answer finds nobody and is
// ignored, because Python holds numbers, never pointers.
// Thread rule: ProviderCall lives on its loop's thread; PortAnswer may be posted from any thread through the runner.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sentinel/base/result.hpp"
#include "sentinel/base/timer_wheel.hpp"
#include "sentinel/engine/exchange.hpp"
#include "sentinel/net/gate.hpp"
#include "sentinel/net/loop.hpp"
#include "sentinel/net/response_parser.hpp"
#include "sentinel/net/upstream.hpp"

namespace sentinel::engine {

// What a provider in Python is asked.
struct ProviderRequest {
  std::uint64_t call_id = 0;
  std::string upstream;
  std::string endpoint;
  std::string model;
  std::string request_id;
  bool stream = false;
  std::string body;
};

// What it answers, one of them at a time: a head (status > 0), data, the end, or a failure.
struct ProviderAnswer {
  int status = 0;
  HeaderList headers;
  std::string data;
  bool end = false;
  std::optional<std::string> failure;
};

// Bytes a provider has handed over and the engine has not yet taken; shared with the door, which slows the provider.
// Little beside the credit of the exchange, which these bytes come on top of; enough for a hundred small events.
struct ProviderCredit {
  static constexpr std::int64_t kMostBytes = 16 * 1024;
  std::atomic<std::int64_t> waiting_bytes{0};
  std::atomic<bool> provider_waits{false};
};

// The door's side of the port: queues work for Python.
class ProviderPort {
 public:
  virtual ~ProviderPort() = default;
  // False when the queue is full or nobody listens any more.
  virtual bool ask(ProviderRequest request, std::shared_ptr<ProviderCredit> credit) = 0;
  // There is credit again for a provider that waits.
  virtual void resume(std::uint64_t call_id) = 0;
  // The engine has lost interest; the provider's task is to be cancelled.
  virtual void withdraw(std::uint64_t call_id) = 0;
};

// One call of a Python provider, with the shape of net::UpstreamCall.
class ProviderCall {
 public:
  ProviderCall(net::Loop& loop, ProviderPort& port, std::uint64_t call_id, const net::Timeouts& timeouts);
  ~ProviderCall();
  ProviderCall(const ProviderCall&) = delete;
  ProviderCall& operator=(const ProviderCall&) = delete;

  net::Awaitable<Result<net::ResponseHead>> send(const Exchange& exchange);
  net::Awaitable<Result<std::string_view>> read();
  void cancel();
  bool sent() const { return sent_; }

  void answer(ProviderAnswer answer);  // on the loop's thread

 private:
  enum class Waiting : std::uint8_t { head, data };
  void return_credit();
  net::Awaitable<Status> next_answer(Duration patience, Waiting waiting);
  static void on_deadline(void* self);

  net::Loop& loop_;
  ProviderPort& port_;
  const std::uint64_t call_id_;
  const net::Timeouts timeouts_;
  const Duration total_deadline_;
  const std::shared_ptr<ProviderCredit> credit_ = std::make_shared<ProviderCredit>();
  std::deque<ProviderAnswer> answers_;
  net::Gate arrived_;
  Timer timer_;
  std::string current_;
  bool sent_ = false;
  bool ended_ = false;
  bool cancelled_ = false;
  bool expired_ = false;
};

}  // namespace sentinel::engine
