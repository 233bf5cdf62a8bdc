// Log lines: what they say, which are written, and that no text can break out of its line or carry a secret.
#include "sentinel/log/json_log.hpp"

#include <gtest/gtest.h>
#include <simdjson.h>

#include <algorithm>
#include <vector>

#include "sentinel/base/random.hpp"
#include "sentinel/base/utf8.hpp"
#include "sentinel/log/json_text.hpp"

namespace sentinel::log {
namespace {

using journal::Outcome;
using journal::UsageRecord;

constexpr Duration kWhen{1'795'253'400'123'456};  // 2026-11-21T09:30:00.123456Z

UsageRecord plain_record() {
  UsageRecord record;
  record.request_id = "req-1";
  record.ts_us = kWhen.count();
  record.key_id = "ci";
  record.account_id = "acme/search";
  record.endpoint = "/v1/chat/completions";
  record.model = "gpt-4o-mini";
  record.status = 200;
  return record;
}

// The member's string, read by an independent parser; fails the test when the line is not one JSON object.
std::string member_of(const std::string& line, const char* member) {
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << line;
  EXPECT_EQ(line.empty() ? ' ' : line.back(), '\n');
  simdjson::dom::parser parser;
  std::string_view text;
  EXPECT_EQ(parser.parse(line).at_key(member).get(text), simdjson::SUCCESS) << line;
  return std::string{text};
}

std::string logged(std::string_view text) {
  std::string out;
  append_text(out, text);
  return out;
}

TEST(JsonLog, an_exchange_line_says_all_there_is_to_say) {
  UsageRecord record = plain_record();
  record.trace_id = {0x4bf92f3577b34da6, 0xa3ce929d0e0e4736};
  record.target = "openai/gpt-4o-mini";
  record.prompt_tokens = 1;
  record.completion_tokens = 2;
  record.cached_tokens = 3;
  record.reasoning_tokens = 4;
  record.estimated = true;
  record.cost_micro_usd = 5;
  record.outcome = Outcome::upstream_cut;
  record.error_code = "upstream_error";
  record.latency_us = 6;
  record.ttft_us = 7;
  EXPECT_EQ(
      exchange_line(record),
      R"({"ts":"2026-11-21T09:30:00.123456Z","level":"error","event":"exchange","request_id":"req-1",)"
      R"("trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","key_id":"ci","account":"acme/search",)"
      R"("endpoint":"/v1/chat/completions","model":"gpt-4o-mini","target":"openai/gpt-4o-mini","status":200,)"
      R"("outcome":"upstream_cut","cache":"bypass","error":"upstream_error",)"
      R"("tokens":{"prompt":1,"completion":2,"cached":3,"reasoning":4,"estimated":true},)"
      R"("cost_micro_usd":5,"latency_us":6,"ttft_us":7})"
      "\n");
}

TEST(JsonLog, what_is_absent_is_null) {
  const std::string line = exchange_line(plain_record());
  for (const std::string member : {"trace_id", "target", "error", "ttft_us"}) {
    EXPECT_NE(line.find("\"" + member + "\":null"), std::string::npos) << line;
  }
}

TEST(JsonLog, an_event_line_holds_its_fields) {
  const Field fields[] = {{"path", "/tmp/\"x\""}, {"count", "3"}};
  EXPECT_EQ(
      json_line(kWhen, Level::warning, "usage", fields),
      R"({"ts":"2026-11-21T09:30:00.123456Z","level":"warning","event":"usage","path":"/tmp/\"x\"","count":"3"})"
      "\n");
}

TEST(JsonLog, levels_follow_outcome_and_status) {
  const auto level = [](Outcome outcome, int status) {
    UsageRecord record = plain_record();
    record.outcome = outcome;
    record.status = status;
    return level_of(record);
  };
  EXPECT_EQ(level(Outcome::done, 200), Level::info);
  EXPECT_EQ(level(Outcome::client_gone, 200), Level::info);
  EXPECT_EQ(level(Outcome::done, 404), Level::warning);
  EXPECT_EQ(level(Outcome::refused, 429), Level::warning);
  EXPECT_EQ(level(Outcome::shutdown, 200), Level::warning);
  EXPECT_EQ(level(Outcome::upstream_cut, 200), Level::error);
  EXPECT_EQ(level(Outcome::upstream_error, 502), Level::error);
  EXPECT_EQ(level(Outcome::crash, 0), Level::error);
  EXPECT_EQ(level(Outcome::refused, 503), Level::error);
}

TEST(JsonLog, level_names_are_those_of_the_configuration) {
  EXPECT_EQ(level_named("debug"), Level::debug);
  EXPECT_EQ(level_named("info"), Level::info);
  EXPECT_EQ(level_named("warning"), Level::warning);
  EXPECT_EQ(level_named("error"), Level::error);
  EXPECT_EQ(level_named("INFO"), std::nullopt);
}

class Injection : public ::testing::TestWithParam<std::string> {};

TEST_P(Injection, s4_a_value_cannot_end_its_line_or_its_string) {
  UsageRecord record = plain_record();
  record.request_id = record.key_id = record.account_id = record.model = record.target = record.error_code =
      GetParam();
  record.endpoint = GetParam();
  const std::string line = exchange_line(record);
  EXPECT_EQ(member_of(line, "level"), "info");
  for (const char* member : {"request_id", "key_id", "account", "endpoint", "model", "target", "error"}) {
    EXPECT_EQ(member_of(line, member), utf8::sanitize(GetParam()));
  }
  EXPECT_TRUE(std::none_of(line.begin(), line.end() - 1, [](char byte) {
    return static_cast<unsigned char>(byte) < 0x20 || byte == 0x7F;
  })) << line;
  EXPECT_TRUE(utf8::valid(line));
}

INSTANTIATE_TEST_SUITE_P(Corpus, Injection,
                         ::testing::Values("a\nb", "a\r\n{\"level\":\"error\",\"event\":\"forged\"}",
                                           "\",\"level\":\"error\",\"x\":\"", "\\", "\\\"", "\\u0022",
                                           std::string("nul\0here", 8), "\x1b[2J\x1b[31mred",
                                           "tab\tbell\a back\b", "\x7f",
                                           "\xc2\x9b"
                                           "31m",
                                           "\xe2\x80\xa8line\xe2\x80\xa9para",
                                           "\xe2\x80\xae"
                                           "desrever",
                                           "\xe2\x81\xa6iso\xe2\x81\xa9", "\xff\xfe", "cut\xe2\x82",
                                           "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80",
                                           "</script><script>", "naïve ключ 鍵 🔑", "%s%n",
                                           "${jndi:ldap://x}"));

TEST(JsonLog, s4_marks_that_move_the_cursor_or_turn_the_text_are_escaped) {
  EXPECT_EQ(logged("\xc2\x9b\xe2\x80\xa8\xe2\x80\xae\xe2\x81\xa6\x7f"),
            R"("\u009b\u2028\u202e\u2066\u007f")");
  EXPECT_EQ(logged("\xe2\x82\xac\xc2\xa3"), "\"€£\"");  // same lead bytes, harmless
}

TEST(JsonLog, b8_a_long_value_is_cut_on_a_character) {
  EXPECT_EQ(logged(std::string(255, 'a') + "é"), '"' + std::string(255, 'a') + '"');
  EXPECT_EQ(logged(std::string(256, 'a') + "b"), '"' + std::string(256, 'a') + '"');
  EXPECT_EQ(logged(std::string(1 << 20, 'a')), '"' + std::string(256, 'a') + '"');
}

struct Canary {
  std::string kind, text, core;  // core: what must not be seen
  friend std::ostream& operator<<(std::ostream& out, const Canary& canary) { return out << canary.kind; }
};

class Canaries : public ::testing::TestWithParam<Canary> {};

TEST_P(Canaries, s8_d12_a_secret_is_not_logged_wherever_it_stands) {
  const Canary& canary = GetParam();
  UsageRecord record = plain_record();
  record.request_id = canary.text;
  record.model = "please use " + canary.text + " thanks";
  record.error_code = "Authorization: Bearer " + canary.text;
  const std::string line = exchange_line(record);
  EXPECT_EQ(line.find(canary.core), std::string::npos) << line;
}

TEST_P(Canaries, s8_a_secret_on_the_edge_of_the_cut_leaves_no_half_behind) {
  const Canary& canary = GetParam();
  const std::string half = canary.core.substr(0, canary.core.size() / 2);
  for (std::size_t at = 200; at <= 256; ++at) {
    const std::string text = std::string(at - 1, '.') + " " + canary.text;
    EXPECT_EQ(logged(text).find(half), std::string::npos) << at;
  }
}

INSTANTIATE_TEST_SUITE_P(
    D12, Canaries,
    ::testing::Values(
        Canary{"openai key", "sk-proj-CANARYabcdefghij0123456789KLMNOP", "CANARYabcdefghij0123456789"},
        Canary{"our key", "sk-sen-CANARY4bcdefghij0123456789KLMNOP", "CANARY4bcdefghij0123456789"},
        Canary{"jwt",
               "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJDQU5BUlkifQ.CANARYsflKxwRJSMeKKF2QT4fwpMeJf36POk6yJVadQssw5c",
               "CANARYsflKxwRJSMeKKF2QT4"},
        Canary{"e-mail", "canary.person@example.com", "canary.person"},
        Canary{"card", "4111 1111 1111 1111", "4111 1111 1111"}, Canary{"ssn", "078-05-1120", "078-05-1120"},
        Canary{"phone", "+1 415 555 2671", "415 555 2671"}));

TEST(JsonLog, s4_any_bytes_make_one_valid_line) {
  Random random{20261121};
  for (int round = 0; round < 3000; ++round) {
    UsageRecord record = plain_record();
    record.model.resize(random.below(400));
    for (char& byte : record.model) byte = static_cast<char>(random.below(256));
    const std::string line = exchange_line(record);
    EXPECT_LE(member_of(line, "model").size(), 256U);
    ASSERT_FALSE(HasFailure()) << "round " << round;
  }
}

}  // namespace
}  // namespace sentinel::log
