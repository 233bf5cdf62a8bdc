#include "sentinel/base/utf8.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace sentinel::utf8 {
namespace {

std::string encode(unsigned point) {
  const auto byte = [](unsigned value) { return static_cast<char>(value); };
  if (point < 0x80) return {byte(point)};
  if (point < 0x800) return {byte(0xC0 | point >> 6), byte(0x80 | (point & 0x3F))};
  if (point < 0x10000) {
    return {byte(0xE0 | point >> 12), byte(0x80 | (point >> 6 & 0x3F)), byte(0x80 | (point & 0x3F))};
  }
  return {byte(0xF0 | point >> 18), byte(0x80 | (point >> 12 & 0x3F)), byte(0x80 | (point >> 6 & 0x3F)),
          byte(0x80 | (point & 0x3F))};
}

TEST(Utf8, EveryCodePointIsValidExceptSurrogatesAndBeyond) {
  for (unsigned point = 0; point < 0x110400; ++point) {
    const bool expected = point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);
    ASSERT_EQ(valid(encode(point)), expected) << std::hex << point;
  }
}

TEST(Utf8, OverlongAndCutFormsAreInvalid) {
  for (const char* bad :
       {"\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF", "\x80", "\xC3", "\xE2\x82",
        "\xF0\x9F\x98", "\xF5\x80\x80\x80", "\xFF", "eight ascii bytes and \xE9"}) {
    EXPECT_FALSE(valid(bad)) << testing::PrintToString(std::string(bad));
  }
  EXPECT_TRUE(valid(""));
}

TEST(Utf8, B8TruncateNeverSplitsACharacterAndWastesLessThanOne) {
  const std::string text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z\xF0\x9F\x98\x80\xF0\x9F\x98\x80";
  for (std::size_t limit = 0; limit <= text.size() + 2; ++limit) {
    const std::string_view cut = truncate(text, limit);
    EXPECT_LE(cut.size(), limit);
    EXPECT_GT(cut.size() + 4, std::min(limit, text.size()));
    EXPECT_TRUE(valid(cut)) << limit;
    EXPECT_TRUE(text.starts_with(cut));
  }
}

TEST(Utf8, TruncateCutsWhatIsNotUtf8AtTheLimit) {
  EXPECT_EQ(truncate("\x80\x80\x80\x80\x80\x80", 5).size(), 5U);
  EXPECT_EQ(truncate("\xFF\xFF\xFF", 2).size(), 2U);
}

TEST(Utf8, SanitizeReplacesEachMaximalIllFormedPart) {
  EXPECT_EQ(sanitize("plain"), "plain");
  EXPECT_EQ(sanitize("\xC3\xA9"), "\xC3\xA9");
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(sanitize("a\xE2\x82"
                     "b"),
            "a" + mark + "b");                              // a cut character: one mark
  EXPECT_EQ(sanitize("\xED\xA0\x80"), mark + mark + mark);  // a surrogate: three
  EXPECT_EQ(sanitize("\xF0\x80\x80\x41"), mark + mark + mark + "A");
  EXPECT_EQ(sanitize("\xF0\x9F\x98"), mark);
}

TEST(Utf8, SanitizedTextIsValidAndStaysAsItIs) {
  const auto seed = std::random_device{}();
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (auto size = random() % 24; size > 0; --size) {
      text += static_cast<char>(random() % 3 == 0 ? random() % 128 : 0x80 + random() % 128);
    }
    const std::string clean = sanitize(text);
    ASSERT_TRUE(valid(clean)) << "seed " << seed;
    ASSERT_EQ(sanitize(clean), clean) << "seed " << seed;
    ASSERT_EQ(clean == text, valid(text)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace sentinel::utf8
