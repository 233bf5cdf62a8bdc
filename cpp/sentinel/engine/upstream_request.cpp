#include "sentinel/engine/upstream_request.hpp"

#include <algorithm>

namespace sentinel::engine {
namespace {

constexpr std::string_view kAnthropicVersion = "2023-06-01";

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

std::string upstream_head(const Exchange& exchange) {
  const ForwardedHeaders& forwarded = exchange.forwarded_headers();
  const Upstream& upstream = *exchange.target->upstream;
  std::string head;
  head.reserve(640);
  head += "POST ";
  append_path(head, exchange);
  head += " HTTP/1.1\r\n";
  head += upstream.fixed_headers;
  append_credential(head, exchange);
  append_header(head, "Accept", exchange.facts.stream ? "text/event-stream" : "application/json");
  append_header(head, "Content-Length", std::to_string(body_to_send(exchange).size()));
  append_header(head, "X-Request-Id", exchange.request_id);
  head += "traceparent: ";
  exchange.trace.append_traceparent(head);
  head += "\r\n";
  append_header(head, "tracestate", forwarded.tracestate);
  append_header(head, "OpenAI-Beta", forwarded.openai_beta);
  append_header(head, "Idempotency-Key", forwarded.idempotency_key);
  if (exchange.endpoint == Endpoint::messages) {
    const bool given = !forwarded.anthropic_version.empty();
    append_header(head, "anthropic-version",
                  given ? std::string_view(forwarded.anthropic_version) : kAnthropicVersion);
    append_header(head, "anthropic-beta", forwarded.anthropic_beta);
  }
  head += "\r\n";
  return head;
}

}  // namespace

bool must_ask_for_usage(Endpoint endpoint, const RequestFacts& facts) {
  const bool understands = endpoint == Endpoint::chat || endpoint == Endpoint::completions;
  return understands && facts.stream && !facts.include_usage.value_or(false);
}

void aim(Exchange& exchange, const Target& target, std::optional<std::size_t> credential) {
  exchange.target = &target;
  exchange.upstream_model = target.model.empty() ? exchange.facts.model : target.model;
  exchange.credential = credential ? &target.upstream->credentials[*credential] : nullptr;
  const bool renamed = exchange.upstream_model != exchange.facts.model;
  exchange.upstream_body = renamed ? with_model(exchange.body, exchange.upstream_model) : std::string{};
  exchange.upstream_head = upstream_head(exchange);
}

std::string_view body_to_send(const Exchange& exchange) {
  return exchange.upstream_body.empty() ? exchange.body : exchange.upstream_body;
}

std::string target_label(const Exchange& exchange) {
  if (exchange.target == nullptr) return exchange.answer_target;
  const std::string& upstream = exchange.target->upstream->name;
  std::string label;
  label.reserve(upstream.size() + 1 + exchange.upstream_model.size());
  return label.append(upstream).append("/").append(exchange.upstream_model);
}

}  // namespace sentinel::engine
