#include "sentinel/stream/accumulator.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace sentinel::stream {
namespace {

using Kind = StreamEvent::Kind;

constexpr Bounds kRoomy{1 << 16, 1 << 16};

const std::string kChat =
    "\xEF\xBB\xBF: hello\r\n\r\n"
    "data: "
    "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":"
    "null}\r\n\r\n"
    "data: "
    "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"},\"logprobs\":{\"content\":[{\"token\":"
    "\"Hel\"}]}}]}\n\n"
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo "
    "\xE2\x82\xAC\"}},{\"index\":1,\"delta\":{\"refusal\":\"no\"}}]}\r\r"
    "data: "
    "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t1\",\"type\":\"function\","
    "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}\n\n"
    "data: "
    "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"t2\",\"type\":\"function\","
    "\"function\":{\"name\":\"g\",\"arguments\":\"{\\\"a\\\"\"}},{\"index\":0,\"function\":{\"arguments\":\"{"
    "}\"}}]}}]}\n\n"
    "data: {\"choices\":[{\"index\":0,\n"
    "data: \"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\":1}\"}}]}}]}\n\n"
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\",\"reasoning\":\"hm\"}}]}\n\n"
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"},"
    "{\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7,\"total_tokens\":18,"
    "\"prompt_tokens_details\":{\"cached_tokens\":4},\"completion_tokens_details\":{\"reasoning_tokens\":2}}}"
    "\n\n"
    "data: [DONE]\n\n";

const std::string kCompletions =
    "data: "
    "{\"choices\":[{\"index\":0,\"text\":\"one\",\"logprobs\":{\"tokens\":[\"o\",\"ne\"]},\"finish_reason\":"
    "null}]}\n\n"
    "data: {\"choices\":[{\"index\":0,\"text\":\" two\",\"finish_reason\":\"length\"}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n"
    "data: [DONE]\n\n";

const std::string kResponses =
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"usage\":null}}\n\n"
    "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"output_index\":0,"
    "\"item\":{\"type\":\"message\",\"role\":\"assistant\"}}\n\n"
    "event: response.output_text.delta\ndata: "
    "{\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"Hi\"}\n\n"
    "event: response.refusal.delta\ndata: {\"type\":\"response.refusal.delta\",\"delta\":\"no\"}\n\n"
    "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"output_index\":1,"
    "\"item\":{\"type\":\"function_call\",\"call_id\":\"k\",\"name\":\"f\",\"arguments\":\"\"}}\n\n"
    "event: response.function_call_arguments.delta\n"
    "data: {\"type\":\"response.function_call_arguments.delta\",\"output_index\":1,\"delta\":\"{}\"}\n\n"
    "data: {\"type\":\"response.reasoning_summary_text.delta\",\"delta\":\"why\"}\n\n"
    "event: response.completed\ndata: "
    "{\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"error\":null,"
    "\"usage\":{\"input_tokens\":9,\"input_tokens_details\":{\"cached_tokens\":3},\"output_tokens\":5,"
    "\"output_tokens_details\":{\"reasoning_tokens\":1},\"total_tokens\":14}}}\n\n";

const std::string kMessages =
    "event: message_start\ndata: "
    "{\"type\":\"message_start\",\"message\":{\"role\":\"assistant\",\"usage\":{\"input_tokens\":10,"
    "\"cache_creation_input_tokens\":20,\"cache_read_input_tokens\":30,\"output_tokens\":1}}}\n\n"
    "event: ping\ndata: {\"type\": \"ping\"}\n\n"
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
    "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
    "\"delta\":{\"type\":\"text_delta\",\"text\":\"Hey\"}}\n\n"
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
    "\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}\n\n"
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,"
    "\"content_block\":{\"type\":\"tool_use\",\"id\":\"u\",\"name\":\"f\",\"input\":{}}}\n\n"
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,"
    "\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}\n\n"
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},"
    "\"usage\":{\"output_tokens\":15}}\n\n"
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

struct Fixture {
  const char* name;
  Protocol protocol;
  std::string text;
};

const std::vector<Fixture>& fixtures() {
  static const std::vector<Fixture> kAll = {{"chat", Protocol::chat, kChat},
                                            {"completions", Protocol::completions, kCompletions},
                                            {"responses", Protocol::responses, kResponses},
                                            {"messages", Protocol::messages, kMessages}};
  return kAll;
}

