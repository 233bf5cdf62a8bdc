#include "sentinel/cache/forms.hpp"

#include <gtest/gtest.h>
#include <simdjson.h>

#include <algorithm>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "sentinel/cache/storable.hpp"
#include "sentinel/stream/accumulator.hpp"
#include "sentinel/stream/sse_parser.hpp"

namespace sentinel::cache {
namespace {

using stream::Protocol;

// The value with its keys in order, so that equal values have equal text. Strict: lone surrogates are no JSON here.
std::string canonical(simdjson::dom::element element) {
  simdjson::dom::object object;
  simdjson::dom::array array;
  if (element.get(object) == simdjson::SUCCESS) {
    std::map<std::string, std::string> members;
    for (const auto [key, value] : object) members[std::string(key)] = canonical(value);
    std::string text = "{";
    for (const auto& [key, value] : members) text += key + ":" + value + ",";
    return text + "}";
  }
  if (element.get(array) != simdjson::SUCCESS) return simdjson::minify(element);
  std::string text = "[";
  for (const auto item : array) text += canonical(item) + ",";
  return text + "]";
}

std::string canonical(const std::string& json) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (parser.parse(json).get(root) != simdjson::SUCCESS) return "not JSON: " + json;
  return canonical(root);
}

std::string events(const std::vector<std::string>& data, const std::string& end = "\n") {
  std::string bytes;
  for (const std::string& item : data) bytes += "data: " + item + end + end;
  return bytes;
}

std::vector<std::string> data_of(const std::string& bytes) {
  std::vector<std::string> data;
  stream::SseParser parser(bytes.size());
  const auto take = [&data](const stream::SseEvent& event) { data.emplace_back(event.data); };
  EXPECT_TRUE(parser.feed(bytes, take));
  return data;
}

std::string chunk(const std::string& choice) {
  return R"({"id":"c-1","object":"chat.completion.chunk","created":1,"model":"m","service_tier":"default",)"
         R"("system_fingerprint":"fp","choices":[)" +
         choice + R"(],"usage":null,"obfuscation":"aX"})";
}

std::string delta(const std::string& members, const std::string& finish = "null",
                  const std::string& logprobs = "null", int index = 0) {
  return chunk(R"({"index":)" + std::to_string(index) + R"(,"delta":{)" + members + R"(},"logprobs":)" +
               logprobs + R"(,"finish_reason":)" + finish + "}");
}

const std::string kUsageChunk =
    R"({"id":"c-1","object":"chat.completion.chunk","created":1,"model":"m","service_tier":"default",)"
    R"("system_fingerprint":"fp","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}})";

const std::vector<std::string> kChat = {
    delta(R"("role":"assistant","content":"","refusal":null)", "null", R"({"content":[],"refusal":null})"),
    delta(R"("role":"assistant","content":"H\u00e9","refusal":null)", "null", "null", 1),
    delta(R"("content":"Hel")", "null", R"({"content":[{"token":"Hel","logprob":-0.10}],"refusal":null})"),
    delta(R"("content":"lo \"\ud83d")", "null",
          R"({"content":[{"token":"lo","logprob":-1E-400},{"token":"x"}],"refusal":null})"),
    delta(R"("content":"\ude00")"),
    delta(R"("tool_calls":[{"index":1,"id":"t2","type":"function","function":{"name":"g","arguments":""}}])",
          "null", "null", 1),
    delta(R"("tool_calls":[{"index":0,"id":"t1","type":"function","function":{"name":"f","arguments":"{"}},)"
          R"({"index":1,"function":{"arguments":"{}"}}])",
          "null", "null", 1),
    delta(R"("tool_calls":[{"index":0,"id":"t1","function":{"arguments":"\"a\":1}"}}])", "null", "null", 1),
    delta("", "\"stop\""),
    delta("", "\"tool_calls\"", "null", 1),
    kUsageChunk,
    "[DONE]",
};

