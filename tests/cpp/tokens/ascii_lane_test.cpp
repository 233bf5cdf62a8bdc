#include "sentinel/tokens/ascii_lane.hpp"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/base/utf8.hpp"
#include "tokens/slow_model.hpp"
#include "tokens/vocabulary_file.hpp"

namespace sentinel::tokens {
namespace {

template <EncodingName kName>
std::size_t expect_what_next_piece_finds(std::string_view text) {
  std::size_t decided = 0;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = next_piece(kName, text, start);
    const std::size_t length = ascii_piece<kName>(Window(text, start));
    if (length != 0) {
      EXPECT_EQ(start + length, end) << testing::PrintToString(text) << " at " << start;
      ++decided;
    }
    start = end;
  }
  return decided;
}

std::string random_text(std::mt19937& random, std::string_view alphabet, std::size_t size) {
  std::string text;
  while (text.size() < size) text += alphabet[random() % alphabet.size()];
  return text;
}

TEST(AsciiLane, DecidesAsNextPieceDoesOrNotAtAll) {
  std::mt19937 random(23);
  std::string ascii;
  for (int byte = 0; byte < 0x80; ++byte) ascii += static_cast<char>(byte);
  for (const std::string_view alphabet :
       {std::string_view(ascii), std::string_view("abAB '"), std::string_view("ab  \n\r\t/"),
        std::string_view("aZ09 ./\n"), std::string_view("don'tLLvers "), std::string_view(" a")}) {
    std::size_t decided = 0;
    for (int round = 0; round < 4000; ++round) {
      const std::string text = random_text(random, alphabet, 1 + random() % 60);
      decided += expect_what_next_piece_finds<EncodingName::o200k_base>(text);
      decided += expect_what_next_piece_finds<EncodingName::cl100k_base>(text);
    }
#if defined(__SSE2__)
    EXPECT_GT(decided, 4000U);
#endif
  }
}

TEST(AsciiLane, WhatIsBeyondAsciiIsLeftToNextPiece) {
  std::mt19937 random(29);
  for (int round = 0; round < 20000; ++round) {
    std::string text = random_text(random, "ab A1. \n'", 1 + random() % 20);
    for (const std::string_view more :
         {"\u00e9", "\u4e2d", "\u0301", "\u00a0", "\U0001F600", "\u0660", "\u2014"}) {
      if (random() % 3 == 0) text += more;
      if (random() % 3 == 0) text += random_text(random, "ab A1. \n'", 1 + random() % 5);
    }
    expect_what_next_piece_finds<EncodingName::o200k_base>(text);
    expect_what_next_piece_finds<EncodingName::cl100k_base>(text);
  }
}

TEST(Encoding, FastPathsGiveTheIdsOfThePlainModel) {
  std::mt19937 random(31);
  static constexpr std::array<std::string_view, 24> kParts{" the",
                                                           " counter",
                                                           "camelCase",
                                                           "HTTPServer",
                                                           "  ",
                                                           "\n\n",
                                                           "    ",
                                                           "12345",
                                                           "();\n",
                                                           " //",
                                                           "don't",
                                                           "I'LL",
                                                           "\u4eca\u5929\u5929\u6c14",
                                                           "\uff0c\u6211\u4eec",
                                                           "\u5f69\u7968",
                                                           "\u5317\u4eac",
                                                           "\ud55c\uad6d\uc5b4",
                                                           "\u3053\u3093\u306b\u3061\u306f",
                                                           "\u0439\u0446\u0443",
                                                           "\U0001F600",
                                                           "\u0301",
                                                           "\u00a0",
                                                           "xqzvkjw",
                                                           "'s"};
  for (const Encoding* encoding : {&o200k(), &cl100k()}) {
    for (int round = 0; round < 1500; ++round) {
      std::string text;
      for (std::size_t left = 1 + random() % 12; left > 0; --left) text += kParts[random() % kParts.size()];
      const std::vector<TokenId> ids = slow::encode(*encoding, text);
      ASSERT_EQ(encoding->encode(text), ids) << text;
      ASSERT_EQ(encoding->encode(text), ids) << "from the cache: " << text;
      ASSERT_EQ(encoding->count(text), ids.size()) << text;
    }
  }
}

}  // namespace
}  // namespace sentinel::tokens
