#include "sentinel/semantic/policy.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace sentinel::semantic {
namespace {

constexpr std::array<std::string_view, 8> kReasons{"served",       "learning",        "halted", "vetoed",
                                                   "no_candidate", "below_threshold", "shadow", "no_room"};
constexpr std::array<std::string_view, 3> kStates{"learning", "serving", "halted"};

// The likeliest of those that may serve, or nothing.
const Candidate* best_of(const std::vector<Candidate>& candidates) {
  const Candidate* best = nullptr;
  for (const Candidate& candidate : candidates) {
    if (candidate.may_serve() && (best == nullptr || candidate.score > best->score)) best = &candidate;
  }
  return best;
}

std::vector<Inquiry::Suspect> suspects_of(const std::vector<Candidate>& candidates) {
  std::vector<Inquiry::Suspect> suspects;
  for (const Candidate& candidate : candidates) {
    if (!candidate.may_serve()) continue;
    suspects.push_back(
        {candidate.entry, candidate.group, probability(static_cast<double>(candidate.score)), {}});
  }
  std::stable_sort(suspects.begin(), suspects.end(),
                   [](const auto& left, const auto& right) { return left.chance > right.chance; });
  if (suspects.size() > Inquiry::kMostCandidates) suspects.resize(Inquiry::kMostCandidates);
  return suspects;
}

double uniform(Random& random) { return static_cast<double>(random.next() >> 11U) * 0x1.0p-53; }

}  // namespace

std::string_view name_of(Reason reason) { return kReasons[static_cast<std::size_t>(reason)]; }
std::string_view name_of(State state) { return kStates[static_cast<std::size_t>(state)]; }

Result<std::unique_ptr<Policy>> Policy::make(const Options& options) {
  auto index = vector::FlatIndex::make(options.dimension);
  if (!index) return index.error();
  if (options.max_entries == 0) return Error(ErrorCode::invalid_request, "max_entries must be above 0");
  return std::unique_ptr<Policy>(new Policy(options, *std::move(index)));
}

Policy::Policy(const Options& options, std::unique_ptr<vector::FlatIndex> index)
    : options_(options), index_(std::move(index)), groups_(options.max_entries), random_(options.seed) {}

Result<Decision> Policy::decide(const Request& request) {
  if (request.vector.size() != options_.dimension)
    return Error(ErrorCode::invalid_request, "the vector's dimension is not the policy's");
  ++requests_;
  if (requests_ % kRefitEvery == 0) refit();
  const std::size_t promised = promise_of(request.bound);
  Promise& promise = promises_[promised];
  promise.audits.requested();
  Decision decision;
  Facts facts = read_facts(request.text);
  decision.vetoes = vetoes_of(facts, request.circumstances);
  decision.reason = Reason::vetoed;
  if (!decision.vetoes.empty()) return decision;
  decision.reason = Reason::no_room;
  const auto partition = partition_of(request);
  if (!partition) return decision;
  Scope& scope = partitions_[*partition];
  auto candidates = look_up(request, facts, scope);
  if (!candidates) return candidates.error();
  decision.candidates = *std::move(candidates);
  if (options_.mode == Mode::fixed)
    return decide_fixed(request, std::move(decision), std::move(facts), *partition);
  if (const Candidate* best = best_of(decision.candidates)) choose(decision, *best);
  decision.threshold = static_cast<float>(probability(static_cast<double>(promise.threshold)));
  decision.reason = reason_of(decision, scope, promise);
  if (decision.served()) serve(decision, scope, promise);
  if (!decision.served() || decision.audit)
    decision.ticket = open(request, std::move(facts), *partition, promised, decision);
  return decision;
}

Result<Decision> Policy::look(const Request& request) const {
  Decision decision;
  const Facts facts = read_facts(request.text);
  decision.vetoes = vetoes_of(facts, request.circumstances);
  decision.reason = Reason::vetoed;
  if (!decision.vetoes.empty()) return decision;
  decision.reason = Reason::no_candidate;
  const auto at = partition_names_.find(std::string(request.partition));
  if (at == partition_names_.end()) return decision;
  const Scope& scope = partitions_[at->second];
  auto candidates = look_up(request, facts, scope);
  if (!candidates) return candidates.error();
  decision.candidates = *std::move(candidates);
  if (options_.mode == Mode::fixed) {
    choose_nearest(decision);
    return decision;
  }
  const auto promise = std::find_if(promises_.begin(), promises_.end(),
                                    [&](const Promise& each) { return each.bound == request.bound; });
  if (const Candidate* best = best_of(decision.candidates)) choose(decision, *best);
  decision.reason =
      reason_of(decision, scope, promise == promises_.end() ? Promise{request.bound, {}} : *promise);
  return decision;
}

Result<EntryId> Policy::insert(const Request& request) {
  if (request.vector.size() != options_.dimension)
    return Error(ErrorCode::invalid_request, "the vector's dimension is not the policy's");
  const auto partition = partition_of(request);
  if (!partition) return EntryId{0};
  Pending pending;
  pending.partition = *partition;
  pending.facts = read_facts(request.text);
  pending.vector.assign(request.vector.begin(), request.vector.end());
  return settle(pending).stored;
}