// An accumulator, what it reported, and everything it knows as one text to compare.
struct Replay {
  explicit Replay(Protocol protocol, Bounds bounds = kRoomy) : accumulator(protocol, bounds, *json) {}

  Status feed(std::string_view chunk) {
    return accumulator.feed(chunk, [this](const StreamEvent& event) {
      relayed += event.raw;
      kinds.push_back(event.kind);
      messages.emplace_back(event.error_message);
    });
  }

  std::string facts() const {
    std::ostringstream out;
    for (const Choice& choice : accumulator.choices()) {
      out << choice.index << choice.role << "|" << choice.content << "|" << choice.refusal << "|"
          << choice.reasoning << "|" << choice.finish_reason << "|" << choice.logprob_tokens;
      for (const ToolCall& tool : choice.tool_calls) {
        out << "(" << tool.index << tool.id << tool.type << tool.name << tool.arguments << ")";
      }
      out << "\n";
    }
    if (const Usage* usage = accumulator.usage()) {
      out << usage->prompt << " " << usage->completion << " " << usage->cached << " " << usage->cache_write
          << " " << usage->reasoning << "\n";
    }
    out << accumulator.content_deltas() << " " << accumulator.content_bytes() << " " << accumulator.finished()
        << accumulator.failed() << accumulator.truncated() << accumulator.usage_estimated() << "\n";
    for (const Kind kind : kinds) out << static_cast<int>(kind);
    return out.str();
  }

  std::unique_ptr<JsonParser> json = std::make_unique<JsonParser>();
  StreamAccumulator accumulator;
  std::string relayed;
  std::vector<Kind> kinds;
  std::vector<std::string> messages;
};

Replay replay(Protocol protocol, std::string_view text, Bounds bounds = kRoomy) {
  Replay made(protocol, bounds);
  EXPECT_TRUE(made.feed(text));
  return made;
}

std::string event(std::string_view data) { return "data: " + std::string(data) + "\n\n"; }

std::string delta(std::string_view content) {
  return event(R"({"choices":[{"index":0,"delta":{"content":")" + std::string(content) + "\"}}]}");
}

TEST(StreamAccumulator, B7ReadsAChatStreamWhole) {
  const Replay seen = replay(Protocol::chat, kChat);
  ASSERT_EQ(seen.accumulator.choices().size(), 2U);
  const Choice& first = seen.accumulator.choices()[0];
  EXPECT_EQ(first.role, "assistant");
  EXPECT_EQ(first.content, "Hello \xE2\x82\xAC");
  EXPECT_EQ(first.reasoning, "hm");
  EXPECT_EQ(first.finish_reason, "tool_calls");
  EXPECT_EQ(first.logprob_tokens, 1);
  ASSERT_EQ(first.tool_calls.size(), 2U);
  EXPECT_EQ(first.tool_calls[0].arguments, "{}");
  EXPECT_EQ(first.tool_calls[1].id, "t2");
  EXPECT_EQ(first.tool_calls[1].type, "function");
  EXPECT_EQ(first.tool_calls[1].name, "g");
  EXPECT_EQ(first.tool_calls[1].arguments, "{\"a\":1}");
  EXPECT_EQ(seen.accumulator.choices()[1].refusal, "no");
  EXPECT_EQ(*seen.accumulator.usage(), (Usage{11, 7, 4, 0, 2}));
  EXPECT_EQ(seen.accumulator.content_deltas(), 5);
  EXPECT_TRUE(seen.accumulator.finished());
  EXPECT_FALSE(seen.accumulator.failed());
  const auto o = Kind::other, c = Kind::content;
  EXPECT_EQ(seen.kinds, (std::vector<Kind>{o, o, c, c, o, c, c, c, o, Kind::usage_only, Kind::terminal}));
}

TEST(StreamAccumulator, B7ReadsACompletionsStreamWhole) {
  const Replay seen = replay(Protocol::completions, kCompletions);
  const Choice& choice = seen.accumulator.choices().at(0);
  EXPECT_EQ(choice.content, "one two");
  EXPECT_EQ(choice.finish_reason, "length");
  EXPECT_EQ(choice.logprob_tokens, 2);
  EXPECT_EQ(*seen.accumulator.usage(), (Usage{3, 2, 0, 0, 0}));
  EXPECT_EQ(seen.kinds, (std::vector<Kind>{Kind::content, Kind::content, Kind::usage_only, Kind::terminal}));
}

