#include "sentinel/engine/upstream_request.hpp"

#include <algorithm>
#include <array>

namespace sentinel::engine {
namespace {

constexpr std::string_view kAnthropicVersion = "2023-06-01";

const Target& choose_target(const Route& route, Random& random) {
  std::uint64_t ticket = random.below(route.total_weight);
  for (const auto& target : route.targets) {
    if (ticket < target.weight) return target;
    ticket -= target.weight;
  }
  return route.targets.back();
}

void append_path_escaped(std::string& out, std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:@";
  for (const char character : text) {
    if (kPlain.find(character) != std::string_view::npos) {
      out += character;
      continue;
    }
    const auto byte = static_cast<unsigned char>(character);
    out += '%';
    out += kDigits[byte >> 4U];
    out += kDigits[byte & 15U];
  }
}

void append_template(std::string& out, std::string_view path, const Exchange& exchange) {
  constexpr std::string_view kModel = "{model}";
  constexpr std::string_view kEndpoint = "{endpoint}";
  while (!path.empty()) {
    if (path.starts_with(kModel)) {
      append_path_escaped(out, exchange.upstream_model);
      path.remove_prefix(kModel.size());
    } else if (path.starts_with(kEndpoint)) {
      out += info(exchange.endpoint).upstream_path;
      path.remove_prefix(kEndpoint.size());
    } else {
      out += path.front();
      path.remove_prefix(1);
    }
  }
}

void append_path(std::string& out, const Exchange& exchange) {
  const Upstream& upstream = *exchange.target->upstream;
  out += upstream.base_path;
  if (upstream.path_template.empty()) {
    out += '/';
    out += info(exchange.endpoint).upstream_path;
  } else {
    append_template(out, upstream.path_template, exchange);
  }
  if (upstream.query.empty()) return;
  out += '?';
  out += upstream.query;
}

void append_header(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  out.append(name).append(": ").append(value).append("\r\n");
}

void append_credential(std::string& out, const Exchange& exchange) {
  if (exchange.credential == nullptr) return;
  const std::string& header = exchange.target->upstream->auth_header;
  constexpr std::string_view kBearerHeader = "authorization";
  const bool bearer =
      std::equal(header.begin(), header.end(), kBearerHeader.begin(), kBearerHeader.end(),
                 [](char c, char lower) { return c == lower || (c >= 'A' && c <= 'Z' && c + 32 == lower); });
  out.append(header).append(bearer ? ": Bearer " : ": ").append(*exchange.credential).append("\r\n");
}

std::string upstream_head(const Exchange& exchange, const ForwardedHeaders& forwarded) {
  const Upstream& upstream = *exchange.target->upstream;
  std::string head;
  head.reserve(640);
  head += "POST ";
  append_path(head, exchange);
  head += " HTTP/1.1\r\n";
  head += upstream.fixed_headers;
  append_credential(head, exchange);
  append_header(head, "Accept", exchange.facts.stream ? "text/event-stream" : "application/json");
  append_header(head, "Content-Length", std::to_string(exchange.upstream_body.size()));
  append_header(head, "X-Request-Id", exchange.request_id);
  head += "traceparent: ";
  exchange.trace.append_traceparent(head);
  head += "\r\n";
  append_header(head, "tracestate", forwarded.tracestate);
  append_header(head, "OpenAI-Beta", forwarded.openai_beta);
  append_header(head, "Idempotency-Key", forwarded.idempotency_key);
  if (exchange.endpoint == Endpoint::messages) {
    const bool given = !forwarded.anthropic_version.empty();
    append_header(head, "anthropic-version", given ? forwarded.anthropic_version : kAnthropicVersion);
    append_header(head, "anthropic-beta", forwarded.anthropic_beta);
  }
  head += "\r\n";
  return head;
}

bool must_ask_for_usage(const Exchange& exchange) {
  const bool understands = exchange.endpoint == Endpoint::chat || exchange.endpoint == Endpoint::completions;
  return understands && exchange.facts.stream && !exchange.facts.include_usage.value_or(false);
}

}  // namespace

bool ForwardedHeaders::are_ascii() const {
  const std::array<std::string_view, 5> values{anthropic_version, anthropic_beta, openai_beta,
                                               idempotency_key, tracestate};
  return std::all_of(values.begin(), values.end(), [](std::string_view value) {
    return std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  });
}

void prepare_upstream_request(Exchange& exchange, const ForwardedHeaders& forwarded, std::string body,
                              Random& random) {
  exchange.target = &choose_target(*exchange.route, random);
  const Upstream& upstream = *exchange.target->upstream;
  exchange.upstream_model = exchange.target->model.empty() ? exchange.facts.model : exchange.target->model;
  if (!upstream.credentials.empty())
    exchange.credential = &upstream.credentials[random.below(upstream.credentials.size())];
  if (must_ask_for_usage(exchange)) {
    exchange.usage_added = true;
    body = with_usage_requested(body, exchange.facts);
  }
  if (exchange.upstream_model != exchange.facts.model) body = with_model(body, exchange.upstream_model);
  exchange.upstream_body = std::move(body);
  exchange.upstream_head = upstream_head(exchange, forwarded);
}

std::string target_label(const Exchange& exchange) {
  const std::string& upstream = exchange.target->upstream->name;
  std::string label;
  label.reserve(upstream.size() + 1 + exchange.upstream_model.size());
  return label.append(upstream).append("/").append(exchange.upstream_model);
}

}  // namespace sentinel::engine
