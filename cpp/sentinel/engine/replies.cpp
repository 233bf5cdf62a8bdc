#include "sentinel/engine/replies.hpp"

#include <algorithm>
#include <array>

#include "sentinel/base/ascii.hpp"
#include "sentinel/engine/errors.hpp"
#include "sentinel/engine/upstream_request.hpp"

namespace sentinel::engine {
namespace {

constexpr std::array<std::string_view, 7> kPassed{
    "content-type",         "retry-after",    "retry-after-ms",    "x-should-retry",
    "openai-processing-ms", "openai-version", "anthropic-version",
};

std::string cache_status(const Exchange& exchange) {
  std::string text;
  std::string key;
  cache::CacheStatus status;
  status.outcome = exchange.cache_outcome;
  status.ttl = exchange.answer_ttl;
  status.stored = exchange.stored;
  status.collapsed = exchange.verdict == journal::CacheVerdict::follow;
  const bool kept = exchange.stored || status.outcome == cache::CacheOutcome::hit;
  if (kept && exchange.plan && !exchange.plan->embeddings) key = cache::key_text_of(exchange.plan->key);
  status.key = key;
  cache::append_cache_status(text, status);
  return text;
}

void append_limits(HeaderList& headers, std::string_view kind, const std::optional<limit::View>& view) {
  if (!view) return;
  const std::string suffix = "-" + std::string(kind);
  headers.emplace_back("x-ratelimit-limit" + suffix, std::to_string(view->limit));
  headers.emplace_back("x-ratelimit-remaining" + suffix, std::to_string(view->remaining));
  headers.emplace_back("x-ratelimit-reset" + suffix, limit::format_duration(view->reset));
}

void append_own_headers(HeaderList& headers, const Exchange& exchange) {
  headers.emplace_back("x-request-id", exchange.request_id);
  if (exchange.endpoint == Endpoint::messages) headers.emplace_back("request-id", exchange.request_id);
  headers.emplace_back("x-sentinel-cache", name(exchange.verdict));
  headers.emplace_back("cache-status", cache_status(exchange));
  append_limits(headers, "requests", exchange.headroom.requests);
  append_limits(headers, "tokens", exchange.headroom.tokens);
  if (exchange.closing) headers.emplace_back("connection", "close");
}

}  // namespace

HeaderList reply_headers(const Exchange& exchange, const net::ResponseHead& upstream) {
  HeaderList headers;
  headers.reserve(12);
  for (const auto& header : upstream.headers) {
    const bool passes = std::find(kPassed.begin(), kPassed.end(), header.name) != kPassed.end();
    if (passes && is_visible(header.value)) headers.emplace_back(header.name, header.value);
  }
  append_own_headers(headers, exchange);
  headers.emplace_back("x-sentinel-target", target_label(exchange));
  if (!exchange.upstream_request_id.empty()) {
    headers.emplace_back("x-sentinel-upstream-request-id", exchange.upstream_request_id);
  }
  if (exchange.facts.stream) headers.emplace_back("cache-control", "no-cache");
  return headers;
}

void append_settled_headers(HeaderList& headers, const Exchange& exchange, Instant now) {
  headers.emplace_back("x-sentinel-cost-micro-usd", std::to_string(exchange.cost_micro_usd));
  if (!exchange.wants_overhead || !exchange.sent_at) return;
  const Duration waited = exchange.upstream_ended_at.value_or(now) - *exchange.sent_at;
  headers.emplace_back("x-sentinel-overhead-us",
                       std::to_string((now - exchange.started - waited - exchange.waited).count()));
}

Reply hit_reply(const Exchange& exchange, std::string_view content_type, std::string body) {
  Reply reply;
  reply.status = 200;
  reply.headers.reserve(12);
  reply.headers.emplace_back("content-type", content_type);
  append_own_headers(reply.headers, exchange);
  reply.headers.emplace_back("x-sentinel-target", exchange.answer_target);
  if (exchange.facts.stream) reply.headers.emplace_back("cache-control", "no-cache");
  if (exchange.answer_age) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*exchange.answer_age);
    reply.headers.emplace_back("age", std::to_string(seconds.count()));
  }
  reply.headers.emplace_back("x-sentinel-cost-micro-usd", "0");
  reply.body = std::move(body);
  return reply;
}

Reply json_reply(const Exchange& exchange, int status, std::string body) {
  Reply reply;
  reply.status = status;
  reply.headers.emplace_back("content-type", "application/json");
  append_own_headers(reply.headers, exchange);
  reply.body = std::move(body);
  return reply;
}

Reply error_reply(const Exchange& exchange, const Error& error) {
  Reply reply = json_reply(exchange, info(error.code).status,
                           error_body(error, exchange.endpoint, exchange.request_id));
  if (exchange.target != nullptr) reply.headers.emplace_back("x-sentinel-target", target_label(exchange));
  const std::int64_t least = reply.status == 503 ? 1 : 0;  // whoever is refused for now may soon come back
  const std::int64_t seconds = std::max(error.retry_after_seconds, least);
  if (seconds > 0) reply.headers.emplace_back("retry-after", std::to_string(seconds));
  return reply;
}

}  // namespace sentinel::engine
