#include "sentinel/engine/answers.hpp"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sentinel/base/ascii.hpp"
#include "sentinel/cache/embeddings.hpp"
#include "sentinel/cache/forms.hpp"
#include "sentinel/cache/storable.hpp"
#include "sentinel/engine/replies.hpp"
#include "sentinel/engine/upstream_request.hpp"

namespace sentinel::engine {

using cache::CacheOutcome;
using cache::Form;
using journal::CacheVerdict;

namespace {

Digest partition_for(const Exchange& exchange) {
  const Route& route = *exchange.route;
  std::string scope = route.cache->share.empty() ? "account:" : "share:";
  if (!route.cache->share.empty()) {
    scope += route.cache->share;
  } else if (exchange.principal) {
    scope += exchange.principal->account();
  }
  return cache::partition_of({scope, route.name, route.version, {}});
}

std::string_view cached_as(Endpoint endpoint) {
  return info(endpoint == Endpoint::query ? Endpoint::chat : endpoint).name;  // one question, one answer
}

EmbeddingPlan plan_items(const Digest& partition, std::vector<Digest> identities) {
  EmbeddingPlan plan;
  plan.keys.reserve(identities.size());
  for (const Digest& identity : identities) plan.keys.push_back({partition, identity});
  plan.found.resize(identities.size());
  return plan;
}

// The entry's answer as this client asked for it; nothing if its form cannot be had.
std::optional<std::string> body_for(const Exchange& exchange, const cache::Entry& entry,
                                    stream::JsonParser& parser) {
  const auto protocol = info(exchange.endpoint).protocol;
  const bool wants_stream = exchange.facts.stream;
  if (entry.form == Form::stream && !wants_stream)
    return cache::stream_to_plain(protocol, entry.body, parser);
  const bool wants_usage = exchange.facts.include_usage.value_or(false);
  if (entry.form == Form::plain && wants_stream)
    return cache::plain_to_stream(protocol, entry.body, wants_usage, parser);
  if (!wants_stream || wants_usage) return entry.body;
  return cache::without_ranges(entry.body, entry.usage_ranges);
}

std::string_view usual_type(Form form) {
  return form == Form::stream ? "text/event-stream" : "application/json";
}

void note_hit(Exchange& exchange, const cache::Entry& entry, Instant now) {
  exchange.verdict = CacheVerdict::hit_exact;
  exchange.cache_outcome = CacheOutcome::hit;
  exchange.answer_ttl = entry.ttl_left(now);
  exchange.answer_age = entry.age(now);
  exchange.answer_target = entry.target;
  exchange.upstream_model = entry.upstream_model;
  exchange.usage = entry.usage;
  exchange.estimated = entry.usage_estimated;
  exchange.saved_micro_usd = entry.cost_micro_usd;
}

}  // namespace

void Answers::plan(Exchange& exchange, RequestReader& reader, std::string_view query,
                   std::string_view cache_control) const {
  const Route& route = *exchange.route;
  if (!route.cache) return;
  const cache::Directives directives = cache::parse_cache_control(cache_control);
  if (directives.no_store) return;
  const cache::Qualification qualified = reader.qualify(info(exchange.endpoint).protocol);
  const bool sampled = qualified.sampled || !exchange.forwarded_headers().idempotency_key.empty();
  if (!qualified.cacheable || (sampled && !route.cache->sampled)) return;

  const ForwardedHeaders& headers = exchange.forwarded_headers();
  const cache::IdentityHead head{cached_as(exchange.endpoint), query, headers.anthropic_version,
                                 headers.anthropic_beta, headers.openai_beta};
  CachePlan plan;
  plan.key.partition = partition_for(exchange);
  plan.key.identity = reader.identity(head);
  plan.form = exchange.facts.stream ? Form::stream : Form::plain;
  plan.keep = route.cache->ttl > Duration{0};
  plan.follow = !directives.forbids_following();
  if (exchange.endpoint == Endpoint::embeddings && plan.keep) {
    auto identities = reader.item_identities(head);
    if (!identities.empty()) {
      plan.embeddings =
          std::make_unique<EmbeddingPlan>(plan_items(plan.key.partition, std::move(identities)));
    }
  }
  exchange.verdict = CacheVerdict::miss;
  exchange.cache_outcome = directives.no_cache ? CacheOutcome::asked : CacheOutcome::miss;
  exchange.max_age = directives.max_age;
  exchange.plan = std::move(plan);
}

Status Answers::look_up(Exchange& exchange, stream::JsonParser& parser, Instant now) const {
  if (!exchange.plan || !exchange.plan->keep) return Done{};
  if (exchange.plan->embeddings) return look_up_items(exchange, now);
  if (exchange.cache_outcome == CacheOutcome::asked) return Done{};
  return answer_with(exchange, cache_.find_any(exchange.plan->key, exchange.plan->form, now), parser, now);
}

Status Answers::look_again(Exchange& exchange, stream::JsonParser& parser, Instant now) const {
  if (!exchange.plan || !exchange.plan->keep || exchange.plan->embeddings) return Done{};
  if (exchange.cache_outcome != CacheOutcome::miss) return Done{};
  const CachePlan& plan = *exchange.plan;
  return answer_with(exchange, cache_.find_after_miss(plan.key, plan.form, now), parser, now);
}

Status Answers::admit(Exchange& exchange, const stream::Usage& usage, std::int64_t worth_micro_usd,
                      Instant now) const {
  exchange.most = {usage.prompt + usage.completion, worth_micro_usd};
  return quotas_.reserve_hit(exchange, now);
}

Status Answers::answer_with(Exchange& exchange, const cache::EntryPtr& entry, stream::JsonParser& parser,
                            Instant now) const {
  if (!entry) return Done{};
  if (exchange.max_age && entry->age(now) > *exchange.max_age) {
    exchange.cache_outcome = CacheOutcome::stale;
    return Done{};
  }
  auto body = body_for(exchange, *entry, parser);
  if (!body) return Done{};
  Status admitted = admit(exchange, entry->usage, entry->cost_micro_usd, now);
  if (!admitted) return admitted;
  note_hit(exchange, *entry, now);
  const Form form = exchange.plan->form;
  exchange.reply =
      hit_reply(exchange, entry->form == form ? entry->content_type : usual_type(form), std::move(*body));
  return Done{};
}

bool Answers::may_keep(const Exchange& exchange) const {
  if (!exchange.plan || !exchange.plan->keep) return false;
  const bool from_fallback = exchange.target->tier > exchange.route->targets.front().tier;
  return !from_fallback || exchange.route->cache->store_fallback;
}

cache::Entry Answers::entry_for(const Exchange& exchange, Instant now) const {
  cache::Entry entry;
  entry.form = exchange.plan->form;
  entry.target = target_label(exchange);
  entry.route = exchange.route->name;
  entry.model = exchange.facts.model;
  entry.upstream_model = exchange.upstream_model;
  if (exchange.principal) entry.account = exchange.principal->account();
  entry.tags = exchange.route->cache->tags;
  entry.usage_estimated = exchange.estimated;
  entry.stored_at = now;
  entry.ttl = exchange.route->cache->ttl;
  return entry;
}

void Answers::keep(Exchange& exchange, std::string_view content_type, std::string_view body,
                   stream::JsonParser& parser, Instant now) const {
  if (!may_keep(exchange) || exchange.plan->embeddings) return;
  const auto protocol = info(exchange.endpoint).protocol;
  cache::Storable storable = exchange.plan->form == Form::stream
                                 ? cache::storable_stream(protocol, body, parser)
                                 : cache::storable_plain(protocol, body, parser);
  if (!storable.store) return;
  cache::Entry entry = entry_for(exchange, now);
  entry.content_type = is_visible(content_type) ? content_type : usual_type(entry.form);
  entry.body = body;
  entry.usage_ranges = std::move(storable.usage_ranges);
  if (exchange.usage) entry.usage = *exchange.usage;
  entry.cost_micro_usd = exchange.cost_micro_usd;
  entry.key_text = cache::key_text_of(exchange.plan->key);
  exchange.stored = cache_.store(exchange.plan->key, std::move(entry), now) == cache::Stored::yes;
}

namespace {

std::string_view bytes_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace

// Only what is missing stays in the body, each item once.
Status Answers::look_up_items(Exchange& exchange, Instant now) const {
  const auto items = cache::EmbeddingItems::read(exchange.body);
  EmbeddingPlan& plan = *exchange.plan->embeddings;
  if (!items || items->count() != plan.keys.size()) {
    exchange.plan->embeddings.reset();
    exchange.plan->keep = false;
    return Done{};
  }
  const bool may_answer = exchange.cache_outcome != CacheOutcome::asked;
  std::unordered_map<std::string_view, std::size_t> asked_before;  // by identity: one item, one vector
  std::vector<std::string_view> missing;
  plan.asked_as.resize(plan.keys.size());
  const std::string* model = nullptr;
  for (std::size_t i = 0; i < plan.keys.size(); ++i) {
    cache::EntryPtr entry = may_answer ? cache_.find(plan.keys[i], Form::plain, now) : nullptr;
    if (entry && model == nullptr) model = &entry->upstream_model;  // one reply, one model's vectors
    const bool same_model = entry && entry->upstream_model == *model;
    if (same_model && (!exchange.max_age || entry->age(now) <= *exchange.max_age)) {
      plan.found[i] = std::move(entry);
      continue;
    }
    const auto [place, is_new] = asked_before.emplace(bytes_of(plan.keys[i].identity), missing.size());
    if (is_new) missing.push_back(items->raw[i]);
    plan.asked_as[i] = place->second;
  }
  plan.asked_items.assign(missing.begin(), missing.end());
  if (missing.empty()) return answer_items(exchange, now);
  if (missing.size() == plan.keys.size()) return Done{};
  auto body = cache::request_with_items(exchange.body, missing);
  if (body) exchange.body = std::move(*body);
  return Done{};
}

namespace {

// A kept vector: the JSON text of the model's name, a line end, the vector's JSON text.
std::string kept_vector(std::string_view raw_model, std::string_view raw_vector) {
  std::string text;
  text.reserve(raw_model.size() + 1 + raw_vector.size());
  return text.append(raw_model).append("\n").append(raw_vector);
}
std::string_view model_in(const cache::Entry& entry) {
  return std::string_view(entry.body).substr(0, entry.body.find('\n'));
}
std::string_view vector_in(const cache::Entry& entry) {
  return std::string_view(entry.body).substr(entry.body.find('\n') + 1);
}

struct Assembled {
  std::string body;
  stream::Usage usage;
  std::int64_t saved_micro_usd = 0;
};

// What was kept and what came, in the order of the request.
Assembled assemble(const EmbeddingPlan& plan, const std::vector<std::string>& fresh, std::string_view model,
                   std::int64_t fresh_tokens) {
  Assembled assembled;
  std::vector<std::string_view> all;
  assembled.usage.prompt = fresh_tokens;
  for (std::size_t i = 0; i < plan.found.size(); ++i) {
    const cache::EntryPtr& entry = plan.found[i];
    all.emplace_back(entry ? vector_in(*entry) : std::string_view(fresh[plan.asked_as[i]]));
    if (!entry) continue;
    assembled.usage.prompt += entry->usage.prompt;
    assembled.saved_micro_usd += entry->cost_micro_usd;
  }
  assembled.body = cache::assemble_reply(all, model, {assembled.usage.prompt, assembled.usage.prompt});
  return assembled;
}

}  // namespace

Status Answers::answer_items(Exchange& exchange, Instant now) const {
  const EmbeddingPlan& plan = *exchange.plan->embeddings;
  Assembled assembled = assemble(plan, {}, model_in(*plan.found.front()), 0);
  Status admitted = admit(exchange, assembled.usage, assembled.saved_micro_usd, now);
  if (!admitted) return admitted;
  const cache::Entry& first = *plan.found.front();
  exchange.verdict = CacheVerdict::hit_exact;
  exchange.cache_outcome = CacheOutcome::hit;
  exchange.answer_target = first.target;
  exchange.upstream_model = first.upstream_model;
  exchange.usage = assembled.usage;
  exchange.saved_micro_usd = assembled.saved_micro_usd;
  exchange.reply = hit_reply(exchange, "application/json", std::move(assembled.body));
  return Done{};
}

Result<std::string> Answers::complete(Exchange& exchange, std::string body, stream::JsonParser& parser,
                                      Instant now) const {
  const EmbeddingPlan& plan = *exchange.plan->embeddings;
  const bool whole = plan.asked_items.empty() || plan.asked_items.size() == plan.keys.size();
  auto reply = cache::split_reply(body, whole ? plan.keys.size() : plan.asked_items.size(), parser);
  if (!reply && whole) return body;
  if (!reply) return Error(ErrorCode::upstream_error, "the upstream's vectors cannot be put together");

  const std::int64_t tokens = exchange.usage ? exchange.usage->prompt : 0;
  std::vector<std::string_view> items(plan.asked_items.begin(), plan.asked_items.end());
  if (may_keep(exchange) && items.size() == reply->embeddings.size()) {
    const std::vector<std::int64_t> shares = cache::share_of_usage(tokens, items);
    for (std::size_t i = 0; i < plan.keys.size(); ++i) {
      if (plan.found[i]) continue;
      const std::size_t at = plan.asked_as[i];
      cache::Entry entry = entry_for(exchange, now);
      entry.body = kept_vector(reply->raw_model, reply->embeddings[at]);
      entry.usage.prompt = shares[at];
      entry.cost_micro_usd = tokens > 0 ? exchange.cost_micro_usd * shares[at] / tokens : 0;
      entry.key_text = cache::key_text_of(plan.keys[i]);
      exchange.stored = cache_.store(plan.keys[i], std::move(entry), now) == cache::Stored::yes;
    }
  }
  if (whole) return body;
  const auto is_other = [&exchange](const cache::EntryPtr& entry) {
    return entry && entry->upstream_model != exchange.upstream_model;
  };
  if (std::any_of(plan.found.begin(), plan.found.end(), is_other))
    return Error(ErrorCode::upstream_error, "the kept vectors are of another model");
  Assembled assembled = assemble(plan, reply->embeddings, reply->raw_model, tokens);
  exchange.saved_micro_usd = assembled.saved_micro_usd;
  return std::move(assembled.body);
}

}  // namespace sentinel::engine
