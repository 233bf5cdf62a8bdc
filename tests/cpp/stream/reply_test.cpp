#include "sentinel/stream/reply.hpp"

#include <gtest/gtest.h>

#include <string>

namespace sentinel::stream {
namespace {

ReplyFacts read(Protocol protocol, std::string_view body) {
  JsonParser json;
  auto facts = read_reply(protocol, body, json);
  EXPECT_TRUE(facts) << body;
  return facts ? *facts : ReplyFacts{};
}

TEST(ReadReply, AChatCompletion) {
  const ReplyFacts facts =
      read(Protocol::chat,
           R"({"object":"chat.completion","choices":[{"message":{"role":"assistant","content":"Hello",
      "refusal":null,
      "reasoning_content":"hm","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},
      "finish_reason":"stop"}],
      "usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":8}}})");
  EXPECT_EQ(*facts.usage, (Usage{9, 4, 8, 0, 0}));
  EXPECT_EQ(facts.content_bytes, 9);
  EXPECT_TRUE(facts.complete);
  EXPECT_FALSE(facts.is_error);
}

TEST(ReadReply, ACompletion) {
  const ReplyFacts facts =
      read(Protocol::completions, R"({"choices":[{"text":"abc","finish_reason":"length"}]})");
  EXPECT_FALSE(facts.usage);
  EXPECT_EQ(facts.content_bytes, 3);
  EXPECT_TRUE(facts.complete);
}

TEST(ReadReply, AResponse) {
  const ReplyFacts facts =
      read(Protocol::responses,
           R"({"status":"completed","error":null,"output":[{"type":"reasoning","summary":[{"text":"hm"}]},
      {"type":"message","content":[{"type":"output_text","text":"Hello"},{"type":"refusal","refusal":"no"}]},
      {"type":"function_call","arguments":"{}"}],"usage":{"input_tokens":7,"output_tokens":6,
      "output_tokens_details":{"reasoning_tokens":5}}})");
  EXPECT_EQ(*facts.usage, (Usage{7, 6, 0, 0, 5}));
  EXPECT_EQ(facts.content_bytes, 11);
  EXPECT_TRUE(facts.complete);
}

TEST(ReadReply, AMessageCountsCachedInputAsPrompt) {
  const ReplyFacts facts =
      read(Protocol::messages,
           R"({"type":"message","stop_reason":"end_turn","content":[{"type":"text","text":"Hey"},
      {"type":"tool_use","input":{ "a": 1 }}],"usage":{"input_tokens":1,"cache_creation_input_tokens":2,
      "cache_read_input_tokens":3,"output_tokens":4}})");
  EXPECT_EQ(*facts.usage, (Usage{6, 4, 3, 2, 0}));
  EXPECT_EQ(facts.content_bytes, 3 + 7);
  EXPECT_TRUE(facts.complete);
}

TEST(ReadReply, EmbeddingsHaveNoCompletionTokens) {
  const ReplyFacts facts = read(Protocol::embeddings, R"({"data":[{"index":0,"embedding":[0.1,-2e-3]}],
      "usage":{"prompt_tokens":5,"total_tokens":5}})");
  EXPECT_EQ(*facts.usage, (Usage{5, 0, 0, 0, 0}));
  EXPECT_TRUE(facts.complete);
}

TEST(ReadReply, UsageWithoutItsNecessaryFiguresIsNone) {
  EXPECT_FALSE(read(Protocol::chat, R"({"usage":{"prompt_tokens":5}})").usage);
  EXPECT_FALSE(read(Protocol::chat, R"({"usage":{"prompt_tokens":-5,"completion_tokens":1}})").usage);
  EXPECT_FALSE(read(Protocol::messages, R"({"usage":{"output_tokens":1}})").usage);
}

TEST(ReadReply, AnErrorInASuccessIsSeen) {
  EXPECT_TRUE(read(Protocol::chat, R"({"error":{"message":"m"}})").is_error);
  EXPECT_TRUE(read(Protocol::embeddings, R"({"error":"m"})").is_error);
  EXPECT_TRUE(read(Protocol::chat, R"({"object":"error"})").is_error);
  EXPECT_TRUE(read(Protocol::messages, R"({"type":"error","error":{"message":"m"}})").is_error);
  EXPECT_TRUE(read(Protocol::responses, R"({"status":"failed"})").is_error);
  EXPECT_FALSE(read(Protocol::responses, R"({"status":"completed","error":null})").is_error);
}

TEST(ReadReply, AnUnfinishedAnswerIsNotComplete) {
  EXPECT_FALSE(read(Protocol::chat, R"({})").complete);
  EXPECT_FALSE(read(Protocol::chat, R"({"choices":[]})").complete);
  EXPECT_FALSE(
      read(Protocol::chat, R"({"choices":[{"finish_reason":"stop"},{"finish_reason":null}]})").complete);
  EXPECT_FALSE(read(Protocol::responses, R"({"status":"in_progress"})").complete);
  EXPECT_FALSE(read(Protocol::messages, R"({"stop_reason":null})").complete);
  EXPECT_FALSE(read(Protocol::embeddings, R"({"data":[{}]})").complete);
  EXPECT_FALSE(read(Protocol::chat, R"({"error":"m","choices":[{"finish_reason":"stop"}]})").complete);
}

TEST(ReadReply, WhatIsNotAJsonObjectIsAnUpstreamError) {
  JsonParser json;
  const std::string deep = std::string(10'000, '[') + std::string(10'000, ']');
  for (const std::string& body :
       {std::string("<html></html>"), std::string(), std::string("[]"), std::string("{\"a\":"),
        std::string("{\"a\":\"\xC3\"}"), "{\"a\":" + deep + "}"}) {
    const auto facts = read_reply(Protocol::chat, body, json);
    ASSERT_FALSE(facts);
    EXPECT_EQ(facts.error().code, ErrorCode::upstream_error);
  }
}

}  // namespace
}  // namespace sentinel::stream
