// What a policy would have done with a recorded stream, its judge being the stream's own answer ids.
//
// Each row is offered in order, as to a gateway: a literal repeat of a stored prompt is an exact hit and never reaches the
// policy; what the policy does not serve goes upstream, whose answer is the row's id; the judge compares ids, and errs in
// either direction with the given probability, each time anew. Nothing is known ahead.
//
// Contract: one seed, one result. A hit is wrong if the served entry's answer id is not the row's. Bounds: the policy's,
// and one answer id and one text per entry. Cost: the policy's. Thread rule: one owner.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sentinel/semantic/policy.hpp"

namespace sentinel::semantic {

struct ReplayOptions {
  Options policy;
  Bound bound;
  bool exact_only = false;
  double judge_error = 0;
  std::uint64_t seed = 1;
};

struct ReplayRow {
  std::string_view text;
  std::string_view partition;
  std::span<const float> vector;
  std::uint64_t answer = 0;
  bool beyond_window = false;
};

struct ReplayCounts {
  std::uint64_t requests = 0;
  std::uint64_t exact_hits = 0;
  std::uint64_t semantic_hits = 0;
  std::uint64_t wrong_hits = 0;
  std::uint64_t judge_calls = 0;
  std::uint64_t audit_calls = 0;
  std::uint64_t first_hit = 0;  // the number of the first request served semantically, from 1; 0: none
  double worst_window =
      0;  // the worst share of wrong among kWorstWindow requests in a row, by the bound's measure
};

inline constexpr std::size_t kWorstWindow = 1'000;

enum class Served : std::uint8_t { no, exact, right, wrong };

class Replay {
 public:
  static Result<std::unique_ptr<Replay>> make(const ReplayOptions& options);
  Result<Served> offer(const ReplayRow& row);
  // Whether `asked` would be served from `stored`, which is offered for this question only.
  Result<Decision> probe(const ReplayRow& stored, const ReplayRow& asked, bool& served);
  const ReplayCounts& counts() const { return counts_; }
  const Policy& policy() const { return *policy_; }
  PromiseStatus status() const { return policy_->status(options_.bound); }
  // The numbers of as many rows in an order drawn with the seed.
  static std::vector<std::uint32_t> shuffled(std::size_t rows, std::uint64_t seed);

 private:
  Replay(const ReplayOptions& options, std::unique_ptr<Policy> policy);
  Request request_of(const ReplayRow& row) const;
  void feed_back(const Decision& decision, const ReplayRow& row);
  void remember(const Next& next, const ReplayRow& row);
  Verdict verdict(EntryId entry, std::uint64_t answer);
  Served count(Served outcome);
  void slide(Served outcome);

  struct Stored {
    std::uint64_t answer;
    std::string key;
  };

  ReplayOptions options_;
  std::unique_ptr<Policy> policy_;
  Random judge_;
  ReplayCounts counts_;
  std::unordered_map<EntryId, Stored> stored_;
  std::unordered_map<std::string, std::uint64_t> exact_;  // partition, NUL, text
  std::vector<Served> recent_ = std::vector<Served>(kWorstWindow, Served::no);
  std::uint64_t recent_hits_ = 0;
  std::uint64_t recent_wrong_ = 0;
};

}  // namespace sentinel::semantic
