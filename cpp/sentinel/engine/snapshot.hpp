// Configuration as the engine sees it: an immutable snapshot, built whole from one JSON document or not at all.
//
// Contract: Python resolves defaults, units and secrets (sentinel.config) and hands the document over; from_json checks
// what memory safety and routing need and names the member at fault. An exchange keeps the snapshot it began with.
// Cost: find_route and price_of are one hash look-up, plus the wildcards in order of length when nothing matches exactly.
// Thread rule: immutable after construction; shared by std::shared_ptr.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sentinel/base/result.hpp"
#include "sentinel/engine/client_address.hpp"
#include "sentinel/engine/endpoint.hpp"
#include "sentinel/engine/health.hpp"
#include "sentinel/engine/rules.hpp"
#include "sentinel/metrics/labels.hpp"
#include "sentinel/net/origin.hpp"
#include "sentinel/resilience/flight.hpp"
#include "sentinel/stream/usage.hpp"
#include "sentinel/tokens/models.hpp"

namespace sentinel::engine {

struct Limits {
  std::size_t body_bytes = 0;
  std::size_t head_bytes = 0;
  std::size_t headers = 0;
  std::size_t response_bytes = 0;
  std::size_t event_bytes = 0;
  std::int64_t credit_bytes = 0;
  std::int64_t in_flight = 0;
};

enum class UpstreamKind : std::uint8_t { openai, azure, anthropic, python };

struct Upstream {
  std::string name;
  UpstreamKind kind = UpstreamKind::openai;
  net::Origin origin;
  net::Timeouts timeouts;
  std::string host_header;
  std::string fixed_headers;  // what every request to it says: its host, and what never changes of ours
  std::string base_path;      // no trailing slash
  std::string path_template;  // empty: base_path + "/" + the endpoint's own path
  std::string query;          // encoded, without "?"
  std::string auth_header;
  std::vector<std::string> credentials;
  std::vector<RuleSet> credential_rules;  // one for each credential
  RetrySettings retry;
  TargetSettings target_settings;  // of every target on it
  std::shared_ptr<CredentialHealth> health;
};

struct Target {
  const Upstream* upstream = nullptr;
  std::string model;  // empty: the client's own model name is sent
  std::uint32_t weight = 1;
  std::uint32_t tier = 0;  // the targets of the next tier are the fallback for this one's
  std::string label;       // "upstream/model", the metric label and x-sentinel-target
  metrics::LabelId metric_id = metrics::kUnknown;
  std::shared_ptr<TargetHealth> health;
};

// How a route's answers are kept and shared.
struct CacheSettings {
  Duration ttl{0};       // 0: answers are shared while they come, not kept
  bool sampled = false;  // also answers that were asked to vary
  bool store_fallback = false;
  std::string share;  // the sharing group; empty: each account by itself
  std::vector<std::string> tags;
  resilience::OnAbort on_abort = resilience::OnAbort::cancel;
};

struct Route {
  std::string name;
  std::vector<std::string> aliases;
  std::vector<Target> targets;  // by tier
  std::int64_t default_output_tokens = 0;
  RuleSet rules;
  std::optional<CacheSettings> cache;
  std::string version;  // what an answer depends on beside the request: other targets, other answers
  metrics::LabelId metric_id = metrics::kUnknown;

  bool limits_use() const;  // whether it, or a credential of its targets, limits tokens or money
};

// Micro-USD per 1,000,000 tokens of each kind.
struct Price {
  std::int64_t prompt = 0;
  std::int64_t cached = 0;
  std::int64_t cache_write = 0;
  std::int64_t completion = 0;
};

// Micro-USD, rounded up: spend is never under-counted by rounding.
std::int64_t cost_micro_usd(const Price& price, const stream::Usage& usage);

// Names with at most one '*': exact names first, then the longest pattern that matches.
class NameTable {
 public:
  void add(std::string name, std::size_t value);
  const std::size_t* find(std::string_view name) const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const { return std::hash<std::string_view>{}(name); }
  };
  struct Pattern {
    std::string prefix;
    std::string suffix;
    std::size_t value;
  };
  std::unordered_map<std::string, std::size_t, Hash, std::equal_to<>> exact_;
  std::vector<Pattern> patterns_;  // longest first
};

bool matches_pattern(std::string_view pattern, std::string_view name);

class Snapshot {
 public:
  // The error's param names the member of the document that is wrong.
  static Result<std::shared_ptr<Snapshot>> from_json(std::string_view document);

  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  const Route* find_route(std::string_view model) const;
  const RuleSet* rules_of_account(const std::string& account) const;
  // Of each end user of a call that the path of accounts pays for: those of the nearest account that has some.
  const RuleSet* rules_of_end_user(std::span<const std::string> accounts) const;
  const Price* price_of(std::string_view model) const;
  bool limits_use() const;  // whether any account or route limits tokens or money

  // Gives routes and targets their metric labels; once, before the snapshot is shared.
  void intern_labels(metrics::LabelNames& names);

  std::string version;
  bool insecure = false;
  Limits limits;
  std::vector<std::unique_ptr<Upstream>> upstreams;
  std::vector<std::unique_ptr<Route>> routes;  // in the document's order
  std::string price_version;
  std::unordered_map<std::string, RuleSet> account_rules;   // of accounts that have some
  std::unordered_map<std::string, RuleSet> end_user_rules;  // of each end user, by account
  RuleSet address_rules;
  TrustedProxies trusted_proxies;
  std::size_t cache_bytes = 0;
  tokens::ModelRules model_rules = tokens::ModelRules::standard();

 private:
  friend class SnapshotReader;
  Snapshot() = default;
  NameTable route_names_;
  NameTable price_names_;
  std::vector<Price> prices_;
};

}  // namespace sentinel::engine
