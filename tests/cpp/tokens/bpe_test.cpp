#include "sentinel/tokens/bpe.hpp"

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

std::string random_piece(std::mt19937& random, std::size_t size, std::string_view alphabet) {
  std::string piece;
  while (piece.size() < size) {
    piece += alphabet.empty() ? static_cast<char>(random()) : alphabet[random() % alphabet.size()];
  }
  return piece;
}

TEST(Splitter, ShortAndLongPiecesAreJoinedAsTheDefinitionSays) {
  std::mt19937 random(3);
  for (const Encoding* encoding : {&o200k(), &cl100k()}) {
    const Vocabulary& vocabulary = encoding->vocabulary();
    Splitter splitter(vocabulary);
    for (std::string_view alphabet : {"", "ab", "a", "abcdefghij", "=- ", "\xE4\xB8\xAD\x80"}) {
      for (std::size_t size : {1U, 2U, 3U, 7U, 20U, 63U, 64U, 65U, 66U, 129U, 200U}) {
        const std::string piece = random_piece(random, size, alphabet);
        std::vector<TokenId> ids;
        splitter.split(piece, ids);
        ASSERT_EQ(ids, slow::split(vocabulary, piece)) << testing::PrintToString(piece);
        ASSERT_EQ(splitter.count(piece), ids.size());
      }
    }
  }
}

// Characters of three bytes as texts have them: pieces of tokens, and neighbours that no token has.
std::string random_characters(std::mt19937& random, const Vocabulary& vocabulary, std::size_t tokens) {
  std::string piece;
  while (tokens > 0) {
    const std::string_view token = vocabulary.bytes_of(static_cast<TokenId>(random() % vocabulary.size()));
    std::string characters;
    for (std::size_t at = 0; at + 3 <= token.size(); ++at) {
      const std::string_view three = token.substr(at, 3);
      if ((three[0] & 0xF0) == 0xE0 && utf8::valid(three)) characters += three;
    }
    if (characters.empty()) continue;
    piece += characters;
    --tokens;
  }
  return piece;
}

TEST(Splitter, CharactersOfThreeBytesAreJoinedAsTheDefinitionSays) {
  std::mt19937 random(17);
  for (const Encoding* encoding : {&o200k(), &cl100k()}) {
    const Vocabulary& vocabulary = encoding->vocabulary();
    Splitter splitter(vocabulary);
    for (int round = 0; round < 1500; ++round) {
      const std::string piece = random_characters(random, vocabulary, 1 + random() % 6);
      std::vector<TokenId> ids;
      splitter.split(piece, ids);
      ASSERT_EQ(ids, slow::split(vocabulary, piece)) << piece;
      ASSERT_EQ(splitter.count(piece), ids.size()) << piece;
    }
  }
}

// Every token that begins or ends within a character, or is made in another order than its characters, is met here with
// every way to complete it.
TEST(Splitter, TokensThatBreakTheRulesForCharactersAreSplitAsTheDefinitionSays) {
  for (const Encoding* encoding : {&o200k(), &cl100k()}) {
    const Vocabulary& vocabulary = encoding->vocabulary();
    Splitter splitter(vocabulary);
    const std::array<std::string_view, 3> before{"", "\xE4", "\xE4\xB8"};
    const std::array<std::string_view, 3> after{"", "\xAD", "\xB8\xAD"};
    for (TokenId id = 0; id < vocabulary.size(); ++id) {
      for (const std::string_view front : before) {
        for (const std::string_view back : after) {
          const std::string whole = std::string(front).append(vocabulary.bytes_of(id)).append(back);
          if (whole.size() < 6 || (whole[0] & 0xF0) != 0xE0 || whole.size() % 3 != 0 || !utf8::valid(whole))
            continue;
          for (const std::string& piece : {whole, "\u7684" + whole, whole + "\u5929\u6C14"}) {
            ASSERT_EQ(splitter.count(piece), slow::split(vocabulary, piece).size()) << piece;
          }
        }
      }
    }
  }
}

// Long pieces of parts of tokens, so that what fits best from the left is often wrong further on.
TEST(Splitter, LongPiecesOfTokensAreSplitAsTheDefinitionSays) {
  std::mt19937 random(29);
  for (const Encoding* encoding : {&o200k(), &cl100k()}) {
    const Vocabulary& vocabulary = encoding->vocabulary();
    Splitter splitter(vocabulary);
    for (int round = 0; round < 400; ++round) {
      std::string piece;
      while (piece.size() < 65 + random() % 200) {
        const std::string_view token =
            vocabulary.bytes_of(static_cast<TokenId>(random() % vocabulary.size()));
        piece += token.substr(random() % token.size() * (random() % 2));
      }
      std::vector<TokenId> ids;
      splitter.split(piece, ids);
      ASSERT_EQ(ids, slow::split(vocabulary, piece)) << testing::PrintToString(piece);
    }
  }
}

TEST(Splitter, B6AQuarterMegabyteWithoutABreakIsCounted) {
  std::mt19937 random(5);
  Splitter splitter(o200k().vocabulary());
  EXPECT_EQ(splitter.count(std::string(256'000, 'a')), 32'000U);
  EXPECT_GT(splitter.count(random_piece(random, 256'000, "abcdefghij")), 80'000U);
}

}  // namespace
}  // namespace sentinel::tokens