TEST(StreamAccumulator, B7ReadsAResponsesStreamWhole) {
  const Replay seen = replay(Protocol::responses, kResponses);
  const Choice& choice = seen.accumulator.choices().at(0);
  EXPECT_EQ(choice.role, "assistant");
  EXPECT_EQ(choice.content, "Hi");
  EXPECT_EQ(choice.refusal, "no");
  EXPECT_EQ(choice.reasoning, "why");
  EXPECT_EQ(choice.finish_reason, "completed");
  ASSERT_EQ(choice.tool_calls.size(), 1U);
  EXPECT_EQ(choice.tool_calls[0].id, "k");
  EXPECT_EQ(choice.tool_calls[0].name, "f");
  EXPECT_EQ(choice.tool_calls[0].arguments, "{}");
  EXPECT_EQ(*seen.accumulator.usage(), (Usage{9, 5, 3, 0, 1}));
  EXPECT_EQ(seen.accumulator.content_deltas(), 4);
  EXPECT_EQ(seen.kinds.back(), Kind::terminal);
  EXPECT_FALSE(seen.accumulator.failed());
}

TEST(StreamAccumulator, B7ReadsAMessagesStreamWhole) {
  const Replay seen = replay(Protocol::messages, kMessages);
  const Choice& choice = seen.accumulator.choices().at(0);
  EXPECT_EQ(choice.content, "Hey");
  EXPECT_EQ(choice.reasoning, "hm");
  EXPECT_EQ(choice.finish_reason, "tool_use");
  ASSERT_EQ(choice.tool_calls.size(), 1U);
  EXPECT_EQ(choice.tool_calls[0].type, "tool_use");
  EXPECT_EQ(choice.tool_calls[0].arguments, "{}");
  EXPECT_EQ(*seen.accumulator.usage(), (Usage{60, 15, 30, 20, 0}));
  EXPECT_FALSE(seen.accumulator.usage_estimated());
  EXPECT_EQ(seen.kinds.back(), Kind::terminal);
}

TEST(StreamAccumulator, B7ACutAtAnyByteChangesNothing) {
  for (const Fixture& fixture : fixtures()) {
    const Replay whole = replay(fixture.protocol, fixture.text);
    EXPECT_EQ(whole.relayed, fixture.text);
    for (std::size_t cut = 0; cut <= fixture.text.size(); ++cut) {
      Replay parts(fixture.protocol);
      ASSERT_TRUE(parts.feed(std::string(fixture.text, 0, cut)));
      ASSERT_TRUE(parts.feed(std::string(fixture.text, cut)));
      ASSERT_EQ(parts.facts(), whole.facts()) << fixture.name << " cut at " << cut;
      ASSERT_EQ(parts.relayed, fixture.text) << fixture.name << " cut at " << cut;
    }
    Replay bytes(fixture.protocol);
    for (const char c : fixture.text) ASSERT_TRUE(bytes.feed({&c, 1}));
    EXPECT_EQ(bytes.facts(), whole.facts()) << fixture.name;
  }
}

TEST(StreamAccumulator, B7AStreamThatEndsAnywhereKnowsWhatWasRelayed) {
  for (const Fixture& fixture : fixtures()) {
    for (std::size_t end = 0; end < fixture.text.size(); ++end) {
      const Replay cut = replay(fixture.protocol, std::string_view(fixture.text).substr(0, end));
      const Replay relayed = replay(fixture.protocol, cut.relayed);
      ASSERT_EQ(cut.facts(), relayed.facts()) << fixture.name << " ended at " << end;
      ASSERT_EQ(cut.accumulator.pending_bytes(), end - cut.relayed.size());
    }
  }
}

TEST(StreamAccumulator, UsageOfACutMessagesStreamCountsWhatPassed) {
  const Replay cut = replay(Protocol::messages, kMessages.substr(0, kMessages.find("event: message_delta")));
  ASSERT_NE(cut.accumulator.usage(), nullptr);
  EXPECT_EQ(*cut.accumulator.usage(), (Usage{60, 3, 30, 20, 0}));
  EXPECT_TRUE(cut.accumulator.usage_estimated());
  EXPECT_FALSE(cut.accumulator.finished());
}

TEST(StreamAccumulator, UsageIsUnknownUntilTheProviderSays) {
  const Replay seen = replay(Protocol::chat, delta("a") + event(R"({"choices":[],"usage":null})"));
  EXPECT_EQ(seen.accumulator.usage(), nullptr);
  EXPECT_EQ(seen.kinds, (std::vector<Kind>{Kind::content, Kind::other}));
}

