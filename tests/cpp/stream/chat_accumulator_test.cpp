#include "sentinel/stream/chat_accumulator.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace sentinel::stream {
namespace {

std::string event(std::string_view data) { return "data: " + std::string(data) + "\n\n"; }

std::string content(std::string_view text, int index = 0, std::string_view rest = "") {
  return event(R"({"id":"c","object":"chat.completion.chunk","choices":[{"index":)" + std::to_string(index) +
               R"(,"delta":{"content":")" + std::string(text) + R"("},"finish_reason":null}])" +
               std::string(rest) + "}");
}

// The value as text, so that two can be compared and shown.
void write(const JsonValue& value, std::string& out) {
  if (const auto* text = value.as<std::string>()) {
    out += '"' + *text + '"';
  } else if (const auto* members = value.as<JsonValue::Object>()) {
    out += '{';
    for (const JsonMember& member : *members) {
      out += member.key + ':';
      write(member.value, out);
      out += ',';
    }
    out += '}';
  } else if (const auto* items = value.as<JsonValue::Array>()) {
    out += '[';
    for (const JsonValue& item : *items) {
      write(item, out);
      out += ',';
    }
    out += ']';
  } else if (const auto* whole = value.as<std::int64_t>()) {
    out += std::to_string(*whole);
  } else {
    out += value.is_null() ? "null" : "?";
  }
}

class Reading {
 public:
  explicit Reading(ChatBounds bounds = {}) : accumulator(bounds) {}

  bool feed(std::string_view chunk) {
    // A copy of its own, so that a sanitizer sees any look beyond the chunk.
    const std::vector<char> exact(chunk.begin(), chunk.end());
    return bool(accumulator.feed({exact.data(), exact.size()}, json, text));
  }

  std::string completion() const {
    std::string out;
    write(accumulator.completion(), out);
    return out;
  }

  std::string facts() const {
    return completion() + "|" + text + "|" + std::to_string(static_cast<int>(accumulator.fault())) +
           (accumulator.complete() ? "C" : "");
  }

  ChatAccumulator accumulator;
  JsonParser json;
  std::string text;
};

TEST(ChatAccumulator, EventsOfAKnownShapeNeedNoParserAndAppendTheSame) {
  Reading run;
  for (const char* text : {"", "a", " b", "\\n\\u00e9", "\xE4\xBD\xA0", ""})
    ASSERT_TRUE(run.feed(content(text, 0, R"(,"obfuscation":"xy")")));
  ASSERT_TRUE(run.feed(content("c", 0, R"(,"obfuscation":"a longer one")")));
  EXPECT_EQ(run.text,
            "a b\n\xC3\xA9\xE4\xBD\xA0"
            "c");
  EXPECT_EQ(run.accumulator.events_by_shape(), 5U);
}

TEST(ChatAccumulator, AShapeIsForgottenWhenAnythingElseChanges) {
  Reading run;
  ASSERT_TRUE(run.feed(content("a") + content("b") + content("c")));
  ASSERT_TRUE(run.feed(content("x", 1) + content("y", 1) + content("z", 1)));  // choices may have moved
  ASSERT_TRUE(run.feed(content("d") + content("e")));
  EXPECT_EQ(run.completion(),
            "{id:\"c\",object:\"chat.completion\",system_fingerprint:null,choices:["
            "{index:0,finish_reason:null,message:{content:\"abcde\",role:\"assistant\",},},"
            "{index:1,finish_reason:null,message:{content:\"xyz\",role:\"assistant\",},},],}");
  EXPECT_EQ(run.text, "abcde");
}

TEST(ChatAccumulator, EventsThatDifferOutsideTheTextAreReadInFull) {
  const std::string seen = content("a") + content("b");
  for (
      const char* different :
      {R"({"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]})",
       R"({"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}],"usage":{"n":1}})",
       R"({"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"x","refusal":"r"},"finish_reason":null}]})",
       R"( {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]} )"}) {
    Reading known;
    ASSERT_TRUE(known.feed(seen + event(different)));
    EXPECT_EQ(known.accumulator.events_by_shape(), 0U) << different;
    EXPECT_EQ(known.text, "abx");
  }
}

TEST(ChatAccumulator, ATextThatIsNoJsonStringIsNoMatch) {
  for (const char* bad : {"\\x", "\\", "\\u12", "\x01", "\xFF", "\xED\xA0\x80", "\""}) {
    Reading run;
    ASSERT_TRUE(run.feed(content("") + content("a") + content("b")));
    EXPECT_FALSE(run.feed(content(bad))) << bad;
    EXPECT_EQ(run.accumulator.fault(), StreamFault::malformed);
    EXPECT_EQ(run.text, "ab");
  }
}

