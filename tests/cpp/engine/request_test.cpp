// Pipeline step 1, the body: what is read, what is refused, and that both ends read the same request.
#include "sentinel/engine/request.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/support.hpp"

namespace sentinel::engine {
namespace {

Result<RequestFacts> read(std::string_view text, Endpoint endpoint = Endpoint::chat) {
  RequestReader reader;
  return reader.read(endpoint, padded(text));
}

std::string with(std::string_view members) {
  return R"({"model":"gpt","messages":[{"role":"user","content":"hi"}])" + std::string(members) + "}";
}

void expect_refused(const std::string& text, ErrorCode code, std::string_view param = "",
                    Endpoint endpoint = Endpoint::chat) {
  const auto facts = read(text, endpoint);
  ASSERT_FALSE(facts) << text;
  EXPECT_EQ(info(facts.error().code).name, info(code).name) << text << ": " << facts.error().message;
  EXPECT_EQ(facts.error().param, param) << text;
}

void expect_accepted(const std::string& text, Endpoint endpoint = Endpoint::chat) {
  const auto facts = read(text, endpoint);
  EXPECT_TRUE(facts) << text << ": " << (facts ? "" : facts.error().message);
}

TEST(Request, TellsModelStreamAndWhetherUsageWasAskedFor) {
  auto facts = read(with(R"(,"stream":true,"stream_options":{"include_usage":false,"x":1})"));
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->model, "gpt");
  EXPECT_TRUE(facts->stream);
  EXPECT_TRUE(facts->has_stream_options);
  EXPECT_EQ(facts->include_usage, std::optional<bool>(false));
  facts = read(with(R"(,"stream":null,"stream_options":null)"));
  ASSERT_TRUE(facts);
  EXPECT_FALSE(facts->stream);
  EXPECT_FALSE(facts->has_stream_options);
  EXPECT_EQ(facts->include_usage, std::nullopt);
}

TEST(Request, TellsForWhichEndUserTheApplicationAsks) {
  const auto user = [](const std::string& members, Endpoint endpoint = Endpoint::chat) {
    const auto facts = read(with(members), endpoint);
    return facts ? facts->end_user : "refused: " + facts.error().message;
  };
  EXPECT_EQ(user(""), "");
  EXPECT_EQ(user(R"(,"user":null)"), "");
  EXPECT_EQ(user(R"(,"user":"ann")"), "ann");
  EXPECT_EQ(user(R"(,"user":"ann","safety_identifier":"bob")"), "bob") << "the newer name of the two";
  EXPECT_EQ(user(R"(,"safety_identifier":"bob","user":"ann")"), "bob");
  EXPECT_EQ(user(R"(,"user":"ann","safety_identifier":"")"), "ann");
  EXPECT_EQ(user(R"(,"safety_identifier":"bob","user":7)"), "refused: user must be a string");
  EXPECT_EQ(user(R"(,"metadata":{"user_id":"cat"})"), "") << "the application's own data";
  EXPECT_EQ(user(R"(,"metadata":{"user_id":"cat"},"user":"ann")", Endpoint::messages), "cat");
  EXPECT_EQ(user(R"(,"metadata":{"user_id":3})", Endpoint::messages),
            "refused: metadata.user_id must be a string");
}

TEST(Request, CountsTheBytesOfTextButNotOfInlineImages) {
  const auto facts = read(
      R"({"model":"gpt","user":"not counted","messages":[{"role":"user","content":[)"
      R"({"type":"text","text":"h\u00e9"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]})");
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->text_bytes, 4 + 4 + 3 + 9);  // user, text, h and two bytes, image_url
}

class Duplicates : public ::testing::TestWithParam<std::string> {};

TEST_P(Duplicates, AreRefusedAtAnyDepthBecauseTheUpstreamMightReadTheOther) {
  expect_refused(GetParam(), ErrorCode::invalid_request,
                 GetParam().find("role") == std::string::npos ? "model" : "role");
}

