// decide and finish without I/O: what is refused and in which order, what goes upstream, and the books.
#include "sentinel/engine/pipeline.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/support.hpp"
#include "sentinel/engine/upstream_request.hpp"

namespace sentinel::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const std::string kBody = R"({"model":"gpt","messages":[{"role":"user","content":"hello"}]})";
const std::string kStream = R"({"model":"gpt","stream":true,"messages":[{"role":"user","content":"hello"}]})";

std::string replace(std::string text, std::string_view from, std::string_view to) {
  return text.replace(text.find(from), from.size(), to);
}

struct Request {
  Endpoint endpoint = Endpoint::chat;
  std::string body = kBody;
  std::vector<HeaderView> headers = {{"Authorization", "Bearer operators-own-key-0001"}};
  std::string path = "/v1/chat/completions";
  std::string query = "";
};

class Pipelines : public ::testing::Test {
 protected:
  std::unique_ptr<Exchange> decide(const Request& request = {}) {
    const RequestHead head{request.endpoint, request.path, request.query, request.headers, ""};
    return service.pipeline.decide(service.lane, head, padded(request.body), now);
  }

  // Decided, admitted and aimed at its target.
  std::unique_ptr<Exchange> ready(const Request& request = {}) {
    auto exchange = decide(request);
    EXPECT_FALSE(exchange->reply) << exchange->reply->body;
    const Status made = make_ready(service, *exchange, now);
    EXPECT_TRUE(made) << made.error().message;
    return exchange;
  }

  std::string refusal(const Request& request) {
    auto exchange = decide(request);
    if (!exchange->reply) return "(accepted)";
    EXPECT_EQ(exchange->outcome, journal::Outcome::refused);
    const Json body(exchange->reply->body);
    EXPECT_EQ(exchange->reply->status, exchange->status);
    service.pipeline.finish(service.lane, *exchange, now);
    EXPECT_EQ(service.pipeline.in_flight(), 0);
    return body.text("/error/code");
  }

  // The upstream head of a request with these headers beside the key.
  std::string upstream_head(std::vector<HeaderView> more, Endpoint endpoint = Endpoint::chat) {
    Request request;
    request.endpoint = endpoint;
    request.headers.insert(request.headers.end(), more.begin(), more.end());
    return ready(request)->upstream_head;
  }

  Service service;
  ManualClock clock;
  Instant now = clock.now();
};

TEST_F(Pipelines, AGoodRequestIsReadyToBeSentAndForwardedByteForByte) {
  const std::string body =
      " {\n\"messages\" : [ {\"role\":\"user\",\"content\":\"\\u00e9\"} ],\t\"model\":\"gpt\", \"x\": "
      "1.50e+01 }\r\n";
  Request request;
  request.body = body;
  const auto exchange = ready(request);
  EXPECT_EQ(body_to_send(*exchange), body);
  EXPECT_EQ(exchange->route->name, "gpt");
  EXPECT_EQ(exchange->upstream_model, "gpt");
  EXPECT_FALSE(exchange->withholds_usage);
  EXPECT_EQ(exchange->principal->key_id, "ci");
  EXPECT_EQ(service.pipeline.in_flight(), 1);
}

TEST_F(Pipelines, UsageIsAskedForInAStreamUnlessTheClientDid) {
  Request request;
  request.body = kStream;
  const auto silent = ready(request);
  EXPECT_TRUE(silent->withholds_usage);
  EXPECT_NE(body_to_send(*silent).find(R"("stream_options":{"include_usage":true})"), std::string::npos);
  request.body = R"({"model":"gpt","stream":true,"stream_options":{"include_usage":true},"messages":[1]})";
  const auto asked = ready(request);
  EXPECT_FALSE(asked->withholds_usage);
  EXPECT_EQ(body_to_send(*asked), request.body);
  request.endpoint = Endpoint::responses;
  request.body = R"({"model":"gpt","stream":true,"input":"x"})";
  const auto responses = ready(request);
  EXPECT_FALSE(responses->withholds_usage) << "that protocol tells it anyway";
  EXPECT_EQ(body_to_send(*responses), request.body);
}

