#include "sentinel/stream/json_text.hpp"

#include <gtest/gtest.h>

#include <simdjson.h>

#include <random>
#include <string>
#include <vector>

namespace sentinel::stream {
namespace {

TEST(JsonText, TheEndIsFoundWhereverItStandsAndWhateverSurroundsIt) {
  for (std::size_t before = 0; before < 40; ++before) {
    for (std::size_t after = 0; after < 40; after += 3) {
      const std::string text = std::string(before, 'a') + "\"" + std::string(after, '"');
      for (std::size_t at = 0; at <= before; ++at) {
        const ScannedString found = scan_string(text, at);
        ASSERT_EQ(found.end, before);
        ASSERT_TRUE(found.is_ascii && !found.has_escapes);
      }
    }
  }
}

TEST(JsonText, OnlyBytesOfTheStringCount) {
  const ScannedString plain = scan_string("\xC3\xBC\"abc\"\xC3\xBC and more behind it", 3);
  EXPECT_EQ(plain.end, 6U);
  EXPECT_TRUE(plain.is_ascii);
  EXPECT_FALSE(scan_string("0123456789abcde\xC3\xBC\"", 0).is_ascii);
}

TEST(JsonText, ControlCharactersAndMissingEndsAreRefused) {
  constexpr auto npos = std::string_view::npos;
  for (std::size_t size : {3U, 20U}) {
    const std::string text(size, 'a');
    EXPECT_EQ(scan_string(text, 0).end, npos);
    EXPECT_EQ(scan_string(text + "\n\"", 0).end, npos);
    EXPECT_EQ(scan_string(text + "\\\"", 0).end, npos);
    EXPECT_EQ(scan_string(text + "\\", 0).end, npos);
    EXPECT_EQ(scan_string(text + "\\\n\"", 0).end, npos);
  }
}

// simdjson is the model: both read a string alike, but for halves of surrogate pairs, which only it accepts.
TEST(JsonText, AgreesWithAParserOnAnyString) {
  static const std::vector<std::string> kPieces = {"a",
                                                   "\\\\",
                                                   "\\\"",
                                                   "\\/",
                                                   "\\b",
                                                   "\\f",
                                                   "\\n",
                                                   "\\r",
                                                   "\\t",
                                                   "\\u0041",
                                                   "\\u00e9",
                                                   "\\u20AC",
                                                   "\\ud83d\\ude00",
                                                   "\\uFFFF",
                                                   "\\x",
                                                   "\\u12",
                                                   "\xC3\xBC",
                                                   "0123456789abcdef",
                                                   "\\u0000"};
  const auto seed = std::random_device{}();
  std::mt19937_64 random(seed);
  simdjson::dom::parser parser;
  for (int round = 0; round < 20'000; ++round) {
    std::string inside;
    for (auto count = random() % 6; count > 0; --count) inside += kPieces[random() % kPieces.size()];
    std::string_view expected;
    const bool valid = parser.parse("\"" + inside + "\"").get_string().get(expected) == simdjson::SUCCESS;
    const ScannedString found = scan_string(inside + "\"", 0);
    std::string meant;
    const bool read = found.end == inside.size() && unescape(inside, meant);
    ASSERT_EQ(read, valid) << inside << " seed " << seed;
    if (valid) {
      ASSERT_EQ(meant, expected) << inside << " seed " << seed;
    }
  }
}

TEST(JsonText, HalvesOfSurrogatePairsAreRefused) {
  for (const char* half :
       {"\\ud83d", "\\ude00", "\\ud83d\\ud83d", "\\ud83dx", "\\ud83d\\n", "\\ud83d\\u0041"}) {
    std::string meant;
    EXPECT_FALSE(unescape(half, meant)) << half;
  }
}

}  // namespace
}  // namespace sentinel::stream