const std::string kChatBody =
    R"({"id":"c-1","object":"chat.completion","created":1,"model":"m","choices":[)"
    R"({"index":0,"message":{"role":"assistant","content":"Hello \"\ud83d\ude00","refusal":null},)"
    R"("logprobs":{"content":[{"token":"Hel","logprob":-0.10},{"token":"lo","logprob":-1E-400},{"token":"x"}],)"
    R"("refusal":null},"finish_reason":"stop"},)"
    R"({"index":1,"message":{"role":"assistant","content":"H\u00e9","refusal":null,"tool_calls":[)"
    R"({"id":"t1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},)"
    R"({"id":"t2","type":"function","function":{"name":"g","arguments":"{}"}}]},"logprobs":null,)"
    R"("finish_reason":"tool_calls"}],)"
    R"("usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5},"service_tier":"default",)"
    R"("system_fingerprint":"fp"})";

const std::vector<std::string> kText = {
    R"({"id":"t","object":"text_completion","created":2,"model":"m","choices":[{"text":"a\n","index":0,)"
    R"("logprobs":{"tokens":["a\n"],"token_logprobs":[-0.5],"top_logprobs":[{"b":-2.0}],"text_offset":[0]},)"
    R"("finish_reason":null}]})",
    R"({"id":"t","object":"text_completion","created":2,"model":"m","choices":[{"text":"b","index":0,)"
    R"("logprobs":{"tokens":["b"],"token_logprobs":[-0.25],"top_logprobs":[{}],"text_offset":[2]},)"
    R"("finish_reason":null}]})",
    R"({"id":"t","object":"text_completion","created":2,"model":"m","choices":[{"text":"","index":0,)"
    R"("logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":2}})",
    "[DONE]",
};

const std::string kTextBody =
    R"({"id":"t","object":"text_completion","created":2,"model":"m","choices":[{"text":"a\nb","index":0,)"
    R"("logprobs":{"tokens":["a\n","b"],"token_logprobs":[-0.5,-0.25],"top_logprobs":[{"b":-2.0},{}],)"
    R"("text_offset":[0,2]},"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":2}})";

class FormsTest : public ::testing::Test {
 protected:
  std::optional<std::string> to_plain(const std::string& bytes, Protocol protocol = Protocol::chat) {
    return stream_to_plain(protocol, bytes, json_);
  }
  std::optional<std::string> to_stream(const std::string& body, bool usage = true,
                                       Protocol protocol = Protocol::chat) {
    return plain_to_stream(protocol, body, usage, json_);
  }

  stream::JsonParser json_;
};

TEST_F(FormsTest, a_chat_stream_is_the_body_its_deltas_amount_to) {
  EXPECT_EQ(to_plain(events(kChat)), kChatBody);
}

TEST_F(FormsTest, a_completions_stream_is_the_body_its_chunks_amount_to) {
  EXPECT_EQ(to_plain(events(kText), Protocol::completions), kTextBody);
}

TEST_F(FormsTest, a_chat_body_is_sent_as_the_provider_sends_chunks) {
  const std::string body =
      R"({ "id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [ {"index": 0,
      "message": {"role": "assistant", "content": "Hi\nyou", "refusal": null, "annotations": []},
      "logprobs": null, "finish_reason": "stop"} ],
      "usage": {"prompt_tokens": 3, "completion_tokens": 1}, "system_fingerprint": null })";
  const auto piece = [](const std::string& delta, const std::string& finish) {
    return R"({"id":"c-1","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":null,)"
           R"("choices":[{"index":0,"delta":)" +
           delta + R"(,"logprobs":null,"finish_reason":)" + finish + "}]";
  };
  const std::vector<std::string> chunks = {
      piece(R"({"role":"assistant","content":"","refusal":null})", "null"),
      piece(R"({"content":"Hi\nyou"})", "null"),
      piece("{}", "\"stop\""),
  };
  const std::string tail =
      R"({"id":"c-1","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":null,)"
      R"("choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}})";
  std::vector<std::string> with;
  std::vector<std::string> without;
  for (const std::string& text : chunks) {
    with.push_back(text + R"(,"usage":null})");
    without.push_back(text + "}");
  }
  with.insert(with.end(), {tail, "[DONE]"});
  without.push_back("[DONE]");
  EXPECT_EQ(to_stream(body, true), events(with));
  EXPECT_EQ(to_stream(body, false), events(without));
}

TEST_F(FormsTest, bodies_survive_the_way_there_and_back) {
  EXPECT_EQ(to_plain(*to_stream(kChatBody)), kChatBody);
  EXPECT_EQ(to_plain(*to_stream(kTextBody, true, Protocol::completions), Protocol::completions), kTextBody);
}