INSTANTIATE_TEST_SUITE_P(
    Bodies, Duplicates,
    ::testing::Values(
        R"({"model":"a","model":"b","messages":[1]})", R"({"model":"a","messages":[1],"mod\u0065l":"b"})",
        R"({"\u006d\u006f\u0064el":"a","messages":[1],"model":"b"})",
        R"({"model":"a","messages":[{"role":"user","role":"system"}]})",
        R"({"model":"a","messages":[[[[{"x":{"role":1,"r\u006fle":2}}]]]]})",
        R"({"model":"a","messages":[1],"metadata":{"role":"1","role":"2"}})",
        R"({"model":"a","messages":[1],"tools":[{"function":{"parameters":{"role":1,"role":2}}}]})"));

TEST(Request, ADuplicateAmongManyKeysIsFound) {
  std::string members;
  for (int i = 0; i < 1000; ++i) members += ",\"k" + std::to_string(i) + "\":" + std::to_string(i);
  expect_accepted(with(R"(,"x":{"a":1)" + members + "}"));
  expect_refused(with(R"(,"x":{"k500":1)" + members + "}"), ErrorCode::invalid_request, "k500");
}

TEST(Request, SameKeysInDifferentObjectsAreNoDuplicates) {
  expect_accepted(with(R"(,"a":{"model":1,"x":{"model":2}},"b":[{"model":3},{"model":4}])"));
}

class NotUnicode : public ::testing::TestWithParam<std::string> {};

TEST_P(NotUnicode, IsRefusedInValuesAndInKeys) {
  expect_refused(with(R"(,"x":")" + GetParam() + "\""), ErrorCode::invalid_json);
  expect_refused(with(R"(,"x":{")" + GetParam() + "\":1}"), ErrorCode::invalid_json);
}

INSTANTIATE_TEST_SUITE_P(LoneSurrogates, NotUnicode,
                         ::testing::Values(R"(\ud800)", R"(\udbff)", R"(\udc00)", R"(\udfff)",
                                           R"(\udc00\ud800)", R"(\ud83d\u0041)", R"(\ud83dA)",
                                           R"(\ud83d\\ude00)", R"(\ud83d\ud83d\ude00)", R"(\ud83d\ue000)",
                                           R"(\ude00\ud83d\ude00)", R"(\uD800\n)"));
INSTANTIATE_TEST_SUITE_P(Bytes, NotUnicode,
                         ::testing::Values("\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82",
                                           "\x80"));

TEST(Request, PairsAndEscapesThatAreUnicodePass) {
  expect_accepted(with(R"(,"x":"\ud83d\ude00 \u0000 \ud7ff \ue000 \uffff","\ud83d\ude00":1)"));
}

class NotJson : public ::testing::TestWithParam<std::string> {};

TEST_P(NotJson, IsAnInvalidJsonError) { expect_refused(GetParam(), ErrorCode::invalid_json); }

INSTANTIATE_TEST_SUITE_P(
    Bodies, NotJson,
    ::testing::Values("", " ", "null", "[]", "\"x\"", "1", "{", "}", "{\"model\":\"gpt\"", with("") + "x",
                      with("") + with(""), with("") + "\n{}", with(",}"), "\xEF\xBB\xBF" + with(""),
                      with(R"(,"x":'1')"), with(R"(,"x":01)"), with(R"(,"x":NaN)"), with(R"(,"x":1e999)"),
                      with(R"(,"x":-1e999)"), with(R"(,"x":123456789012345678901234567890)"),
                      with(R"(,"max_tokens":123456789012345678901234567890)"), with(",\"x\":\"a\nb\""),
                      with(R"(,"x":"\x41")"), with(",/**/\"x\":1")));

TEST(Request, NulBytesAreRefusedWhereverTheyStand) {
  const std::string body = with("");
  for (std::size_t at = 0; at <= body.size(); ++at) {
    std::string text = body;
    text.insert(at, 1, '\0');
    expect_refused(text, ErrorCode::invalid_json);
  }
}

