#include "sentinel/semantic/replay.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace sentinel::semantic {
namespace {

// Hits a window must have for its share to say something, when the bound is of hits.
constexpr std::uint64_t kTellingHits = 100;

std::string key_of(const ReplayRow& row) {
  std::string key(row.partition);
  key.push_back('\0');
  return key.append(row.text);
}

}  // namespace

Result<std::unique_ptr<Replay>> Replay::make(const ReplayOptions& options) {
  auto policy = Policy::make(options.policy);
  if (!policy) return policy.error();
  return std::unique_ptr<Replay>(new Replay(options, *std::move(policy)));
}

Replay::Replay(const ReplayOptions& options, std::unique_ptr<Policy> policy)
    : options_(options), policy_(std::move(policy)), judge_(options.seed ^ 0x6a09e667f3bcc908U) {}

Request Replay::request_of(const ReplayRow& row) const {
  Request request;
  request.partition = row.partition;
  request.text = row.text;
  request.vector = row.vector;
  request.bound = options_.bound;
  request.circumstances.beyond_window = row.beyond_window;
  return request;
}

Result<Served> Replay::offer(const ReplayRow& row) {
  ++counts_.requests;
  std::string key = key_of(row);
  if (exact_.contains(key)) return count(Served::exact);
  if (options_.exact_only) {
    exact_.emplace(std::move(key), row.answer);
    return count(Served::no);
  }
  const auto decision = policy_->decide(request_of(row));
  if (!decision) return decision.error();
  Served outcome = Served::no;
  if (decision->served())
    outcome = stored_.at(decision->entry).answer == row.answer ? Served::right : Served::wrong;
  if (decision->audit) ++counts_.audit_calls;
  if (decision->ticket != 0)
    feed_back(*decision, row);
  else if (!decision->served())
    exact_.emplace(std::move(key), row.answer);
  return count(outcome);
}

void Replay::feed_back(const Decision& decision, const ReplayRow& row) {
  Next next = policy_->answered(decision.ticket);
  while (next.question) {
    ++counts_.judge_calls;
    next = policy_->judged(decision.ticket, verdict(*next.question, row.answer));
  }
  remember(next, row);
}

void Replay::remember(const Next& next, const ReplayRow& row) {
  for (const EntryId id : next.removed) {
    const auto gone = stored_.find(id);
    if (gone == stored_.end()) continue;
    exact_.erase(gone->second.key);
    stored_.erase(gone);
  }
  if (next.stored == 0) return;
  std::string key = key_of(row);
  exact_.emplace(key, row.answer);
  stored_.emplace(next.stored, Stored{row.answer, std::move(key)});
}

Verdict Replay::verdict(EntryId entry, std::uint64_t answer) {
  const bool same = stored_.at(entry).answer == answer;
  const double drawn = static_cast<double>(judge_.next() >> 11U) * 0x1.0p-53;
  return same != (drawn < options_.judge_error) ? Verdict::same : Verdict::different;
}

Served Replay::count(Served outcome) {
  if (outcome == Served::exact) ++counts_.exact_hits;
  if (outcome == Served::wrong) ++counts_.wrong_hits;
  if (outcome == Served::right || outcome == Served::wrong) {
    ++counts_.semantic_hits;
    if (counts_.first_hit == 0) counts_.first_hit = counts_.requests;
  }
  slide(outcome);
  return outcome;
}

void Replay::slide(Served outcome) {
  const auto change = [&](Served served, std::uint64_t by) {
    if (served == Served::wrong) recent_wrong_ += by;
    if (served == Served::right || served == Served::wrong) recent_hits_ += by;
  };
  Served& slot = recent_[counts_.requests % kWorstWindow];
  change(slot, ~std::uint64_t{0});  // one less
  slot = outcome;
  change(slot, 1);
  const bool of_hits = options_.bound.of == Of::hits;
  if (of_hits && recent_hits_ < kTellingHits) return;
  const std::uint64_t by = of_hits ? recent_hits_ : kWorstWindow;
  counts_.worst_window =
      std::max(counts_.worst_window, static_cast<double>(recent_wrong_) / static_cast<double>(by));
}

Result<Decision> Replay::probe(const ReplayRow& stored, const ReplayRow& asked, bool& served) {
  const auto entry = policy_->insert(request_of(stored));
  if (!entry) return entry.error();
  auto decision = policy_->look(request_of(asked));
  served = decision && decision->served() && decision->entry == *entry;
  policy_->remove(*entry);
  return decision;
}

std::vector<std::uint32_t> Replay::shuffled(std::size_t rows, std::uint64_t seed) {
  std::vector<std::uint32_t> order(rows);
  std::iota(order.begin(), order.end(), 0U);
  Random random(seed);
  for (std::size_t i = rows; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

}  // namespace sentinel::semantic
