#include "sentinel/engine/quotas.hpp"

#include <algorithm>
#include <span>
#include <variant>
#include <vector>

namespace sentinel::engine {
namespace {

using limit::Want;

using Wants = std::vector<Want>;

struct Node {
  const RuleSet& rules;
  std::string_view id;
  bool spare = false;

  void want(Wants& wants, const limit::Rule& rule, std::int64_t cost) const {
    wants.push_back({id, rule, cost, spare});
  }
};

// Every node of the exchange's path that has rules.
template <class Visit>
void for_each_node(const Exchange& exchange, const Visit& visit) {
  const Snapshot& snapshot = *exchange.snapshot;
  const auto visit_rules = [&visit](const RuleSet& rules) {
    if (!rules.empty()) visit(Node{rules, rules.id});
  };
  if (!snapshot.account_rules.empty()) {
    for (const std::string& account : accounts_of(exchange)) {
      const RuleSet* rules = snapshot.rules_of_account(account);
      if (rules != nullptr) visit_rules(*rules);
    }
  }
  if (exchange.end_user) visit(Node{exchange.end_user->rules, exchange.end_user->id, true});
  if (exchange.principal) visit_rules(exchange.principal->rules);
  visit_rules(exchange.route->rules);
}

metrics::LimitName limit_name(limit::Kind kind) {
  switch (kind) {
    case limit::Kind::requests: return metrics::LimitName::requests;
    case limit::Kind::tokens: return metrics::LimitName::tokens;
    case limit::Kind::money: return metrics::LimitName::money;
    case limit::Kind::concurrency: return metrics::LimitName::concurrency;
  }
  return metrics::LimitName::requests;
}

Error refused(const limit::Refusal& refusal) {
  Error error = refusal.error();
  if (refusal.cause != limit::Cause::never)
    error.retry_after_seconds = limit::retry_after_seconds(refusal.retry_after);
  return error;
}

Status take(limit::LimitTable& table, const Wants& wants, Exchange& exchange,
            std::optional<limit::Reservation>& place, Instant now) {
  auto answer = table.reserve(wants, now);
  if (auto* refusal = std::get_if<limit::Refusal>(&answer)) {
    exchange.headroom.note(refusal->headroom);
    exchange.refused_by = limit_name(refusal->kind);
    return refused(*refusal);
  }
  auto& grant = std::get<limit::Grant>(answer);
  exchange.headroom.note(grant.headroom);
  place = grant.reservation;
  return Done{};
}

limit::Bounds bounds_for(Duration longest_exchange) {
  limit::Bounds bounds;
  bounds.reservation_ttl = longest_exchange;
  return bounds;
}

}  // namespace

Quotas::Quotas(Duration longest_exchange, std::uint64_t seed)
    : limits_(bounds_for(longest_exchange), seed), addresses_({}, seed ^ 0x5bd1e995U) {}

Status Quotas::take_address(const Snapshot& snapshot, std::string_view peer, std::string_view forwarded_for,
                            Instant now) {
  if (snapshot.address_rules.on_entry.empty()) return Done{};
  const std::string client = snapshot.trusted_proxies.client_of(peer, forwarded_for);
  if (client.empty()) return Done{};  // a door without addresses: a Unix socket, a test
  Wants wants;
  for (const limit::Rule& rule : snapshot.address_rules.on_entry) wants.push_back({client, rule, 1});
  const auto answer = addresses_.charge(wants, now);
  const auto* refusal = std::get_if<limit::Refusal>(&answer);
  if (refusal == nullptr) return Done{};
  Error error = refused(*refusal);
  error.message = "too many requests from this address";
  return error;
}

Status Quotas::take_entry(Exchange& exchange, Instant now) {
  Wants wants;
  for_each_node(exchange, [&wants](const Node& node) {
    for (const limit::Rule& rule : node.rules.on_entry) node.want(wants, rule, 1);
  });
  if (wants.empty()) return Done{};
  return take(limits_, wants, exchange, exchange.entry_reservation, now);
}

bool Quotas::limits_use(const Exchange& exchange) {
  bool limited = exchange.route->limits_use();
  for_each_node(exchange, [&limited](const Node& node) { limited = limited || node.rules.limits_use(); });
  return limited;
}

bool Quotas::counts_hits(const Exchange& exchange) {
  bool counts = false;
  for_each_node(exchange,
                [&counts](const Node& node) { counts = counts || !node.rules.on_answering.empty(); });
  return counts;
}

namespace {

std::int64_t cost_of(const limit::Rule& rule, const Prediction& most) {
  return kind_of(rule) == limit::Kind::money ? most.micro_usd : most.tokens;
}

void want_use(Wants& wants, const Node& node, const std::vector<limit::Rule>& rules, const Prediction& most) {
  for (const limit::Rule& rule : rules) node.want(wants, rule, cost_of(rule, most));
}

// An answer that is there may have used more than a rule ever lets pass at once: what is above is owed, as it was by the
// call that made it.
void want_hit(Wants& wants, const Node& node, const Prediction& most) {
  for (const limit::Rule& rule : node.rules.on_answering) {
    const std::int64_t burst = std::get<limit::Rate>(rule).burst();
    node.want(wants, rule, std::min(cost_of(rule, most), burst));
  }
}

// What others' calls answered costs its account nothing; rules that count hits count what it would have cost.
limit::Actual used_by(const Exchange& exchange) {
  if (!exchange.usage) return {};
  limit::Actual used{exchange.usage->prompt + exchange.usage->completion, exchange.cost_micro_usd};
  if (exchange.is_own_call()) return used;
  const Price* price = exchange.snapshot->price_of(exchange.upstream_model);
  if (price != nullptr) used.micro_usd = cost_micro_usd(*price, *exchange.usage);
  return used;
}

}  // namespace

Status Quotas::reserve_use(Exchange& exchange, Instant now) {
  give_back_use(exchange, now);
  Wants wants;
  for_each_node(exchange, [&wants, &exchange](const Node& node) {
    want_use(wants, node, node.rules.on_sending, exchange.most);
    want_use(wants, node, node.rules.on_answering, exchange.most);
  });
  if (wants.empty()) return Done{};
  return take(limits_, wants, exchange, exchange.use_reservation, now);
}

Status Quotas::reserve_hit(Exchange& exchange, Instant now) {
  give_back_use(exchange, now);
  Wants wants;
  for_each_node(exchange, [&wants, &exchange](const Node& node) { want_hit(wants, node, exchange.most); });
  if (wants.empty()) return Done{};
  return take(limits_, wants, exchange, exchange.use_reservation, now);
}

void Quotas::give_back_use(Exchange& exchange, Instant now) {
  if (exchange.use_reservation) limits_.refund(*exchange.use_reservation, now);
  exchange.use_reservation.reset();
}

std::optional<Duration> Quotas::take_credential(Exchange& exchange, const RuleSet& credential, Instant now) {
  if (exchange.credential_reservation) limits_.settle(*exchange.credential_reservation, {}, now);
  exchange.credential_reservation.reset();
  if (credential.empty()) return std::nullopt;
  Wants wants;
  const Node node{credential, credential.id};
  for (const limit::Rule& rule : credential.on_entry) node.want(wants, rule, 1);
  want_use(wants, node, credential.on_sending, exchange.most);
  auto answer = limits_.reserve(wants, now);
  if (const auto* refusal = std::get_if<limit::Refusal>(&answer)) return refusal->retry_after;
  exchange.credential_reservation = std::get<limit::Grant>(answer).reservation;
  return std::nullopt;
}

void Quotas::settle(Exchange& exchange, Instant now) {
  if (exchange.entry_reservation) {
    const bool refused = exchange.outcome == journal::Outcome::refused && !exchange.sent_at;
    if (refused) limits_.refund(*exchange.entry_reservation, now);
    if (!refused) limits_.settle(*exchange.entry_reservation, {}, now);
  }
  if (exchange.credential_reservation)
    limits_.settle(*exchange.credential_reservation, used_by(exchange), now);
  if (!exchange.use_reservation) return;
  if (!exchange.usage) return give_back_use(exchange, now);
  limits_.settle(*exchange.use_reservation, used_by(exchange), now);
}

void Quotas::tick(Instant now) {
  limits_.tick(now);
  addresses_.tick(now);
}

}  // namespace sentinel::engine