TEST_F(FormsTest, one_chunk_for_each_token_when_there_are_log_probabilities) {
  const std::string body =
      R"({"choices":[{"index":0,"message":{"role":"assistant","content":"a\u00e9 b"},"logprobs":{"content":[)"
      R"({"token":"a\u00e9","logprob":-1},{"token":" b","logprob":-2}]},"finish_reason":"stop"}]})";
  const auto data = data_of(*to_stream(body, false));
  ASSERT_EQ(data.size(), 5U);
  EXPECT_NE(data[0].find(R"("logprobs":{"content":[]})"), std::string::npos) << data[0];
  EXPECT_NE(data[1].find(
                R"("delta":{"content":"a\u00e9"},"logprobs":{"content":[{"token":"a\u00e9","logprob":-1}]})"),
            std::string::npos)
      << data[1];
  EXPECT_NE(data[2].find(R"("delta":{"content":" b"},"logprobs":{"content":[{"token":" b","logprob":-2}]})"),
            std::string::npos)
      << data[2];
}

TEST_F(FormsTest, log_probabilities_that_are_not_the_text_go_with_one_chunk) {
  for (const char* content : {R"("a b")", R"("")", "null"}) {
    const std::string body = std::string(R"({"object":"chat.completion","choices":[{"index":0,"message":{)") +
                             R"("role":"assistant","content":)" + content +
                             R"(},"logprobs":{"content":[{"token":"x"},{"bytes":[1]}],"refusal":null},)" +
                             R"("finish_reason":"stop"}]})";
    const auto stream = to_stream(body, false);
    ASSERT_TRUE(stream) << content;
    EXPECT_EQ(data_of(*stream).size(), 4U);
    EXPECT_EQ(canonical(*to_plain(*stream)), canonical(body));
  }
  const std::string uneven =
      R"({"object":"text_completion","choices":[{"index":0,"text":"ab","logprobs":{"tokens":["a","b"],)"
      R"("token_logprobs":[1],"top_logprobs":null,"text_offset":[]},"finish_reason":"stop"}]})";
  const auto stream = to_stream(uneven, false, Protocol::completions);
  ASSERT_TRUE(stream);
  EXPECT_EQ(canonical(*to_plain(*stream, Protocol::completions)), canonical(uneven));
}

TEST_F(FormsTest, usage_that_the_original_lacks_is_not_made_up) {
  for (const char* usage : {"", R"(,"usage":null)"}) {
    const std::string body =
        std::string(R"({"choices":[{"index":0,"message":{"role":"assistant","content":"a"},)") +
        R"("finish_reason":"stop"}])" + usage + "}";
    EXPECT_TRUE(to_stream(body, false));
    EXPECT_FALSE(to_stream(body, true));
  }
}

// A member nobody knows may stay where its object is kept as it is, or make the answer a miss; it is never lost.
void never_lost(const std::string& text, const std::string& what,
                const std::function<std::optional<std::string>(const std::string&)>& turn) {
  std::size_t misses = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '{' || (at > 0 && text[at - 1] == '"')) continue;  // a brace that opens an object
    std::string changed = text;
    changed.insert(at + 1, text[at + 1] == '}' ? what : what + ",");
    const auto turned = turn(changed);
    if (!turned) {
      ++misses;
    } else {
      EXPECT_NE(turned->find(what), std::string::npos) << changed;
    }
  }
  EXPECT_GE(misses, 3U);
}

TEST_F(FormsTest, an_unknown_member_at_any_place_is_a_miss_or_kept) {
  const auto chat_plain = [this](const std::string& bytes) { return to_plain(bytes); };
  const auto text_plain = [this](const std::string& bytes) { return to_plain(bytes, Protocol::completions); };
  const auto chat_stream = [this](const std::string& body) { return to_stream(body); };
  const auto text_stream = [this](const std::string& body) {
    return to_stream(body, true, Protocol::completions);
  };
  for (const char* what : {R"("zzz":1)", R"("zzz":null)", R"("reasoning_content":"hm")",
                           R"("annotations":[{}])", R"("audio":{"id":"a"})", R"("\u0063ontent":"x")"}) {
    never_lost(events({kChat.begin(), kChat.end()}), what, chat_plain);
    never_lost(events({kText.begin(), kText.end()}), what, text_plain);
    never_lost(kChatBody, what, chat_stream);
    never_lost(kTextBody, what, text_stream);
  }
}

