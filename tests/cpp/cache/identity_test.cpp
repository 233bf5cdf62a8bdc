#include <gtest/gtest.h>

#include <simdjson.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sentinel/cache/identity.hpp"

namespace sentinel::cache {
namespace {

constexpr IdentityHead kChat{"/v1/chat/completions", "", "", "", ""};

class Bodies {
 public:
  Digest identity(const std::string& body, const IdentityHead& head = kChat) {
    return identity_of(head, root(body), scratch);
  }
  simdjson::dom::object root(const std::string& body) {
    simdjson::dom::object found;
    EXPECT_EQ(parser_.parse(body).get_object().get(found), simdjson::SUCCESS) << body;
    return found;
  }

  IdentityScratch scratch;

 private:
  simdjson::dom::parser parser_;
};

struct Member {
  const char* name;
  const char* value;
  const char* other;
};

const std::vector<Member> kMembers{
    {"model", R"("gpt-4o")", R"("gpt-4o-mini")"},
    {"messages", R"([{"role":"user","content":"Hi"}])", R"([{"role":"user","content":"Ho"}])"},
    {"temperature", "0", "0.1"},
    {"top_p", "1", "0.9"},
    {"n", "1", "2"},
    {"max_tokens", "100", "101"},
    {"max_completion_tokens", "100", "101"},
    {"stop", R"(["a","b"])", R"(["b","a"])"},
    {"seed", "9007199254740993", "9007199254740992"},
    {"presence_penalty", "0", "-0.5"},
    {"frequency_penalty", "0", "0.5"},
    {"logit_bias", R"({"50256":-100})", R"({"50257":-100})"},
    {"logprobs", "true", "false"},
    {"top_logprobs", "2", "3"},
    {"response_format", R"({"type":"json_object"})", R"({"type":"text"})"},
    {"tools", R"([{"type":"function","function":{"name":"f"}}])",
     R"([{"type":"function","function":{"name":"g"}}])"},
    {"tool_choice", R"("auto")", R"("none")"},
    {"parallel_tool_calls", "true", "false"},
    {"functions", R"([{"name":"f"}])", R"([{"name":"g"}])"},
    {"function_call", R"("auto")", R"("none")"},
    {"reasoning_effort", R"("low")", R"("high")"},
    {"modalities", R"(["text"])", R"(["text","audio"])"},
    {"audio", R"({"voice":"alloy"})", R"({"voice":"echo"})"},
    {"prediction", R"({"type":"content","content":"a"})", R"({"type":"content","content":"b"})"},
    {"service_tier", R"("auto")", R"("default")"},
    {"verbosity", R"("low")", R"("high")"},
    {"store", "false", "true"},
    {"web_search_options", "{}", R"({"search_context_size":"low"})"},
    {"some_member_of_tomorrow", R"({"deep":[1,{"x":null}]})", R"({"deep":[1,{"x":false}]})"},
};

// The body of all members, with one written in another way: `value` of null leaves it out.
std::string body_with(const Member* changed, const char* value) {
  std::string body = "{";
  for (const Member& member : kMembers) {
    const char* written = &member == changed ? value : member.value;
    if (written == nullptr) continue;
    if (body.size() > 1) body += ',';
    body.append("\"").append(member.name).append("\":").append(written);
  }
  return body + "}";
}

TEST(CacheIdentity, S22_EveryMemberSplitsByItsValueItsAbsenceAndNull) {
  Bodies bodies;
  std::set<Digest> seen{bodies.identity(body_with(nullptr, nullptr))};
  for (const Member& member : kMembers) {
    EXPECT_TRUE(seen.insert(bodies.identity(body_with(&member, member.other))).second) << member.name;
    EXPECT_TRUE(seen.insert(bodies.identity(body_with(&member, nullptr))).second) << member.name;
    EXPECT_TRUE(seen.insert(bodies.identity(body_with(&member, "null"))).second) << member.name;
  }
}

TEST(CacheIdentity, S22_EveryPartOfTheHeadSplits) {
  Bodies bodies;
  const std::vector<IdentityHead> heads{
      {"/v1/chat/completions", "", "", "", ""},  {"/v1/completions", "", "", "", ""},
      {"/v1/chat/completions", "a", "", "", ""}, {"/v1/chat/completions", "", "a", "", ""},
      {"/v1/chat/completions", "", "", "a", ""}, {"/v1/chat/completions", "", "", "", "a"},
      {"/v1/chat/completionsa", "", "", "", ""}, {"/v1/chat/completions", "aa", "", "", ""},
      {"/v1/chat/completions", "a", "a", "", ""}};
  std::set<Digest> seen;
  for (const IdentityHead& head : heads) {
    EXPECT_TRUE(seen.insert(bodies.identity(R"({"model":"m"})", head)).second) << head.endpoint << head.query;
  }
}

TEST(CacheIdentity, S22_EveryPartOfThePartitionSplits) {
  const std::vector<Partition> partitions{{"account:a", "r", "1", ""},
                                          {"account:b", "r", "1", ""},
                                          {"account:a", "s", "1", ""},
                                          {"account:a", "r", "2", ""},
                                          {"account:a", "r", "1", "n"},
                                          {"account:ar", "", "1", ""},
                                          {"account:a", "r1", "", ""},
                                          {"account:a", "r", "", "1"},
                                          {"", "account:ar", "1", ""},
                                          {"account:a", "", "r", "1"},
                                          {"", "", "", ""}};
  std::set<Digest> seen;
  for (const Partition& partition : partitions) EXPECT_TRUE(seen.insert(partition_of(partition)).second);
  EXPECT_EQ(partition_of(partitions[0]), partition_of({"account:a", "r", "1", ""}));
}

TEST(CacheIdentity, ExcludedMembersDoNotSplitWhateverTheyHold) {
  Bodies bodies;
  const Digest bare = bodies.identity(R"({"model":"m","messages":[]})");
  for (const std::string_view name : kExcludedMembers) {
    for (const char* value : {"null", "true", "7", R"("x")", R"({"a":{"b":[1]}})", "[]"}) {
      const std::string member = "\"" + std::string(name) + "\":" + value;
      EXPECT_EQ(bodies.identity("{" + member + R"(,"model":"m","messages":[]})"), bare) << member;
      EXPECT_EQ(bodies.identity(R"({"model":"m",)" + member + R"(,"messages":[]})"), bare) << member;
    }
  }
}

TEST(CacheIdentity, ExcludedNamesBelowTheTopAreIdentity) {
  Bodies bodies;
  const Digest bare = bodies.identity(R"({"messages":[{"role":"user"}]})");
  for (const std::string_view name : kExcludedMembers) {
    const std::string body = R"({"messages":[{"role":"user",")" + std::string(name) + R"(":true}]})";
    EXPECT_NE(bodies.identity(body), bare) << name;
  }
  EXPECT_NE(bodies.identity(R"({"messages":[{"role":"user"}],"User":1})"), bare);
  EXPECT_NE(bodies.identity(R"({"messages":[{"role":"user"}],"users":1})"), bare);
}

TEST(CacheIdentity, AnEscapedNameIsTheSameName) {
  Bodies bodies;
  EXPECT_EQ(bodies.identity(R"({"a":1,"\u0075ser":"x","str\u0065am":true})"),
            bodies.identity(R"({"\u0061":1})"));
}

TEST(CacheIdentity, NumbersCountByTheirValue) {
  Bodies bodies;
  const std::vector<std::vector<const char*>> equal{{"1", "1.0", "1e0", "1E+0", "10e-1", "0.1e1", "1.000"},
                                                    {"0", "-0", "0.0", "-0.0", "0e5", "-0e-5"},
                                                    {"-3", "-3.0", "-30e-1"},
                                                    {"0.1", "1e-1", "0.10", "0.01e1"},
                                                    {"1e17", "100000000000000000", "1.0e17"},
                                                    {"9007199254740992", "9007199254740992.0"},
                                                    {"9007199254740993"},
                                                    {"9007199254740991", "9007199254740991.0"},
                                                    {"18446744073709551615"},
                                                    {"18446744073709551614"},
                                                    {"9223372036854775807"},
                                                    {"9223372036854775808", "9223372036854775808.0"},
                                                    {"-9223372036854775808", "-9223372036854775808.0"},
                                                    {"-9223372036854775807"},
                                                    {"1e300", "10e299"},
                                                    {"-1e300"},
                                                    {"18446744073709551616.0", "1.8446744073709551616e19"},
                                                    {"-1"},
                                                    {"1.5"},
                                                    {"-1.5"}};
  std::set<Digest> seen;
  for (const auto& spellings : equal) {
    const Digest first = bodies.identity(std::string("{\"x\":") + spellings.front() + "}");
    EXPECT_TRUE(seen.insert(first).second) << spellings.front();
    for (const char* spelling : spellings) {
      EXPECT_EQ(bodies.identity(std::string("{\"x\":") + spelling + "}"), first) << spelling;
    }
  }
}

TEST(CacheIdentity, SpaceKeyOrderAndEscapesDoNotMatter) {
  Bodies bodies;
  EXPECT_EQ(bodies.identity(R"({"a":{"x":1,"yy":[true,null]},"b":"\u00e9\/\n\ud83d\ude00"})"),
            bodies.identity(
                "\n{ \"b\" : \"\xC3\xA9/\\u000A\xF0\x9F\x98\x80\" ,\t\"\\u0061\":{\"yy\":[ true , null ],"
                "\"x\":1.0} }\r\n"));
}

TEST(CacheIdentity, TheOrderOfAnArrayIsIdentity) {
  Bodies bodies;
  EXPECT_NE(bodies.identity(R"({"x":[1,2]})"), bodies.identity(R"({"x":[2,1]})"));
}

TEST(CacheIdentity, TextIsNotNormalised) {
  Bodies bodies;
  EXPECT_NE(bodies.identity(R"({"x":"\u00e9"})"), bodies.identity(R"({"x":"e\u0301"})"));
  EXPECT_NE(bodies.identity(R"({"x":"a"})"), bodies.identity(R"({"x":"a "})"));
}

TEST(CacheIdentity, NoTwoDifferentValuesLookAlike) {
  Bodies bodies;
  const std::vector<const char*> values{"null",
                                        "true",
                                        "false",
                                        "0",
                                        "1",
                                        R"("")",
                                        R"("0")",
                                        R"("1")",
                                        R"("null")",
                                        R"("true")",
                                        "[]",
                                        "{}",
                                        R"("[]")",
                                        R"("{}")",
                                        "[[]]",
                                        "[[],[]]",
                                        "[[[]]]",
                                        "[{}]",
                                        "[null]",
                                        "[null,null]",
                                        R"([""])",
                                        R"(["",""])",
                                        R"(["a","b"])",
                                        R"(["ab"])",
                                        R"(["ab",""])",
                                        R"(["","ab"])",
                                        R"(["a"])",
                                        R"(["a",["b"]])",
                                        R"([["a"],"b"])",
                                        R"([["a","b"]])",
                                        R"({"a":"b"})",
                                        R"({"ab":""})",
                                        R"({"":"ab"})",
                                        R"(["a",{"b":1}])",
                                        R"({"a":{"b":1}})",
                                        R"({"a":{},"b":1})",
                                        R"({"a":[],"b":1})",
                                        R"({"a":null})",
                                        R"({"a":false})",
                                        R"({"a":0})",
                                        R"({"a":""})",
                                        R"({"a":1,"b":2})",
                                        R"({"a":2,"b":1})",
                                        R"({"a":{"a":1,"b":2}})",
                                        R"({"a":{"a":1},"b":2})",
                                        "[1,2]",
                                        "[12]",
                                        "[1,[2]]",
                                        "0.5",
                                        "[0.5]",
                                        R"("s")",
                                        R"("s\u0001a")",
                                        R"("\u0000")",
                                        R"("\u0000\u0000")",
                                        R"("a\u0000b")",
                                        "128",
                                        "[128]",
                                        "16384",
                                        R"("]")",
                                        R"(["]"])",
                                        R"("}")"};
  std::set<Digest> seen;
  for (const char* value : values) {
    EXPECT_TRUE(seen.insert(bodies.identity(std::string("{\"x\":") + value + "}")).second) << value;
  }
}

