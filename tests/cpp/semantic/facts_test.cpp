// What is read off a prompt, and how much two prompts share.
#include "sentinel/semantic/facts.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "sentinel/base/random.hpp"
#include "sentinel/semantic/likeness.hpp"
#include "sentinel/semantic/spelling.hpp"

namespace sentinel::semantic {
namespace {

TEST(Facts, FormsOfAWordMeet) {
  const auto stem = [](const char* word) { return read_facts(word).first_word; };
  EXPECT_EQ(stem("cards"), stem("card"));
  EXPECT_EQ(stem("paying"), stem("paid") == stem("paying") ? stem("paid") : stem("pays"));
  EXPECT_EQ(stem("transferring"), stem("transferred"));
  EXPECT_EQ(stem("countries"), stem("country"));
  EXPECT_NE(stem("pass"), stem("past"));
}

TEST(Facts, NumbersHaveOneForm) {
  const auto number = [](const char* text) { return read_facts(text).of(Kind::number); };
  EXPECT_EQ(number("1,000.50"), number("1000.5"));
  EXPECT_EQ(number("10k"), number("10000"));
  EXPECT_EQ(number("007"), number("7"));
  EXPECT_EQ(number("twelve"), number("12"));
  EXPECT_NE(number("1.5"), number("15"));
  EXPECT_TRUE(number("this one").empty());
}

TEST(Facts, ShoutingAndTitlesNameNothing) {
  EXPECT_TRUE(read_facts("HOW DO I PAY WITH CARD").of(Kind::name).empty());
  EXPECT_TRUE(read_facts("How To Pay With Card").of(Kind::name).empty());
  EXPECT_EQ(read_facts("Do you ship to Spain or France?").of(Kind::name).size(), 2U);
  EXPECT_TRUE(read_facts("Where is it? I lost it.").of(Kind::name).empty());
}

TEST(Facts, TheFirstOnesAreKeptAndTheRestIsSaid) {
  std::string text;
  for (int i = 0; i < 400; ++i) text += "word" + std::to_string(i) + "x ";
  const Facts facts = read_facts(text);
  EXPECT_TRUE(facts.cut);
  EXPECT_LE(facts.words.size(), kMaxWords);
  EXPECT_LE(facts.trigrams.size(), kMaxTrigrams);
  EXPECT_LE(facts.of(Kind::identifier).size(), kMaxMarks);
}

TEST(Spelling, AgreesWithThePlainDistance) {
  // Optimal string alignment by the table of all prefixes.
  const auto distance = [](std::string_view a, std::string_view b) {
    std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
    for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
      for (std::size_t j = 1; j <= b.size(); ++j) {
        d[i][j] =
            std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1] ? 1U : 0U)});
        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
          d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
    return d[a.size()][b.size()];
  };
  Random random(3);
  for (int round = 0; round < 20'000; ++round) {
    std::string left;
    std::string right;
    for (std::uint64_t i = random.below(7); i > 0; --i) left += static_cast<char>('a' + random.below(3));
    for (std::uint64_t i = random.below(7); i > 0; --i) right += static_cast<char>('a' + random.below(3));
    for (std::size_t most = 1; most <= 2; ++most)
      ASSERT_EQ(nearly_equal(left, right, most), distance(left, right) <= most) << left << ' ' << right;
  }
}

TEST(Likeness, SlipsCountAsSharedAndRareWordsCountMore) {
  Vocabulary vocabulary;
  for (int i = 0; i < 50; ++i) vocabulary.learn(read_facts("how do i pay the bill"));
  const auto words = [&](const char* left, const char* right) {
    return likeness(read_facts(left), read_facts(right), vocabulary).words;
  };
  EXPECT_GT(words("fix the dripping tap", "fix the driping tap"), 0.99F);
  EXPECT_GT(words("pay the invoice", "settle the invoice"), words("pay the invoice", "pay the plumber"));
  EXPECT_EQ(words("", ""), 0.0F);
}

TEST(Likeness, IsSymmetricButForItsSides) {
  const Vocabulary vocabulary;
  const Facts left = read_facts("Where is the nearest station?");
  const Facts right = read_facts("station, where is the nearest tram stop");
  const Likeness forth = likeness(left, right, vocabulary);
  const Likeness back = likeness(right, left, vocabulary);
  EXPECT_FLOAT_EQ(forth.words, back.words);
  EXPECT_FLOAT_EQ(forth.trigrams, back.trigrams);
  EXPECT_FLOAT_EQ(forth.rarest_left, back.rarest_right);
}

}  // namespace
}  // namespace sentinel::semantic
