#include "sentinel/engine/errors.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/support.hpp"

namespace sentinel::engine {
namespace {

constexpr std::array kCodes{
    ErrorCode::invalid_request,   ErrorCode::invalid_json,         ErrorCode::invalid_api_key,
    ErrorCode::key_revoked,       ErrorCode::model_not_allowed,    ErrorCode::scope_missing,
    ErrorCode::model_not_found,   ErrorCode::unsupported_endpoint, ErrorCode::request_timeout,
    ErrorCode::body_too_large,    ErrorCode::rate_limit_exceeded,  ErrorCode::budget_exceeded,
    ErrorCode::headers_too_large, ErrorCode::not_implemented,      ErrorCode::upstream_error,
    ErrorCode::circuit_open,      ErrorCode::overloaded,           ErrorCode::server_shutting_down,
    ErrorCode::not_started,       ErrorCode::upstream_timeout,     ErrorCode::slow_reader,
    ErrorCode::internal_error};

const std::string kHostile =
    std::string("a\"b\\c\r\n\t\0\x01\x7f{}", 14) + "\xff\xc0\xaf\xed\xa0\x80\xe2\x82 caf\xC3\xA9";

std::string data_of(const std::string& event) {
  const std::size_t data = event.find("data: ");
  EXPECT_TRUE(event.ends_with("\n\n")) << event;
  EXPECT_EQ(event.find('\n', data), event.size() - 2) << "one line of data: " << event;
  return event.substr(data + 6, event.size() - data - 8);
}

TEST(Errors, OpenAiBodiesHoldAllFourMembersForEveryCode) {
  for (const ErrorCode code : kCodes) {
    const Json body(error_body(Error(code, "text"), Endpoint::chat, "req"));
    EXPECT_EQ(body.text("/error/message"), "text");
    EXPECT_EQ(body.text("/error/code"), info(code).name);
    EXPECT_EQ(body.text("/error/type"), info(code).type);
    EXPECT_TRUE(body.is_null("/error/param"));
  }
  EXPECT_EQ(Json(error_body(Error(ErrorCode::invalid_request, "x", "n"), Endpoint::responses, "r"))
                .text("/error/param"),
            "n");
}

TEST(Errors, AnthropicBodiesHaveThatProtocolsShape) {
  for (const ErrorCode code : kCodes) {
    const Json body(error_body(Error(code, "text"), Endpoint::messages, "req_1"));
    EXPECT_EQ(body.text("/type"), "error");
    EXPECT_EQ(body.text("/error/message"), "text");
    EXPECT_EQ(body.text("/request_id"), "req_1");
    EXPECT_TRUE(body.text("/error/type").ends_with("_error") ||
                body.text("/error/type") == "request_too_large");
  }
  const Json refused(error_body(Error(ErrorCode::invalid_api_key, ""), Endpoint::messages, ""));
  EXPECT_EQ(refused.text("/error/type"), "authentication_error");
  EXPECT_EQ(Json(error_body(Error(ErrorCode::overloaded, ""), Endpoint::messages, "")).text("/error/type"),
            "overloaded_error");
}

TEST(Errors, AStatusIsAFourOrAFiveHundred) {
  for (const ErrorCode code : kCodes) {
    EXPECT_GE(info(code).status, 400);
    EXPECT_LE(info(code).status, 504);
  }
}

TEST(Errors, EventsAreOneEventInTheEndpointsOwnShape) {
  const Error error(ErrorCode::upstream_error, kHostile, "n");
  const std::string chat = error_event(error, Endpoint::chat, "r");
  EXPECT_TRUE(chat.starts_with("data: "));
  EXPECT_EQ(Json(data_of(chat)).text("/error/code"), "upstream_error");
  const std::string responses = error_event(error, Endpoint::responses, "r");
  EXPECT_TRUE(responses.starts_with("event: error\n"));
  EXPECT_EQ(Json(data_of(responses)).text("/code"), "upstream_error");
  EXPECT_EQ(Json(data_of(responses)).text("/param"), "n");
  const std::string messages = error_event(error, Endpoint::messages, "r");
  EXPECT_TRUE(messages.starts_with("event: error\n"));
  EXPECT_EQ(Json(data_of(messages)).text("/error/type"), "api_error");
}

TEST(Errors, S4HostileTextStaysInsideItsString) {
  for (const Endpoint endpoint : {Endpoint::chat, Endpoint::messages, Endpoint::responses}) {
    const std::string body =
        error_body(Error(ErrorCode::invalid_request, kHostile, kHostile), endpoint, kHostile);
    EXPECT_TRUE(Json(body).valid());
    for (const char c : body) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
    EXPECT_EQ(body.find('\x7f'), std::string::npos);
    EXPECT_TRUE(
        Json(data_of(error_event(Error(ErrorCode::invalid_request, kHostile, kHostile), endpoint, kHostile)))
            .valid());
  }
}

TEST(Errors, EscapedTextReadsBackAsItWas) {
  std::string all;
  for (int byte = 0; byte < 128; ++byte) all += static_cast<char>(byte);
  all += "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80";
  std::string text = "{\"x\":\"";
  append_json_escaped(text, all);
  EXPECT_EQ(Json(text + "\"}").text("/x"), all);
}

}  // namespace
}  // namespace sentinel::engine
