// All limits of one process: buckets by stable id and kind, taken along a whole path in one step or not at all.
//
// Layout: a bucket is found by (id, kind, period). Ids are the caller's: an account node, a key, a route, an address,
// each with a prefix of its own. Buckets live in shards, each with its mutex; a call locks the shards it needs in
// ascending order. Reservations live in slabs of their own, named by (slot, generation).
//
// Contract:
// - reserve: every want passes and is taken, or none is and the worst is named (the one that can never pass, else the
//   longest wait). Requests are charged at once; tokens, money and concurrency are held until the end.
// - settle and refund end a reservation exactly once; so does its expiry. Whoever comes second is told `gone` and
//   changes nothing. settle: tokens and money become what they were, requests stay. refund: everything comes back.
//   A reservation that nobody ends comes back at its expiry (requests stay charged), at the next tick or refusal.
// - release: settle at what was reserved, for a caller who does not measure.
// - charge: the same step without an end, for costs known beforehand; of concurrency it only asks.
// - The bound of gcra.hpp holds per bucket. A changed amount or burst keeps the bucket; a changed period is another one.
// - Bounded: at most max_buckets and max_reservations. A bucket that is full again is dropped at no loss. If a shard is
//   out of room, it drops a full bucket if it has one, else the one that would be full soonest (counted as `forgiven`);
//   a bucket with open reservations is never dropped. If all have some, the call is refused as `busy`. Buckets whose ids
//   come from clients are `spare`: they go first and displace only each other, so that a flood of them costs no account
//   its bucket.
// - Ids longer than kMaxIdBytes are kept as their SHA-256. At most kMaxWants wants in a call.
//
// Cost: per want one hash and one look-up; no allocation once buckets and slots exist (a refusal writes its text). The
// hash is keyed by `seed`, so that clients cannot aim at one shard. Thread rule: any thread, any function.
// Failure rule: refusals and faults are values; no state is left half changed.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "sentinel/base/clock.hpp"
#include "sentinel/base/result.hpp"
#include "sentinel/limit/headroom.hpp"
#include "sentinel/limit/refusal.hpp"
#include "sentinel/limit/reservation_slab.hpp"
#include "sentinel/limit/rule.hpp"

namespace sentinel::limit {

struct Want {
  std::string_view id;
  Rule rule;
  std::int64_t cost = 1;  // in the rule's unit: requests, tokens, micro-USD, calls
  bool spare = false;     // the id is one that clients make up
};

struct Bounds {
  std::size_t max_buckets = 65'536;
  std::size_t max_reservations = 65'536;
  Duration reservation_ttl =
      std::chrono::minutes{15};  // above the longest exchange, or a late settle finds nothing
  std::size_t shards = 16;       // 1 to 64
};

struct Grant {
  Reservation reservation;
  Headroom headroom;  // of the path, after this call
};

// What a call used in the end. What was not limited is ignored.
struct Actual {
  std::int64_t tokens = 0;
  std::int64_t micro_usd = 0;
};

enum class Ending : std::uint8_t { done, gone };  // gone: ended before, expired, or never given

struct TableStats {
  std::size_t buckets = 0;
  std::size_t reservations = 0;
  std::uint64_t forgiven = 0;  // buckets dropped while in debt
  std::uint64_t expired = 0;   // reservations that nobody ended
};

enum class Mode : std::uint8_t { reserve, charge };

// What became of a call, before anything is written about it.
struct Taken {
  bool passed = false;
  Cause cause = Cause::wait;  // the rest: of a refusal
  std::size_t worst = 0;      // the want at fault, unless `busy`
  Duration retry_after{0};
  Reservation reservation;  // of what passed in Mode::reserve
  bool visited = false;     // `used` was written; a table without room for a bucket has none to tell of
};

// What a rule has left when so much of it is used: ticks of a Rate (gcra.hpp), calls of Slots.
View view_of(const Rule& rule, Int128 used);

class LimitTable {
 public:
  explicit LimitTable(Bounds bounds = {}, std::uint64_t seed = 0);
  ~LimitTable();
  LimitTable(const LimitTable&) = delete;
  LimitTable& operator=(const LimitTable&) = delete;

  // The step itself, for callers that write their own answer: `used` gets what is used of each want's bucket after it.
  // Needs used.size() >= wants.size().
  Taken take(std::span<const Want> wants, Mode mode, Instant now, std::span<Int128> used);

  std::variant<Grant, Refusal> reserve(std::span<const Want> wants, Instant now);
  std::variant<Headroom, Refusal> charge(std::span<const Want> wants, Instant now);

  Ending settle(Reservation reservation, Actual actual, Instant now);
  Ending refund(Reservation reservation, Instant now);
  // The call is over and took what was reserved: settle with just that.
  Ending release(Reservation reservation, Instant now);

  // What a path has left; takes nothing and makes no bucket.
  Headroom look(std::span<const Want> wants, Instant now) const;

  // Returns what expired and drops what is full, a bounded piece of work; call it about every second.
  void tick(Instant now);

  // What is owed, as bytes (snapshot.hpp). Tokens and money still held count as used: after a crash nobody can say that
  // they were not. Restoring lets the wall time between the two flow back (none if that clock went back) and adds to
  // what the table has; junk is refused whole.
  std::string snapshot(Instant now) const;
  Status restore(std::string_view bytes, Instant now);

  TableStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sentinel::limit
