#include "sentinel/cache/storable.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace sentinel::cache {
namespace {

using stream::Protocol;

class StorableTest : public ::testing::Test {
 protected:
  Storable plain(const std::string& body) { return storable_plain(Protocol::chat, body, json_); }
  Storable streamed(const std::string& bytes) { return storable_stream(Protocol::chat, bytes, json_); }

  stream::JsonParser json_;
};

std::string choice(const std::string& message, const std::string& finish = "\"stop\"") {
  return R"({"index":0,"message":)" + message + R"(,"finish_reason":)" + finish + "}";
}

std::string body(const std::string& choices, const std::string& more = "") {
  return R"({"id":"c","object":"chat.completion","choices":[)" + choices + "]" + more + "}";
}

std::string delta(const std::string& members, const std::string& finish = "null", int index = 0) {
  return R"({"choices":[{"index":)" + std::to_string(index) + R"(,"delta":{)" + members +
         R"(},"finish_reason":)" + finish + "}]}";
}

const std::string kUsage =
    R"({"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}})";

std::string events(const std::vector<std::string>& data, const std::string& end = "\n") {
  std::string bytes;
  for (const std::string& item : data) bytes += "data: " + item + end + end;
  return bytes;
}

const std::string kHi = R"("content":"hi")";

TEST_F(StorableTest, s26_a_finished_body_is_stored_with_its_usage) {
  const Storable verdict = plain(body(choice(R"({"role":"assistant","content":"hi","annotations":[]})"),
                                      R"(,"usage":{"prompt_tokens":4,"completion_tokens":1})"));
  EXPECT_TRUE(verdict.store) << verdict.reason;
  EXPECT_STREQ(verdict.reason, "");
  EXPECT_FALSE(verdict.has_tool_calls);
  EXPECT_EQ(verdict.usage, (stream::Usage{.prompt = 4, .completion = 1}));
  EXPECT_TRUE(verdict.usage_ranges.empty());
}

TEST_F(StorableTest, an_answer_cut_by_length_is_whole) {
  EXPECT_TRUE(plain(body(choice(R"({"content":"hi"})", "\"length\""))).store);
}

TEST_F(StorableTest, s26_bodies_that_are_no_whole_answer_are_not_stored) {
  const std::string good = choice(R"({"content":"hi"})");
  const std::vector<std::string> bodies = {
      "",
      "[]",
      "{",
      "nonsense",
      body(""),
      R"({"choices":{}})",
      R"({"choices":[1]})",
      R"({"id":"c"})",
      body(choice(R"({"content":"hi"})", "null")),
      body(R"({"index":0,"message":{"content":"hi"}})"),
      body(good + "," + R"({"index":1,"message":{"content":"hi"},"finish_reason":null})"),
      body(R"({"index":1,"message":{"content":"hi"},"finish_reason":"stop"})"),
      body(choice(R"({"content":"hi"})", "\"content_filter\"")),
      body(choice(R"({"content":"hi"})", "\"abort\"")),
      body(choice(R"({"content":"hi"})", "\"error\"")),
      body(choice(R"({"content":"hi"})", "3")),
      body(good, R"(,"error":{"message":"no"})"),
      body(good, R"(,"error":"no")"),
      R"({"object":"error","choices":[)" + good + "]}",
      body(R"({"index":0,"error":{"code":502},"message":{"content":"hi"},"finish_reason":"stop"})"),
      body(
          R"({"index":0,"content_filter_results":{"hate":{"filtered":true}},"message":{},"finish_reason":"stop"})"),
      body(R"({"index":9999,"message":{},"finish_reason":"stop"})"),
  };
  for (const std::string& text : bodies) {
    const Storable verdict = plain(text);
    EXPECT_FALSE(verdict.store) << text;
    EXPECT_STRNE(verdict.reason, "") << text;
  }
}

