#include "sentinel/engine/snapshot.hpp"

#include <algorithm>
#include <limits>
#include <optional>

#include "sentinel/base/ascii.hpp"
#include "sentinel/engine/document.hpp"

namespace sentinel::engine {
namespace {

constexpr std::size_t kMostTargets = 64;  // a route's; sending remembers them as bits

Error fault(const std::string& path, const std::string& what) {
  return Error(ErrorCode::invalid_request, path + ": " + what, path);
}

struct BaseUrl {
  bool tls = false;
  std::string host;
  std::uint16_t port = 0;
  std::string path;
};

std::optional<std::uint16_t> read_port(std::string_view digits) {
  if (digits.empty() || digits.size() > 5) return std::nullopt;
  unsigned value = 0;
  for (const char digit : digits) {
    if (digit < '0' || digit > '9') return std::nullopt;
    value = value * 10 + static_cast<unsigned>(digit - '0');
  }
  if (value == 0 || value > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(value);
}

std::optional<BaseUrl> read_base_url(std::string_view url) {
  BaseUrl base;
  if (url.starts_with("https://")) {
    base.tls = true;
    url.remove_prefix(8);
  } else if (url.starts_with("http://")) {
    url.remove_prefix(7);
  } else {
    return std::nullopt;
  }
  const std::size_t slash = url.find('/');
  std::string_view authority = url.substr(0, slash);
  std::string_view path = slash == std::string_view::npos ? std::string_view{} : url.substr(slash);
  while (path.ends_with('/')) path.remove_suffix(1);
  base.path = path;
  base.port = base.tls ? 443 : 80;
  const std::size_t bracket = authority.rfind(']');
  const std::size_t colon = authority.rfind(':');
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    const auto port = read_port(authority.substr(colon + 1));
    if (!port) return std::nullopt;
    base.port = *port;
    authority = authority.substr(0, colon);
  }
  if (authority.starts_with('[') && authority.ends_with(']'))
    authority = authority.substr(1, authority.size() - 2);
  if (authority.empty() || authority.find_first_of("@?#\\ \r\n\t") != std::string_view::npos)
    return std::nullopt;
  base.host = authority;
  return base;
}

std::string host_header(const BaseUrl& base) {
  const std::string host = base.host.find(':') == std::string::npos ? base.host : "[" + base.host + "]";
  const bool usual = base.port == (base.tls ? 443 : 80);
  return usual ? host : host + ":" + std::to_string(base.port);
}

void append_query_escaped(std::string& out, std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  for (const char character : text) {
    const bool plain = (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
                       (character >= '0' && character <= '9') ||
                       std::string_view("-._~").find(character) != std::string_view::npos;
    if (plain) {
      out += character;
      continue;
    }
    const auto byte = static_cast<unsigned char>(character);
    out += '%';
    out += kDigits[byte >> 4U];
    out += kDigits[byte & 15U];
  }
}

std::string encode_query(const Document& query) {
  std::string encoded;
  for (std::size_t i = 0; i < query.names().size(); ++i) {
    if (i > 0) encoded += '&';
    append_query_escaped(encoded, query.names()[i]);
    encoded += '=';
    append_query_escaped(encoded, query.items()[i].string());
  }
  return encoded;
}

std::optional<UpstreamKind> kind_named(std::string_view name) {
  if (name == "openai") return UpstreamKind::openai;
  if (name == "azure") return UpstreamKind::azure;
  if (name == "anthropic") return UpstreamKind::anthropic;
  if (name == "python") return UpstreamKind::python;
  return std::nullopt;
}

bool is_request_target(std::string_view path) {
  return is_visible(path) && path.find_first_of(" ?#") == std::string_view::npos;
}

bool is_header_name(std::string_view name) {
  constexpr std::string_view kAlso = "!#$%&'*+-.^_`|~";  // RFC 9110, token
  return !name.empty() && std::all_of(name.begin(), name.end(), [kAlso](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kAlso.find(c) != kAlso.npos;
  });
}

bool wildcard_matches(std::string_view prefix, std::string_view suffix, std::string_view name) {
  return name.size() >= prefix.size() + suffix.size() && name.starts_with(prefix) && name.ends_with(suffix);
}

}  // namespace

std::int64_t cost_micro_usd(const Price& price, const stream::Usage& usage) {
  __extension__ using Wide = __int128;
  constexpr Wide kPerMillion = 1'000'000;
  const std::int64_t fresh = std::max<std::int64_t>(usage.prompt - usage.cached - usage.cache_write, 0);
  const Wide total = Wide{fresh} * price.prompt + Wide{usage.cached} * price.cached +
                     Wide{usage.cache_write} * price.cache_write + Wide{usage.completion} * price.completion;
  const Wide micro = (total + kPerMillion - 1) / kPerMillion;
  constexpr Wide kMost = std::numeric_limits<std::int64_t>::max();
  return static_cast<std::int64_t>(std::min(micro, kMost));
}

bool matches_pattern(std::string_view pattern, std::string_view name) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == name;
  return wildcard_matches(pattern.substr(0, star), pattern.substr(star + 1), name);
}

void NameTable::add(std::string name, std::size_t value) {
  const std::size_t star = name.find('*');
  if (star == std::string::npos) {
    exact_.emplace(std::move(name), value);
    return;
  }
  Pattern pattern{name.substr(0, star), name.substr(star + 1), value};
  const std::size_t length = pattern.prefix.size() + pattern.suffix.size();
  const auto place = std::find_if(patterns_.begin(), patterns_.end(), [length](const Pattern& other) {
    return other.prefix.size() + other.suffix.size() < length;
  });
  patterns_.insert(place, std::move(pattern));
}

const std::size_t* NameTable::find(std::string_view name) const {
  const auto exact = exact_.find(name);
  if (exact != exact_.end()) return &exact->second;
  for (const auto& pattern : patterns_) {
    if (wildcard_matches(pattern.prefix, pattern.suffix, name)) return &pattern.value;
  }
  return nullptr;
}

// Reads one document into one snapshot; the first fault ends it.
class SnapshotReader {
 public:
  explicit SnapshotReader(const Document& document) : document_(document), snapshot_(new Snapshot()) {}