std::optional<std::uint32_t> Policy::partition_of(const Request& request) {
  const std::string name(request.partition);
  const auto at = partition_names_.find(name);
  if (at != partition_names_.end()) return at->second;
  if (partitions_.size() == options_.max_partitions) return std::nullopt;
  const auto [route, fresh] = route_names_.try_emplace(std::string(request.route), routes_.size());
  if (fresh) routes_.emplace_back(20);
  const auto id = static_cast<std::uint32_t>(partitions_.size());
  partitions_.push_back({name, route->second, Offset{4}, Drift{}, 0});
  partition_names_.emplace(name, id);
  return id;
}

// A bound beyond kMaxPromises shares the strictest there is of its kind, or the first.
std::size_t Policy::promise_of(Bound bound) {
  for (std::size_t i = 0; i < promises_.size(); ++i) {
    if (promises_[i].bound == bound) return i;
  }
  if (promises_.size() < kMaxPromises) {
    promises_.push_back({bound, {}, window_.threshold(bound, requests_, 1)});
    return promises_.size() - 1;
  }
  std::size_t strictest = 0;
  for (std::size_t i = 1; i < promises_.size(); ++i) {
    if (promises_[i].threshold > promises_[strictest].threshold) strictest = i;
  }
  return strictest;
}

float Policy::offset_of(const Scope& scope) const {
  return static_cast<float>(scope.offset.value() + routes_[scope.route].value());
}

Result<std::vector<Candidate>> Policy::look_up(const Request& request, const Facts& facts,
                                               const Scope& scope) const {
  const vector::Question question{kNeighbours, scope.name, false};
  auto found = index_->search(request.vector, question);
  if (!found) return found.error();
  auto candidates = candidates_of({facts, request.vector}, found->front(), groups_, vocabulary_);
  for (Candidate& candidate : candidates)
    candidate.score = window_.model().logit(candidate.features) + offset_of(scope);
  return candidates;
}

void Policy::choose(Decision& decision, const Candidate& best) const {
  decision.entry = best.entry;
  decision.group = best.group;
  decision.similarity = best.similarity;
  decision.score = best.score;
}

// Why it is served or not; `decision.score` is still a logit.
Reason Policy::reason_of(const Decision& decision, const Scope& scope, const Promise& promise) const {
  if (decision.candidates.empty()) return Reason::no_candidate;
  if (decision.entry == 0) return Reason::vetoed;
  if (!halted_because_.empty() || drift_.halted() || scope.drift.halted()) return Reason::halted;
  if (promise.threshold == kNever) return Reason::learning;
  if (decision.score < promise.threshold) return Reason::below_threshold;
  return options_.mode == Mode::shadow ? Reason::shadow : Reason::served;
}

void Policy::serve(Decision& decision, Scope& scope, Promise& promise) {
  const double error = 1 - probability(static_cast<double>(decision.score));
  const double chance = promise.audits.chance(error, scope.hits);
  decision.audit_chance = static_cast<float>(chance);
  decision.audit = uniform(random_) < chance;
  promise.audits.served(error);
  ++scope.hits;
}

Ticket Policy::open(const Request& request, Facts facts, std::uint32_t partition, std::size_t promise,
                    const Decision& decision) {
  if (tickets_.empty()) tickets_.resize(kTickets);
  const Ticket ticket = ++last_ticket_;
  Pending& slot = tickets_[ticket % kTickets];
  slot = {};
  slot.ticket = ticket;
  slot.partition = partition;
  slot.promise = promise;
  slot.facts = std::move(facts);
  slot.vector.assign(request.vector.begin(), request.vector.end());
  slot.served = decision.served();
  slot.audit_chance = decision.served() ? static_cast<double>(decision.audit_chance) : 1.0;
  if (options_.mode != Mode::fixed) slot.inquiry = Inquiry(suspects_of(decision.candidates));
  if (const Candidate* best = best_of(decision.candidates)) {
    slot.outcome.features = best->features;
    slot.outcome.offset = offset_of(partitions_[partition]);
    slot.outcome.weight = static_cast<float>(1 / slot.audit_chance);
    slot.outcome.request = requests_;
    slot.chance = probability(static_cast<double>(best->score));
    slot.trusted = best->score >= promises_[promise].threshold;
  }
  return ticket;
}

Policy::Pending* Policy::pending(Ticket ticket) {
  if (ticket == 0 || tickets_.empty()) return nullptr;
  Pending& slot = tickets_[ticket % kTickets];
  return slot.ticket == ticket ? &slot : nullptr;
}

Next Policy::answered(Ticket ticket) {
  Pending* found = pending(ticket);
  if (found == nullptr || found->answered) return {};
  found->answered = true;
  if (const auto question = found->inquiry.question()) return {question, 0, 0, {}};
  return settle(*found);
}

