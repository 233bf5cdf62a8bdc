#include "sentinel/engine/replies.hpp"

#include <algorithm>
#include <array>

#include "sentinel/engine/errors.hpp"
#include "sentinel/engine/upstream_request.hpp"

namespace sentinel::engine {
namespace {

constexpr std::array<std::string_view, 7> kPassed{
    "content-type",         "retry-after",    "retry-after-ms",    "x-should-retry",
    "openai-processing-ms", "openai-version", "anthropic-version",
};

bool is_visible(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

void append_own_headers(HeaderList& headers, const Exchange& exchange) {
  headers.emplace_back("x-request-id", exchange.request_id);
  if (exchange.endpoint == Endpoint::messages) headers.emplace_back("request-id", exchange.request_id);
  headers.emplace_back("x-sentinel-cache", "bypass");
  headers.emplace_back("cache-status", "sentinel; fwd=bypass");
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
  headers.emplace_back("x-sentinel-overhead-us", std::to_string((now - exchange.started - waited).count()));
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
  constexpr std::string_view kRetrySeconds = "1";
  Reply reply = json_reply(exchange, info(error.code).status,
                           error_body(error, exchange.endpoint, exchange.request_id));
  if (exchange.target != nullptr) reply.headers.emplace_back("x-sentinel-target", target_label(exchange));
  if (reply.status == 503) reply.headers.emplace_back("retry-after", kRetrySeconds);
  return reply;
}

}  // namespace sentinel::engine
