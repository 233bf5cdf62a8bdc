// The semantic policy: whether the answer to an earlier prompt may be given to this one.
//
//   decide    partition -> vetoes -> candidates -> score -> threshold -> decision
//   answered  the fresh answer to a miss or an audited hit is there -> the first question for the judge, if any
//   judged    a verdict -> the next question, or done: the prompt has joined a group or opened one
//
// It is a state machine without I/O: prompts and verdicts come in, decisions and questions go out, answers are the
// caller's (under the entry's id). docs/semantic.md says what each stage does and where it comes from.
//
// Bounds: `max_entries` entries (the oldest leaves), `max_partitions` partitions (a prompt of one more is never served),
// kWindow judged outcomes, kMaxPromises bounds, kTickets questions under way (the oldest is forgotten).
// Cost: decide beside embedding and search about 60 microseconds at 10,000 entries; every kRefitEvery requests it refits the models.
// Thread rule: one owner; a whole deployment's requests go through it, since its statistics pool them.
// Failure rule: only a vector of the wrong dimension, or one that is no direction, is an Error; a stale ticket or entry is
// ignored. Time does not exist here; the seed makes audits repeatable.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sentinel/base/random.hpp"
#include "sentinel/base/result.hpp"
#include "sentinel/semantic/audits.hpp"
#include "sentinel/semantic/candidates.hpp"
#include "sentinel/semantic/drift.hpp"
#include "sentinel/semantic/groups.hpp"
#include "sentinel/semantic/opinions.hpp"
#include "sentinel/semantic/risk.hpp"
#include "sentinel/semantic/vetoes.hpp"
#include "sentinel/semantic/vocabulary.hpp"
#include "sentinel/vector/flat_index.hpp"

namespace sentinel::semantic {

inline constexpr std::size_t kMaxPromises = 8;
inline constexpr std::size_t kTickets = 4'096;

enum class Mode : std::uint8_t {
  serve,
  shadow,  // decides and learns, never serves
  fixed,   // no judge: a fixed cosine with vetoes; nothing is promised
};

struct Options {
  std::size_t dimension = 384;
  std::size_t max_entries = 100'000;
  std::size_t max_partitions = 4'096;
  Mode mode = Mode::serve;
  float fixed_threshold = 0.9F;  // for Mode::fixed
  std::uint64_t seed = 1;
};

struct Request {
  std::string_view partition;  // whose answers may be used
  std::string_view route;      // pools statistics between partition and deployment
  std::string_view text;
  std::span<const float> vector;  // of length 1
  Bound bound;
  Circumstances circumstances;
};

enum class Reason : std::uint8_t {
  served,
  learning,
  halted,
  vetoed,
  no_candidate,
  below_threshold,
  shadow,
  no_room
};
std::string_view name_of(Reason reason);

using Ticket = std::uint64_t;  // 0: none

struct Decision {
  Reason reason = Reason::no_candidate;
  bool audit = false;       // served, and to be asked upstream too
  bool unverified = false;  // by a fixed threshold, nobody judged
  EntryId entry = 0;        // of the best candidate
  GroupId group = 0;
  float similarity = 0;
  float score = 0;  // the probability that the answer is right
  float threshold = 1;
  float audit_chance = 0;
  VetoSet vetoes;     // of the prompt itself
  Ticket ticket = 0;  // to be told about the fresh answer; 0 if nothing is learned from it
  std::vector<Candidate> candidates;

  bool served() const { return reason == Reason::served; }
};

// What is to be done after an answer or a verdict: ask the judge whether the fresh answer says the same as the entry's,
// or, if `question` is none, nothing more.
struct Next {
  std::optional<EntryId> question;
  EntryId stored = 0;  // the entry the prompt became, whose answer the caller keeps
  GroupId group = 0;
  std::vector<EntryId> removed;  // entries that left to make room
};

enum class State : std::uint8_t { learning, serving, halted };
std::string_view name_of(State state);

struct PromiseStatus {
  State state = State::learning;
  std::string halted_because;
  Bound bound;
  float threshold = 1;  // as a probability
  double running_error = 0;
  double tightening = 1;
  std::uint64_t hits = 0;
  std::uint64_t audits = 0;
  std::uint64_t audited_wrong = 0;
  std::size_t outcomes = 0;  // in the window
};

class Policy {
 public:
  static Result<std::unique_ptr<Policy>> make(const Options& options);