  Result<std::shared_ptr<Snapshot>> read() {
    snapshot_->version = document_["version"].string();
    snapshot_->insecure = document_["insecure"].boolean();
    for (const auto step : {&SnapshotReader::limits, &SnapshotReader::upstreams, &SnapshotReader::routes,
                            &SnapshotReader::prices, &SnapshotReader::address, &SnapshotReader::accounts,
                            &SnapshotReader::cache, &SnapshotReader::models}) {
      Status status = (this->*step)();
      if (!status) return std::move(status.error());
    }
    return std::move(snapshot_);
  }

 private:
  Status limits() {
    const Document& given = document_["limits"];
    for (const char* member : {"body_bytes", "head_bytes", "headers", "response_bytes", "event_bytes",
                               "credit_bytes", "in_flight"}) {
      if (given[member].integer() <= 0)
        return fault(std::string("limits.") + member, "must be a positive integer");
    }
    const auto size = [&given](const char* member) {
      return static_cast<std::size_t>(given[member].integer());
    };
    snapshot_->limits = {size("body_bytes"),          size("head_bytes"),  size("headers"),
                         size("response_bytes"),      size("event_bytes"), given["credit_bytes"].integer(),
                         given["in_flight"].integer()};
    return Done{};
  }

  Status upstreams() {
    for (const Document& given : document_["upstreams"].items()) {
      Status status = upstream(given);
      if (!status) return status;
    }
    return Done{};
  }

