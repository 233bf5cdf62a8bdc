// Upstream bytes in, client bytes out: the same however they are cut, with nothing lost but what must be withheld.
#include "sentinel/engine/relay.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/support.hpp"
#include "sentinel/base/random.hpp"
#include "sentinel/cache/storable.hpp"

namespace sentinel::engine {
namespace {

const std::string kCredential16 = "sk-upstream-credential-0123456789";
const std::string kFirst =
    ": hi\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}],\"usage\":null}\n\n";
const std::string kSecond =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo \xE2\x82\xAC\"}}]}\r\n\r\n";
const std::string kUsage =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7}}\n\n";
const std::string kEnd = "data: [DONE]\n\n";
const std::string kChat = kFirst + kSecond + kUsage + kEnd;
const std::string kChatInCrLf =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\r\n\r\ndata: "
    "{\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7}}\r\n\r\ndata: [DONE]\n\n";
const std::string kResponses =
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n"
    "event: response.completed\ndata: "
    "{\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"usage\":{"
    "\"input_tokens\":9,\"output_tokens\":5}}}\n\n";
const std::string kMessages =
    "event: message_start\ndata: "
    "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n"
    "event: content_block_delta\ndata: "
    "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n"
    "event: message_delta\ndata: "
    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":4}}"
    "\n\n"
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const std::string kCompletions =
    "data: {\"choices\":[{\"index\":0,\"text\":\"one\"}]}\n\ndata: "
    "{\"choices\":[],\"usage\":{\"prompt_tokens\":3,"
    "\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";

struct Outcome {
  std::string given;   // all bytes
  std::string passed;  // what a client sees who did or did not ask for usage
  std::string held;
  bool fed = true;
  bool ended_well = false;
  Exchange exchange;
};

class Relay : public ::testing::Test {
 protected:
  // Feeds the pieces that `cuts` make of the text, then the upstream's end.
  Outcome relay(const std::string& text, const std::vector<std::size_t>& cuts,
                Endpoint endpoint = Endpoint::chat, bool withholds_usage = false) {
    Outcome outcome;
    outcome.exchange.endpoint = endpoint;
    outcome.exchange.snapshot = snapshot;
    outcome.exchange.credential = &kCredential16;
    StreamRelay stream(outcome.exchange, parser);
    std::size_t from = 0;
    for (std::size_t i = 0; i <= cuts.size() && outcome.fed; ++i) {
      const std::size_t to = i < cuts.size() ? cuts[i] : text.size();
      const std::string piece = text.substr(from, to - from);
      outcome.fed = static_cast<bool>(stream.feed(piece, {}, outcome.given));
      from = to;
    }
    outcome.ended_well = outcome.fed && stream.finish();
    const auto& ranges = stream.usage_ranges();
    outcome.passed = withholds_usage ? cache::without_ranges(outcome.given, ranges) : outcome.given;
    outcome.held = stream.last_bytes();
    stream.report();
    return outcome;
  }

  std::shared_ptr<const Snapshot> snapshot = make_snapshot();
  stream::JsonParser parser;
};

TEST_F(Relay, BytesPassAsTheyAreAndTheTerminalEventIsHeldBack) {
  const Outcome outcome = relay(kChat, {});
  EXPECT_EQ(outcome.passed, kFirst + kSecond + kUsage);
  EXPECT_EQ(outcome.held, kEnd);
  EXPECT_TRUE(outcome.ended_well);
  EXPECT_EQ(outcome.exchange.usage, (stream::Usage{.prompt = 11, .completion = 7}));
  EXPECT_EQ(outcome.exchange.relayed_deltas, 2);
  EXPECT_TRUE(outcome.exchange.first_token_at);
}

TEST_F(Relay, TheUsageChunkIsToldApartForThoseWhoDidNotAskForIt) {
  const Outcome outcome = relay(kChat, {}, Endpoint::chat, true);
  EXPECT_EQ(outcome.passed, kFirst + kSecond) << "usage: null members stay";
  EXPECT_EQ(outcome.exchange.usage->prompt, 11);
}