TEST_F(StorableTest, s26_answers_of_provider_run_tools_are_not_stored) {
  const std::vector<std::string> messages = {
      R"({"annotations":[{"type":"url_citation"}]})",
      R"({"executed_tools":[{"type":"search"}]})",
      R"({"citations":["https://a.example"]})",
      R"({"tool_calls":[{"id":"1","type":"web_search"}]})",
      R"({"tool_calls":[{"id":"1","type":"function"},{"id":"2","type":"mcp"}]})",
      R"({"tool_calls":[{"id":"1","type":7}]})",
      R"({"tool_calls":["call"]})",
      R"({"\u0061nnotations":[1]})",
  };
  for (const std::string& message : messages) {
    EXPECT_FALSE(plain(body(choice(message))).store) << message;
    EXPECT_FALSE(
        streamed(events({delta(message.substr(1, message.size() - 2)), delta("", "\"stop\""), "[DONE]"}))
            .store)
        << message;
  }
  EXPECT_FALSE(plain(body(choice("{}"), R"(,"search_results":[{"title":"t"}])")).store);
}

TEST_F(StorableTest, calls_of_the_clients_tools_are_stored_and_told) {
  for (const char* message :
       {R"({"tool_calls":[{"id":"1","type":"function"}]})", R"({"tool_calls":[{"id":"1","type":"custom"}]})",
        R"({"tool_calls":[{"id":"1"}]})", R"({"function_call":{"name":"f"}})"}) {
    const Storable verdict = plain(body(choice(message, "\"tool_calls\"")));
    EXPECT_TRUE(verdict.store) << message;
    EXPECT_TRUE(verdict.has_tool_calls) << message;
  }
  EXPECT_FALSE(plain(body(choice(R"({"tool_calls":[],"function_call":null})"))).has_tool_calls);
  const Storable piecewise =
      streamed(events({delta(R"("tool_calls":[{"index":0,"id":"1","type":"function"}])"),
                       delta(R"("tool_calls":[{"index":0,"type":null,"function":{"arguments":"{}"}}])"),
                       delta("", "\"tool_calls\""), "[DONE]"}));
  EXPECT_TRUE(piecewise.store) << piecewise.reason;
  EXPECT_TRUE(piecewise.has_tool_calls);
}

TEST_F(StorableTest, s26_streams_that_are_no_whole_answer_are_not_stored) {
  const std::string last = delta("", "\"stop\"");
  const std::vector<std::vector<std::string>> streams = {
      {},
      {"[DONE]"},
      {delta(kHi), last},
      {delta(kHi), "[DONE]"},
      {delta(kHi), delta("", "\"content_filter\""), "[DONE]"},
      {delta(kHi), R"({"error":{"message":"overloaded"}})", last, "[DONE]"},
      {delta(kHi), last, R"({"object":"error","message":"no"})", "[DONE]"},
      {delta(kHi), last, "{not json", "[DONE]"},
      {delta(kHi), last, "[1]", "[DONE]"},
      {delta(kHi), delta(kHi, "null", 1), last, "[DONE]"},
      {delta(kHi, "\"stop\"", 1), "[DONE]"},
      {delta(kHi), last, "[DONE]", delta(kHi)},
  };
  for (const auto& data : streams) EXPECT_FALSE(streamed(events(data)).store) << events(data);
  EXPECT_FALSE(
      streamed(events({delta(kHi), last}) + "event: error\ndata: {\"message\":\"x\"}\n\ndata: [DONE]\n\n")
          .store);
  EXPECT_FALSE(streamed(events({delta(kHi), last}) + "data: [DONE]\n").store);
}

TEST_F(StorableTest, other_protocols_are_not_stored) {
  const std::string good = body(choice("{}"));
  EXPECT_FALSE(storable_plain(Protocol::messages, good, json_).store);
  EXPECT_FALSE(storable_stream(Protocol::responses, events({delta("", "\"stop\""), "[DONE]"}), json_).store);
}

TEST_F(StorableTest, completions_are_judged_alike) {
  EXPECT_TRUE(storable_plain(Protocol::completions,
                             R"({"choices":[{"text":"a","index":0,"finish_reason":"stop"}]})", json_)
                  .store);
  EXPECT_FALSE(storable_plain(Protocol::completions,
                              R"({"choices":[{"text":"a","index":0,"finish_reason":null}]})", json_)
                   .store);
}