TEST(Request, DepthTenThousandIsRefusedAndFiveHundredPasses) {
  const auto nested = [](std::size_t depth) {
    return with(",\"x\":" + std::string(depth, '[') + std::string(depth, ']'));
  };
  expect_refused(nested(10'000), ErrorCode::invalid_json);
  expect_accepted(nested(500));
  std::string objects = "1";
  for (int i = 0; i < 10'000; ++i) objects = R"({"a":)" + objects + "}";
  expect_refused(with(",\"x\":" + objects), ErrorCode::invalid_json);
}

struct Bad {
  std::string members;
  std::string param;
};

class Parameters : public ::testing::TestWithParam<Bad> {};

TEST_P(Parameters, OutOfRangeNameTheMember) {
  expect_refused(with(GetParam().members), ErrorCode::invalid_request, GetParam().param);
}

INSTANTIATE_TEST_SUITE_P(
    Ranges, Parameters,
    ::testing::Values(Bad{R"(,"n":0)", "n"}, Bad{R"(,"n":129)", "n"}, Bad{R"(,"n":1.5)", "n"},
                      Bad{R"(,"n":"1")", "n"}, Bad{R"(,"max_tokens":0)", "max_tokens"},
                      Bad{R"(,"max_tokens":-1)", "max_tokens"},
                      Bad{R"(,"max_tokens":1000000001)", "max_tokens"},
                      Bad{R"(,"max_tokens":18446744073709551615)", "max_tokens"},
                      Bad{R"(,"max_completion_tokens":[])", "max_completion_tokens"},
                      Bad{R"(,"temperature":-0.1)", "temperature"},
                      Bad{R"(,"temperature":2.1)", "temperature"},
                      Bad{R"(,"temperature":"1")", "temperature"}, Bad{R"(,"top_p":1.01)", "top_p"},
                      Bad{R"(,"user":7)", "user"}, Bad{R"(,"safety_identifier":[])", "safety_identifier"},
                      Bad{R"(,"stream":1)", "stream"}, Bad{R"(,"stream":"true")", "stream"},
                      Bad{R"(,"stream_options":[])", "stream_options"},
                      Bad{R"(,"stream_options":{"include_usage":"yes"})", "stream_options.include_usage"}));

TEST(Request, ParametersInRangePassAndNullIsAbsent) {
  expect_accepted(with(R"(,"n":128,"max_tokens":1,"temperature":2,"top_p":0,"max_completion_tokens":null)"));
  expect_accepted(R"({"model":"gpt","prompt":"a","max_tokens":0,"echo":true,"logprobs":1})",
                  Endpoint::completions);
}

class Models : public ::testing::TestWithParam<std::string> {};

TEST_P(Models, ThatCannotBeNamesAreRefused) {
  expect_refused(R"({"messages":[1],"model":)" + GetParam() + "}", ErrorCode::invalid_request, "model");
}

INSTANTIATE_TEST_SUITE_P(Values, Models,
                         ::testing::Values("\"\"", "null", "1", "[\"a\"]", R"("a b")", R"("a\nb")",
                                           R"("a\u0000")", R"("caf\u00e9")",
                                           "\"" + std::string(257, 'a') + "\""));

TEST(Request, WhatAnEndpointNeedsMustBeThere) {
  expect_refused(R"({"messages":[1]})", ErrorCode::invalid_request, "model");
  expect_refused(R"({"model":"a"})", ErrorCode::invalid_request, "messages");
  expect_refused(R"({"model":"a","messages":[]})", ErrorCode::invalid_request, "messages");
  expect_refused(R"({"model":"a","messages":"hi"})", ErrorCode::invalid_request, "messages");
  expect_refused(R"({"model":"a","messages":[1]})", ErrorCode::invalid_request, "input",
                 Endpoint::embeddings);
  expect_refused(R"({"model":"a","input":{}})", ErrorCode::invalid_request, "input", Endpoint::responses);
  expect_refused(R"({"model":"a","input":null})", ErrorCode::invalid_request, "input", Endpoint::responses);
  expect_accepted(R"({"model":"a","input":"hi"})", Endpoint::responses);
  expect_accepted(R"({"model":"a","input":[[1,2],[3]]})", Endpoint::embeddings);
}

TEST(Request, EmbeddingsAreNotStreamed) {
  expect_refused(R"({"model":"a","input":"x","stream":true})", ErrorCode::invalid_request, "stream",
                 Endpoint::embeddings);
  expect_accepted(R"({"model":"a","input":"x","stream":false})", Endpoint::embeddings);
}

class Stored : public ::testing::TestWithParam<std::pair<Endpoint, std::string>> {};

TEST_P(Stored, ObjectsAtAProviderAreRefusedUntilTheyAreBoundToAccounts) {
  const auto& [endpoint, members] = GetParam();
  const std::string body =
      endpoint == Endpoint::responses ? R"({"model":"a")" + members + "}" : with(members);
  const auto facts = read(body, endpoint);
  ASSERT_FALSE(facts) << body;
  EXPECT_EQ(facts.error().code, ErrorCode::invalid_request);
  EXPECT_NE(facts.error().message.find("stored"), std::string::npos) << facts.error().message;
}

INSTANTIATE_TEST_SUITE_P(
    Bodies, Stored,
    ::testing::Values(
        std::pair(Endpoint::responses, R"(,"input":"x","previous_response_id":"resp_1")"),
        std::pair(Endpoint::responses, R"(,"input":"x","previous_\u0072esponse_id":"resp_1")"),
        std::pair(Endpoint::responses, R"(,"input":"x","conversation":{"id":"conv_1"})"),
        std::pair(Endpoint::responses, R"(,"input":"x","prompt":{"id":"pmpt_1"})"),
        std::pair(Endpoint::responses, R"(,"input":"x","background":true)"),
        std::pair(Endpoint::responses, R"(,"input":"x","background":"yes")"),
        std::pair(Endpoint::responses, R"(,"input":[{"type":"item_reference","id":"msg_1"}])"),
        std::pair(Endpoint::responses, R"(,"input":[{"type":null,"id":"msg_1"}])"),
        std::pair(Endpoint::responses, R"(,"input":[{"role":"user","content":"x"},{"id":"msg_1"}])"),
        std::pair(Endpoint::responses,
                  R"(,"input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]}])"),
        std::pair(Endpoint::responses,
                  R"(,"input":"x","tools":[{"type":"file_search","vector_store_ids":["vs_1"]}])"),
        std::pair(Endpoint::responses,
                  R"(,"input":"x","tools":[{"type":"code_interpreter","container":"cntr_1"}])"),
        std::pair(
            Endpoint::responses,
            R"(,"input":"x","tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":["f"]}}])"),
        std::pair(Endpoint::chat, R"(,"x":[{"type":"file","file":{"file_id":"file-1"}}])"),
        std::pair(Endpoint::chat, R"(,"x":[{"role":"assistant","audio":{"id":"audio_1"}}])"),
        std::pair(Endpoint::messages, R"(,"container":"container_1")"),
        std::pair(Endpoint::messages,
                  R"(,"x":[{"type":"document","source":{"type":"file","file_id":"file_1"}}])")));