TEST_F(FormsTest, members_known_to_say_nothing_are_let_go) {
  const std::string quiet = R"("reasoning_content":null,"annotations":[ ],"audio":null,"function_call":null,)"
                            R"("tool_calls":null)";
  const auto plain = to_plain(
      events({delta(R"("role":"assistant","content":"a",)" + quiet), delta("", "\"stop\""), "[DONE]"}));
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->find("annotations"), std::string::npos);
  EXPECT_TRUE(to_stream(R"({"choices":[{"index":0,"message":{"role":"assistant","content":"a",)" + quiet +
                            R"(},"stop_reason":null,"finish_reason":"stop"}],"prompt_logprobs":null})",
                        false));
}

TEST_F(FormsTest, s26_streams_that_are_not_whole_or_not_understood_have_no_body) {
  const std::string first = delta(R"("role":"assistant","content":"a")");
  const std::string last = delta("", "\"stop\"");
  const auto call = [](const std::string& members) { return delta(R"("tool_calls":[{)" + members + "}]"); };
  const std::vector<std::vector<std::string>> streams = {
      {},
      {"[DONE]"},
      {kUsageChunk, "[DONE]"},
      {first, last},
      {first, "[DONE]"},
      {first, last, "[DONE]", last},
      {first, last, "{", "[DONE]"},
      {first, last, "[]", "[DONE]"},
      {first, last, R"({"error":{"message":"no"}})", "[DONE]"},
      {first, last, delta(R"("role":"user")"), "[DONE]"},
      {first, last, delta("", "\"length\""), "[DONE]"},
      {first, delta("", "\"stop\"", "null", 1), "[DONE]"},
      {first, last, delta("", "\"stop\"", "null", 2), "[DONE]"},
      {first, last, delta("", "\"stop\"", "null", 300), "[DONE]"},
      {first, last, R"({"choices":null})", "[DONE]"},
      {first, last, R"({"choices":[],"usage":7})", "[DONE]"},
      {first, last, R"({"id":"c-2","choices":[]})", "[DONE]"},
      {first, last, R"({"id":3,"choices":[]})", "[DONE]"},
      {first, last, R"({"model":"other","choices":[]})", "[DONE]"},
      {first, last, R"({"system_fingerprint":"other","choices":[]})", "[DONE]"},
      {first, last, R"({"object":"chat.completion","choices":[]})", "[DONE]"},
      {first, last, R"({"choices":[],"choices":[]})", "[DONE]"},
      {first, last, chunk(R"({"index":0,"delta":null,"finish_reason":null})"), "[DONE]"},
      {first, last, chunk(R"({"delta":{},"finish_reason":null})"), "[DONE]"},
      {first, last, delta(R"("content":["a"])"), "[DONE]"},
      {first, last, delta("", "null", "[]"), "[DONE]"},
      {first, call(R"("index":0,"type":"function","function":{"name":"f"})"), last, "[DONE]"},
      {first, call(R"("index":0,"id":"t","function":{"name":"f"})"), last, "[DONE]"},
      {first, call(R"("index":0,"id":"t","type":"function")"), last, "[DONE]"},
      {first, call(R"("index":1,"id":"t","type":"function","function":{"name":"f"})"), last, "[DONE]"},
      {first, call(R"("index":0,"id":"t","type":"custom","custom":{"name":"f"})"), last, "[DONE]"},
      {first, call(R"("id":"t","type":"function","function":{"name":"f"})"), last, "[DONE]"},
      {first, call(R"("index":0,"id":"t","type":"function","function":{"name":"f"})"),
       call(R"("index":0,"function":{"name":"f"})"), last, "[DONE]"},
      {first, call(R"("index":0,"id":"t","type":"function","function":{"name":"f"})"),
       call(R"("index":0,"id":"u")"), last, "[DONE]"},
  };
  ASSERT_TRUE(to_plain(events({first, last, "[DONE]"})));
  for (const auto& data : streams) EXPECT_FALSE(to_plain(events(data))) << events(data);
  EXPECT_FALSE(to_plain("event: note\n" + events({first, last, "[DONE]"})));
  EXPECT_FALSE(to_plain(events({first, last, "[DONE]"}), Protocol::messages));
}

