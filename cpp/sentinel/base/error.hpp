// Every error Sentinel can answer with: one code, one HTTP status, one OpenAI-style type.
//
// Contract: the table below is the only place that maps a code to its name, status and type (docs: contracts).
// Cost: constexpr look-ups, no allocation except the message an Error carries.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace sentinel {

enum class ErrorCode : std::uint8_t {
  invalid_request,
  invalid_json,
  invalid_api_key,
  key_revoked,
  model_not_allowed,
  scope_missing,
  model_not_found,
  unsupported_endpoint,
  request_timeout,
  body_too_large,
  rate_limit_exceeded,
  budget_exceeded,
  headers_too_large,
  not_implemented,
  upstream_error,
  circuit_open,
  overloaded,
  server_shutting_down,
  not_started,
  upstream_timeout,
  slow_reader,
  internal_error,
};

struct ErrorInfo {
  std::string_view name;
  int status;
  std::string_view type;
};

constexpr ErrorInfo info(ErrorCode code) {
  constexpr std::string_view kRequest = "invalid_request_error";
  constexpr std::string_view kServer = "server_error";
  switch (code) {
    case ErrorCode::invalid_request: return {"invalid_request", 400, kRequest};
    case ErrorCode::invalid_json: return {"invalid_json", 400, kRequest};
    case ErrorCode::invalid_api_key: return {"invalid_api_key", 401, "authentication_error"};
    case ErrorCode::key_revoked: return {"key_revoked", 401, "authentication_error"};
    case ErrorCode::model_not_allowed: return {"model_not_allowed", 403, "permission_error"};
    case ErrorCode::scope_missing: return {"scope_missing", 403, "permission_error"};
    case ErrorCode::model_not_found: return {"model_not_found", 404, kRequest};
    case ErrorCode::unsupported_endpoint: return {"unsupported_endpoint", 404, kRequest};
    case ErrorCode::request_timeout: return {"request_timeout", 408, kRequest};
    case ErrorCode::body_too_large: return {"body_too_large", 413, kRequest};
    case ErrorCode::rate_limit_exceeded: return {"rate_limit_exceeded", 429, "rate_limit_error"};
    case ErrorCode::budget_exceeded: return {"budget_exceeded", 429, "rate_limit_error"};
    case ErrorCode::headers_too_large: return {"headers_too_large", 431, kRequest};
    case ErrorCode::not_implemented: return {"not_implemented", 501, kServer};
    case ErrorCode::upstream_error: return {"upstream_error", 502, kServer};
    case ErrorCode::circuit_open: return {"circuit_open", 503, kServer};
    case ErrorCode::overloaded: return {"overloaded", 503, kServer};
    case ErrorCode::server_shutting_down: return {"server_shutting_down", 503, kServer};
    case ErrorCode::not_started: return {"not_started", 503, kServer};
    case ErrorCode::upstream_timeout: return {"upstream_timeout", 504, kServer};
    case ErrorCode::slow_reader: return {"slow_reader", 503, kServer};
    case ErrorCode::internal_error: return {"internal_error", 500, kServer};
  }
  return {"internal_error", 500, kServer};
}

struct Error {
  ErrorCode code = ErrorCode::internal_error;
  std::string message;
  std::string param;                     // the member at fault; empty means JSON null in the body
  std::int64_t retry_after_seconds = 0;  // for Retry-After; 0: nothing is known

  Error(ErrorCode error_code, std::string text, std::string member = {})
      : code(error_code), message(std::move(text)), param(std::move(member)) {}
};

}  // namespace sentinel
