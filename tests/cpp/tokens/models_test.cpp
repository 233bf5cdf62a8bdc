#include "sentinel/tokens/models.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string_view>

#include "tokens/vocabulary_file.hpp"

namespace sentinel::tokens {
namespace {

TEST(ModelRules, B6EachFamilyHasItsEncoding) {
  const ModelRules rules = ModelRules::standard();
  for (std::string_view model : {"gpt-4o", "gpt-4o-mini", "gpt-4o-2024-05-13", "chatgpt-4o-latest", "gpt-4.1",
                                 "gpt-4.1-nano", "gpt-5", "gpt-5.1", "gpt-5-mini", "o1", "o1-preview",
                                 "o3-mini", "o4-mini", "gpt-oss-120b", "ft:gpt-4o:team::id"}) {
    EXPECT_EQ(rules.choose(model).encoding, EncodingName::o200k_base) << model;
    EXPECT_FALSE(rules.choose(model).estimated) << model;
  }
  for (std::string_view model :
       {"gpt-4", "gpt-4-0613", "gpt-4-turbo", "gpt-4-32k", "gpt-3.5-turbo", "gpt-35-turbo-16k",
        "text-embedding-3-small", "text-embedding-ada-002", "ada-002", "ft:gpt-3.5-turbo:team::id"}) {
    EXPECT_EQ(rules.choose(model).encoding, EncodingName::cl100k_base) << model;
    EXPECT_FALSE(rules.choose(model).estimated) << model;
  }
}

TEST(ModelRules, B6AnUnknownModelIsAVisibleEstimateWithO200k) {
  const ModelRules rules = ModelRules::standard();
  for (std::string_view model :
       {"", "claude-sonnet-4", "llama-3.1-70b", "o10", "gpt-40", "gpt", "my-gpt-4"}) {
    EXPECT_EQ(rules.choose(model).encoding, EncodingName::o200k_base) << model;
    EXPECT_TRUE(rules.choose(model).estimated) << model;
  }
}

TEST(ModelRules, B6RulesAreAValueAndTheLongestPrefixDecides) {
  const ModelRules rules({{"house", EncodingName::o200k_base, {}},
                          {"house-old", EncodingName::cl100k_base, {4, 2, 1}},
                          {"hous", EncodingName::cl100k_base, {}}});
  EXPECT_EQ(rules.choose("house-new").encoding, EncodingName::o200k_base);
  EXPECT_EQ(rules.choose("house-old-7").encoding, EncodingName::cl100k_base);
  EXPECT_EQ(rules.choose("house-old-7").overhead.per_message, 4U);
  EXPECT_TRUE(rules.choose("gpt-4").estimated);
}

TEST(CountMessages, EveryMessageItsNameAndTheReplyHaveTheirOverhead) {
  const MessageOverhead overhead;
  EXPECT_EQ(count_messages(o200k(), overhead, {}), 3U);
  const std::array<Message, 2> messages{{{"system", "hello world"}, {"user", "hello world", "ann"}}};
  const std::size_t texts =
      o200k().count("system") + o200k().count("user") + 2 * o200k().count("hello world");
  EXPECT_EQ(count_messages(o200k(), overhead, messages), texts + o200k().count("ann") + 2 * 3 + 1 + 3);
}

}  // namespace
}  // namespace sentinel::tokens
