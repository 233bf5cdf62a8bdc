// Ids are compared with what tiktoken 0.14.0 gave: for short texts as they are, for long ones as FNV-1a over the ids.
#include "sentinel/tokens/encoding.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/base/utf8.hpp"
#include "tokens/vocabulary_file.hpp"

namespace sentinel::tokens {
namespace {

using Ids = std::vector<TokenId>;

struct Fnv {
  std::uint64_t state = 0xCBF29CE484222325;
  void add(const Ids& ids) {
    for (const TokenId id : ids) state = (state ^ id) * 0x100000001B3;
  }
};

std::uint64_t fnv(const Ids& ids) {
  Fnv hash;
  hash.add(ids);
  return hash.state;
}

// xorshift64*: the same numbers here and where tiktoken was asked.
class Numbers {
 public:
  std::size_t below(std::size_t bound) {
    state_ ^= state_ >> 12U;
    state_ ^= state_ << 25U;
    state_ ^= state_ >> 27U;
    return static_cast<std::size_t>(state_ * 0x2545F4914F6CDD1D >> 33U) % bound;
  }

 private:
  std::uint64_t state_ = 0x2545F4914F6CDD1D;
};

std::string character(std::uint32_t point) {
  const auto byte = [](std::uint32_t value) { return static_cast<char>(value); };
  if (point < 0x80) return {byte(point)};
  if (point < 0x800) return {byte(0xC0 | point >> 6U), byte(0x80 | (point & 0x3F))};
  if (point < 0x10000) {
    return {byte(0xE0 | point >> 12U), byte(0x80 | (point >> 6U & 0x3F)), byte(0x80 | (point & 0x3F))};
  }
  return {byte(0xF0 | point >> 18U), byte(0x80 | (point >> 12U & 0x3F)), byte(0x80 | (point >> 6U & 0x3F)),
          byte(0x80 | (point & 0x3F))};
}

std::string mixed_text(Numbers& numbers) {
  static constexpr std::array<std::string_view, 40> kPieces{
      "a",      "b",      "A",      "B",      "s",      "S",      "t",          "l",      "L",      "v",
      "e",      "R",      " ",      " ",      "  ",     "\n",     "\r",         "\t",     "'",      "'",
      "/",      "!",      "-",      "1",      "2",      "3",      "\u017f",     "\u01c5", "\u02b0", "\u00e9",
      "\u00c9", "\u0301", "\u4e2d", "\u6587", "\u00a0", "\u3000", "\U0001F600", "\u0660", "\u05d0", "\ud55c"};
  std::string text;
  for (std::size_t left = 1 + numbers.below(40); left > 0; --left)
    text += kPieces[numbers.below(kPieces.size())];
  return text;
}

struct Known {
  std::string_view text;
  Ids o200k;
  Ids cl100k;
};

TEST(Encoding, B6IdsOfKnownTextsAreTiktokens) {
  const std::vector<Known> known{
      {"", {}, {}},
      {"hello world", {24912, 2375}, {15339, 1917}},
      {"Hello, World!", {13225, 11, 5922, 0}, {9906, 11, 4435, 0}},
      {"don't I'LL it\u017f 'S",
       {91418, 3413, 7454, 480, 70067, 461, 50},
       {15357, 956, 358, 6, 4178, 433, 129, 123, 364, 50}},
      {"  leading\n\n  and\ttabs  \n",
       {220, 8117, 279, 220, 326, 6264, 6071, 4066},
       {220, 6522, 271, 220, 323, 3324, 3518, 2355}},
      {"1234567 12", {7633, 19354, 22, 220, 899}, {4513, 10961, 22, 220, 717}},
      {"\u4f60\u597d\uff0c\u4e16\u754c", {177519, 979, 28428}, {57668, 53901, 3922, 3574, 244, 98220}},
      {"caf\u00e9 na\u00efve \U0001f600\u200d\U0001f468",
       {66, 103112, 153475, 737, 88038, 2524, 28823, 101},
       {936, 59958, 95980, 588, 91416, 378, 235, 9468, 239, 101}},
      {"camelCaseHTTPServer/path//to\n//x",
       {178067, 6187, 17893, 6444, 119244, 393, 935, 198, 393, 87},
       {94421, 4301, 9412, 5592, 52076, 322, 998, 198, 322, 87}},
      {" \n \n ", {56319, 220}, {33006, 220}},
      {"x \u00a0 y", {87, 35753, 342}, {87, 17529, 379}},
  };
  for (const Known& one : known) {
    EXPECT_EQ(o200k().encode(one.text), one.o200k) << one.text;
    EXPECT_EQ(cl100k().encode(one.text), one.cl100k) << one.text;
  }
}

TEST(Encoding, B6WhatLooksLikeASpecialTokenIsOrdinaryText) {
  EXPECT_EQ(o200k().encode("<|endoftext|>"), (Ids{27, 91, 419, 1440, 919, 91, 29}));
  EXPECT_EQ(cl100k().encode("<|endoftext|>"), (Ids{27, 91, 8862, 728, 428, 91, 29}));
}

std::uint64_t every_code_point(const Encoding& encoding, std::string_view before, std::string_view after) {
  Fnv hash;
  std::string text;
  std::size_t in_text = 0;
  for (std::uint32_t point = 0; point <= 0x10FFFF; ++point) {
    if (point >= 0xD800 && point <= 0xDFFF) continue;
    text.append(before).append(character(point)).append(after);
    if (++in_text < 256 && point != 0x10FFFF) continue;
    hash.add(encoding.encode(text));
    text.clear();
    in_text = 0;
  }
  return hash.state;
}

TEST(Encoding, B6EveryCodePointIsCutAsTiktokenCutsIt) {
  EXPECT_EQ(every_code_point(o200k(), "a", "b"), 0xE72651EE4193E6B7U);
  EXPECT_EQ(every_code_point(o200k(), "A", " "), 0x1BC60FD068C95F79U);
  EXPECT_EQ(every_code_point(o200k(), " ", "'"), 0x1C1DE0F7A0054565U);
  EXPECT_EQ(every_code_point(o200k(), "", "\n"), 0xF2F89EE54C9EB238U);
  EXPECT_EQ(every_code_point(cl100k(), "a", "b"), 0x2942F59193B2175DU);
  EXPECT_EQ(every_code_point(cl100k(), "A", " "), 0x9A77A6CB84F255EFU);
  EXPECT_EQ(every_code_point(cl100k(), " ", "'"), 0xAC299D44685F3351U);
  EXPECT_EQ(every_code_point(cl100k(), "", "\n"), 0xD6BA68444F42DA86U);
}

struct Long {
  const Encoding& encoding;
  std::uint64_t mixed;
  std::uint64_t letters, spaces, newlines, alternating, random_letters;
};

TEST(Encoding, B6TwentyThousandMixedTextsAndLongRunsHaveTiktokensIds) {
  for (const Long& expected : {Long{o200k(), 0xCD02851651A65489, 0xBD7D82DF6BAE5CF1, 0x890C812CABD2C078,
                                    0x55965AC7321B0CDF, 0x3F7A713163D1A26, 0x2090A37291717BF7},
                               Long{cl100k(), 0x52B00EFF4498B84C, 0x8F425E8710795A65, 0xAA66EBC7B50CF417,
                                    0xEEFE17FA0141C126, 0x3A93120CDB6AEDA5, 0xC2727E62DBB09D37}}) {
    const Encoding& encoding = expected.encoding;
    Numbers numbers;
    Fnv mixed;
    for (int round = 0; round < 20000; ++round) mixed.add(encoding.encode(mixed_text(numbers)));
    EXPECT_EQ(mixed.state, expected.mixed);
    EXPECT_EQ(fnv(encoding.encode(std::string(20000, 'a'))), expected.letters);
    EXPECT_EQ(fnv(encoding.encode(std::string(20000, ' '))), expected.spaces);
    EXPECT_EQ(fnv(encoding.encode(std::string(20000, '\n'))), expected.newlines);
    std::string alternating;
    std::string letters;
    for (int round = 0; round < 10000; ++round) alternating += "aA";
    for (int round = 0; round < 20000; ++round) letters += "abcdefghij"[numbers.below(10)];
    EXPECT_EQ(fnv(encoding.encode(alternating)), expected.alternating);
    EXPECT_EQ(fnv(encoding.encode(letters)), expected.random_letters);
  }
}

TEST(Encoding, CountsAgreeWithIdsAndIdsGiveTheTextBack) {
  for (const Encoding* encoding : {&o200k(), &cl100k()}) {
    Numbers numbers;
    for (int round = 0; round < 3000; ++round) {
      const std::string text =
          mixed_text(numbers) + character(static_cast<std::uint32_t>(numbers.below(0xD800)));
      const Ids ids = encoding->encode(text);
      ASSERT_EQ(encoding->count(text), ids.size());
      const Result<std::string> back = encoding->decode(ids);
      ASSERT_TRUE(back);
      ASSERT_EQ(*back, text);
    }
  }
}

TEST(Encoding, CountTillLimitIsTheCountOrNothing) {
  Numbers numbers;
  for (int round = 0; round < 1000; ++round) {
    const std::string text = mixed_text(numbers);
    const std::size_t count = o200k().count(text);
    for (std::size_t limit : {std::size_t{0}, count - 1, count, count + 1}) {
      const std::optional<std::size_t> found = o200k().count_till_limit(text, limit);
      ASSERT_EQ(found, count <= limit ? std::optional(count) : std::nullopt);
    }
  }
  EXPECT_EQ(o200k().count_till_limit("", 0), 0U);
  EXPECT_EQ(o200k().count_till_limit("hello world", std::numeric_limits<std::size_t>::max()), 2U);
  EXPECT_FALSE(o200k().count_till_limit(std::string(1 << 20, 'a'), 100));
}

TEST(Encoding, BytesThatAreNotUtf8CountAsReplacementCharacters) {
  Numbers numbers;
  for (int round = 0; round < 2000; ++round) {
    std::string bytes;
    for (std::size_t left = 1 + numbers.below(40); left > 0; --left)
      bytes += static_cast<char>(numbers.below(256));
    ASSERT_EQ(cl100k().encode(bytes), cl100k().encode(utf8::sanitize(bytes)));
    ASSERT_EQ(cl100k().count(bytes), cl100k().encode(bytes).size());
  }
  EXPECT_EQ(o200k().encode("a\xFF"), o200k().encode("a\uFFFD"));
}

TEST(Encoding, AnIdThatIsNoOrdinaryTokenIsRefused) {
  EXPECT_FALSE(o200k().decode(Ids{24912, 199999}));
  EXPECT_FALSE(cl100k().decode(Ids{100256}));
  EXPECT_FALSE(cl100k().decode(Ids{kNoToken}));
  EXPECT_TRUE(cl100k().decode(Ids{}));
}

}  // namespace
}  // namespace sentinel::tokens