Next Policy::judged(Ticket ticket, Verdict verdict) {
  Pending* found = pending(ticket);
  if (found == nullptr || !found->answered) return {};
  Inquiry& inquiry = found->inquiry;
  if (inquiry.hear(verdict)) {
    const Inquiry::Suspect& settled = inquiry.settled();
    if (settled.verdict != Verdict::unsure) {
      const bool same = settled.verdict == Verdict::same;
      note(settled.entry, same, found->served && inquiry.first_settled());
      if (inquiry.first_settled()) learn(*found, same);
    }
  }
  if (const auto question = inquiry.question()) return {question, 0, 0, {}};
  return settle(*found);
}

void Policy::dropped(Ticket ticket) {
  if (Pending* found = pending(ticket)) *found = {};
}

void Policy::learn(Pending& pending, bool same) {
  pending.outcome.same = same;
  window_.add(pending.outcome);
  Scope& scope = partitions_[pending.partition];
  Promise& promise = promises_[pending.promise];
  scope.offset.learn(pending.chance, same);
  routes_[scope.route].learn(pending.chance, same);
  const double error = 1 - pending.chance;
  if (pending.trusted) {
    scope.drift.judged(error, promise.bound.max_error, !same);
    drift_.judged(error, promise.bound.max_error, !same);
  }
  if (pending.served) promise.audits.audited(error, pending.audit_chance, !same);
}

// Two audited wrongs quarantine an entry.
void Policy::note(EntryId id, bool same, bool audited) {
  constexpr std::uint32_t kMostWrong = 2;
  Entry* entry = groups_.entry(id);
  if (entry == nullptr) return;
  (same ? entry->confirmed : entry->refuted) += 1;
  if (!audited || same) return;
  entry->quarantined = ++entry->audited_wrong >= kMostWrong || entry->quarantined;
}

// The prompt joins the first group that its answer agrees with, which takes in the others that it agrees with; or it
// opens its own.
Next Policy::settle(Pending& pending) {
  GroupId home = 0;
  for (const Inquiry::Suspect& suspect : pending.inquiry.suspects()) {
    if (suspect.verdict != Verdict::same) continue;
    const Entry* entry = groups_.entry(suspect.entry);
    if (entry == nullptr) continue;
    if (home == 0)
      home = entry->group;
    else
      groups_.merge(home, entry->group);
  }
  Next next;
  vocabulary_.learn(pending.facts);
  const std::string& partition = partitions_[pending.partition].name;
  const std::vector<float> vector = pending.vector;
  next.stored =
      groups_.add(pending.partition, home, std::move(pending.facts), std::move(pending.vector), next.removed);
  next.group = groups_.entry(next.stored)->group;
  index_->remove(next.removed);
  const Status added = index_->add(std::span(&next.stored, 1), vector, partition);
  if (!added) {
    groups_.remove(next.stored);
    next.stored = 0;
  }
  pending = {};
  return next;
}

Result<Decision> Policy::decide_fixed(const Request& request, Decision decision, Facts facts,
                                      std::uint32_t partition) {
  choose_nearest(decision);
  if (!decision.served()) decision.ticket = open(request, std::move(facts), partition, 0, decision);
  return decision;
}

void Policy::choose_nearest(Decision& decision) const {
  decision.unverified = true;
  decision.threshold = options_.fixed_threshold;
  decision.reason = decision.candidates.empty() ? Reason::no_candidate : Reason::vetoed;
  const Candidate* best = nullptr;
  for (const Candidate& candidate : decision.candidates) {
    if (candidate.may_serve() && (best == nullptr || candidate.similarity > best->similarity))
      best = &candidate;
  }
  if (best == nullptr) return;
  choose(decision, *best);
  decision.score = decision.similarity;
  decision.reason = best->similarity < options_.fixed_threshold ? Reason::below_threshold : Reason::served;
}

void Policy::remove(EntryId entry) {
  if (groups_.remove(entry)) index_->remove(std::span(&entry, 1));
}

void Policy::refit() {
  window_.refit();
  for (Promise& promise : promises_)
    promise.threshold = window_.threshold(promise.bound, requests_, promise.audits.tightening(promise.bound));
}

PromiseStatus Policy::status(Bound bound, std::string_view partition) const {
  PromiseStatus status;
  status.bound = bound;
  status.outcomes = window_.size();
  const auto scope = partition_names_.find(std::string(partition));
  const bool drifted = scope != partition_names_.end() && partitions_[scope->second].drift.halted();
  for (const Promise& promise : promises_) {
    if (!(promise.bound == bound)) continue;
    status.threshold = static_cast<float>(probability(static_cast<double>(promise.threshold)));
    status.running_error = promise.audits.running_error(bound.of);
    status.tightening = promise.audits.tightening(bound);
    status.hits = promise.audits.hits();
    status.audits = promise.audits.audits();
    status.audited_wrong = promise.audits.wrong();
    if (promise.threshold != kNever) status.state = State::serving;
  }
  status.halted_because = halted_because_;
  if (drift_.halted() || drifted) status.halted_because = drifted ? "drift in this partition" : "drift";
  if (!status.halted_because.empty()) status.state = State::halted;
  return status;
}

}  // namespace sentinel::semantic
