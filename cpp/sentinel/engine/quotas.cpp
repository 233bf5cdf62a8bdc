#include "sentinel/engine/quotas.hpp"

#include <variant>
#include <vector>

namespace sentinel::engine {
namespace {

using limit::Want;

using Wants = std::vector<Want>;

// Every node of the exchange's path that has rules.
template <class Visit>
void for_each_node(const Exchange& exchange, const Visit& visit) {
  const Snapshot& snapshot = *exchange.snapshot;
  if (exchange.principal) {
    if (!snapshot.account_rules.empty()) {
      for (const std::string& account : exchange.principal->accounts) {
        const RuleSet* rules = snapshot.rules_of_account(account);
        if (rules != nullptr) visit(*rules);
      }
    }
    if (!exchange.principal->rules.empty()) visit(exchange.principal->rules);
  } else {
    const RuleSet* rules = snapshot.rules_of_account(kDefaultAccount);
    if (rules != nullptr) visit(*rules);
  }
  if (!exchange.route->rules.empty()) visit(exchange.route->rules);
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
  for_each_node(exchange, [&wants](const RuleSet& node) {
    for (const limit::Rule& rule : node.on_entry) wants.push_back({node.id, rule, 1});
  });
  if (wants.empty()) return Done{};
  return take(limits_, wants, exchange, exchange.entry_reservation, now);
}

bool Quotas::limits_sending(const Exchange& exchange) {
  bool limited = exchange.route->limits_sending();
  for_each_node(exchange, [&limited](const RuleSet& node) { limited = limited || !node.on_sending.empty(); });
  return limited;
}

namespace {

void want_sending(Wants& wants, const RuleSet& node, const Prediction& most) {
  for (const limit::Rule& rule : node.on_sending) {
    const bool money = kind_of(rule) == limit::Kind::money;
    wants.push_back({node.id, rule, money ? most.micro_usd : most.tokens});
  }
}

limit::Actual used_by(const Exchange& exchange) {
  if (!exchange.usage) return {};
  return {exchange.usage->prompt + exchange.usage->completion, exchange.cost_micro_usd};
}

}  // namespace

Status Quotas::reserve_sending(Exchange& exchange, Instant now) {
  Wants wants;
  for_each_node(exchange,
                [&wants, &exchange](const RuleSet& node) { want_sending(wants, node, exchange.most); });
  if (wants.empty()) return Done{};
  return take(limits_, wants, exchange, exchange.sending_reservation, now);
}

std::optional<Duration> Quotas::take_credential(Exchange& exchange, const RuleSet& credential, Instant now) {
  if (exchange.credential_reservation) limits_.settle(*exchange.credential_reservation, {}, now);
  exchange.credential_reservation.reset();
  if (credential.empty()) return std::nullopt;
  Wants wants;
  for (const limit::Rule& rule : credential.on_entry) wants.push_back({credential.id, rule, 1});
  want_sending(wants, credential, exchange.most);
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
  if (!exchange.sending_reservation) return;
  if (exchange.usage) {
    limits_.settle(*exchange.sending_reservation, used_by(exchange), now);
  } else {
    limits_.refund(*exchange.sending_reservation, now);
  }
}

void Quotas::tick(Instant now) {
  limits_.tick(now);
  addresses_.tick(now);
}

}  // namespace sentinel::engine
