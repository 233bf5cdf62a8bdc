// One upstream call and everybody who waits for its answer: the leader, who began it, and its followers.
//
// A pure state machine: events in (join, leave, bytes, end, error, consumed, tick), commands out, appended to
// the caller's list. It holds the answer's bytes once, in shared immutable chunks; a consumer costs two
// offsets. The loop carries the commands out and tells the consumers' progress by consumed().
//
// Contract
// - Who may join: a plain consumer any call, a streaming one only a streaming call; both only while the
//   upstream call lives and not more than `replay_bytes` have come, so that a late joiner starts at byte 0.
//   That two callers have the same identity, partition and right to the route is the FlightTable's matter.
// - Pace: upstream is read while the fastest consumer has less than `credit_bytes` ahead of it. Each consumer
//   is handed at most `credit_bytes` that it has not consumed. A consumer that is more than `replay_bytes`
//   behind ends with slow_reader; the fastest never does.
// - Every consumer gets every byte in order, then exactly one Finish, unless it leaves. After a failure it
//   gets what had come before, then Finish{failed}; failure() has the error.
// - A leaver hurts nobody. When the leader leaves, the oldest consumer left is the leader (HandOver). When
//   the last leaves, upstream is cancelled, or with OnAbort::drain read on, for its usage, until it ends or
//   `drain_bytes` or `drain_time` are exceeded; a joiner meanwhile revives the call.
// - Exactly one Settle, when the upstream call is over, before any Finish{done} or Finish{failed}. It
//   names the payer given at construction: hand-over does not move the cost.
// - Events of consumers that are gone, and of an upstream call that is over, are ignored.
// - The bytes of a Deliver can be read by slices() until the next event; the slices then share the chunks.
// Memory: at most max(replay_bytes, credit_bytes) + two chunks; what the loop still writes keeps its chunks.
// Cost: bytes O(consumers); consumed and join O(log consumers); leave O(consumers). Thread rule: one owner.
// Failure rule: none of its own; consuming what was not delivered is an assert.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sentinel/base/clock.hpp"
#include "sentinel/base/error.hpp"

namespace sentinel::resilience {

enum class FlightForm : std::uint8_t { plain, stream };
enum class OnAbort : std::uint8_t { cancel, drain };
enum class FinishReason : std::uint8_t { done, failed, slow_reader };
enum class SettleReason : std::uint8_t { done, failed, cancelled, drain_exceeded };

using ConsumerId = std::uint64_t;
using Chunk = std::shared_ptr<const std::string>;

struct FlightSettings {
  std::uint64_t replay_bytes = std::uint64_t{4} << 20U;
  std::uint64_t credit_bytes = std::uint64_t{256} << 10U;
  OnAbort on_abort = OnAbort::cancel;
  std::uint64_t drain_bytes = std::uint64_t{1} << 20U;
  Duration drain_time = std::chrono::seconds{30};
};

struct ReadMore {};  // start, or go on, to read upstream
struct Pause {};     // stop reading; bytes that are already under way may still be told
struct Deliver {     // hand the answer's bytes [begin, end) to the consumer
  ConsumerId consumer;
  std::uint64_t begin;
  std::uint64_t end;
};
struct Finish {
  ConsumerId consumer;
  FinishReason reason;
};
struct HandOver {
  ConsumerId leader;
};
struct CancelUpstream {};
struct Settle {
  std::uint64_t payer;
  SettleReason reason;
  bool abandoned;  // nobody was waiting any more
  std::uint64_t received_bytes;
};
using FlightCommand = std::variant<ReadMore, Pause, Deliver, Finish, HandOver, CancelUpstream, Settle>;
using FlightCommands = std::vector<FlightCommand>;

struct Slice {
  Chunk owner;
  std::string_view bytes;
};

class Flight {
 public:
  Flight(FlightForm form, std::uint64_t payer, const FlightSettings& settings);

  bool joinable(FlightForm wanted) const;
  std::optional<ConsumerId> join(FlightForm wanted, FlightCommands& out);  // the first is the leader
  void leave(ConsumerId consumer, Instant now, FlightCommands& out);       // its client is gone
  void consumed(ConsumerId consumer, std::uint64_t bytes, FlightCommands& out);

  void bytes(Chunk chunk, FlightCommands& out);
  void end(FlightCommands& out);
  void error(Error why, FlightCommands& out);
  void tick(Instant now, FlightCommands& out);

  std::optional<Duration> deadline() const;  // when tick must be called, on the monotonic axis
  std::vector<Slice> slices(std::uint64_t begin, std::uint64_t end) const;

  bool finished() const { return upstream_ == Upstream::over && consumers_.empty(); }
  bool upstream_over() const { return upstream_ == Upstream::over; }
  std::optional<ConsumerId> leader() const;
  std::size_t consumers() const { return consumers_.size(); }
  std::uint64_t received_bytes() const { return received_; }
  std::uint64_t held_bytes() const { return received_ - held_from_; }
  FlightForm form() const { return form_; }
  const std::optional<Error>& failure() const { return failure_; }

 private:
  enum class Upstream : std::uint8_t { waiting, live, draining, over };  // waiting: for the first consumer

  struct Consumer {
    ConsumerId id;
    std::uint64_t delivered = 0;
    std::uint64_t consumed = 0;
  };
  struct Held {
    std::uint64_t begin;
    Chunk chunk;
  };

  bool upstream_lives() const { return upstream_ == Upstream::live || upstream_ == Upstream::draining; }
  Consumer* find(ConsumerId id);
  void advance(Consumer& consumer, FlightCommands& out);
  bool complete(const Consumer& consumer) const;
  void advance_all(FlightCommands& out);
  void end_slow_readers(FlightCommands& out);
  void name_leader(FlightCommands& out);
  void find_fastest();
  void pace(FlightCommands& out);
  void abandon(Instant now, FlightCommands& out);
  void cut(SettleReason reason, FlightCommands& out);
  void settle(SettleReason reason, FlightCommands& out);
  void forget_consumed();

  const FlightForm form_;
  const std::uint64_t payer_;
  const FlightSettings settings_;
  Upstream upstream_ = Upstream::waiting;
  bool reading_ = false;
  std::vector<Consumer> consumers_;  // by id, which is by age: the first is the leader
  ConsumerId last_id_ = 0;
  ConsumerId leader_ = 0;      // whom the loop was last told of
  std::uint64_t fastest_ = 0;  // the most any present consumer has consumed
  std::deque<Held> held_;
  std::uint64_t held_from_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t drain_from_ = 0;
  Duration drain_until_{0};
  std::optional<Error> failure_;
};

}  // namespace sentinel::resilience
