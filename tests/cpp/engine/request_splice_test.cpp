// The two places of a body that the gateway may change, against a plain model: everything else stays as it was.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "engine/support.hpp"
#include "sentinel/base/random.hpp"
#include "sentinel/engine/request.hpp"

namespace sentinel::engine {
namespace {

// Random JSON text: white space, escapes, nesting, and our own names where they mean nothing.
class Writer {
 public:
  explicit Writer(std::uint64_t seed) : random_(seed) {}

  std::string body() {
    text_.clear();
    space();
    text_ += '{';
    const std::uint64_t before = random_.below(4);
    const std::uint64_t place_of_options = random_.below(before + 2);
    for (std::uint64_t i = 0; i < before; ++i) {
      if (i == place_of_options) options();
      member("extra" + std::to_string(i), 0);
    }
    literal_member("model", R"("gpt")");
    literal_member("messages", R"([{"role":"user","content":"hi \" , } ] model"}])");
    if (place_of_options >= before) options();
    literal_member("stream", "true");
    text_.pop_back();  // the last comma
    space();
    text_ += '}';
    space();
    return text_;
  }

 private:
  void options() {
    switch (random_.below(5)) {
      case 0: return;
      case 1: return literal_member("stream_options", "null");
      case 2: return literal_member("stream_options", "{}");
      case 3:
        return literal_member("stream_options", R"({ "a" : "}" , "include_\u0075sage":false,"b":[{}] })");
      default: return literal_member("stream_options", "{ \"x\":{\"include_usage\":1}\t}");
    }
  }

  void literal_member(std::string_view name, std::string_view value) {
    space();
    key(name);
    space();
    text_ += ':';
    space();
    text_ += value;
    space();
    text_ += ',';
  }

  void member(const std::string& name, int depth) {
    space();
    key(name);
    space();
    text_ += ':';
    space();
    value(depth);
    space();
    text_ += ',';
  }

  void key(std::string_view name) {
    text_ += '"';
    for (const char c : name) {
      if (random_.below(8) > 0) {
        text_ += c;
        continue;
      }
      constexpr std::string_view kDigits = "0123456789abcdef";
      constexpr std::string_view kUpper = "0123456789ABCDEF";
      const auto& digits = random_.below(2) > 0 ? kDigits : kUpper;
      text_ += "\\u00";
      text_ += digits[static_cast<unsigned char>(c) >> 4U];
      text_ += digits[static_cast<unsigned char>(c) & 15U];
    }
    text_ += '"';
  }

  void value(int depth) {
    switch (depth > 4 ? random_.below(4) : random_.below(6)) {
      case 0: text_ += "null"; return;
      case 1: text_ += random_.below(2) > 0 ? "true" : "false"; return;
      case 2: text_ += random_.below(2) > 0 ? "-12.5e3" : "9007199254740993"; return;
      case 3: return string();
      case 4: return array(depth);
      default: return object(depth);
    }
  }

  void string() {
    constexpr std::array<std::string_view, 14> kParts{
        "a", "\\\"", "\\\\", "\\/", "\\n",   "\\u0041",        "{",
        "}", "[",    ",",    ":",   "model", "\\ud83d\\ude00", "\xC3\xA9"};
    text_ += '"';
    for (std::uint64_t i = random_.below(6); i > 0; --i) text_ += kParts[random_.below(kParts.size())];
    text_ += '"';
  }

  void array(int depth) {
    text_ += '[';
    for (std::uint64_t i = random_.below(4); i > 0; --i) {
      space();
      value(depth + 1);
      space();
      if (i > 1) text_ += ',';
    }
    space();
    text_ += ']';
  }

  void object(int depth) {
    constexpr std::array<std::string_view, 4> kNames{"model", "stream_options", "include_usage", "a\\\"b"};
    text_ += '{';
    const std::uint64_t count = random_.below(kNames.size() + 1);
    for (std::uint64_t i = 0; i < count; ++i) {
      space();
      text_.append("\"").append(kNames[i]).append("\"");
      space();
      text_ += ':';
      space();
      value(depth + 1);
      space();
      if (i + 1 < count) text_ += ',';
    }
    space();
    text_ += '}';
  }

  void space() {
    constexpr std::array<std::string_view, 6> kSpaces{"", "", "", " ", "\r\n", "\t "};
    text_ += kSpaces[random_.below(kSpaces.size())];
  }

  Random random_;
  std::string text_;
};