// Every request carries all the faults from its own on: the first one in the pipeline's order is told.
TEST_F(Pipelines, RefusalsComeInThePipelinesOrder) {
  SnapshotText text;
  text.limits = replace(text.limits, "\"in_flight\":100", "\"in_flight\":1");
  text.routes = R"([{"name":"gpt","targets":[{"upstream":"up","model":"","weight":1}]},)"
                R"({"name":"open","targets":[{"upstream":"up","model":"","weight":1}]}])";
  service.configure(text);
  ASSERT_TRUE(service.keys.put(
      R"([{"id":"narrow","digest":")" + to_hex(service.keys.digest("narrow")) +
      R"(","accounts":["a"],"scopes":["embeddings"],"models":["gpt"]},{"id":"models","digest":")" +
      to_hex(service.keys.digest("models")) + R"(","accounts":["a"],"models":["open","nowhere"]}])"));
  const auto running = decide();
  const auto with_key = [](std::string_view key, std::string body) {
    Request request;
    request.headers = {{"x-api-key", key}};
    request.body = std::move(body);
    return request;
  };
  const auto code = [this](const Request& request) {
    auto exchange = decide(request);
    return exchange->reply ? Json(exchange->reply->body).text("/error/code") : std::string("(accepted)");
  };
  const std::string unserved = R"({"model":"nowhere","messages":[1]})";
  service.pipeline.set_drain_state(DrainState::refusing);
  EXPECT_EQ(code(with_key("nobody", "{")), "server_shutting_down");
  service.pipeline.set_drain_state(DrainState::announced);
  EXPECT_EQ(code(with_key("nobody", "{")), "invalid_api_key");
  EXPECT_EQ(code(with_key("narrow", "{")), "invalid_json");
  EXPECT_EQ(code(with_key("narrow", unserved)), "scope_missing");
  EXPECT_EQ(code(with_key("models", kBody)), "model_not_allowed");
  EXPECT_EQ(code(with_key("models", unserved)), "model_not_found");
  EXPECT_EQ(code(with_key("models", R"({"model":"open","messages":[1]})")), "overloaded");
  EXPECT_EQ(service.pipeline.in_flight(), 1);
}

TEST_F(Pipelines, CredentialsComeAsBearerOrApiKeyAndMustAgree) {
  const auto code = [this](std::vector<HeaderView> headers) {
    Request request;
    request.headers = std::move(headers);
    return refusal(request);
  };
  EXPECT_EQ(code({{"AUTHORIZATION", "bearer   operators-own-key-0001"}}), "(accepted)");
  EXPECT_EQ(code({{"X-Api-Key", kCredential}}), "(accepted)");
  EXPECT_EQ(code({{"x-api-key", kCredential}, {"authorization", "Bearer operators-own-key-0001"}}),
            "(accepted)");
  EXPECT_EQ(code({{"x-api-key", kCredential}, {"authorization", "Bearer another"}}), "invalid_request");
  EXPECT_EQ(code({}), "invalid_api_key");
  EXPECT_EQ(code({{"authorization", ""}}), "invalid_api_key");
  EXPECT_EQ(code({{"authorization", "Bearer "}}), "invalid_api_key");
  EXPECT_EQ(code({{"authorization", "Basic operators-own-key-0001"}}), "invalid_api_key");
  EXPECT_EQ(code({{"authorization", "Bearer operators-own-key-000"}}), "invalid_api_key");
  EXPECT_EQ(code({{"x-api-key", "operators-own-key-0001 "}}), "invalid_api_key");
}

TEST_F(Pipelines, S30EveryEndpointAsksForAKey) {
  for (std::size_t i = 0; i < kEndpoints; ++i) {
    Request request;
    request.endpoint = static_cast<Endpoint>(i);
    request.headers.clear();
    auto exchange = decide(request);
    ASSERT_TRUE(exchange->reply);
    EXPECT_EQ(exchange->reply->status, 401) << info(request.endpoint).name;
  }
}