  Result<Decision> decide(const Request& request);
  // The fresh answer to a decision's ticket is complete and may be stored.
  Next answered(Ticket ticket);
  Next judged(Ticket ticket, Verdict verdict);
  // There is no answer, or nobody to judge it.
  void dropped(Ticket ticket);

  // What `decide` would say now, without audit, ticket or any effect.
  Result<Decision> look(const Request& request) const;
  // An entry that no decision brought about, in a group of its own.
  Result<EntryId> insert(const Request& request);
  // The entry's answer is gone.
  void remove(EntryId entry);
  // Everything, or one partition, stops serving until resumed; learning goes on.
  void halt(std::string_view because) { halted_because_ = because; }
  void resume() { halted_because_.clear(); }

  PromiseStatus status(Bound bound, std::string_view partition = {}) const;
  std::size_t entries() const { return groups_.entries(); }
  std::size_t groups() const { return groups_.groups(); }
  const LogisticModel& model() const { return window_.model(); }

 private:
  struct Scope {
    std::string name;
    std::uint32_t route = 0;
    Offset offset{4};
    Drift drift;
    std::uint64_t hits = 0;
  };
  struct Promise {
    Bound bound;
    Audits audits;
    float threshold = kNever;
  };
  struct Pending {
    Ticket ticket = 0;
    std::uint32_t partition = 0;
    std::size_t promise = 0;
    Facts facts;
    std::vector<float> vector;
    Outcome outcome;    // of the best candidate
    double chance = 0;  // that it is right, when it was decided
    bool served = false;
    bool trusted = false;  // its score reached the threshold, whether it was served or not
    bool answered = false;
    double audit_chance = 1;
    Inquiry inquiry;
  };

  explicit Policy(const Options& options, std::unique_ptr<vector::FlatIndex> index);
  std::optional<std::uint32_t> partition_of(const Request& request);
  std::size_t promise_of(Bound bound);
  Result<std::vector<Candidate>> look_up(const Request& request, const Facts& facts,
                                         const Scope& scope) const;
  float offset_of(const Scope& scope) const;
  Reason reason_of(const Decision& decision, const Scope& scope, const Promise& promise) const;
  void choose(Decision& decision, const Candidate& best) const;
  void choose_nearest(Decision& decision) const;
  void serve(Decision& decision, Scope& scope, Promise& promise);
  Ticket open(const Request& request, Facts facts, std::uint32_t partition, std::size_t promise,
              const Decision& decision);
  Pending* pending(Ticket ticket);
  void learn(Pending& pending, bool same);
  void note(EntryId entry, bool same, bool audited);
  Next settle(Pending& pending);
  void refit();
  Result<Decision> decide_fixed(const Request& request, Decision decision, Facts facts,
                                std::uint32_t partition);

  Options options_;
  std::unique_ptr<vector::FlatIndex> index_;
  Groups groups_;
  Vocabulary vocabulary_;
  RiskWindow window_;
  Random random_;
  Drift drift_;  // of all together
  std::string halted_because_;
  std::uint64_t requests_ = 0;
  Ticket last_ticket_ = 0;
  std::vector<Promise> promises_;
  std::vector<Scope> partitions_;
  std::unordered_map<std::string, std::uint32_t> partition_names_;
  std::vector<Offset> routes_;
  std::unordered_map<std::string, std::uint32_t> route_names_;
  std::vector<Pending> tickets_;
};

}  // namespace sentinel::semantic