TEST_F(FormsTest, bodies_that_are_not_understood_have_no_stream) {
  const auto body = [](const std::string& message, const std::string& finish = "\"stop\"") {
    return R"({"choices":[{"index":0,"message":)" + message + R"(,"finish_reason":)" + finish + "}]}";
  };
  const auto with_call = [&body](const std::string& call) {
    return body(R"({"role":"assistant","content":null,"tool_calls":[)" + call + "]}");
  };
  ASSERT_TRUE(
      to_stream(with_call(R"({"id":"t","type":"function","function":{"name":"f","arguments":""}})"), false));
  ASSERT_TRUE(to_stream(
      with_call(R"({"index":0,"id":"t","type":"function","function":{"name":"f","arguments":""}})"), false));
  const std::vector<std::string> bodies = {
      "",
      "{",
      "[]",
      "{}",
      R"({"choices":[]})",
      R"({"choices":[1]})",
      body(R"({"role":"assistant","content":"a"})", "null"),
      body(R"({"content":"a"})"),
      body("null"),
      body(R"({"role":"assistant","content":[{"type":"text","text":"a"}]})"),
      with_call(R"({"id":"t","type":"custom","custom":{"name":"f","input":""}})"),
      with_call(R"({"type":"function","function":{"name":"f","arguments":""}})"),
      with_call(R"({"id":"t","type":"function","function":{"name":"f"}})"),
      with_call(R"({"id":"t","type":"function","function":{"arguments":"{}"}})"),
      with_call(R"({"index":1,"id":"t","type":"function","function":{"name":"f","arguments":""}})"),
      with_call("null"),
      R"({"choices":[{"index":1,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]})",
      R"({"object":"text_completion","choices":[{"index":0,"message":{"role":"assistant"},"finish_reason":"stop"}]})",
      R"({"error":null,"choices":[{"index":0,"message":{"role":"assistant"},"finish_reason":"stop"}]})",
      R"({"choices":[{"index":0,"text":"a","finish_reason":"stop"}]})",
      body("{\"role\":\"assistant\",\"content\":\"a\n\ndata: [DONE]\n\n\"}"),
  };
  for (const std::string& text : bodies) EXPECT_FALSE(to_stream(text, false)) << text;
  EXPECT_FALSE(to_stream(R"({"choices":[{"index":0,"text":null,"finish_reason":"stop"}]})", false,
                         Protocol::completions));
  EXPECT_FALSE(to_stream(kChatBody, false, Protocol::embeddings));
}

TEST_F(FormsTest, the_line_ends_and_comments_of_a_stream_change_nothing) {
  const std::vector<std::string> ends = {"\n", "\r\n", "\r"};
  std::mt19937 random(5);
  for (int round = 0; round < 200; ++round) {
    std::string bytes = round % 2 == 0 ? "" : "\xEF\xBB\xBF: hello\n\n";
    for (const std::string& item : kChat) {
      const auto end = [&] { return ends[random() % 3]; };
      const auto blank = [&] {  // of two line ends; a CR before a LF would be one
        const std::string first = end();
        return first + (first == "\r" ? first : end());
      };
      if (random() % 4 == 0) bytes += ": note" + blank();
      std::string data = item;
      if (random() % 4 == 0 && item != "[DONE]") data.insert(1, end() + "data: ");
      bytes += "data: " + data + end() + "id: 7" + blank();
    }
    ASSERT_EQ(to_plain(bytes), kChatBody) << bytes;
  }
}

TEST_F(FormsTest, a_cut_stream_has_no_body) {
  const std::string whole = events(kChat);
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(to_plain(whole.substr(0, size))) << size;
}

TEST_F(FormsTest, pieces_are_short_and_cut_no_character_and_no_escape) {
  const std::vector<std::string> units = {"a",     "\xC3\xA9",  "\xE2\x82\xAC",    "\xF0\x9F\x98\x80",
                                          R"(\n)", R"(\u00e9)", R"(\ud83d\ude00)", R"(\uD83D\uDE00)",
                                          R"(\\)", R"(\")"};
  std::mt19937 random(9);
  for (int round = 0; round < 60; ++round) {
    std::string text;
    for (auto left = random() % 4000; left > 0; --left) text += units[random() % units.size()];
    const std::string body =
        R"({"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":")" +
        text + R"(","tool_calls":[{"id":"t","type":"function","function":{"name":"f","arguments":")" + text +
        R"("}}]},"finish_reason":"stop"}]})";
    const auto stream = to_stream(body, false);
    ASSERT_TRUE(stream);
    for (const std::string& data : data_of(*stream)) {
      EXPECT_LT(data.size(), 1024U + 256U);
      EXPECT_TRUE(data == "[DONE]" || canonical(data).starts_with('{')) << data;
    }
    EXPECT_EQ(to_plain(*stream), body);
  }
}