  Status upstream(const Document& given) {
    const std::string path = "upstreams." + given["name"].string();
    auto upstream = std::make_unique<Upstream>();
    upstream->name = given["name"].string();
    const auto kind = kind_named(given["kind"].string());
    if (upstream->name.empty() || !kind) return fault(path, "needs a name and a known kind");
    upstream->kind = *kind;
    upstream->path_template = given["path_template"].string();
    upstream->query = encode_query(given["query"]);
    upstream->auth_header = given["auth_header"].string();
    upstream->credentials = given["credentials"].strings();
    for (const auto& credential : upstream->credentials) {
      if (credential.empty() || !is_visible(credential))
        return fault(path + ".credentials", "must be visible ASCII");
    }
    if (!is_visible(upstream->name)) return fault(path, "the name must be visible ASCII");
    if (!upstream->credentials.empty() && !is_header_name(upstream->auth_header)) {
      return fault(path + ".auth_header", "must be the name of a header");
    }
    if (!is_request_target(upstream->path_template)) {
      return fault(path + ".path_template", "must be visible ASCII without spaces, ? and #");
    }
    Status timeouts = read_timeouts(given["timeouts_us"], path, *upstream);
    if (!timeouts) return timeouts;
    Status limits = read_credential_rules(given["credential_rules"], path, *upstream);
    if (!limits) return limits;
    Status resilience = read_resilience(given, path, *upstream);
    if (!resilience) return resilience;
    if (upstream->kind != UpstreamKind::python) {
      Status origin = read_origin(given, path, *upstream);
      if (!origin) return origin;
    }
    snapshot_->upstreams.push_back(std::move(upstream));
    return Done{};
  }

  static Status read_timeouts(const Document& given, const std::string& path, Upstream& upstream) {
    for (const char* member : {"connect", "first_byte", "idle", "total"}) {
      if (given[member].integer() <= 0)
        return fault(path + ".timeouts_us." + member, "must be a positive integer");
    }
    const auto duration = [&given](const char* member) { return Duration{given[member].integer()}; };
    upstream.timeouts = {duration("connect"), duration("first_byte"), duration("idle"), duration("total")};
    return Done{};
  }

  static Status read_credential_rules(const Document& given, const std::string& path, Upstream& upstream) {
    for (std::size_t i = 0; i < upstream.credentials.size(); ++i) {
      const std::string number = std::to_string(i);
      static const Document kNone;
      auto rules =
          read_rules(i < given.items().size() ? given.items()[i] : kNone,
                     "credential:" + upstream.name + "#" + number, path + ".credential_rules." + number);
      if (!rules) return std::move(rules.error());
      upstream.credential_rules.push_back(std::move(*rules));
    }
    return Done{};
  }

  static Duration duration(const Document& given, const char* member, Duration otherwise) {
    return given[member].is_null() ? otherwise : Duration{given[member].integer()};
  }
  static std::uint32_t count(const Document& given, const char* member, std::uint32_t otherwise) {
    constexpr std::int64_t kMost = 1'000'000'000;
    if (given[member].is_null()) return otherwise;
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(given[member].integer(), 0, kMost));
  }

  static Status read_resilience(const Document& given, const std::string& path, Upstream& upstream) {
    const Document& retry = given["retry"];
    upstream.retry.attempts = std::max(count(retry, "attempts", 1), 1U);
    auto& backoff = upstream.retry.backoff;
    backoff = {duration(retry, "base_us", backoff.base), duration(retry, "cap_us", backoff.cap),
               duration(retry, "longest_retry_after_us", backoff.longest_retry_after)};
    auto& budget = upstream.retry.budget;
    budget = {count(retry, "budget_percent", budget.percent),
              count(retry, "budget_per_second", budget.per_second),
              std::max(count(retry, "budget_window_seconds", budget.window_seconds), 1U)};
    upstream.target_settings.budget = budget;
    Status breaker = read_breaker(given["breaker"], path, upstream.target_settings);
    if (!breaker) return breaker;
    Status concurrency = read_concurrency(given["concurrency"], path, upstream.target_settings);
    if (!concurrency) return concurrency;
    resilience::CoolDownSettings cool_down;
    cool_down = {duration(given["cool_down_us"], "first", cool_down.first),
                 duration(given["cool_down_us"], "longest", cool_down.longest)};
    if (cool_down.first <= Duration{0} || cool_down.longest < cool_down.first)
      return fault(path + ".cool_down_us", "first must be above 0 and not above longest");
    upstream.health = std::make_shared<CredentialHealth>(upstream.credentials.size(), cool_down);
    return Done{};
  }

