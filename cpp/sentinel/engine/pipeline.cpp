#include "sentinel/engine/pipeline.hpp"

#include <algorithm>
#include <cassert>

#include "sentinel/base/ascii.hpp"
#include "sentinel/base/hex.hpp"
#include "sentinel/engine/known_headers.hpp"
#include "sentinel/engine/model_list.hpp"
#include "sentinel/engine/replies.hpp"
#include "sentinel/engine/upstream_request.hpp"

namespace sentinel::engine {
namespace {

bool is_request_id(std::string_view value) {
  constexpr std::size_t kMostBytes = 128;
  if (value.empty() || value.size() > kMostBytes) return false;
  return std::all_of(value.begin(), value.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

// "req_", the time in 14 hexadecimal digits of microseconds, 18 random ones. Ids that grow with time keep the ledger's
// primary key append-only, which halves the cost of storing a record.
std::string make_request_id(Instant now, Random& random) {
  constexpr std::size_t kTimeDigits = 14;
  constexpr std::size_t kLastDigits = 2;
  const HexDigits time = hex_digits(static_cast<std::uint64_t>(now.unix_time.count()));
  const HexDigits last = hex_digits(random.next());
  std::string id;
  id.reserve(40);
  id.append("req_").append(time.end() - kTimeDigits, kTimeDigits);
  random.append_hex(id);
  return id.append(last.data(), kLastDigits);
}

}  // namespace

Pipeline::Pipeline(const PipelineParts& parts) : parts_(parts) {
  for (std::size_t i = 0; i < kEndpoints; ++i) {
    endpoint_labels_[i] = parts.labels.endpoints.intern(info(static_cast<Endpoint>(i)).name);
  }
}

std::unique_ptr<Exchange> Pipeline::begin(Lane& lane, Instant now) {
  auto exchange =
      std::make_unique_for_overwrite<Exchange>();  // its members begin as declared, not zeroed before
  exchange->started = now;
  exchange->snapshot = parts_.snapshots.get(lane.snapshot);
  exchange->in_flight = InFlight(in_flight_);
  exchange->closing = drain_state() != DrainState::serving;
  exchange->request_id = make_request_id(now, lane.random);
  return exchange;
}

std::unique_ptr<Exchange> Pipeline::decide(Lane& lane, const RequestHead& head, std::string body,
                                           Instant now) {
  auto exchange = begin(lane, now);
  Status governed = govern(lane, *exchange, head, body, now);
  if (!governed) exchange->reply = error_reply(*exchange, governed.error());
  if (!governed) exchange->error = governed.error().code;
  if (exchange->reply) exchange->status = exchange->reply->status;
  if (exchange->error) exchange->outcome = journal::Outcome::refused;
  return exchange;
}

// A request's way up to the loop that joins or sends it. The numbers are those of the design's pipeline.
Status Pipeline::govern(Lane& lane, Exchange& exchange, const RequestHead& head, std::string& body,
                        Instant now) {
  KnownHeaders known;
  Status parsed = parse_head(lane, exchange, head, known);  // 1 parse: the head
  if (!parsed) return parsed;
  Status welcome = welcome_address(exchange, head.peer, known, now);  // 3 check: the address, before any key
  if (!welcome) return welcome;
  Status identified = identify(exchange, known);  // 2 principal
  if (!identified) return identified;
  if (exchange.endpoint == Endpoint::models) {
    auto models = model_list(exchange, head.path);
    if (!models) return std::move(models.error());
    exchange.reply = std::move(*models);
    return Done{};
  }
  auto facts = lane.requests.read(exchange.endpoint, body);  // 1 parse: the body, once we know who asks
  if (!facts) return std::move(facts.error());
  exchange.facts = std::move(*facts);
  keep_request(exchange, known, std::move(body));
  Status checked = check(exchange);  // 3 check: scope, model, route
  if (!checked) return checked;
  Status entered = enter(exchange, now);  // 3 check: requests and concurrency taken
  if (!entered) return entered;
  parts_.answers.plan(exchange, lane.requests, head.query, known.cache_control);
  return parts_.answers.look_up(exchange, lane.answers, now);  // 4 exact look-up
  // 6 semantic look-up: the seat of its issue
}

// Whoever guesses keys is stopped by address, whatever becomes of the request (S14).
Status Pipeline::welcome_address(Exchange& exchange, std::string_view peer, const KnownHeaders& known,
                                 Instant now) const {
  Status welcome = parts_.quotas.take_address(*exchange.snapshot, peer, known.forwarded_for, now);
  if (!welcome) exchange.refused_by = metrics::LimitName::address;
  return welcome;
}

// What later steps need of the request, in the exchange's own memory.
void Pipeline::keep_request(Exchange& exchange, const KnownHeaders& known, std::string body) {
  exchange.forwarded = known.forwarded();
  exchange.body = std::move(body);
  exchange.withholds_usage = must_ask_for_usage(exchange.endpoint, exchange.facts);
}

std::unique_ptr<Exchange> Pipeline::refuse(Lane& lane, const RequestHead& head, Error error, Instant now) {
  auto exchange = begin(lane, now);
  KnownHeaders known;
  Status parsed = parse_head(lane, *exchange, head, known);
  if (parsed) parsed = welcome_address(*exchange, head.peer, known, now);
  if (parsed) parsed = identify(*exchange, known);
  if (!parsed) error = std::move(parsed.error());
  exchange->reply = error_reply(*exchange, error);
  exchange->status = exchange->reply->status;
  exchange->error = error.code;
  exchange->outcome = journal::Outcome::refused;
  return exchange;
}

Status Pipeline::parse_head(Lane& lane, Exchange& exchange, const RequestHead& head,
                            KnownHeaders& known) const {
  exchange.endpoint = head.endpoint;
  const Limits& limits = exchange.snapshot->limits;
  known.read(head.headers);
  if (is_request_id(known.request_id)) exchange.request_id = known.request_id;
  exchange.trace = begin_span(read_traceparent(known.traceparent), lane.random);
  if (exchange.trace.parent_id == 0) known.tracestate = {};
  exchange.wants_overhead = known.overhead.data() != nullptr;
  const std::size_t bytes = head.path.size() + head.query.size() + known.bytes;
  if (bytes > limits.head_bytes || head.headers.size() > limits.headers) {
    return Error(ErrorCode::headers_too_large, "the request's head is over " +
                                                   std::to_string(limits.head_bytes) + " bytes or " +
                                                   std::to_string(limits.headers) + " headers");
  }
  if (known.holds_control_byte)
    return Error(ErrorCode::invalid_request, "a header value holds a control byte");
  if (!known.twice.empty())
    return Error(ErrorCode::invalid_request, "the header " + std::string(known.twice) + " stands twice");
  if (known.content_length.data() != nullptr && known.transfer_encoding.data() != nullptr) {
    return Error(ErrorCode::invalid_request, "Content-Length and Transfer-Encoding stand side by side");
  }
  if (!known.forwards_ascii()) return Error(ErrorCode::invalid_request, "a forwarded header is not ASCII");
  if (!known.content_encoding.empty() && !equals_ignoring_case(known.content_encoding, "identity")) {
    return Error(ErrorCode::invalid_request, "compressed request bodies are not supported",
                 "content-encoding");
  }
  return Done{};
}

Status Pipeline::identify(Exchange& exchange, const KnownHeaders& known) const {
  if (drain_state() >= DrainState::refusing) {
    return Error(ErrorCode::server_shutting_down, "the server is shutting down; try another instance");
  }
  if (exchange.snapshot->insecure) return Done{};
  if (known.ambiguous_credential()) {
    return Error(ErrorCode::invalid_request, "Authorization and x-api-key carry different credentials");
  }
  const std::string_view credential = known.credential();
  if (credential.empty()) {
    return Error(ErrorCode::invalid_api_key,
                 "no API key: send \"Authorization: Bearer KEY\" or \"x-api-key: KEY\"");
  }
  exchange.principal = parts_.keys.find(credential);
  if (!exchange.principal)
    return Error(ErrorCode::invalid_api_key, "the API key is unknown, malformed or revoked");
  return Done{};
}

Status Pipeline::check(Exchange& exchange) const {
  const Principal* principal = exchange.principal.get();
  const Scope scope = info(exchange.endpoint).scope;
  if (principal != nullptr && !principal->may_use(scope)) {
    return Error(ErrorCode::scope_missing,
                 "this API key may not use " + std::string(info(exchange.endpoint).name));
  }
  if (principal != nullptr && !principal->may_use(exchange.facts.model)) {
    return Error(ErrorCode::model_not_allowed,
                 "this API key may not use the model \"" + exchange.facts.model + "\"", "model");
  }
  exchange.route = exchange.snapshot->find_route(exchange.facts.model);
  if (exchange.route == nullptr) {
    return Error(ErrorCode::model_not_found, "no route serves the model \"" + exchange.facts.model + "\"",
                 "model");
  }
  return Done{};
}

Status Pipeline::enter(Exchange& exchange, Instant now) const {
  if (in_flight() > exchange.snapshot->limits.in_flight) {
    return Error(ErrorCode::overloaded, "too many requests are in flight on this instance");
  }
  name_end_user(exchange);
  return parts_.quotas.take_entry(exchange, now);
}

// By a keyed digest: who reads the data directory or a refusal learns nobody's name.
void Pipeline::name_end_user(Exchange& exchange) const {
  if (exchange.facts.end_user.empty()) return;
  const RuleSet* rules = exchange.snapshot->rules_of_end_user(accounts_of(exchange));
  if (rules == nullptr) return;
  constexpr std::size_t kDigestBytes = 16;
  const Digest digest = parts_.keys.digest(exchange.facts.end_user);
  exchange.end_user = std::make_unique<const EndUser>(
      EndUser{*rules, rules->id + '#' + to_hex(std::span(digest).first(kDigestBytes))});
}

namespace {

// The dearest way this route can serve the call: whichever target answers in the end, the reservation covers it.
std::int64_t dearest_cost(const Exchange& exchange, std::int64_t prompt, std::int64_t output) {
  stream::Usage usage;
  usage.prompt = prompt;
  usage.completion = output;
  std::int64_t dearest = 0;
  for (const Target& target : exchange.route->targets) {
    const std::string& model = target.model.empty() ? exchange.facts.model : target.model;
    const Price* price = exchange.snapshot->price_of(model);
    if (price != nullptr) dearest = std::max(dearest, cost_micro_usd(*price, usage));
  }
  return dearest;
}

}  // namespace

// What the call may use at most: its prompt as we count it, and all the output that it may ask for.
void Pipeline::predict(Lane& lane, Exchange& exchange) const {
  exchange.body.reserve(exchange.body.size() + kBodyPadding);
  const PromptTokens prompt = count_prompt(parts_.encodings, exchange.snapshot->model_rules, lane.requests,
                                           exchange.facts, exchange.body);
  exchange.prompt_tokens = prompt.count;
  const bool generates = exchange.endpoint != Endpoint::embeddings;
  const std::int64_t each = exchange.facts.max_output_tokens.value_or(exchange.route->default_output_tokens);
  const std::int64_t output = generates ? each * exchange.facts.choices : 0;
  exchange.most = {prompt.count + output, dearest_cost(exchange, prompt.count, output)};
}

Status Pipeline::admit(Lane& lane, Exchange& exchange, Instant now) const {
  if (Quotas::limits_use(exchange)) {
    predict(lane, exchange);
    Status reserved = parts_.quotas.reserve_use(exchange, now);
    if (!reserved) return reserved;
  }
  if (exchange.withholds_usage) exchange.body = with_usage_requested(exchange.body, exchange.facts);
  return Done{};
}

Status Pipeline::admit_follower(Lane& lane, Exchange& exchange, Instant now) const {
  if (!Quotas::counts_hits(exchange)) return Done{};
  predict(lane, exchange);
  return parts_.quotas.reserve_hit(exchange, now);
}

namespace {

// What nobody can be billed for leaves no record: listing models, and refusals before anybody is known (a flood of bad
// keys must not fill the ledger).
bool is_recorded(const Exchange& exchange) {
  if (exchange.endpoint == Endpoint::models) return false;
  return exchange.principal || exchange.snapshot->insecure;
}

}  // namespace

void Pipeline::finish(Lane& lane, Exchange& exchange, Instant now) {
  assert(!exchange.settled);
  exchange.settled = true;
  price(exchange);
  parts_.quotas.settle(exchange, now);
  count(lane, exchange, now);
  if (is_recorded(exchange)) record(exchange, now);
  exchange.in_flight.release();
}

void Pipeline::price(Exchange& exchange) const {
  if (std::exchange(exchange.priced, true) || !exchange.is_own_call()) return;
  if (!exchange.usage && exchange.billable) estimate_usage(exchange);
  if (!exchange.usage) return;
  const Price* price = exchange.snapshot->price_of(exchange.upstream_model);
  if (price != nullptr) exchange.cost_micro_usd = cost_micro_usd(*price, *exchange.usage);
}

// Our own count of the prompt if there is one, else four bytes of text a token; a token per piece relayed.
void Pipeline::estimate_usage(Exchange& exchange) const {
  constexpr std::int64_t kBytesPerToken = 4;
  stream::Usage estimate;
  const std::int64_t by_bytes = (exchange.facts.text_bytes + kBytesPerToken - 1) / kBytesPerToken;
  estimate.prompt = exchange.prompt_tokens.value_or(by_bytes);
  const std::int64_t from_bytes = (exchange.relayed_bytes + kBytesPerToken - 1) / kBytesPerToken;
  estimate.completion = exchange.relayed_deltas > 0 ? exchange.relayed_deltas : from_bytes;
  exchange.usage = estimate;
  exchange.estimated = true;
}

void Pipeline::count(Lane& lane, const Exchange& exchange, Instant now) const {
  metrics::ExchangeSample sample;
  sample.endpoint = endpoint_labels_[static_cast<std::size_t>(exchange.endpoint)];
  if (exchange.route != nullptr) sample.model = exchange.route->metric_id;
  sample.status = exchange.status;
  sample.duration = now - exchange.started;
  sample.overhead = sample.duration;
  sample.outcome = exchange.outcome;
  sample.cost_micro_usd = exchange.cost_micro_usd;
  sample.saved_micro_usd = exchange.saved_micro_usd;
  sample.cache = exchange.verdict;
  sample.refused_by = exchange.refused_by;
  if (exchange.sent_at) {
    const Duration awaited = exchange.upstream_ended_at.value_or(now) - *exchange.sent_at;
    sample.overhead -= awaited + exchange.waited;
    if (exchange.target != nullptr) {
      metrics::UpstreamSample upstream;
      upstream.target = exchange.target->metric_id;
      upstream.duration = awaited;
      if (exchange.first_token_at) upstream.first_token = *exchange.first_token_at - *exchange.sent_at;
      sample.upstream = upstream;
    }
  }
  if (exchange.usage && exchange.is_own_call()) {
    const stream::Usage& usage = *exchange.usage;
    sample.tokens = {usage.prompt, usage.completion, usage.cached, usage.cache_write, usage.reasoning};
  }
  lane.metrics.observe(sample);
}

void Pipeline::record(const Exchange& exchange, Instant now) {
  journal::UsageRecord record;
  record.request_id = exchange.request_id;
  record.ts_us = exchange.started.unix_time.count();
  if (exchange.principal) {
    record.key_id = exchange.principal->key_id;
    record.account_id = exchange.principal->account();
  }
  record.endpoint = info(exchange.endpoint).name;
  record.model = exchange.facts.model;
  record.target = target_label(exchange);
  if (exchange.usage) {
    record.prompt_tokens = exchange.usage->prompt;
    record.completion_tokens = exchange.usage->completion;
    record.cached_tokens = exchange.usage->cached;
    record.reasoning_tokens = exchange.usage->reasoning;
  }
  record.estimated = exchange.estimated;
  record.cost_micro_usd = exchange.cost_micro_usd;
  record.saved_micro_usd = exchange.saved_micro_usd;
  record.cache = exchange.verdict;
  record.price_version = exchange.snapshot->price_version;
  record.outcome = exchange.outcome;
  record.status = exchange.status;
  record.latency_us = (now - exchange.started).count();
  if (exchange.first_token_at) record.ttft_us = (*exchange.first_token_at - exchange.started).count();
  if (exchange.error) record.error_code = info(*exchange.error).name;
  record.trace_id = exchange.trace.trace_id;
  parts_.sink.push(std::move(record));
}

}  // namespace sentinel::engine