TEST_F(Pipelines, ARequestIdIsKeptIfItIsOneAndMadeOtherwise) {
  const auto id = [this](std::string_view given) {
    Request request;
    request.headers.push_back({"X-Request-Id", given});
    return decide(request)->request_id;
  };
  EXPECT_EQ(id("abc.DEF_1-2"), "abc.DEF_1-2");
  EXPECT_EQ(id(std::string(128, 'a')), std::string(128, 'a'));
  std::vector<std::string> made;
  for (const std::string& bad : {std::string(), std::string(129, 'a'), std::string("a b"),
                                 std::string("a\"b"), std::string("\xC3\xA9")}) {
    made.push_back(id(bad));
    EXPECT_TRUE(made.back().starts_with("req_")) << bad;
    EXPECT_EQ(made.back().find_first_not_of("req_0123456789abcdef"), std::string::npos);
  }
  std::sort(made.begin(), made.end());
  EXPECT_EQ(std::unique(made.begin(), made.end()), made.end());
}

TEST_F(Pipelines, S4ControlBytesInAnyHeaderValueAreRefused) {
  for (const std::string_view bad :
       {std::string_view("a\r\nb"), std::string_view("a\nb"), std::string_view("a\0b", 3),
        std::string_view("\x7f"), std::string_view("\x1b[0m")}) {
    Request request;
    request.headers.push_back({"x-anything", bad});
    EXPECT_EQ(refusal(request), "invalid_request");
    request.headers.back().name = "x-request-id";
    EXPECT_EQ(refusal(request), "invalid_request");
  }
  Request tab;
  tab.headers.push_back({"x-anything", "a\tb"});
  EXPECT_EQ(refusal(tab), "(accepted)");
}

TEST_F(Pipelines, S4AControlByteIsFoundAtEveryPlaceOfValuesOfEveryLength) {
  for (std::size_t size = 1; size <= 20; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      for (const char byte : {'\0', '\n', '\x1f', '\x7f', '\t', ' ', '~', '\x80', '\xff'}) {
        const bool control = (static_cast<unsigned char>(byte) < 0x20 && byte != '\t') || byte == '\x7f';
        std::string value(size, 'a');
        value[at] = byte;
        Request request;
        request.headers.push_back({"x-anything", value});
        EXPECT_EQ(refusal(request), control ? "invalid_request" : "(accepted)") << size << " " << at;
      }
    }
  }
}

TEST_F(Pipelines, AHeaderThatMeansSomethingMustNotStandTwice) {
  for (const std::string_view name :
       {"authorization", "x-request-id", "traceparent", "Anthropic-Version", "openai-beta"}) {
    Request request;
    request.headers = {{"x-api-key", kCredential}, {name, "a"}, {name, "a"}};
    EXPECT_EQ(refusal(request), "invalid_request") << name;
  }
  Request other;
  other.headers.insert(other.headers.end(), {{"accept", "a"}, {"accept", "b"}});
  EXPECT_EQ(refusal(other), "(accepted)");
}