TEST(Request, NamesOfStoredObjectsInsideTheApplicationsOwnDataMeanNothing) {
  expect_accepted(with(R"(,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object",)"
                       R"("properties":{"file_id":{"type":"string"},"container":"x"}}}}])"));
  expect_accepted(
      with(R"(,"response_format":{"type":"json_schema","json_schema":{"schema":{"file_ids":[1]}}})"));
  expect_accepted(with(R"(,"metadata":{"file_id":"1"})"));
  expect_accepted(with(R"(,"audio":{"voice":"alloy","format":"wav"})"));
  expect_accepted(
      R"({"model":"a","messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f",)"
      R"("input":{"file_id":"1","type":"item_reference"}}]}],"tools":[{"name":"f","input_schema":{"file_id":1}}]})",
      Endpoint::messages);
  expect_accepted(
      R"({"model":"a","input":[{"type":"message","id":"msg_1","role":"assistant","content":[]},)"
      R"({"role":"user","content":"item_reference"}],"background":false,"previous_response_id":null,)"
      R"("tools":[{"type":"code_interpreter","container":{"type":"auto"}}]})",
      Endpoint::responses);
}

TEST(Request, AReaderGoesOnAfterARefusalAndAfterAHugeBody) {
  RequestReader reader;
  EXPECT_FALSE(reader.read(Endpoint::chat, padded("{")));
  EXPECT_TRUE(reader.read(Endpoint::chat, padded(with(",\"x\":\"" + std::string(3U << 20U, 'a') + "\""))));
  EXPECT_FALSE(reader.read(Endpoint::chat, padded("[1")));
  EXPECT_TRUE(reader.read(Endpoint::chat, padded(with(""))));
}

}  // namespace
}  // namespace sentinel::engine