TEST(StreamAccumulator, UsageBesideContentIsReadButNotAUsageChunk) {
  const Replay seen = replay(Protocol::chat, event(R"({"choices":[{"index":0,"delta":{"content":"a"}}],)"
                                                   R"("usage":{"prompt_tokens":1,"completion_tokens":1}})"));
  EXPECT_EQ(seen.kinds, (std::vector<Kind>{Kind::content}));
  EXPECT_EQ(*seen.accumulator.usage(), (Usage{1, 1, 0, 0, 0}));
}

TEST(StreamAccumulator, FiguresThatCannotBeTrueAreAbsent) {
  for (const char* bad : {"-1", "1.5", "9007199254740993", "1e300", "18446744073709551615", "null", "\"7\"",
                          "[]", "true", "123456789012345678901234567890"}) {
    const std::string usage = std::string(R"({"prompt_tokens":)") + bad + R"(,"completion_tokens":2})";
    const Replay seen = replay(Protocol::chat, event(R"({"choices":[],"usage":)" + usage + "}"));
    EXPECT_EQ(seen.accumulator.usage(), nullptr) << bad;
    EXPECT_EQ(seen.kinds.at(0), Kind::usage_only) << bad;
  }
  const Replay parts =
      replay(Protocol::chat, event(R"({"choices":[],"usage":{"prompt_tokens":5.0,"completion_tokens":2,)"
                                   R"("prompt_tokens_details":{"cached_tokens":6},)"
                                   R"("completion_tokens_details":{"reasoning_tokens":3}}})"));
  EXPECT_EQ(*parts.accumulator.usage(), (Usage{5, 2, 0, 0, 0}));
}

TEST(StreamAccumulator, WhatFollowsTheTerminalEventIsPassedOnUnread) {
  const Replay seen =
      replay(Protocol::chat, delta("a") + event("[DONE]") + delta("b") + event("not json") + event("[DONE]"));
  EXPECT_EQ(seen.accumulator.content_deltas(), 1);
  EXPECT_EQ(seen.kinds,
            (std::vector<Kind>{Kind::content, Kind::terminal, Kind::other, Kind::other, Kind::other}));
}

TEST(StreamAccumulator, DoneIsNoEndOfTheOtherProtocols) {
  const Replay seen = replay(Protocol::messages, event("[DONE]"));
  EXPECT_FALSE(seen.accumulator.finished());
  EXPECT_EQ(seen.kinds.at(0), Kind::other);
}

struct ErrorCase {
  Protocol protocol;
  const char* text;
  const char* message;
};

TEST(StreamAccumulator, AnErrorInAnyShapeIsAnErrorEvent) {
  const std::vector<ErrorCase> cases = {
      {Protocol::chat, "data: {\"error\":{\"message\":\"m\",\"code\":500}}\n\n", "m"},
      {Protocol::chat, "data: {\"error\":\"m\"}\n\n", "m"},
      {Protocol::chat, "data: {\"object\":\"error\",\"message\":\"m\"}\n\n", "m"},
      {Protocol::chat,
       "data: {\"choices\":[{\"delta\":{\"content\":\"\"}}],\"error\":{\"message\":\"m\"}}\n\n", "m"},
      {Protocol::chat, "event: error\ndata: m\n\n", "m"},
      {Protocol::completions, "event: error\ndata: {\"message\":\"m\"}\n\n", "m"},
      {Protocol::completions, "data: {\"error\":{}}\n\n", "the provider reported an error"},
      {Protocol::responses, "event: error\ndata: {\"type\":\"error\",\"code\":\"x\",\"message\":\"m\"}\n\n",
       "m"},
      {Protocol::responses, "data: {\"type\":\"error\",\"message\":\"m\"}\n\n", "m"},
      {Protocol::responses, "data: {\"error\":{\"message\":\"m\"}}\n\n", "m"},
      {Protocol::messages,
       "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"x\",\"message\":\"m\"}}\n\n", "m"},
      {Protocol::messages, "data: {\"type\":\"error\",\"error\":{\"message\":\"m\"}}\n\n", "m"},
  };
  for (const ErrorCase& one : cases) {
    const Replay seen = replay(one.protocol, one.text);
    EXPECT_EQ(seen.kinds, (std::vector<Kind>{Kind::error})) << one.text;
    EXPECT_EQ(seen.messages.at(0), one.message) << one.text;
    EXPECT_TRUE(seen.accumulator.failed()) << one.text;
    EXPECT_FALSE(seen.accumulator.finished()) << one.text;
  }
}

