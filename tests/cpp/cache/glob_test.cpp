#include "sentinel/cache/glob.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "sentinel/base/random.hpp"

namespace sentinel::cache {
namespace {

bool matches(std::u32string_view pattern, std::u32string_view text) {
  return Glob(pattern).matches(text.data(), text.size());
}

// By definition, without classes.
bool matches_slowly(std::u32string_view pattern, std::u32string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] == U'*')
    return matches_slowly(pattern.substr(1), text) ||
           (!text.empty() && matches_slowly(pattern, text.substr(1)));
  return !text.empty() && (pattern[0] == U'?' || pattern[0] == text[0]) &&
         matches_slowly(pattern.substr(1), text.substr(1));
}

struct Case {
  std::u32string_view pattern;
  std::u32string_view text;
  bool expected;
};

TEST(Glob, ClassesAreSetsAndRangesAndTheirComplements) {
  for (const Case& one : {
           Case{U"[abc]", U"b", true},
           Case{U"[abc]", U"d", false},
           Case{U"[a-c]x", U"cx", true},
           Case{U"[!a-c]", U"d", true},
           Case{U"[!a-c]", U"b", false},
           Case{U"[]]", U"]", true},
           Case{U"[!]]", U"]", false},
           Case{U"[!]]", U"a", true},
           Case{U"[a", U"[a", true},
           Case{U"[*]", U"*", true},
           Case{U"[*]", U"x", false},
           Case{U"[]", U"[]", true},
           Case{U"[a-]", U"-", true},
           Case{U"[!]", U"[!]", true},
           Case{U"*[0-9]", U"key7", true},
           Case{U"[c-a]", U"b", false},
           Case{U"[а-я]*", U"жизнь", true},
           Case{U"", U"", true},
       })
    EXPECT_EQ(matches(one.pattern, one.text), one.expected);
}

TEST(Glob, DoesAsItsDefinitionOnRandomTexts) {
  Random random(5);
  for (int i = 0; i < 20'000; ++i) {
    std::u32string pattern;
    std::u32string text;
    for (std::uint64_t n = random.below(7); n > 0; --n) pattern += U"ab*?"[random.below(4)];
    for (std::uint64_t n = random.below(9); n > 0; --n) text += U"ab"[random.below(2)];
    ASSERT_EQ(matches(pattern, text), matches_slowly(pattern, text));
  }
}

TEST(Glob, ManyStarsCostNoMoreThanTextTimesPattern) {
  std::u32string pattern;
  for (int i = 0; i < 100; ++i) pattern += U"*a";
  EXPECT_FALSE(matches(pattern + U"*b", std::u32string(50'000, U'a')));
}

TEST(Glob, TextsMayHaveUnitsOfAnyWidth) {
  const Glob glob(U"k?y*");
  EXPECT_TRUE(glob.matches("key", 3));
  EXPECT_TRUE(glob.matches(u"k\u96eay1", 4));
}

}  // namespace
}  // namespace sentinel::cache
