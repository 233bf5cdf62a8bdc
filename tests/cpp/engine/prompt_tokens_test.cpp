// A prompt's tokens before it is sent (B6, B11, B13): what is counted, with which vocabulary, and what is not.
#include "sentinel/engine/prompt_tokens.hpp"

#include <gtest/gtest.h>

#include <string>

#include "engine/support.hpp"

namespace sentinel::engine {
namespace {

class Prompts : public ::testing::Test {
 protected:
  PromptTokens count(const std::string& body, Endpoint endpoint = Endpoint::chat) {
    return count_with(shared_encodings(), body, endpoint);
  }
  PromptTokens count_with(Encodings& encodings, const std::string& body, Endpoint endpoint = Endpoint::chat) {
    const std::string ready = padded(body);
    const auto facts = reader.read(endpoint, ready);
    EXPECT_TRUE(facts) << facts.error().message;
    return count_prompt(encodings, rules, reader, *facts, ready);
  }
  std::int64_t of_messages(const std::string& messages, const std::string& more = {}) {
    return count(R"({"model":"gpt-4o","messages":[)" + messages + "]" + more + "}").count;
  }
  std::int64_t tokens_in(std::string_view text) {
    return static_cast<std::int64_t>(
        (*shared_encodings().get(tokens::EncodingName::o200k_base))->count(text));
  }

  RequestReader reader;
  tokens::ModelRules rules = tokens::ModelRules::standard();
};

const std::string kHello = R"({"role":"user","content":"hello"})";

TEST_F(Prompts, B6AMessageCostsItsTextItsRoleAndTheFamilysOverhead) {
  EXPECT_EQ(of_messages(kHello), 3 + 1 + 1 + 3);
  EXPECT_EQ(of_messages(kHello + "," + kHello), 2 * (3 + 1 + 1) + 3);
  EXPECT_EQ(of_messages(R"({"role":"user","name":"bob","content":"hello"})"),
            3 + 1 + 1 + 1 + 3 + tokens_in("bob"));
}

TEST_F(Prompts, PartsOfTextCountAndPicturesDoNot) {
  const std::string parts =
      R"({"role":"user","content":[{"type":"text","text":"hello"},{"type":"image_url","image_url":{"url":"data:aaaa"}},)"
      R"({"type":"input_audio","input_audio":{"data":"bbbb","format":"wav"}}]})";
  EXPECT_EQ(of_messages(parts), of_messages(kHello));
}

TEST_F(Prompts, ToolsCountAsTheBytesOfTheirDefinition) {
  const std::string tool = R"({"type":"function","function":{"name":"f","parameters":{"type":"object"}}})";
  EXPECT_EQ(of_messages(kHello, R"(,"tools":[ )" + tool + " ]"),
            of_messages(kHello) + tokens_in("[" + tool + "]"));
  EXPECT_EQ(of_messages(kHello, R"(,"tools":null)"), of_messages(kHello));
}

TEST_F(Prompts, WhatIsNoPromptIsNotCounted) {
  EXPECT_EQ(of_messages(kHello, R"(,"user":"a long name of somebody","metadata":{"a":"b c d"},"stop":["x"])"),
            of_messages(kHello));
}

TEST_F(Prompts, OtherEndpointsCountTheirOwnTexts) {
  EXPECT_EQ(count(R"({"model":"gpt-4o","prompt":"hello world"})", Endpoint::completions).count, 2);
  EXPECT_EQ(count(R"({"model":"gpt-4o","prompt":["hello","hello world"]})", Endpoint::completions).count, 3);
  EXPECT_EQ(count(R"({"model":"gpt-4o","input":"hello world"})", Endpoint::embeddings).count, 2);
  EXPECT_EQ(count(R"({"model":"gpt-4o","input":"hello","instructions":"hello"})", Endpoint::responses).count,
            2);
  EXPECT_EQ(count(R"({"model":"gpt-4o","system":"hello","max_tokens":5,"messages":[)" + kHello + "]}",
                  Endpoint::messages)
                .count,
            of_messages(kHello) + 1);
}

TEST_F(Prompts, TokenIdsGivenAsNumbersCountOneEach) {
  EXPECT_EQ(count(R"({"model":"gpt-4o","input":[1,2,3,4]})", Endpoint::embeddings).count, 4);
  EXPECT_EQ(count(R"({"model":"gpt-4o","input":[[1,2],[3]]})", Endpoint::embeddings).count, 3);
}

TEST_F(Prompts, EscapesAreReadBeforeTheyAreCounted) {
  EXPECT_EQ(of_messages(R"({"role":"user","content":"h\u0065llo"})"), of_messages(kHello));
}

TEST_F(Prompts, B11ASpecialTokensNameInAPromptIsOrdinaryText) {
  EXPECT_GT(of_messages(R"({"role":"user","content":"<|endoftext|>"})"), of_messages(kHello));
}

TEST_F(Prompts, B13TheModelsOwnVocabularyCountsAndAnUnknownModelIsMarkedEstimated) {
  const std::string text = R"(,"messages":[{"role":"user","content":"Привет, как дела? 你好，世界"}]})";
  const PromptTokens newer = count(R"({"model":"gpt-4o")" + text);
  const PromptTokens older = count(R"({"model":"gpt-4-0613")" + text);
  const PromptTokens unknown = count(R"({"model":"house-model")" + text);
  EXPECT_FALSE(newer.estimated);
  EXPECT_FALSE(older.estimated);
  EXPECT_LT(newer.count, older.count);
  EXPECT_TRUE(unknown.estimated);
  EXPECT_EQ(unknown.count, newer.count);
  rules = tokens::ModelRules::standard_after({{"house", tokens::EncodingName::cl100k_base}});
  const PromptTokens told = count(R"({"model":"house-model")" + text);
  EXPECT_FALSE(told.estimated);
  EXPECT_EQ(told.count, older.count);
}

TEST_F(Prompts, WithoutItsVocabularyAPromptIsEstimatedFromItsBytes) {
  TemporaryDirectory empty;
  Encodings missing(empty.path());
  const auto error = missing.get(tokens::EncodingName::o200k_base);
  ASSERT_FALSE(error);
  EXPECT_NE(error.error().message.find(empty.path()), std::string::npos);
  const PromptTokens estimate =
      count_with(missing, R"({"model":"gpt-4o","input":"12345678901"})", Endpoint::embeddings);
  EXPECT_EQ(estimate.count, 3);
  EXPECT_TRUE(estimate.estimated);
}

}  // namespace
}  // namespace sentinel::engine