struct Fixture {
  const std::string* text;
  Endpoint endpoint;
  bool withholds_usage;
};

class Splits : public Relay, public ::testing::WithParamInterface<Fixture> {};

TEST_P(Splits, R7GiveTheSameClientBytesWhereverTheyAre) {
  const auto& [text, endpoint, withholds_usage] = GetParam();
  const Outcome whole = relay(*text, {}, endpoint, withholds_usage);
  EXPECT_TRUE(whole.ended_well);
  EXPECT_FALSE(whole.held.empty());
  for (std::size_t cut = 0; cut <= text->size(); ++cut) {
    const Outcome split = relay(*text, {cut}, endpoint, withholds_usage);
    ASSERT_EQ(split.passed, whole.passed) << cut;
    ASSERT_EQ(split.held, whole.held) << cut;
    ASSERT_EQ(split.exchange.usage, whole.exchange.usage) << cut;
    ASSERT_EQ(split.exchange.relayed_deltas, whole.exchange.relayed_deltas) << cut;
  }
  std::vector<std::size_t> every(text->size());
  for (std::size_t i = 0; i < every.size(); ++i) every[i] = i;
  EXPECT_EQ(relay(*text, every, endpoint, withholds_usage).passed, whole.passed);
}

TEST_P(Splits, R7ACutAnywhereBeforeTheTerminalEventIsNoCleanEnd) {
  const auto& [text, endpoint, withholds_usage] = GetParam();
  const Outcome whole = relay(*text, {}, endpoint, withholds_usage);
  const std::size_t last_line = text->size() - 1;  // without its blank line the terminal event has not come
  for (std::size_t cut = 0; cut < last_line; ++cut) {
    const Outcome part = relay(text->substr(0, cut), {}, endpoint, withholds_usage);
    ASSERT_FALSE(part.ended_well) << cut;
    ASSERT_TRUE(whole.passed.starts_with(part.passed)) << "only whole events pass: " << cut;
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Splits,
                         ::testing::Values(Fixture{&kChat, Endpoint::chat, false},
                                           Fixture{&kChat, Endpoint::chat, true},
                                           Fixture{&kChatInCrLf, Endpoint::chat, true},
                                           Fixture{&kCompletions, Endpoint::completions, true},
                                           Fixture{&kResponses, Endpoint::responses, false},
                                           Fixture{&kMessages, Endpoint::messages, false}));

TEST_F(Relay, S9AnErrorEventIsScrubbedOfTheCredential) {
  const std::string error = "data: {\"error\":{\"message\":\"bad key " + kCredential16 + "\"}}\n\n";
  for (std::size_t cut = 0; cut <= error.size(); ++cut) {
    const Outcome outcome = relay(kFirst + error, {kFirst.size() + cut});
    EXPECT_TRUE(outcome.ended_well) << "an error event is an end the client can read";
    EXPECT_EQ(outcome.passed.find("0123456789"), std::string::npos);
    EXPECT_TRUE(
        outcome.passed.starts_with(kFirst + "data: {\"error\":{\"message\":\"bad key [redacted]\"}}"));
  }
}

TEST_F(Relay, S9ATerminalEventThatTellsAnErrorIsScrubbedToo) {
  const std::string failed =
      "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"message\":\"" +
      kCredential16 + "\"}}}\n\n";
  const Outcome outcome = relay(failed, {}, Endpoint::responses);
  EXPECT_TRUE(outcome.ended_well);
  EXPECT_NE(outcome.held.find("[redacted]"), std::string::npos) << outcome.held;
  EXPECT_EQ(outcome.held.find("credential"), std::string::npos);
}

TEST_F(Relay, R7WhatIsNoEventOfTheProtocolEndsTheStreamAfterWhatCameBefore) {
  for (const std::string& bad :
       {std::string("data: {\n\n"), std::string("data: <html>\n\n"), std::string("data: []\n\n"),
        "data: \"\xff\"\n\n" + std::string(), "data: " + std::string(70'000, 'x')}) {
    const Outcome outcome = relay(kFirst + bad + kSecond, {});
    EXPECT_FALSE(outcome.fed) << bad.substr(0, 20);
    EXPECT_EQ(outcome.passed, kFirst);
    EXPECT_EQ(outcome.exchange.relayed_deltas, 1);
  }
}

TEST_F(Relay, NothingThatFollowsTheTerminalEventCanSpoilIt) {
  const Outcome outcome = relay(kChat + "data: {broken\n\n" + std::string(100'000, 'x'), {});
  EXPECT_TRUE(outcome.ended_well);
  EXPECT_TRUE(outcome.held.starts_with(kEnd));
}

class Plain : public Relay {
 protected:
  Status accept(std::string_view type, std::string_view body, Endpoint endpoint = Endpoint::chat) {
    exchange.endpoint = endpoint;
    return accept_plain(exchange, type, body, parser);
  }
  Exchange exchange;
};

TEST_F(Plain, AWholeReplyGivesItsUsage) {
  ASSERT_TRUE(accept(
      "application/json; charset=utf-8",
      R"({"choices":[{"message":{"content":"12345678"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}})"));
  EXPECT_EQ(exchange.usage, (stream::Usage{.prompt = 3, .completion = 2}));
  EXPECT_EQ(exchange.relayed_bytes, 8);
}

TEST_F(Plain, R7NonsenseInTwoHundredIsAnUpstreamError) {
  EXPECT_FALSE(accept("text/html", "<html>"));
  EXPECT_FALSE(accept("", "{}"));
  EXPECT_FALSE(accept("application/json", "<html>"));
  EXPECT_FALSE(accept("application/json", "{\"choices\":["));
  EXPECT_FALSE(accept("application/json", "[]"));
  EXPECT_FALSE(accept("application/json", ""));
  EXPECT_FALSE(accept("application/json", R"({"error":{"message":"no"}})"));
  EXPECT_FALSE(accept("application/json", "{\"x\":\"\xff\"}"));
}

// Whether any run of the credential of at least `window` bytes is in the text.
bool holds_run(std::string_view text, std::string_view credential, std::size_t window) {
  for (std::size_t i = 0; i + window <= credential.size(); ++i) {
    if (text.find(credential.substr(i, window)) != std::string_view::npos) return true;
  }
  return false;
}

TEST(Scrub, S9NoRunOfTwelveBytesSurvivesAndOtherTextStays) {
  Random random(9);
  for (int round = 0; round < 3000; ++round) {
    std::string credential;
    for (std::uint64_t i = 2 + random.below(60); i > 0; --i) credential += "abA1-"[random.below(5)];
    std::string text;
    for (int part = 0; part < 6; ++part) {
      for (std::uint64_t i = random.below(20); i > 0; --i) text += "abA1- "[random.below(6)];
      const std::size_t from = random.below(credential.size());
      text += credential.substr(from, random.below(credential.size() - from + 1));
    }
    const std::size_t window = std::min<std::size_t>(12, credential.size());
    const std::string clean = scrub(text, credential);
    ASSERT_FALSE(holds_run(clean, credential, window)) << credential << "\n" << text << "\n" << clean;
    if (!holds_run(text, credential, window)) {
      ASSERT_EQ(clean, text);
    }
  }
}

TEST(Scrub, ExamplesReadWell) {
  EXPECT_EQ(scrub("key sk-0123456789abcdef!", "sk-0123456789abcdef"), "key [redacted]!");
  EXPECT_EQ(scrub("key sk-01234***", "sk-0123456789abcdef"), "key sk-01234***");
  EXPECT_EQ(scrub("abc", "abc"), "[redacted]");
  EXPECT_EQ(scrub("abc", ""), "abc");
  EXPECT_EQ(scrub("", "abc"), "");
}

}  // namespace
}  // namespace sentinel::engine