// Answers of every shape the two endpoints have.
class Answers {
 public:
  explicit Answers(unsigned seed) : random_(seed) {}

  unsigned pick(unsigned below) { return static_cast<unsigned>(random_() % below); }

  std::string text() {
    static const std::vector<std::string> kUnits = {
        "a", "word ", "\xE2\x82\xAC", R"(\n)", R"(\u00e9)", R"(\")", "{", "]", ":"};
    std::string text = "\"";
    for (unsigned left = pick(4) == 0 ? 0 : pick(60); left > 0; --left) text += kUnits[pick(9)];
    return text + '"';
  }

  std::string nullable() { return pick(3) == 0 ? "null" : text(); }

  std::string body(bool chat) {
    std::string json = std::string(R"({"object":)") + (chat ? "\"chat.completion\"" : "\"text_completion\"");
    if (pick(5) > 0) json += R"(, "id":)" + text();
    if (pick(5) > 0) json += R"(,"created" : 17540000)" + std::to_string(pick(100));
    json += R"(,"model":)" + text() + ",\n\"choices\":[";
    const unsigned choices = 1 + pick(3);
    for (unsigned i = 0; i < choices; ++i) json += (i > 0 ? "," : "") + choice(chat, i);
    json += R"(],"usage":{"prompt_tokens":)" + std::to_string(pick(99)) +
            R"(,"completion_tokens":1,"more":{"a":[1.50]}})";
    if (pick(2) == 0) json += R"(,"service_tier":)" + nullable();
    if (pick(2) == 0) json += R"(,"system_fingerprint":)" + nullable();
    return json + "}";
  }

  std::vector<std::string> deltas() {
    std::vector<std::string> data;
    const int choices = static_cast<int>(1 + pick(3));
    for (int i = 0; i < choices; ++i)
      data.push_back(delta(R"("role":"assistant","content":)" + std::string(pick(2) == 0 ? "null" : "\"\""),
                           "null", "null", i));
    std::vector<unsigned> opened(3, 0);
    for (unsigned left = pick(30); left > 0; --left) {
      const auto at = static_cast<std::size_t>(pick(static_cast<unsigned>(choices)));
      data.push_back(delta(members(opened[at]), "null", "null", static_cast<int>(at)));
    }
    for (int i = 0; i < choices; ++i) data.push_back(delta("", "\"stop\"", "null", i));
    data.push_back("[DONE]");
    return data;
  }

 private:
  std::string members(unsigned& opened) {
    if (pick(3) == 0) return R"("refusal":)" + text();
    if (pick(2) == 0) return R"("content":)" + text();
    if (opened == 0 || pick(3) == 0) {
      const std::string index = std::to_string(opened++);
      return R"("tool_calls":[{"index":)" + index + R"(,"id":"t)" + index +
             R"(","type":"function","function":{"name":"f)" + index + R"(","arguments":""}}])";
    }
    return R"("tool_calls":[{"index":)" + std::to_string(pick(opened)) + R"(,"function":{"arguments":)" +
           text() + "}}]";
  }

  std::string choice(bool chat, unsigned index) {
    std::string json = "{\"index\":" + std::to_string(index) + ",";
    json += chat ? R"("message":)" + message() : R"("text":)" + text();
    if (pick(4) > 0) json += R"( ,"logprobs": )" + logprobs(chat);
    return json + R"(,"finish_reason":"stop"})";
  }

  std::string message() {
    std::string json = R"({"role":"assistant","content":)" + nullable();
    if (pick(2) == 0) json += R"(,"refusal":)" + nullable();
    if (pick(3) == 0) json += R"(,"function_call":{"name":"old","arguments":)" + text() + "}";
    if (pick(2) == 0) return json + "}";
    json += R"(,"tool_calls":[)";
    for (unsigned i = 0, calls = 1 + pick(3); i < calls; ++i) {
      json += std::string(i > 0 ? "," : "") + R"({"id":"t)" + std::to_string(i) +
              R"(","type":"function","function":{"arguments":)" + text() + R"(,"name":"f"}})";
    }
    return json + "]}";
  }

  std::string list(const std::string& item) {
    if (pick(4) == 0) return "null";
    std::string json = "[";
    for (unsigned i = 0, size = pick(5); i < size; ++i) json += (i > 0 ? " , " : "") + item;
    return json + "]";
  }

  std::string logprobs(bool chat) {
    if (pick(3) == 0) return "null";
    if (!chat) {
      return R"({"tokens":)" + list(text()) + R"(,"token_logprobs":)" + list("-0.250") +
             R"(,"top_logprobs":)" + list("{\"x\": -1}") + R"(,"text_offset":)" + list("3") + "}";
    }
    const std::string entry =
        R"({"token":)" + text() + R"(, "logprob": -1.0e-2, "top_logprobs":[{"token":"x"}]})";
    std::string json = R"({"content":)" + list(entry);
    if (pick(3) > 0) json += R"(,"refusal":)" + list(entry);
    return json + "}";
  }

  std::mt19937 random_;
};

