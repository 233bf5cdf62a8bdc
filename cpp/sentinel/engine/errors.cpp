#include "sentinel/engine/errors.hpp"

#include "sentinel/base/utf8.hpp"

namespace sentinel::engine {
namespace {

// Anthropic's error types (https://docs.anthropic.com/en/api/errors).
std::string_view anthropic_type(int status) {
  switch (status) {
    case 400: return "invalid_request_error";
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    case 504: return "timeout_error";
    default: return status < 500 ? "invalid_request_error" : "api_error";
  }
}

void append_member(std::string& out, std::string_view name, std::string_view text) {
  out += '"';
  out += name;
  out += "\":\"";
  append_json_escaped(out, text);
  out += '"';
}

std::string openai_error(const Error& error) {
  std::string body = R"({"error":{)";
  append_member(body, "message", error.message);
  body += ',';
  append_member(body, "type", info(error.code).type);
  if (error.param.empty()) {
    body += R"(,"param":null,)";
  } else {
    body += ',';
    append_member(body, "param", error.param);
    body += ',';
  }
  append_member(body, "code", info(error.code).name);
  body += "}}";
  return body;
}

std::string anthropic_error(const Error& error, std::string_view request_id) {
  std::string body = R"({"type":"error","error":{)";
  append_member(body, "type", anthropic_type(info(error.code).status));
  body += ',';
  append_member(body, "message", error.message);
  body += ',';
  append_member(body, "code", info(error.code).name);
  body += "},";
  append_member(body, "request_id", request_id);
  body += '}';
  return body;
}

std::string responses_error_event(const Error& error) {
  std::string body = R"({"type":"error",)";
  append_member(body, "code", info(error.code).name);
  body += ',';
  append_member(body, "message", error.message);
  body += ",\"param\":";
  if (error.param.empty()) {
    body += "null";
  } else {
    body += '"';
    append_json_escaped(body, error.param);
    body += '"';
  }
  body += '}';
  return body;
}

}  // namespace

void append_json_escaped(std::string& out, std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (const char character : utf8::sanitize(text)) {
    const auto byte = static_cast<unsigned char>(character);
    if (character == '"' || character == '\\') {
      out += '\\';
      out += character;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\u00";
      out += kDigits[byte >> 4U];
      out += kDigits[byte & 15U];
    } else {
      out += character;
    }
  }
}

std::string error_body(const Error& error, Endpoint endpoint, std::string_view request_id) {
  return info(endpoint).errors == ErrorShape::anthropic ? anthropic_error(error, request_id)
                                                        : openai_error(error);
}

std::string error_event(const Error& error, Endpoint endpoint, std::string_view request_id) {
  if (endpoint == Endpoint::responses) return "event: error\ndata: " + responses_error_event(error) + "\n\n";
  if (info(endpoint).errors == ErrorShape::anthropic) {
    return "event: error\ndata: " + anthropic_error(error, request_id) + "\n\n";
  }
  return "data: " + openai_error(error) + "\n\n";
}

}  // namespace sentinel::engine
