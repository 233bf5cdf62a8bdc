// One upstream call as its loop keeps it: the flight, the exchanges that wait for it, and what has come so far.
//
// Contract: every exchange that goes upstream leads a call; others with the same question join it (flight.hpp has the
// rules). The leader's exchange pays and stays until the call is over, even when its client has left (`departed`).
// What came is either a whole reply, for everybody as it is, or a stream of bytes in the flight.
// Thread rule: the loop's thread. Failure rule: a plain value; the runner acts.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sentinel/base/timer_wheel.hpp"
#include "sentinel/cache/byte_range.hpp"
#include "sentinel/engine/exchange.hpp"
#include "sentinel/engine/live.hpp"
#include "sentinel/net/gate.hpp"
#include "sentinel/net/response_parser.hpp"
#include "sentinel/resilience/flight.hpp"
#include "sentinel/resilience/flight_table.hpp"

namespace sentinel::engine {

class Runner;

// Whether an exchange shares a call with others of its question, and under which key and form.
bool shares(const Exchange& exchange);
resilience::FlightKey flight_key(const Exchange& exchange);  // of one that shares
resilience::FlightForm form_of(const Exchange& exchange);

// What those who did not send the call are told, and recorded with; it outlives the sender's exchange.
struct AnswerFacts {
  journal::Outcome outcome = journal::Outcome::done;
  std::optional<ErrorCode> error;
  std::string target;
  std::string upstream_model;
  std::string upstream_request_id;
  std::optional<stream::Usage> usage;
  bool estimated = false;
  std::int64_t worth_micro_usd = 0;
};

class Call : public std::enable_shared_from_this<Call> {
 public:
  Call(Runner& owner, std::unique_ptr<Live> leader, net::Executor executor);

  resilience::Flight& flight() { return flight_; }
  // Whose exchange is sent, and pays; there until the call is over.
  Live& sender() { return *sender_; }
  Exchange& exchange() { return *sender_->exchange; }

  Live* find(resilience::ConsumerId consumer);
  std::unique_ptr<Live> take(resilience::ConsumerId consumer);  // null if it is not there

  // The bytes [begin, end) of the answer as a client gets them who did or did not ask for usage.
  std::string bytes_for(const Live& live, std::uint64_t begin, std::uint64_t end) const;

  Runner& runner;
  const std::shared_ptr<const Snapshot> snapshot;  // what the attempts point into
  const std::shared_ptr<ProviderPort> provider;
  const Duration patience;  // with clients that take nothing
  std::vector<std::unique_ptr<Live>> consumers;
  std::unique_ptr<Live> departed;  // the sender, when its client has left
  resilience::FlightCommands commands;
  resilience::FlightCommands doing;

  // What came.
  std::optional<net::ResponseHead> head;
  std::optional<std::string> whole;  // the reply's body; otherwise a stream
  int status = 0;
  std::vector<cache::ByteRange> usage_ranges;
  std::uint64_t terminal_at = std::numeric_limits<std::uint64_t>::max();
  std::string kept;  // all of a stream that may be stored, or read as a plain answer
  bool keeps = false;
  AnswerFacts answered;

  // The coroutine that reads.
  net::Gate wake;
  bool reading = false;
  bool pausing = false;  // between two attempts
  bool cancelled = false;
  bool ended = false;  // what the answer is, is known; the sender's exchange may be gone
  bool progressed = false;
  void (*hang_up)(void*) = nullptr;
  void* source = nullptr;
  Timer timer;  // of stuck readers, of an abandoned call, of a pause before a retry

 private:
  static void on_timer(void* self);

  resilience::Flight flight_;
  Live* sender_;
};

}  // namespace sentinel::engine
