#include "sentinel/tokens/bpe.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tokens/vocabulary_file.hpp"

namespace sentinel::tokens {
namespace {

// The definition, word for word: look at all neighbours, join the lowest.
std::vector<TokenId> by_definition(const Vocabulary& vocabulary, std::string_view piece) {
  std::vector<std::string> parts;
  for (char byte : piece) parts.emplace_back(1, byte);
  while (true) {
    TokenId lowest = kNoToken;
    std::size_t place = 0;
    for (std::size_t at = 0; at + 1 < parts.size(); ++at) {
      const TokenId pair = vocabulary.find(parts[at] + parts[at + 1]);
      if (pair >= lowest) continue;
      lowest = pair;
      place = at;
    }
    if (lowest == kNoToken) break;
    parts[place] += parts[place + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(place) + 1);
  }
  std::vector<TokenId> ids;
  for (const std::string& part : parts) ids.push_back(vocabulary.find(part));
  return ids;
}

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
        ASSERT_EQ(ids, by_definition(vocabulary, piece)) << testing::PrintToString(piece);
        ASSERT_EQ(splitter.count(piece), ids.size());
      }
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