TEST_F(Pipelines, R6HeadsOverTheLimitAreRefusedBeforeTheKeyIsLookedAt) {
  Request large;
  const std::string value(16'384, 'a');
  large.headers = {{"x-large", value}};
  EXPECT_EQ(refusal(large), "headers_too_large");
  Request many;
  many.headers.resize(65, {"x", "y"});
  EXPECT_EQ(refusal(many), "headers_too_large");
  Request path;
  path.query = value;
  EXPECT_EQ(refusal(path), "headers_too_large");
}

TEST_F(Pipelines, CompressedBodiesAndForeignLettersInForwardedHeadersAreRefused) {
  Request request;
  request.headers.push_back({"content-encoding", "gzip"});
  EXPECT_EQ(refusal(request), "invalid_request");
  request.headers.back().value = "Identity";
  EXPECT_EQ(refusal(request), "(accepted)");
  request.headers.back() = {"openai-beta", "caf\xC3\xA9"};
  EXPECT_EQ(refusal(request), "invalid_request");
}

TEST_F(Pipelines, ATraceContinuesOverTheGateway) {
  const std::string parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const std::string head = upstream_head({{"traceparent", parent}, {"tracestate", "vendor=1"}});
  EXPECT_NE(head.find("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-"), std::string::npos);
  EXPECT_EQ(head.find("00f067aa0ba902b7"), std::string::npos) << "our span is the parent now";
  EXPECT_NE(head.find("tracestate: vendor=1\r\n"), std::string::npos);
  const std::string fresh = upstream_head({{"traceparent", "nonsense"}, {"tracestate", "vendor=1"}});
  EXPECT_NE(fresh.find("traceparent: 00-"), std::string::npos);
  EXPECT_EQ(fresh.find("tracestate"), std::string::npos);
}

TEST_F(Pipelines, S6OnlyListedHeadersGoUpstream) {
  const std::string head = upstream_head({{"Cookie", "secret=1"},
                                          {"openai-organization", "org-1"},
                                          {"OpenAI-Project", "proj-1"},
                                          {"X-Forwarded-For", "10.0.0.1"},
                                          {"Forwarded", "for=1"},
                                          {"Host", "evil"},
                                          {"Connection", "x-secret"},
                                          {"x-secret", "1"},
                                          {"Transfer-Encoding", "chunked"},
                                          {"Proxy-Authorization", "Basic x"},
                                          {"User-Agent", "client/1"},
                                          {"Idempotency-Key", "idem-1"},
                                          {"OpenAI-Beta", "assistants=v2"},
                                          {"anthropic-beta", "b"}});
  for (const std::string_view leaked :
       {"ookie", "rganization", "roject", "10.0.0.1", "orwarded", "evil", "secret", "hunked", "roxy",
        "client/1", kCredential.c_str(), "nthropic"}) {
    EXPECT_EQ(head.find(leaked), std::string::npos) << leaked << " in\n" << head;
  }
  EXPECT_TRUE(head.starts_with("POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:1\r\n")) << head;
  EXPECT_NE(head.find("\r\nAuthorization: Bearer sk-upstream-credential-0123456789\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nIdempotency-Key: idem-1\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nOpenAI-Beta: assistants=v2\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nContent-Length: " + std::to_string(kBody.size()) + "\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nAccept-Encoding: identity\r\n"), std::string::npos);
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
}

TEST_F(Pipelines, MessagesCarryAnAnthropicVersionAndTheClientsIfItGaveOne) {
  const std::string usual = upstream_head({}, Endpoint::messages);
  EXPECT_TRUE(usual.starts_with("POST /v1/messages ")) << usual;
  EXPECT_NE(usual.find("\r\nanthropic-version: 2023-06-01\r\n"), std::string::npos);
  const std::string own =
      upstream_head({{"Anthropic-Version", "2024-01-01"}, {"anthropic-beta", "x-1"}}, Endpoint::messages);
  EXPECT_NE(own.find("\r\nanthropic-version: 2024-01-01\r\nanthropic-beta: x-1\r\n"), std::string::npos)
      << own;
}

TEST_F(Pipelines, AzureHasItsTemplateItsQueryAndItsKeyHeader) {
  SnapshotText text;
  text.upstreams =
      "[" +
      SnapshotText::upstream(
          "az", "azure", "https://me.openai.azure.com",
          R"(,"path_template":"/openai/deployments/{model}/{endpoint}","query":{"api-version":"v"})",
          "api-key") +
      "]";
  text.routes = R"([{"name":"gpt","targets":[{"upstream":"az","model":"my deployment/1","weight":1}]}])";
  service.configure(text);
  const auto exchange = ready();
  EXPECT_TRUE(exchange->upstream_head.starts_with(
      "POST /openai/deployments/my%20deployment%2F1/chat/completions?api-version=v HTTP/1.1\r\n"
      "Host: me.openai.azure.com\r\n"))
      << exchange->upstream_head;
  EXPECT_NE(exchange->upstream_head.find("\r\napi-key: sk-upstream-credential-0123456789\r\n"),
            std::string::npos);
  EXPECT_EQ(Json(body_to_send(*exchange)).text("/model"), "my deployment/1");
}

TEST_F(Pipelines, BearerIsWrittenForAuthorizationOnly) {
  for (const auto& [header, line] :
       std::vector<std::pair<std::string, std::string>>{{"authorization", "authorization: Bearer sk-"},
                                                        {"apikey-header", "apikey-header: sk-"},
                                                        {"x-api-key", "x-api-key: sk-"}}) {
    SnapshotText text;
    text.upstreams = "[" + SnapshotText::upstream("up", "openai", "http://a", {}, header) + "]";
    service.configure(text);
    EXPECT_NE(ready()->upstream_head.find("\r\n" + line), std::string::npos) << header;
  }
}

TEST_F(Pipelines, TargetsAreChosenByTheirWeights) {
  SnapshotText text;
  text.routes =
      R"([{"name":"gpt","targets":[{"upstream":"up","model":"a","weight":3},{"upstream":"up","model":"b","weight":1}]}])";
  service.configure(text);
  int of_a = 0;
  for (int i = 0; i < 4000; ++i) of_a += ready()->upstream_model == "a" ? 1 : 0;
  EXPECT_GT(of_a, 2850);
  EXPECT_LT(of_a, 3150);
}

TEST_F(Pipelines, InsecureModeNeedsNoKeyAndStillKeepsTheBooks) {
  SnapshotText text;
  text.insecure = true;
  service.configure(text);
  Request request;
  request.headers.clear();
  auto exchange = decide(request);
  ASSERT_FALSE(exchange->reply);
  service.pipeline.finish(service.lane, *exchange, now);
  ASSERT_EQ(service.ledger.records().size(), 1U);
  EXPECT_EQ(service.ledger.records()[0].account_id, "");
}

TEST_F(Pipelines, AnExchangeKeepsTheSnapshotItBeganWith) {
  const auto exchange = decide();
  service.configure({});
  EXPECT_NE(exchange->snapshot, service.snapshots.get());
  EXPECT_EQ(exchange->route->name, "gpt");
}

TEST_F(Pipelines, WhileDrainIsAnnouncedRepliesSayConnectionClose) {
  service.pipeline.set_drain_state(DrainState::announced);
  Request request;
  request.endpoint = Endpoint::models;
  request.path = "/v1/models";
  const auto exchange = decide(request);
  ASSERT_TRUE(exchange->reply);
  EXPECT_EQ(find_header(exchange->reply->headers, "connection"), "close");
}

TEST_F(Pipelines, ModelsListsWhatThisKeyMayAskFor) {
  SnapshotText text;
  text.routes = R"([{"name":"gpt","aliases":["g"],"targets":[{"upstream":"up","model":"","weight":1}]},)"
                R"({"name":"claude-*","targets":[{"upstream":"up","model":"","weight":1}]},)"
                R"({"name":"o1","targets":[{"upstream":"up","model":"","weight":1}]}])";
  service.configure(text);
  ASSERT_TRUE(service.keys.put(R"([{"id":"n","digest":")" + to_hex(service.keys.digest("n")) +
                               R"(","accounts":["a"],"models":["g*"]}])"));
  Request request;
  request.endpoint = Endpoint::models;
  request.headers = {{"x-api-key", "n"}};
  const auto ask = [&](std::string path) {
    request.path = std::move(path);
    auto exchange = decide(request);
    std::string body = exchange->reply->body;
    service.pipeline.finish(service.lane, *exchange, now);
    return body;
  };
  EXPECT_EQ(Json(ask("/v1/models")).text("/data/0/id"), "g");
  EXPECT_EQ(Json(ask("/v1/models")).text("/data/1/id"), "gpt");
  EXPECT_EQ(Json(ask("/v1/models")).text("/data/2/id"), "(none)");
  EXPECT_EQ(Json(ask("/v1/models/g%70t")).text("/id"), "gpt");
  EXPECT_EQ(Json(ask("/v1/models/o1")).text("/error/code"), "model_not_found");
  EXPECT_EQ(Json(ask("/v1/models/%22%0d%0a")).text("/error/code"), "model_not_found");
  request.headers = {{"x-api-key", kCredential}};
  EXPECT_EQ(Json(ask("/v1/models/claude-4")).text("/id"), "claude-4");
  EXPECT_TRUE(service.ledger.records().empty()) << "listing models is nobody's bill";
}

