#include "sentinel/tokens/vocabulary.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "tokens/vocabulary_file.hpp"

namespace sentinel::tokens {
namespace {

const std::string& packed() {
  static const std::string bytes = packed_vocabulary(EncodingName::cl100k_base);
  return bytes;
}

TEST(Vocabulary, EveryTokenIsFoundByItsBytes) {
  for (const Encoding* encoding : {&o200k(), &cl100k()}) {
    const Vocabulary& vocabulary = encoding->vocabulary();
    for (TokenId id = 0; id < vocabulary.size(); ++id)
      ASSERT_EQ(vocabulary.find(vocabulary.bytes_of(id)), id);
  }
  EXPECT_EQ(o200k().vocabulary().size(), 199998U);
  EXPECT_EQ(cl100k().vocabulary().size(), 100256U);
}

TEST(Vocabulary, FindsWhatAPlainMapFindsAndNothingElse) {
  const Vocabulary& vocabulary = cl100k().vocabulary();
  std::unordered_map<std::string, TokenId> map;
  for (TokenId id = 0; id < vocabulary.size(); ++id) map.emplace(vocabulary.bytes_of(id), id);
  std::mt19937 random(7);
  for (int round = 0; round < 200000; ++round) {
    std::string bytes(vocabulary.bytes_of(static_cast<TokenId>(random() % vocabulary.size())));
    bytes[random() % bytes.size()] = static_cast<char>(random());
    if (random() % 2 == 0) bytes += static_cast<char>(random());
    const auto found = map.find(bytes);
    ASSERT_EQ(vocabulary.find(bytes), found == map.end() ? kNoToken : found->second);
  }
  EXPECT_EQ(vocabulary.find(""), kNoToken);
  EXPECT_EQ(vocabulary.find(std::string(1000, ' ')), kNoToken);
}

TEST(Vocabulary, BytesAndPairsOfBytesHaveTheSameIdsAsThroughFind) {
  const Vocabulary& vocabulary = o200k().vocabulary();
  for (int first = 0; first < 256; ++first) {
    const std::string one(1, static_cast<char>(first));
    ASSERT_EQ(vocabulary.find_byte(one[0]), vocabulary.find(one));
    for (int second = 0; second < 256; ++second) {
      const std::string two = one + static_cast<char>(second);
      ASSERT_EQ(vocabulary.find_pair(two[0], two[1]), vocabulary.find(two));
    }
  }
}

TEST(Vocabulary, ACutOrLengthenedFileIsRefused) {
  for (std::size_t size : {std::size_t{0}, std::size_t{8}, std::size_t{15}, std::size_t{16},
                           packed().size() / 2, packed().size() - 1}) {
    EXPECT_FALSE(Vocabulary::load(packed().substr(0, size))) << size;
  }
  EXPECT_FALSE(Vocabulary::load(packed() + '\0'));
}

TEST(Vocabulary, AnotherHeadIsRefused) {
  for (std::size_t at = 0; at < 16; ++at) {
    std::string damaged = packed();
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    EXPECT_FALSE(Vocabulary::load(damaged)) << at;
  }
}

TEST(Vocabulary, DamageIsRefusedOrLeavesAWholeVocabulary) {
  std::mt19937 random(11);
  for (int round = 0; round < 20; ++round) {
    std::string damaged = packed();
    damaged[16 + random() % (damaged.size() - 16)] = static_cast<char>(random());
    const Result<Vocabulary> loaded = Vocabulary::load(damaged);
    if (!loaded) continue;
    for (int byte = 0; byte < 256; ++byte) ASSERT_NE(loaded->find_byte(static_cast<char>(byte)), kNoToken);
  }
}

}  // namespace
}  // namespace sentinel::tokens