TEST_F(FormsTest, any_body_is_the_same_value_after_the_way_there_and_back) {
  Answers answers(1);
  for (int round = 0; round < 3000; ++round) {
    const bool chat = round % 2 == 0;
    const Protocol protocol = chat ? Protocol::chat : Protocol::completions;
    const std::string body = answers.body(chat);
    const auto stream = to_stream(body, true, protocol);
    ASSERT_TRUE(stream) << body;
    ASSERT_TRUE(storable_stream(protocol, *stream, json_).store) << *stream;
    ASSERT_EQ(storable_stream(protocol, *stream, json_).usage_ranges.size(), 1U);
    const auto plain = to_plain(*stream, protocol);
    ASSERT_TRUE(plain) << *stream;
    ASSERT_EQ(canonical(*plain), canonical(body)) << *stream;
  }
}

std::string text_at(simdjson::dom::element message, const char* key) {
  std::string_view text;
  return message[key].get(text) == simdjson::SUCCESS ? std::string(text) : std::string();
}

TEST_F(FormsTest, any_stream_says_what_the_accumulator_of_the_relay_heard) {
  Answers answers(2);
  for (int round = 0; round < 500; ++round) {
    const std::string bytes = events(answers.deltas());
    stream::StreamAccumulator heard(Protocol::chat, {}, json_);
    const auto ignore = [](const stream::StreamEvent&) {};
    ASSERT_TRUE(heard.feed(bytes, ignore));
    const auto plain = to_plain(bytes);
    ASSERT_TRUE(plain) << bytes;
    simdjson::dom::parser parser;
    simdjson::dom::element root = parser.parse(*plain);
    ASSERT_EQ(simdjson::dom::array(root["choices"]).size(), heard.choices().size());
    for (const stream::Choice& choice : heard.choices()) {
      const simdjson::dom::element message =
          root["choices"].at(static_cast<std::size_t>(choice.index))["message"];
      EXPECT_EQ(text_at(message, "content"), choice.content);
      EXPECT_EQ(text_at(message, "refusal"), choice.refusal);
      for (const stream::ToolCall& call : choice.tool_calls) {
        const simdjson::dom::element said = message["tool_calls"].at(static_cast<std::size_t>(call.index));
        EXPECT_EQ(text_at(said, "id"), call.id);
        EXPECT_EQ(text_at(said["function"], "arguments"), call.arguments);
      }
    }
  }
}

TEST_F(FormsTest, any_bytes_may_be_given) {
  std::mt19937 random(4);
  const std::string stream = events(kChat);
  const std::string alphabet = "[]{}\",:\\ \n\r0a-\xC3u";
  for (int round = 0; round < 6000; ++round) {
    std::string text = round % 2 == 0 ? stream : kChatBody;
    for (unsigned i = 0; i < 1 + random() % 3; ++i)
      text[random() % text.size()] = alphabet[random() % alphabet.size()];
    const auto plain = to_plain(text);
    if (plain) {
      stream::JsonParser fresh;
      EXPECT_TRUE(storable_plain(Protocol::chat, *plain, fresh).reason !=
                  std::string("the answer is not a JSON object"))
          << text << *plain;
    }
    (void)to_stream(text);
  }
}

}  // namespace
}  // namespace sentinel::cache