  static Status read_breaker(const Document& given, const std::string& path, TargetSettings& target) {
    if (!given["enabled"].boolean()) return Done{};
    resilience::BreakerSettings settings;
    const bool by_time = given["window"].string() == "time";
    settings.window = by_time ? resilience::WindowKind::time : resilience::WindowKind::count;
    settings.window_calls = count(given, "window_calls", settings.window_calls);
    settings.window_length = duration(given, "window_length_us", settings.window_length);
    settings.window_buckets = count(given, "window_buckets", settings.window_buckets);
    settings.minimum_calls = count(given, "minimum_calls", settings.minimum_calls);
    settings.failure_rate_percent = count(given, "failure_rate_percent", settings.failure_rate_percent);
    settings.slow_rate_percent = count(given, "slow_rate_percent", settings.slow_rate_percent);
    settings.slow_duration = duration(given, "slow_duration_us", settings.slow_duration);
    settings.slow_first_token = duration(given, "slow_first_token_us", settings.slow_first_token);
    settings.slow_gap = duration(given, "slow_gap_us", settings.slow_gap);
    settings.open_wait = duration(given, "open_wait_us", settings.open_wait);
    settings.wait_factor = count(given, "wait_factor", settings.wait_factor);
    settings.longest_wait = duration(given, "longest_wait_us", settings.longest_wait);
    settings.jitter_percent = count(given, "jitter_percent", settings.jitter_percent);
    settings.probes = count(given, "probes", settings.probes);
    settings.probe_timeout = duration(given, "probe_timeout_us", settings.probe_timeout);
    Status valid = resilience::validate(settings);
    if (!valid) return fault(path + ".breaker." + valid.error().param, valid.error().message);
    target.breaker = settings;
    return Done{};
  }

  static Status read_concurrency(const Document& given, const std::string& path, TargetSettings& target) {
    if (given.is_null()) return Done{};
    resilience::ConcurrencySettings settings;
    settings.least = count(given, "least", settings.least);
    settings.most = count(given, "most", settings.most);
    settings.initial = count(given, "initial", settings.initial);
    settings.tolerance_percent = count(given, "tolerance_percent", settings.tolerance_percent);
    settings.baseline_window = duration(given, "baseline_window_us", settings.baseline_window);
    const bool ordered =
        settings.least >= 1 && settings.least <= settings.initial && settings.initial <= settings.most;
    if (!ordered || settings.tolerance_percent <= 100 || settings.baseline_window <= Duration{0})
      return fault(path + ".concurrency", "least <= initial <= most, tolerance above 100 percent");
    target.concurrency = settings;
    return Done{};
  }

  static Status read_origin(const Document& given, const std::string& path, Upstream& upstream) {
    auto base = read_base_url(given["base_url"].string());
    if (!base || !is_visible(base->host) || !is_request_target(base->path)) {
      return fault(path + ".base_url", "must be http://host or https://host with an optional port and path");
    }
    upstream.host_header = host_header(*base);
    upstream.fixed_headers =
        "Host: " + upstream.host_header +
        "\r\nContent-Type: application/json\r\nAccept-Encoding: identity\r\nUser-Agent: sentinel\r\n";
    upstream.base_path = base->path;
    upstream.origin.tls = base->tls;
    upstream.origin.host = base->host;
    upstream.origin.port = base->port;
    upstream.origin.ca_file = given["ca_file"].string();
    upstream.origin.trust_files = given["trust_files"].strings();
    upstream.origin.allow_private = given["allow_private"].boolean();
    upstream.origin.max_connections =
        static_cast<std::size_t>(std::max<std::int64_t>(given["max_connections"].integer(), 1));
    return Done{};
  }

  const Upstream* upstream_named(std::string_view name) const {
    for (const auto& upstream : snapshot_->upstreams) {
      if (upstream->name == name) return upstream.get();
    }
    return nullptr;
  }

  Status routes() {
    for (const Document& given : document_["routes"].items()) {
      Status status = route(given);
      if (!status) return status;
    }
    return Done{};
  }