TEST(ChatAccumulator, ADuplicateOfTheTextsNameIsNoShape) {
  Reading run;
  const std::string twice =
      event(R"({"choices":[{"index":0,"delta":{"content":"a"},"x":{"content":"constant"}}]})");
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(run.feed(twice));
  EXPECT_EQ(run.accumulator.events_by_shape(), 0U);
  EXPECT_EQ(run.text, "aaaa");
}

TEST(ChatAccumulator, FaultsAreTypedAndLast) {
  Reading failed;
  EXPECT_FALSE(failed.feed(event(R"({"error":{"message":"overloaded"}})")));
  EXPECT_EQ(failed.accumulator.fault(), StreamFault::provider);
  EXPECT_FALSE(failed.feed(content("a")));
  EXPECT_EQ(failed.accumulator.close().error().message, "overloaded");

  Reading cut;
  ASSERT_TRUE(cut.feed(content("a")));
  EXPECT_FALSE(bool(cut.accumulator.close()));
  EXPECT_EQ(cut.accumulator.fault(), StreamFault::cut);

  Reading large({50, 1000});
  EXPECT_FALSE(large.feed(std::string(100, 'x')));
  EXPECT_EQ(large.accumulator.fault(), StreamFault::too_large);

  Reading whole;
  ASSERT_TRUE(whole.feed(content("a") + event("[DONE]") + "data: {\n\n"));
  EXPECT_TRUE(bool(whole.accumulator.close()));
}

TEST(ChatAccumulator, TheAnswersBoundHoldsOnBothWays) {
  Reading run({1 << 16, 2000});
  int fed = 0;
  while (run.feed(content(std::string(100, 'x')))) ++fed;
  EXPECT_GT(fed, 5);
  EXPECT_LT(fed, 20);
  EXPECT_EQ(run.accumulator.fault(), StreamFault::too_large);
  EXPECT_EQ(run.text.size(), static_cast<std::size_t>(fed + 1) * 100);
}

std::string random_stream(std::mt19937_64& random) {
  static const std::vector<std::string> kTexts = {
      "", "a", " word", "\\n", "\\u00e9\\ud83d\\ude00", "\xC3\xBC", "\\\"", "sixteen bytes and more"};
  std::string stream;
  for (auto count = random() % 12; count > 0; --count) {
    const std::string& text = kTexts[random() % kTexts.size()];
    const int index = static_cast<int>(random() % 2);
    switch (random() % 8) {
      case 0:
        stream += content(text, index, R"(,"usage":{"prompt_tokens":)" + std::to_string(random() % 3) + "}");
        break;
      case 1:
        stream +=
            event(R"({"choices":[{"index":0,"delta":{"tool_calls":[{"index":)" +
                  std::to_string(random() % 2) + R"(,"function":{"arguments":")" + text + R"("}}]}}]})");
        break;
      case 2: stream += event(R"({"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]})"); break;
      default: stream += content(text, index, R"(,"obfuscation":")" + kTexts[random() % 3] + "\""); break;
    }
  }
  if (random() % 4 != 0) stream += event("[DONE]");
  return stream;
}

TEST(ChatAccumulator, ShapesAndCutsNeverChangeTheResult) {
  const auto seed = std::random_device{}();
  std::mt19937_64 random(seed);
  for (int round = 0; round < 3'000; ++round) {
    const std::string stream = random_stream(random);
    Reading whole;
    whole.feed(stream);
    Reading cut;
    for (std::string_view rest = stream; !rest.empty();) {
      const std::size_t size = std::min<std::size_t>(rest.size(), 1 + random() % 40);
      if (!cut.feed(rest.substr(0, size))) break;
      rest.remove_prefix(size);
    }
    ASSERT_EQ(cut.facts(), whole.facts()) << "seed " << seed << " round " << round;
    // A blank before each object keeps every shape from matching: the way through the parser alone.
    std::string spaced;
    int number = 0;
    for (const char c : stream) {
      spaced += c;
      if (c == '{' && spaced.ends_with("data: {"))
        spaced += std::string(static_cast<std::size_t>(++number), ' ');
    }
    Reading slow;
    slow.feed(spaced);
    EXPECT_EQ(slow.accumulator.events_by_shape(), 0U);
    ASSERT_EQ(slow.facts(), whole.facts()) << "seed " << seed << " round " << round;
  }
}

}  // namespace
}  // namespace sentinel::stream