TEST(StreamAccumulator, AFailedResponseIsTerminalAndAnError) {
  const Replay seen =
      replay(Protocol::responses,
             event(R"({"type":"response.failed","response":{"status":"failed","error":{"message":"m"},)"
                   R"("usage":{"input_tokens":1,"output_tokens":0}}})"));
  EXPECT_EQ(seen.kinds, (std::vector<Kind>{Kind::terminal}));
  EXPECT_EQ(seen.messages.at(0), "m");
  EXPECT_TRUE(seen.accumulator.finished());
  EXPECT_TRUE(seen.accumulator.failed());
  EXPECT_EQ(seen.accumulator.usage()->prompt, 1);
}

TEST(StreamAccumulator, ALongErrorMessageIsCutBetweenCharacters) {
  std::string text = "x";
  while (text.size() < 2000) text += "\xE2\x82\xAC";
  const Replay seen = replay(Protocol::chat, event(R"({"error":{"message":")" + text + "\"}}"));
  EXPECT_EQ(seen.messages.at(0).size(), 1U + 3 * 341);
}

TEST(StreamAccumulator, DataThatIsNotAJsonObjectIsAnUpstreamError) {
  for (const char* bad :
       {"<html>", "{", "{\"a\":1}x", "[]", "7", "null", "{\"a\":\"\xFF\"}", "{\"a\":NaN}", "{\"a\":01}",
        "{\"a\":1.}", "{\"a\":-}", "{\"a\":\"\\x\"}", "{\"a\":\"\\ud8\"}", "{'a':1}"}) {
    Replay seen(Protocol::chat);
    const Status status = seen.feed(delta("a") + event(bad) + delta("b"));
    ASSERT_FALSE(status) << bad;
    EXPECT_EQ(status.error().code, ErrorCode::upstream_error);
    EXPECT_EQ(status.error().message, "event 2 is not a JSON object");
    EXPECT_EQ(seen.relayed, delta("a"));
    EXPECT_EQ(seen.accumulator.content_deltas(), 1);
    EXPECT_TRUE(seen.accumulator.failed());
    EXPECT_FALSE(seen.feed(delta("b"))) << "a failed stream takes no more";
    EXPECT_EQ(seen.accumulator.choices().at(0).content, "a");
  }
}

TEST(StreamAccumulator, JsonThatTheGrammarAllowsIsRead) {
  const Replay numbers =
      replay(Protocol::chat, event(R"({"x":1e999,"y":-123456789012345678901234567890,"z":"1e999\"",)"
                                   R"("choices":[{"index":0,"delta":{"content":"a"}}]})"));
  EXPECT_EQ(numbers.accumulator.choices().at(0).content, "a");
  const Replay halves =
      replay(Protocol::chat, delta("\\ud83d") + delta("\\ude00!") + delta("\\ud83d\\ude00"));
  EXPECT_EQ(halves.accumulator.choices().at(0).content, "\xEF\xBF\xBD\xEF\xBF\xBD!\xF0\x9F\x98\x80");
}

TEST(StreamAccumulator, EmptyDataIsPassedOn) {
  EXPECT_EQ(replay(Protocol::chat, "data:\n\ndata: \n\n").kinds,
            (std::vector<Kind>{Kind::other, Kind::other}));
}

TEST(StreamAccumulator, KeepingEndsAtItsBoundAndCountingGoesOn) {
  const Bounds bounds{1 << 16, sizeof(Choice) + 5};
  const Replay seen = replay(Protocol::chat, delta("abc") + delta("defg") + delta("h"), bounds);
  EXPECT_EQ(seen.accumulator.choices().at(0).content, "abc");
  EXPECT_TRUE(seen.accumulator.truncated());
  EXPECT_EQ(seen.accumulator.content_bytes(), 8);
  EXPECT_EQ(seen.accumulator.content_deltas(), 3);
}

TEST(StreamAccumulator, WithoutRoomItOnlyCounts) {
  for (const Fixture& fixture : fixtures()) {
    const Replay full = replay(fixture.protocol, fixture.text);
    const Replay bare = replay(fixture.protocol, fixture.text, Bounds{1 << 16, 0});
    EXPECT_TRUE(bare.accumulator.choices().empty());
    EXPECT_EQ(bare.accumulator.content_bytes(), full.accumulator.content_bytes());
    EXPECT_EQ(bare.accumulator.content_deltas(), full.accumulator.content_deltas());
    EXPECT_EQ(*bare.accumulator.usage(), *full.accumulator.usage());
    EXPECT_EQ(bare.kinds, full.kinds);
  }
}

