#include "sentinel/cache/forms_json.hpp"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string>
#include <vector>

namespace sentinel::cache::raw {
namespace {

using Views = std::vector<std::string_view>;

std::string compact(std::string_view value) {
  std::string out;
  append_compact(out, value);
  return out;
}

// Byte by byte, as a slow model.
std::string plainly_compact(std::string_view value) {
  std::string out;
  bool quoted = false;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    if (quoted && c == '\\') {
      out += c;
      if (++i < value.size()) out += value[i];
      continue;
    }
    if (c == '"') quoted = !quoted;
    if (quoted || (c != ' ' && c != '\n' && c != '\r' && c != '\t')) out += c;
  }
  return out;
}

TEST(RawJson, items_and_members_are_the_slices_they_were) {
  EXPECT_EQ(items_of(R"([ 1.50 , "a]\"," ,{"b":[2]},[ ],null])"),
            (Views{"1.50", R"("a]\",")", R"({"b":[2]})", "[ ]", "null"}));
  EXPECT_EQ(items_of("[]"), Views{});
  EXPECT_FALSE(items_of("{}"));
  Walk walk(R"({ "a" : {"x":1} , "b":-1e5 })");
  const auto a = walk.next_member();
  const auto b = walk.next_member();
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->key, "a");
  EXPECT_EQ(a->value, R"({"x":1})");
  EXPECT_EQ(b->value, "-1e5");
  EXPECT_FALSE(walk.next_member());
  EXPECT_TRUE(walk.done());
}

TEST(RawJson, a_closed_object_has_known_members_once) {
  constexpr std::array<std::string_view, 2> kNames = {"a", "b"};
  std::array<std::string_view, 2> values;
  EXPECT_TRUE(read_closed(R"({"b":1})", kNames, values));
  EXPECT_EQ(values, (std::array<std::string_view, 2>{"", "1"}));
  EXPECT_TRUE(read_closed("{}", kNames, values));
  for (const char* text : {R"({"c":1})", R"({"a":1,"a":1})", R"({"\u0061":1})", "[]", "", "{", R"({"a":1)",
                           R"({"a"})", R"({"a":1}})", R"({"a":1,})", "null"}) {
    EXPECT_FALSE(read_closed(text, kNames, values)) << text;
  }
}

TEST(RawJson, characters_and_escapes_end_where_they_end) {
  const std::string text = "a\xC3\xA9\xF0\x9F\x98\x80\\n\\u00e9\\ud83d\\ude00\\ud83dx\\\\";
  std::vector<std::size_t> sizes;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = character_end(text, at);
    sizes.push_back(end - at);
    at = end;
  }
  EXPECT_EQ(sizes, (std::vector<std::size_t>{1, 2, 4, 2, 6, 12, 6, 1, 2}));
}

TEST(RawJson, compacting_any_bytes_is_what_the_slow_way_gives) {
  std::mt19937 random(8);
  const std::string alphabet = "[]{}\"\":,\\ \n\r\t01ab\xC3";
  for (int round = 0; round < 20000; ++round) {
    std::string text(random() % 70, ' ');
    for (char& c : text) c = alphabet[random() % alphabet.size()];
    ASSERT_EQ(compact(text), plainly_compact(text)) << text;
  }
}

TEST(RawJson, walking_any_bytes_ends_and_stays_inside) {
  std::mt19937 random(9);
  const std::string alphabet = "[]{}\"\":,,\\ 1a";
  for (int round = 0; round < 50000; ++round) {
    std::string text(1 + random() % 40, ' ');
    for (char& c : text) c = alphabet[random() % alphabet.size()];
    text.front() = round % 2 == 0 ? '{' : '[';
    Walk walk(text);
    std::size_t steps = 0;
    const auto inside_text = [&text](std::string_view part) {
      return part.data() >= text.data() && part.data() + part.size() <= text.data() + text.size();
    };
    if (round % 2 == 0) {
      for (auto member = walk.next_member(); member; member = walk.next_member(), ++steps) {
        EXPECT_TRUE(inside_text(member->key) && inside_text(member->value));
      }
    } else {
      for (auto item = walk.next_item(); item; item = walk.next_item(), ++steps)
        EXPECT_TRUE(inside_text(*item));
    }
    EXPECT_LE(steps, text.size());
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = character_end(text, at);
      ASSERT_GT(end, at);
      at = end;
    }
  }
}

}  // namespace
}  // namespace sentinel::cache::raw