TEST(CacheIdentity, LengthsOfEverySizeAreWritten) {
  Bodies bodies;
  std::set<Digest> seen;
  for (const std::size_t size : {0U, 1U, 127U, 128U, 129U, 255U, 16'383U, 16'384U, 70'000U}) {
    const std::string text(size, 'x');
    EXPECT_TRUE(seen.insert(bodies.identity("{\"x\":\"" + text + "\"}")).second) << size;
    EXPECT_TRUE(seen.insert(bodies.identity("{\"" + text + "\":\"x\"}")).second || size == 1) << size;
  }
}

TEST(CacheIdentity, DeepAndWideBodiesAreWalked) {
  Bodies bodies;
  const std::string deep = std::string(900, '[') + std::string(900, ']');
  EXPECT_NE(bodies.identity("{\"x\":" + deep + "}"), bodies.identity("{\"x\":[" + deep + "]}"));
  std::string wide = "{";
  std::string backwards = "{";
  for (int i = 0; i < 1'000; ++i) {
    wide += "\"k" + std::to_string(i) + "\":{\"v\":" + std::to_string(i) + "},";
    backwards += "\"k" + std::to_string(999 - i) + "\":{\"v\":" + std::to_string(999 - i) + "},";
  }
  EXPECT_EQ(bodies.identity(wide + "\"z\":0}"), bodies.identity(backwards + "\"z\":0}"));
}

TEST(CacheIdentity, TheFormIsPinned) {
  // Stored answers are found again by another version only while this stays; else raise kIdentityVersion.
  Bodies bodies;
  const Digest digest =
      bodies.identity(R"({"model":"m","messages":[{"role":"user","content":"Hi"}],"n":1,"t":0.5})");
  EXPECT_EQ(to_hex(digest), "6857d0711bb402b94de09a8c766219c231237611b737ce85d51264c9e7b2e0f5");
}

TEST(CacheIdentity, NothingIsAllocatedOnceTheScratchHasGrown) {
  Bodies bodies;
  const std::string body = body_with(nullptr, nullptr);
  bodies.identity(body);
  const char* const text = bodies.scratch.text.data();
  const auto* const members = bodies.scratch.members.data();
  for (int i = 0; i < 10; ++i) bodies.identity(body);
  EXPECT_EQ(bodies.scratch.text.data(), text);
  EXPECT_EQ(bodies.scratch.members.data(), members);
}

TEST(CacheIdentity, MemoryGoesBackAfterALargeBody) {
  Bodies bodies;
  const Digest before = bodies.identity("{}");
  bodies.identity("{\"x\":\"" + std::string(3'000'000, 'x') + "\"}");
  EXPECT_EQ(bodies.identity("{}"), before);
  EXPECT_LT(bodies.scratch.text.capacity(), 100'000U);
}

TEST(CacheIdentity, ARawBodyHasTheIdentityOfTheSameBodyParsed) {
  Bodies bodies;
  BodyReader reader;
  for (const std::string& body : {body_with(nullptr, nullptr), std::string("{}"),
                                  std::string(R"({"a":[1,2.5,{"b":"\u00e9"}],"user":"u"})"),
                                  std::string(R"({"stream":true,"x":"\ud83d\ude00"})"),
                                  "{\"x\":\"" + std::string(70'000, 'x') + "\"}"}) {
    const auto digest = reader.identity(kChat, body);
    ASSERT_TRUE(bool(digest)) << body;
    EXPECT_EQ(*digest, bodies.identity(body)) << body;
  }
}

TEST(CacheIdentity, ARawBodyIsReadAsStrictlyAsTheGatewayReadsIt) {
  BodyReader reader;
  for (const char* body :
       {"", "[]", "{", R"({"a":1}x)", "{\"a\":\"\xff\"}", R"({"a":1,"\u0061":2})", R"({"a":[{"b":1,"b":1}]})",
        R"({"metadata":{"b":1,"b":1}})", R"({"user":"a","user":"a"})", R"({"a":"\ud800"})", R"({"\udc00":1})",
        R"({"metadata":["\ud800x"]})", R"({"a":1e999})"}) {
    EXPECT_FALSE(bool(reader.identity(kChat, body))) << body;
  }
  EXPECT_EQ(reader.identity(kChat, R"({"a":1,"a":2})").error().code, ErrorCode::invalid_request);
  EXPECT_EQ(reader.identity(kChat, R"({"a":"\ud800"})").error().code, ErrorCode::invalid_json);
  EXPECT_TRUE(bool(reader.identity(kChat, "{}"))) << "a fault leaves nothing behind";
}

class EmbeddingIdentities : public ::testing::Test {
 protected:
  std::vector<Digest> items(const std::string& body, const IdentityHead& head = kEmbeddings) {
    const simdjson::dom::object root = bodies_.root(body);
    const EmbeddingIdentity identity(head, root, bodies_.scratch);
    std::vector<Digest> digests;
    const simdjson::dom::element input = root["input"];
    if (!input.is_array()) return {identity.of(input, bodies_.scratch)};
    for (const simdjson::dom::element item : simdjson::dom::array(input)) {
      digests.push_back(identity.of(item, bodies_.scratch));
    }
    return digests;
  }

  static constexpr IdentityHead kEmbeddings{"/v1/embeddings", "", "", "", ""};
  Bodies bodies_;
};

TEST_F(EmbeddingIdentities, AnItemIsTheSameAloneAndInAnyBatch) {
  const auto batch = items(R"({"model":"m","input":["a","b","a"],"user":"u"})");
  ASSERT_EQ(batch.size(), 3U);
  EXPECT_EQ(batch[0], batch[2]);
  EXPECT_NE(batch[0], batch[1]);
  EXPECT_EQ(items(R"({"input":"b","model":"m"})"), std::vector<Digest>{batch[1]});
  EXPECT_EQ(items(R"({"input":["c","\u0061"],"model":"m"})")[1], batch[0]);
}

TEST_F(EmbeddingIdentities, S22_EverythingElseSplitsTheItems) {
  std::set<Digest> seen{items(R"({"model":"m","input":"a"})")[0]};
  for (const char* body : {R"({"model":"n","input":"a"})", R"({"model":"m","input":"a","dimensions":8})",
                           R"({"model":"m","input":"a","encoding_format":"base64"})",
                           R"({"model":"m","input":[1]})", R"({"model":"m","input":[[1]]})",
                           R"({"model":"m","input":"1"})", R"({"model":"m","input":"a","unknown":null})"}) {
    EXPECT_TRUE(seen.insert(items(body)[0]).second) << body;
  }
  EXPECT_TRUE(seen.insert(items(R"({"model":"m","input":"a"})", kChat)[0]).second);
  EXPECT_TRUE(seen.insert(bodies_.identity(R"({"model":"m","input":"a"})", kEmbeddings)).second);
}

}  // namespace
}  // namespace sentinel::cache