class Finishing : public Pipelines {
 protected:
  journal::UsageRecord finish(Exchange& exchange) {
    service.pipeline.finish(service.lane, exchange, now);
    const auto records = service.ledger.records();
    EXPECT_EQ(records.size(), 1U);
    return records.empty() ? journal::UsageRecord{} : records.front();
  }
};

TEST_F(Finishing, TheRecordHoldsWhatHappened) {
  auto exchange = ready();
  const TraceId trace_id = exchange->trace.trace_id;
  exchange->status = 200;
  exchange->usage =
      stream::Usage{.prompt = 10, .completion = 5, .cached = 4, .cache_write = 2, .reasoning = 3};
  exchange->sent_at = now;
  clock.advance(milliseconds{150});
  exchange->first_token_at = clock.now();
  clock.advance(milliseconds{100});
  now = clock.now();
  const auto record = finish(*exchange);
  EXPECT_EQ(record.request_id, exchange->request_id);
  EXPECT_EQ(record.ts_us, exchange->started.unix_time.count());
  EXPECT_EQ(record.key_id, "ci");
  EXPECT_EQ(record.account_id, "acme/search");
  EXPECT_EQ(record.endpoint, "/v1/chat/completions");
  EXPECT_EQ(record.model, "gpt");
  EXPECT_EQ(record.target, "up/gpt");
  EXPECT_EQ(record.prompt_tokens, 10);
  EXPECT_EQ(record.completion_tokens, 5);
  EXPECT_EQ(record.cached_tokens, 4);
  EXPECT_EQ(record.reasoning_tokens, 3);
  EXPECT_FALSE(record.estimated);
  EXPECT_EQ(record.cost_micro_usd, 4 + 1 + 4 + 20);
  EXPECT_EQ(record.price_version, "2025-01");
  EXPECT_EQ(record.outcome, journal::Outcome::done);
  EXPECT_EQ(record.status, 200);
  EXPECT_EQ(record.latency_us, 250'000);
  EXPECT_EQ(record.ttft_us, 150'000);
  EXPECT_EQ(record.trace_id, trace_id);
}

TEST_F(Finishing, WithoutUsageABillableExchangeIsEstimated) {
  auto exchange = ready();
  exchange->billable = true;
  exchange->relayed_deltas = 7;
  const auto record = finish(*exchange);
  EXPECT_TRUE(record.estimated);
  EXPECT_EQ(record.prompt_tokens, (exchange->facts.text_bytes + 3) / 4);
  EXPECT_EQ(record.completion_tokens, 7);
  EXPECT_EQ(record.cost_micro_usd, record.prompt_tokens + 28);
}

TEST_F(Finishing, APlainAnswerWithoutUsageIsEstimatedByItsBytes) {
  auto exchange = ready();
  exchange->billable = true;
  exchange->relayed_bytes = 9;
  EXPECT_EQ(finish(*exchange).completion_tokens, 3);
}

TEST_F(Finishing, WhatCouldNotHaveReachedTheUpstreamCostsNothing) {
  auto exchange = ready();
  exchange->outcome = journal::Outcome::upstream_error;
  const auto record = finish(*exchange);
  EXPECT_EQ(record.prompt_tokens, 0);
  EXPECT_EQ(record.cost_micro_usd, 0);
  EXPECT_FALSE(record.estimated);
}

TEST_F(Finishing, ARefusalOfAKnownKeyIsRecordedAndOneOfAStrangerIsNot) {
  Request request;
  request.body = "{";
  auto known = decide(request);
  const auto record = finish(*known);
  EXPECT_EQ(record.outcome, journal::Outcome::refused);
  EXPECT_EQ(record.status, 400);
  EXPECT_EQ(record.error_code, "invalid_json");
  request.headers.clear();
  auto stranger = decide(request);
  service.pipeline.finish(service.lane, *stranger, now);
  EXPECT_EQ(service.ledger.records().size(), 1U);
}

TEST_F(Finishing, ADoorsOwnRefusalIsBookedLikeAnyOther) {
  const std::vector<HeaderView> headers{{"x-api-key", kCredential}};
  const RequestHead head{Endpoint::messages, "/v1/messages", "", headers, ""};
  auto exchange =
      service.pipeline.refuse(service.lane, head, Error(ErrorCode::body_too_large, "too large"), now);
  ASSERT_TRUE(exchange->reply);
  EXPECT_EQ(Json(exchange->reply->body).text("/error/type"), "request_too_large");
  EXPECT_EQ(service.pipeline.in_flight(), 1);
  EXPECT_EQ(finish(*exchange).status, 413);
  EXPECT_EQ(service.pipeline.in_flight(), 0);
}

TEST_F(Finishing, AStrangersDoorRefusalTellsOfTheKeyFirst) {
  const RequestHead head{Endpoint::chat, "/v1/chat/completions", "", {}, ""};
  auto exchange =
      service.pipeline.refuse(service.lane, head, Error(ErrorCode::body_too_large, "too large"), now);
  EXPECT_EQ(Json(exchange->reply->body).text("/error/code"), "invalid_api_key");
  service.pipeline.finish(service.lane, *exchange, now);
}

TEST_F(Finishing, MetricsCountTheExchangeOnceWithItsRouteNotTheClientsWords) {
  auto exchange = ready();
  exchange->status = 200;
  exchange->sent_at = now;
  exchange->usage = stream::Usage{.prompt = 10, .completion = 5};
  service.pipeline.finish(service.lane, *exchange, now);
  Request unknown;
  unknown.body = R"({"model":"client-made-this-up","messages":[1]})";
  EXPECT_EQ(refusal(unknown), "model_not_found");
  const std::string text = service.registry.expose();
  EXPECT_NE(
      text.find(
          R"(sentinel_http_requests_total{endpoint="/v1/chat/completions",model="gpt",status="200"} 1)"),
      std::string::npos)
      << text;
  EXPECT_NE(text.find(R"(model="unknown",status="404"} 1)"), std::string::npos);
  EXPECT_NE(text.find(R"(sentinel_upstream_requests_total{target="up/*",outcome="done"} 1)"),
            std::string::npos);
  EXPECT_EQ(text.find("client-made"), std::string::npos);
}

#ifndef __SANITIZE_THREAD__
TEST_F(Finishing, TwiceIsABrokenPromise) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  auto exchange = decide();
  service.pipeline.finish(service.lane, *exchange, now);
  EXPECT_DEATH(service.pipeline.finish(service.lane, *exchange, now), "settled");
}
#endif

TEST_F(Pipelines, InFlightComesBackToZeroOverEveryWay) {
  Random random(5);
  std::vector<std::unique_ptr<Exchange>> running;
  for (int i = 0; i < 500; ++i) {
    Request request;
    if (random.below(3) == 0) request.body = "{";
    if (random.below(5) == 0) request.headers.clear();
    running.push_back(decide(request));
    const RequestHead head{Endpoint::chat, "/", "", {}, ""};
    if (random.below(4) == 0) {
      running.push_back(
          service.pipeline.refuse(service.lane, head, Error(ErrorCode::request_timeout, ""), now));
    }
    while (running.size() > 20) {
      const auto place = running.begin() + static_cast<std::ptrdiff_t>(random.below(running.size()));
      service.pipeline.finish(service.lane, **place, now);
      ASSERT_EQ(service.pipeline.in_flight(), static_cast<std::int64_t>(running.size()) - 1);
      running.erase(place);
    }
  }
  for (const auto& exchange : running) service.pipeline.finish(service.lane, *exchange, now);
  EXPECT_EQ(service.pipeline.in_flight(), 0);
}

}  // namespace
}  // namespace sentinel::engine