using Members = std::map<std::string, std::string>;

// The slow plain model: an object as a map from name to the text of its value.
Members members_of(simdjson::dom::object object) {
  Members members;
  for (const auto field : object) members.emplace(field.key, simdjson::minify(field.value));
  return members;
}

Members members_of(std::string_view text) {
  const Json json(text);
  return members_of(simdjson::dom::object(json.root()));
}

RequestFacts facts_of(const std::string& body) {
  RequestReader reader;
  auto facts = reader.read(Endpoint::chat, padded(body));
  EXPECT_TRUE(facts) << body << "\n" << (facts ? "" : facts.error().message);
  return facts ? std::move(*facts) : RequestFacts{};
}

// What must be left when the spliced-in value is cut out again: nothing of the client's bytes is lost or moved.
void expect_same_outside(const std::string& before, const std::string& after, const std::string& inserted) {
  std::size_t head = 0;
  while (head < before.size() && head < after.size() && before[head] == after[head]) ++head;
  std::size_t tail = 0;
  while (tail < before.size() - head && tail < after.size() - head &&
         before[before.size() - 1 - tail] == after[after.size() - 1 - tail]) {
    ++tail;
  }
  const std::string changed = after.substr(head, after.size() - head - tail);
  EXPECT_LE(changed.size(), inserted.size()) << before << "\n" << after;
}

constexpr std::uint64_t kSeeds = 3000;

TEST(Splice, WithModelChangesTheModelAndNothingElse) {
  const std::string name = "new\"model\\\xC3\xA9";
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const std::string body = Writer(seed).body();
    const std::string changed = with_model(body, name);
    Members expected = members_of(body);
    expected["model"] = "\"new\\\"model\\\\\xC3\xA9\"";
    ASSERT_EQ(members_of(changed), expected) << "seed " << seed << "\n" << body << "\n" << changed;
    expect_same_outside(body, changed, R"("new\"model\\ee")");
  }
}

TEST(Splice, WithUsageRequestedSetsIncludeUsageAndNothingElse) {
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const std::string body = Writer(seed).body();
    const std::string changed = with_usage_requested(body, facts_of(body));
    Members before = members_of(body);
    Members after = members_of(changed);
    const std::string options = before.contains("stream_options") ? before["stream_options"] : "null";
    Members expected = options == "null" ? Members{} : members_of(options);
    expected["include_usage"] = "true";
    ASSERT_EQ(members_of(after["stream_options"]), expected) << "seed " << seed << "\n"
                                                             << body << "\n"
                                                             << changed;
    before.erase("stream_options");
    after.erase("stream_options");
    ASSERT_EQ(after, before) << "seed " << seed;
    ASSERT_EQ(facts_of(changed).include_usage, std::optional<bool>(true)) << "seed " << seed;
    expect_same_outside(body, changed, R"("stream_options":{"include_usage":true},)");
  }
}

TEST(Splice, BothTogetherGiveABodyThatIsReadAgain) {
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const std::string body = Writer(seed).body();
    const std::string changed = with_model(with_usage_requested(body, facts_of(body)), "other");
    const RequestFacts facts = facts_of(changed);
    ASSERT_EQ(facts.model, "other") << changed;
    ASSERT_EQ(facts.include_usage, std::optional<bool>(true)) << changed;
  }
}

}  // namespace
}  // namespace sentinel::engine