TEST(StreamAccumulator, MadeUpIndexesCannotFillMemory) {
  Replay seen(Protocol::chat, Bounds{1 << 20, 1 << 20});
  for (int i = 0; i < 2000; ++i) {
    const std::string index = std::to_string(i * 1000003LL);
    ASSERT_TRUE(seen.feed(event(R"({"choices":[{"index":)" + index + R"(,"delta":{"content":"a"}}]})")));
  }
  EXPECT_LE(seen.accumulator.choices().size(), 256U);
  EXPECT_TRUE(seen.accumulator.truncated());
  EXPECT_EQ(seen.accumulator.content_deltas(), 2000);
}

TEST(StreamAccumulator, B7AnExceptionInTheRelayLeavesWhatWasReadReadable) {
  Replay seen(Protocol::chat);
  int calls = 0;
  const auto relay = [&](const StreamEvent&) {
    if (++calls == 2) throw std::runtime_error("socket");
  };
  EXPECT_THROW((void)seen.accumulator.feed(delta("a") + delta("b") + delta("c"), relay), std::runtime_error);
  EXPECT_EQ(seen.accumulator.choices().at(0).content, "ab");
  EXPECT_EQ(seen.accumulator.content_deltas(), 2);
  EXPECT_TRUE(seen.accumulator.failed());
  EXPECT_FALSE(seen.feed(delta("d")));
  EXPECT_EQ(seen.accumulator.content_deltas(), 2);
}

TEST(StreamAccumulator, ARelaysErrorStopsTheFeedAndIsReturned) {
  Replay seen(Protocol::chat);
  const auto relay = [](const StreamEvent&) -> Status { return Error{ErrorCode::slow_reader, "late"}; };
  const Status status = seen.accumulator.feed(delta("a") + delta("b"), relay);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::slow_reader);
  EXPECT_EQ(seen.accumulator.content_deltas(), 1);
}

TEST(StreamAccumulator, TheOldFunctionCallIsAToolCall) {
  const Replay seen =
      replay(Protocol::chat,
             event(R"({"choices":[{"index":0,"delta":{"function_call":{"name":"f","arguments":"{"}}}]})") +
                 event(R"({"choices":[{"index":0,"delta":{"function_call":{"arguments":"}"}}}]})"));
  const ToolCall& tool = seen.accumulator.choices().at(0).tool_calls.at(0);
  EXPECT_EQ(tool.index, -1);
  EXPECT_EQ(tool.type, "function_call");
  EXPECT_EQ(tool.arguments, "{}");
}

TEST(StreamAccumulator, OneParserServesManyStreamsInTurns) {
  JsonParser json;
  StreamAccumulator chat(Protocol::chat, kRoomy, json);
  StreamAccumulator messages(Protocol::messages, kRoomy, json);
  const auto ignore = [](const StreamEvent&) {};
  for (std::size_t at = 0; at < std::max(kChat.size(), kMessages.size()); at += 7) {
    ASSERT_TRUE(chat.feed(std::string_view(kChat).substr(std::min(at, kChat.size()), 7), ignore));
    ASSERT_TRUE(messages.feed(std::string_view(kMessages).substr(std::min(at, kMessages.size()), 7), ignore));
  }
  EXPECT_EQ(chat.usage()->prompt, 11);
  EXPECT_EQ(messages.usage()->prompt, 60);
}

TEST(JsonParser, GivesMemoryBackAfterADocumentAboveAMebibyte) {
  JsonParser json;
  StreamAccumulator chat(Protocol::chat, Bounds{std::size_t{1} << 23, 0}, json);
  const auto ignore = [](const StreamEvent&) {};
  ASSERT_TRUE(chat.feed(delta(std::string(100'000, 'a')), ignore));
  EXPECT_GE(json.capacity_bytes(), 100'000U);
  ASSERT_TRUE(chat.feed(delta(std::string(std::size_t{1} << 21, 'a')), ignore));
  EXPECT_EQ(json.capacity_bytes(), 0U);
  ASSERT_TRUE(chat.feed(delta("a"), ignore));
  EXPECT_EQ(chat.content_deltas(), 3);
}

}  // namespace
}  // namespace sentinel::stream
