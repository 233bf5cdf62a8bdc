#include <gtest/gtest.h>

#include <simdjson.h>

#include <string>
#include <vector>

#include "sentinel/cache/qualification.hpp"

namespace sentinel::cache {
namespace {

using stream::Protocol;

Qualification of(const std::string& members, Protocol protocol = Protocol::chat) {
  simdjson::dom::parser parser;
  simdjson::dom::object root;
  EXPECT_EQ(parser.parse("{" + members + "}").get_object().get(root), simdjson::SUCCESS) << members;
  return qualify(protocol, root);
}

TEST(CacheQualification, AnOrdinaryRequestQualifies) {
  for (const char* members :
       {R"("model":"m","messages":[])", R"("temperature":null)", R"("temperature":0)", R"("temperature":0.0)",
        R"("temperature":-0.0)", R"("n":1)", R"("n":null)", R"("top_p":0.5,"seed":7)"}) {
    const Qualification said = of(members);
    EXPECT_TRUE(said.cacheable) << members;
    EXPECT_FALSE(said.sampled) << members;
    EXPECT_STREQ(said.reason, "") << members;
  }
}

TEST(CacheQualification, AskingForVarietyIsSampled) {
  for (const char* members : {R"("temperature":0.01)", R"("temperature":1)", R"("n":2)", R"("n":128)",
                              R"("temperature":0,"n":2)", R"("temperature":"hot")", R"("n":[])"}) {
    EXPECT_TRUE(of(members).sampled) << members;
    EXPECT_TRUE(of(members).cacheable) << members;
  }
}

TEST(CacheQualification, BestOfCountsForCompletionsOnly) {
  EXPECT_TRUE(of(R"("best_of":2)", Protocol::completions).sampled);
  EXPECT_FALSE(of(R"("best_of":1)", Protocol::completions).sampled);
  EXPECT_FALSE(of(R"("best_of":null)", Protocol::completions).sampled);
  EXPECT_FALSE(of(R"("best_of":2)", Protocol::chat).sampled);
}

struct Obstacle {
  const char* members;
  const char* reason;
};

TEST(CacheQualification, S26_WhatTheProviderKeepsOrRunsIsNotCacheable) {
  for (const Obstacle& obstacle : std::vector<Obstacle>{
           {R"("store":true)", "store"},
           {R"("store":1)", "store"},
           {R"("background":true)", "background"},
           {R"("previous_response_id":"resp_1")", "previous_response_id"},
           {R"("web_search_options":{})", "web_search_options"},
           {R"("tools":[{"type":"web_search"}])", "provider_tools"},
           {R"("tools":[{"type":"function","function":{}},{"type":"code_interpreter"}])", "provider_tools"},
           {R"("tools":[{"function":{}}])", "provider_tools"},
           {R"("tools":[{"type":null}])", "provider_tools"},
           {R"("tools":["web_search"])", "provider_tools"},
           {R"("tools":{"type":"function"})", "provider_tools"}}) {
    const Qualification said = of(obstacle.members);
    EXPECT_FALSE(said.cacheable) << obstacle.members;
    EXPECT_STREQ(said.reason, obstacle.reason) << obstacle.members;
  }
}

TEST(CacheQualification, WhatTheApplicationRunsAndWhatIsSwitchedOffDoNotMatter) {
  for (const char* members :
       {R"("store":false)", R"("store":null)", R"("background":false)", R"("background":null)",
        R"("previous_response_id":null)", R"("web_search_options":null)", R"("tools":null)", R"("tools":[])",
        R"("tools":[{"type":"function"},{"type":"custom"}])", R"("functions":[{"name":"f"}])"}) {
    EXPECT_TRUE(of(members).cacheable) << members;
  }
}

TEST(CacheQualification, AnObstacleIsFoundAmongTheOthersAndSamplingIsStillSeen) {
  const Qualification said = of(R"("store":true,"n":3,"tools":[{"type":"web_search"}],"temperature":1)");
  EXPECT_FALSE(said.cacheable);
  EXPECT_TRUE(said.sampled);
  EXPECT_STREQ(said.reason, "store");
}

TEST(CacheQualification, NestedMembersOfTheSameNamesSayNothing) {
  EXPECT_TRUE(of(R"("metadata":{"store":true,"tools":[1]},"messages":[{"background":true}])").cacheable);
}

TEST(CacheQualification, OnlyThreeProtocolsAreCachedAndEmbeddingsAlways) {
  EXPECT_TRUE(of("", Protocol::completions).cacheable);
  EXPECT_FALSE(of("", Protocol::responses).cacheable);
  EXPECT_FALSE(of("", Protocol::messages).cacheable);
  const Qualification said = of(R"("temperature":1,"store":true)", Protocol::embeddings);
  EXPECT_TRUE(said.cacheable);
  EXPECT_FALSE(said.sampled);
}

}  // namespace
}  // namespace sentinel::cache
