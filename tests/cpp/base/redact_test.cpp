#include "sentinel/base/redact.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace sentinel {
namespace {

struct Case {
  const char* text;
  const char* redacted;
};

class Redacts : public testing::TestWithParam<Case> {};

TEST_P(Redacts, D12WhatMustNotBeLogged) {
  EXPECT_EQ(redact(GetParam().text), GetParam().redacted);
  EXPECT_EQ(redact(GetParam().redacted), GetParam().redacted);
}

INSTANTIATE_TEST_SUITE_P(
    Email, Redacts,
    testing::Values(Case{"mail bob@example.com now", "mail [email] now"},
                    Case{"<first.last+tag@mail.example.co.uk>", "<[email]>"},
                    Case{"to=bob@example.com,cc=eve@example.org.", "to=[email],cc=[email]."},
                    Case{"j\xC3\xB6rg@ex\xC3\xA4mple.de", "[email]"}, Case{"o'brien@example.com", "[email]"},
                    Case{"?mail=bob%40example.com&x=1", "?mail=[email]&x=1"},
                    Case{R"({"text":"hi\nbob@example.com"})", R"({"text":"hi\n[email]"})"},
                    Case{"5551234567@sms.example.com", "[email]"}));

INSTANTIATE_TEST_SUITE_P(
    Card, Redacts,
    testing::Values(Case{"pay 4111111111111111 now", "pay [card] now"}, Case{"4111 1111 1111 1111", "[card]"},
                    Case{"4111-1111-1111-1111 22", "[card] 22"}, Case{"3782 822463 10005", "[card]"},
                    Case{"378282246310005", "[card]"}, Case{"5555555555554444;", "[card];"},
                    Case{"6011 0009 9013 9424", "[card]"}, Case{"4222222222222", "[card]"},
                    Case{"2223003122003222", "[card]"},
                    Case{"6304000000000000 and 3530111333300000", "[card] and [card]"}));

INSTANTIATE_TEST_SUITE_P(Ssn, Redacts,
                         testing::Values(Case{"ssn 123-45-6789.", "ssn [ssn]."},
                                         Case{"ssn 123 45 6789", "ssn [ssn]"}));

INSTANTIATE_TEST_SUITE_P(Phone, Redacts,
                         testing::Values(Case{"+15551234567", "[phone]"},
                                         Case{"call +1 (555) 123-4567 today", "call [phone] today"},
                                         Case{"+44 20 7946 0958", "[phone]"},
                                         Case{"+44 (0)20 7946 0958", "[phone]"},
                                         Case{"+49-30-901820", "[phone]"}, Case{"(555) 123-4567", "[phone]"},
                                         Case{"(555)123-4567", "[phone]"}, Case{"555-123-4567", "[phone]"},
                                         Case{"555.123.4567", "[phone]"}, Case{"212 555 0187", "[phone]"},
                                         Case{"1-800-555-0199", "[phone]"}, Case{"020 7946 0958", "[phone]"},
                                         Case{"030/1234567", "[phone]"}, Case{"06 12 34 56 78", "[phone]"}));

INSTANTIATE_TEST_SUITE_P(
    Key, Redacts,
    testing::Values(
        Case{"key sk-proj-AbCdEf0123456789_x", "key [key]"},
        Case{"sk-ant-api03-AbCdEf0123456789-xyz", "[key]"}, Case{"sk-sen-0123456789abcdefABCDEF", "[key]"},
        Case{"Authorization: Bearer abcDEF123456", "Authorization: Bearer [key]"},
        Case{"authorization: bearer x!$%&/()=?y", "authorization: bearer [key]"},
        Case{"Bearer%20sk-abcdefgh1234", "Bearer%20[key]"}, Case{"Basic dXNlcjpwYXNzd29yZA==", "Basic [key]"},
        Case{"AKIAIOSFODNN7EXAMPLE", "[key]"}, Case{"ghp_16C7e42F292c6912E7710c838347Ae178B4a", "[key]"},
        Case{"github_pat_11ABCDEFG0123456789_abcdef", "[key]"},
        Case{"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "[key]"},
        Case{"AIzaSyA1234567890abcdefghijklmnopqrstuv", "[key]"},
        Case{"api-key: 0123456789abcdef0123456789abcdef", "api-key: [key]"},
        Case{R"({"api_key": "hunter2hunter2"})", R"({"api_key": "[key]"})"},
        Case{"password=correct-horse", "password=[key]"}, Case{R"(\nsk-abcdefgh1234\n)", R"(\n[key]\n)"}));

class Keeps : public testing::TestWithParam<const char*> {};

TEST_P(Keeps, WhatIsNoSecret) { EXPECT_EQ(redact(GetParam()), GetParam()); }

INSTANTIATE_TEST_SUITE_P(
    Redact, Keeps,
    testing::Values("", "plain text", "2024-01-02T03:04:05.123456Z", "2024-01-02 03:04:05,123 +0100",
                    "2024-01-02-030405", "20240102030405", "1700000000000", "1700000000000000",
                    "1700000000000000000", "192.168.100.200:8080", "550e8400-e29b-41d4-a716-446655440000",
                    "12345678-1234-1234-1234-123456789012", "0.4111111111111111", "4111111111111112",
                    "5551234567", "12345", "000-45-6789", "666-45-6789", "sk-learn", "the bearer of this",
                    "bearer authentication failed", "a@b", "user@host", "@example.com", "x @ y.com",
                    "AKIA123", "eyJhbGciOiJIUzI1NiJ9", "latency 0.123 0.456 0.789",
                    "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", "200 123 4567", "00-11-22-33-44-55",
                    "::1 fe80::1", "password: required", "GET /v1/chat/completions?x=100%25 200",
                    "[email] [card] [ssn] [phone] [key]",
                    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));

std::string random_text(std::mt19937_64& random) {
  static const std::vector<std::string> kPieces = {"a",
                                                   "bob",
                                                   "@",
                                                   "example",
                                                   ".",
                                                   "com",
                                                   "-",
                                                   "+",
                                                   " ",
                                                   "1",
                                                   "555",
                                                   "123",
                                                   "4567",
                                                   "(",
                                                   ")",
                                                   "/",
                                                   "4111",
                                                   "1111",
                                                   "4111111111111111",
                                                   "sk-",
                                                   "abcdefgh",
                                                   "Bearer ",
                                                   "eyJ",
                                                   "abcdefghij",
                                                   "[",
                                                   "]",
                                                   "[key]",
                                                   "[email]",
                                                   "\\n",
                                                   "%40",
                                                   "%20",
                                                   "AKIA",
                                                   "IOSFODNN7EXAMPLE",
                                                   "_",
                                                   "0",
                                                   "06",
                                                   "12",
                                                   "45",
                                                   "6789",
                                                   "\xC3\xA9",
                                                   "\"",
                                                   "api-key: ",
                                                   "=",
                                                   ",",
                                                   "550e8400-e29b-41d4-a716-446655440000",
                                                   "12345678-1234-1234-1234-123456789012"};
  std::string text;
  for (auto count = random() % 24; count > 0; --count) text += kPieces[random() % kPieces.size()];
  return text;
}

TEST(Redact, RedactedTextStaysAsItIs) {
  const auto seed = std::random_device{}();
  std::mt19937_64 random(seed);
  for (int round = 0; round < 100'000; ++round) {
    const std::string text = random_text(random);
    const std::string once = redact(text);
    ASSERT_EQ(redact(once), once) << "seed " << seed << " text " << text;
  }
}

TEST(Redact, PlantedSecretsNeverSurviveWhereverTheyStand) {
  const std::vector<std::string> around = {"",  " ", "\"", "'",   "=",       ":",   ",",   ";",  "(",
                                           ")", "<", ">",  "[",   "]",       "{",   "}",   "\n", "\t",
                                           "|", "&", "?",  "\\n", "\\u0026", "%20", "[x]", "/"};
  for (const std::string secret : {"bob@example.com", "4111111111111111", "123-45-6789", "555-123-4567",
                                   "+15551234567", "sk-abcdefgh12345678", "AKIAIOSFODNN7EXAMPLE"}) {
    for (const auto& left : around) {
      for (const auto& right : around) {
        const std::string text =
            "before" + (left.empty() ? " " : left) + secret + (right.empty() ? " " : right) + "after";
        EXPECT_EQ(redact(text).find(secret), std::string::npos) << text;
      }
    }
  }
}

}  // namespace
}  // namespace sentinel