  Status route(const Document& given) {
    auto route = std::make_unique<Route>();
    route->name = given["name"].string();
    const std::string path = "routes." + route->name;
    route->default_output_tokens = given["default_output_tokens"].integer();
    for (const Document& entry : given["targets"].items()) {
      Target target;
      target.upstream = upstream_named(entry["upstream"].string());
      if (target.upstream == nullptr) return fault(path + ".targets", "names an unknown upstream");
      target.model = entry["model"].string();
      if (!is_visible(target.model)) return fault(path + ".targets", "model must be visible ASCII");
      const std::int64_t weight = entry["weight"].integer();
      if (weight <= 0 || weight > 1'000'000) return fault(path + ".targets", "weight must be 1 to 1000000");
      target.weight = static_cast<std::uint32_t>(weight);
      target.tier = count(entry, "tier", 0);
      target.label = target.upstream->name + "/" + (target.model.empty() ? "*" : target.model);
      target.health = std::make_shared<TargetHealth>(target.label, target.upstream->target_settings,
                                                     std::hash<std::string>{}(target.label));
      append_answer_source(route->version, target);
      route->targets.push_back(std::move(target));
    }
    if (route->name.empty() || route->targets.empty() || route->targets.size() > kMostTargets)
      return fault(path, "needs a name and 1 to " + std::to_string(kMostTargets) + " targets");
    std::stable_sort(route->targets.begin(), route->targets.end(),
                     [](const Target& left, const Target& right) { return left.tier < right.tier; });
    auto rules = read_rules(given["rules"], "route:" + route->name, path + ".rules");
    if (!rules) return std::move(rules.error());
    route->rules = std::move(*rules);
    Status cached = read_cache(given["cache"], path + ".cache", *route);
    if (!cached) return cached;
    const std::size_t place = snapshot_->routes.size();
    snapshot_->route_names_.add(route->name, place);
    route->aliases = given["aliases"].strings();
    for (const auto& alias : route->aliases) snapshot_->route_names_.add(alias, place);
    snapshot_->routes.push_back(std::move(route));
    return Done{};
  }

  static void append_answer_source(std::string& version, const Target& target) {
    const Upstream& upstream = *target.upstream;
    for (const std::string& part : {upstream.name, upstream.host_header, upstream.base_path,
                                    upstream.path_template, upstream.query, target.model})
      version.append(part).append("\n");
  }

  static Status read_cache(const Document& given, const std::string& path, Route& route) {
    if (given.is_null()) return Done{};
    CacheSettings cache;
    cache.ttl = duration(given, "ttl_us", Duration{0});
    if (cache.ttl < Duration{0}) return fault(path + ".ttl_us", "must not be negative");
    cache.sampled = given["sampled"].boolean();
    cache.store_fallback = given["store_fallback"].boolean();
    cache.share = given["share"].string();
    cache.tags = given["tags"].strings();
    const std::string& on_abort = given["on_abort"].string();
    if (on_abort == "drain") cache.on_abort = resilience::OnAbort::drain;
    if (!on_abort.empty() && on_abort != "drain" && on_abort != "cancel")
      return fault(path + ".on_abort", "must be cancel or drain");
    route.cache = std::move(cache);
    return Done{};
  }

  Status address() {
    auto rules = read_rules(document_["address"]["rules"], "address", "address.rules");
    if (!rules) return std::move(rules.error());
    snapshot_->address_rules = std::move(*rules);
    auto proxies = TrustedProxies::parse(document_["address"]["trusted_proxies"].strings());
    if (!proxies) return std::move(proxies.error());
    snapshot_->trusted_proxies = std::move(*proxies);
    return Done{};
  }

  Status accounts() {
    for (const Document& given : document_["accounts"].items()) {
      const std::string& id = given["id"].string();
      auto rules = read_rules(given["rules"], "account:" + id, "accounts." + id);
      if (!rules) return std::move(rules.error());
      if (!rules->empty()) snapshot_->account_rules.insert_or_assign(id, std::move(*rules));
      rules = read_rules(given["end_user_rules"], "end-user:" + id, "accounts." + id + ".end_users");
      if (!rules) return std::move(rules.error());
      if (!rules->empty()) snapshot_->end_user_rules.insert_or_assign(id, std::move(*rules));
    }
    return Done{};
  }

