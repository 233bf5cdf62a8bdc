#include "sentinel/engine/snapshot.hpp"

#include <algorithm>
#include <limits>
#include <optional>

#include "sentinel/engine/document.hpp"

namespace sentinel::engine {
namespace {

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

// Printable ASCII only: these texts are written into request heads.
bool is_visible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
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
                            &SnapshotReader::prices}) {
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
      target.label = target.upstream->name + "/" + (target.model.empty() ? "*" : target.model);
      route->total_weight += target.weight;
      route->targets.push_back(std::move(target));
    }
    if (route->name.empty() || route->targets.empty())
      return fault(path, "needs a name and at least one target");
    const std::size_t place = snapshot_->routes.size();
    snapshot_->route_names_.add(route->name, place);
    route->aliases = given["aliases"].strings();
    for (const auto& alias : route->aliases) snapshot_->route_names_.add(alias, place);
    snapshot_->routes.push_back(std::move(route));
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

const Price* Snapshot::price_of(std::string_view model) const {
  const std::size_t* place = price_names_.find(model);
  return place == nullptr ? nullptr : &prices_[*place];
}

}  // namespace sentinel::engine