TEST_F(StorableTest, usage_chunks_can_be_cut_whatever_the_line_ends) {
  const std::vector<std::string> ends = {"\n", "\r\n", "\r"};
  for (unsigned pick = 0; pick < 3 * 3 * 3 * 3; ++pick) {
    const std::string parts[] = {
        "data: " + delta(kHi) + ends[pick % 3] + ends[pick % 3],
        "data: " + delta("", "\"stop\"") + ends[pick / 3 % 3] + ends[pick / 3 % 3],
        "data: " + kUsage + ends[pick / 9 % 3] + ends[pick / 9 % 3],
        "data: [DONE]" + ends[pick / 27] + ends[pick / 27],
    };
    const std::string without = parts[0] + parts[1] + parts[3];
    const Storable verdict = streamed(parts[0] + parts[1] + parts[2] + parts[3]);
    ASSERT_TRUE(verdict.store) << pick << verdict.reason;
    ASSERT_EQ(verdict.usage_ranges.size(), 1U) << pick;
    EXPECT_EQ(verdict.usage, (stream::Usage{.prompt = 7, .completion = 2, .cached = 3}));
    const std::string cut = without_ranges(parts[0] + parts[1] + parts[2] + parts[3], verdict.usage_ranges);
    EXPECT_EQ(cut, without) << pick;
    const Storable again = streamed(cut);
    EXPECT_TRUE(again.store) << pick << again.reason;
    EXPECT_TRUE(again.usage_ranges.empty());
  }
}

TEST_F(StorableTest, a_usage_block_of_several_lines_between_comments_is_cut_whole) {
  const std::string head = "\xEF\xBB\xBF: hello\n\ndata: " + delta(kHi, "\"stop\"") + "\n\n";
  const std::string usage =
      ": now\nid: 7\ndata: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":1,"
      "\"completion_tokens\":1}}\n\n";
  const std::string tail = ": bye\r\rdata: [DONE]\n\n: after\n\n";
  const Storable verdict = streamed(head + usage + tail);
  ASSERT_TRUE(verdict.store) << verdict.reason;
  EXPECT_EQ(verdict.usage_ranges, (std::vector<ByteRange>{{head.size(), head.size() + usage.size()}}));
  EXPECT_EQ(without_ranges(head + usage + tail, verdict.usage_ranges), head + tail);
}

TEST_F(StorableTest, chunks_that_also_say_something_keep_their_bytes) {
  const std::string both =
      R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}})";
  const Storable verdict = streamed(events({delta(kHi), both, R"({"choices":[],"usage":null})", "[DONE]"}));
  EXPECT_TRUE(verdict.store);
  EXPECT_TRUE(verdict.usage_ranges.empty());
  EXPECT_TRUE(verdict.usage.has_value());
}

TEST_F(StorableTest, embeddings_are_whole_with_one_vector_for_each_item) {
  const std::string two =
      R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[1]},)"
      R"({"object":"embedding","index":1,"embedding":[2]}],"model":"m","usage":{"prompt_tokens":5,"total_tokens":5}})";
  EXPECT_TRUE(storable_embeddings(two, 2, json_).store);
  EXPECT_EQ(storable_embeddings(two, 2, json_).usage, (stream::Usage{.prompt = 5}));
  EXPECT_FALSE(storable_embeddings(two, 1, json_).store);
  EXPECT_FALSE(storable_embeddings(two, 3, json_).store);
  EXPECT_FALSE(storable_embeddings(R"({"error":{"message":"no"}})", 1, json_).store);
}

TEST_F(StorableTest, every_cut_of_a_good_stream_is_refused) {
  const std::string whole = events({delta(kHi), delta("", "\"stop\""), kUsage, "[DONE]"}, "\r\n");
  ASSERT_TRUE(streamed(whole).store);
  for (std::size_t size = 0; size + 1 < whole.size();
       ++size) {  // the last LF may be missing: CR ended the line
    EXPECT_FALSE(streamed(whole.substr(0, size)).store) << size;
  }
}

TEST_F(StorableTest, any_bytes_may_be_given) {
  std::mt19937 random(26);
  const std::string whole = events({delta(kHi), delta("", "\"stop\""), kUsage, "[DONE]"}, "\r\n");
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = whole;
    for (int i = 0; i < 4; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    const Storable verdict = streamed(bytes);
    const std::string cut = without_ranges(bytes, verdict.usage_ranges);
    EXPECT_LE(cut.size(), bytes.size());
    (void)plain(bytes.substr(random() % bytes.size()));
  }
}

}  // namespace
}  // namespace sentinel::cache