  Status cache() {
    const std::int64_t bytes = document_["cache"]["max_bytes"].integer();
    if (bytes < 0) return fault("cache.max_bytes", "must not be negative");
    snapshot_->cache_bytes = static_cast<std::size_t>(bytes);
    return Done{};
  }

  Status models() {
    std::vector<tokens::ModelRule> own;
    for (const Document& given : document_["models"].items()) {
      const std::string& encoding = given["encoding"].string();
      if (encoding != "o200k_base" && encoding != "cl100k_base")
        return fault("models." + given["prefix"].string(), "names an unknown encoding");
      own.push_back({given["prefix"].string(), encoding == "o200k_base" ? tokens::EncodingName::o200k_base
                                                                        : tokens::EncodingName::cl100k_base});
    }
    snapshot_->model_rules = tokens::ModelRules::standard_after(std::move(own));
    return Done{};
  }

  Status prices() {
    const Document& given = document_["prices"];
    snapshot_->price_version = given["version"].string();
    for (const Document& entry : given["models"].items()) {
      const auto amount = [&entry](const char* member) { return entry[member].integer(); };
      const Price price{amount("prompt"), amount("cached"), amount("cache_write"), amount("completion")};
      if (price.prompt < 0 || price.cached < 0 || price.cache_write < 0 || price.completion < 0) {
        return fault("prices." + entry["model"].string(), "amounts must not be negative");
      }
      snapshot_->price_names_.add(entry["model"].string(), snapshot_->prices_.size());
      snapshot_->prices_.push_back(price);
    }
    return Done{};
  }

  const Document& document_;
  std::shared_ptr<Snapshot> snapshot_;
};

Result<std::shared_ptr<Snapshot>> Snapshot::from_json(std::string_view text) {
  auto document = Document::parse(text);
  if (!document) return std::move(document.error());
  return SnapshotReader(*document).read();
}

void Snapshot::intern_labels(metrics::LabelNames& names) {
  for (const auto& route : routes) {
    route->metric_id = names.models.intern(route->name);
    for (auto& target : route->targets) target.metric_id = names.targets.intern(target.label);
  }
}

const Route* Snapshot::find_route(std::string_view model) const {
  const std::size_t* place = route_names_.find(model);
  return place == nullptr ? nullptr : routes[*place].get();
}

bool Route::limits_use() const {
  const auto limited = [](const RuleSet& credential) { return credential.limits_use(); };
  return rules.limits_use() || std::any_of(targets.begin(), targets.end(), [&](const Target& target) {
           const auto& credentials = target.upstream->credential_rules;
           return std::any_of(credentials.begin(), credentials.end(), limited);
         });
}

bool Snapshot::limits_use() const {
  const auto by_account = [](const auto& entry) { return entry.second.limits_use(); };
  const auto by_route = [](const auto& route) { return route->limits_use(); };
  return std::any_of(account_rules.begin(), account_rules.end(), by_account) ||
         std::any_of(end_user_rules.begin(), end_user_rules.end(), by_account) ||
         std::any_of(routes.begin(), routes.end(), by_route);
}

const RuleSet* Snapshot::rules_of_account(const std::string& account) const {
  const auto known = account_rules.find(account);
  return known == account_rules.end() ? nullptr : &known->second;
}

const RuleSet* Snapshot::rules_of_end_user(std::span<const std::string> accounts) const {
  if (end_user_rules.empty()) return nullptr;
  for (auto account = accounts.rbegin(); account != accounts.rend(); ++account) {
    const auto known = end_user_rules.find(*account);
    if (known != end_user_rules.end()) return &known->second;
  }
  return nullptr;
}

const Price* Snapshot::price_of(std::string_view model) const {
  const std::size_t* place = price_names_.find(model);
  return place == nullptr ? nullptr : &prices_[*place];
}

}  // namespace sentinel::engine
