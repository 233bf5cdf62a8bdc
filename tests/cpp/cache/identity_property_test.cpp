// The canonical form against a slow plain one: two bodies have one identity if and only if their values are equal, however
// they are spelled.
#include <gtest/gtest.h>

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "sentinel/base/random.hpp"
#include "sentinel/cache/identity.hpp"

namespace sentinel::cache {
namespace {

using Text = std::u32string;

struct Value {
  enum class Kind { null, yes, no, integer, decimal, text, array, object };
  Kind kind = Kind::null;
  std::int64_t integer = 0;
  double decimal = 0;
  Text text;
  std::vector<Value> items;  // of an array, or the values of an object
  std::vector<Text> keys;
};

using Kind = Value::Kind;

constexpr std::array<char32_t, 14> kCharacters{U'a', U'b', U'"', U'\\',  U'/',   U'\n',   U'\0',
                                               0x1f, 0x7f, 0xe9, 0x20ac, 0xffff, 0x1f600, 0x10ffff};

Text random_text(Random& random) {
  Text text;
  for (std::uint64_t left = random.below(4); left > 0; --left) {
    text += kCharacters[random.below(random.below(2) == 0 ? 2 : kCharacters.size())];
  }
  return text;
}

std::int64_t random_integer(Random& random) {
  constexpr std::array<std::int64_t, 9> kEdges{
      0, 1, -1, 10, 127, 128, 9007199254740992, 9007199254740993, INT64_MIN};
  return kEdges[random.below(kEdges.size())];
}

bool has_key(const Value& object, const Text& key) {
  return std::find(object.keys.begin(), object.keys.end(), key) != object.keys.end();
}

Value random_value(Random& random, unsigned depth) {
  Value value;
  value.kind = static_cast<Kind>(random.below(depth == 0 ? 6 : 8));
  if (value.kind == Kind::integer) value.integer = random_integer(random);
  if (value.kind == Kind::decimal) value.decimal = (static_cast<double>(random.below(64)) - 32) / 8;
  if (value.kind == Kind::text) value.text = random_text(random);
  if (value.kind != Kind::array && value.kind != Kind::object) return value;
  for (std::uint64_t left = random.below(4); left > 0; --left) {
    if (value.kind == Kind::object) {
      const Text key = random_text(random);
      if (has_key(value, key)) continue;
      value.keys.push_back(key);
    }
    value.items.push_back(random_value(random, depth - 1));
  }
  return value;
}

Value random_body(Random& random) {
  Value body;
  body.kind = Kind::object;
  for (const char32_t* key : {U"model", U"user", U"messages", U"x"}) {
    if (random.below(4) == 0 && *key != U'x') continue;  // a change needs a member
    body.keys.emplace_back(key);
    body.items.push_back(random_value(random, 3));
  }
  return body;
}

// The plain model: a map of maps, written out.
std::string plain(const Text& text) {
  std::string out = "'";
  for (const char32_t c : text) out += std::to_string(static_cast<std::uint32_t>(c)) + ".";
  return out + "'";
}

std::string plain(const Value& value, bool top = false) {
  switch (value.kind) {
    case Kind::null: return "null";
    case Kind::yes: return "true";
    case Kind::no: return "false";
    case Kind::integer: return std::to_string(value.integer);
    case Kind::decimal:
      return value.decimal == std::floor(value.decimal)
                 ? std::to_string(static_cast<std::int64_t>(value.decimal))
                 : std::to_string(value.decimal);
    case Kind::text: return plain(value.text);
    default: break;
  }
  if (value.kind == Kind::array) {
    std::string out = "[";
    for (const Value& item : value.items) out += plain(item) + ",";
    return out + "]";
  }
  std::map<Text, std::string> members;
  for (std::size_t i = 0; i < value.items.size(); ++i) {
    if (!top || value.keys[i] != U"user") members[value.keys[i]] = plain(value.items[i]);
  }
  std::string out = "{";
  for (const auto& [key, member] : members) out += plain(key) + ":" + member + ",";
  return out + "}";
}

// One of the ways to write a value.
class Speller {
 public:
  explicit Speller(Random& random) : random_(random) {}

  std::string spell(const Value& value) {
    switch (value.kind) {
      case Kind::null: return spaced("null");
      case Kind::yes: return spaced("true");
      case Kind::no: return spaced("false");
      case Kind::integer: return spaced(integer(value.integer));
      case Kind::decimal: return spaced(decimal(value.decimal));
      case Kind::text: return spaced(text(value.text));
      default: return spaced(compound(value));
    }
  }

 private:
  std::string spaced(const std::string& token) { return space() + token + space(); }
  std::string space() {
    constexpr std::array<const char*, 6> kSpaces{"", "", "", " ", "\n\t", "\r "};
    return kSpaces[random_.below(kSpaces.size())];
  }

  std::string integer(std::int64_t number) {
    const std::string digits = std::to_string(number);
    if (number == 0 && random_.below(2) == 0) return "-0";
    if (std::abs(static_cast<double>(number)) > 9007199254740992.0 || number == 9007199254740993)
      return digits;
    constexpr std::array<const char*, 5> kEnds{"", ".0", "e0", "0e-1", ".000E+0"};
    const char* end = kEnds[random_.below(kEnds.size())];
    return number == 0 && *end == '0' ? digits : digits + end;
  }

  std::string decimal(double number) {
    std::array<char, 64> out;
    constexpr std::array<const char*, 4> kFormats{"%.17g", "%.20e", "%.3f", "%.3E"};
    const char* format = kFormats[random_.below(kFormats.size())];
    const int size = std::snprintf(out.data(), out.size(), format, number);
    if (std::strtod(out.data(), nullptr) != number) return decimal(number);
    return {out.data(), static_cast<std::size_t>(size)};
  }

  std::string unit(std::uint32_t code) {
    std::array<char, 8> out;
    std::snprintf(out.data(), out.size(), random_.below(2) == 0 ? "\\u%04x" : "\\u%04X", code);
    return out.data();
  }

  std::string character(char32_t c) {
    const auto code = static_cast<std::uint32_t>(c);
    if (c < 0x20 || c == U'"' || c == U'\\' || random_.below(3) == 0) {
      if (code < 0x10000) return unit(code);
      return unit(0xd7c0 + (code >> 10U)) + unit(0xdc00 + (code & 0x3ffU));
    }
    if (c == U'/' && random_.below(2) == 0) return "\\/";
    return utf8(code);
  }

  static std::string utf8(std::uint32_t code) {
    const auto tail = [code](unsigned shift) { return static_cast<char>(0x80U | ((code >> shift) & 0x3fU)); };
    if (code < 0x80) return {static_cast<char>(code)};
    if (code < 0x800) return {static_cast<char>(0xc0U | code >> 6U), tail(0)};
    if (code < 0x10000) return {static_cast<char>(0xe0U | code >> 12U), tail(6), tail(0)};
    return {static_cast<char>(0xf0U | code >> 18U), tail(12), tail(6), tail(0)};
  }

  std::string text(const Text& value) {
    std::string out = "\"";
    for (const char32_t c : value) out += character(c);
    return out + "\"";
  }

  std::string compound(const Value& value) {
    std::vector<std::string> parts;
    for (std::size_t i = 0; i < value.items.size(); ++i) {
      const std::string item = spell(value.items[i]);
      parts.push_back(value.kind == Kind::array ? item : spaced(text(value.keys[i])) + ":" + item);
    }
    if (value.kind == Kind::object) shuffle(parts);
    std::string out(1, value.kind == Kind::array ? '[' : '{');
    for (std::size_t i = 0; i < parts.size(); ++i) out += (i == 0 ? "" : ",") + parts[i];
    return out + space() + (value.kind == Kind::array ? "]" : "}");
  }

  void shuffle(std::vector<std::string>& parts) {
    for (std::size_t left = parts.size(); left > 1; --left)
      std::swap(parts[left - 1], parts[random_.below(left)]);
  }

  Random& random_;
};

void change_text(Text& text, Random& random) {
  const std::size_t at = random.below(text.size() + 1);
  if (at < text.size() && random.below(2) == 0) {
    text.erase(at, 1);
  } else {
    text.insert(at, 1, kCharacters[random.below(kCharacters.size())]);
  }
}

// One small change somewhere; it may turn out to be none, which the plain model then says.
void change(Value& value, Random& random) {
  const bool compound = value.kind == Kind::array || value.kind == Kind::object;
  if (compound && !value.items.empty()) {
    const std::size_t at = random.below(value.items.size());
    const std::uint64_t what = random.below(6);
    if (what == 0) {
      value.items.erase(value.items.begin() + static_cast<std::ptrdiff_t>(at));
      if (value.kind == Kind::object) value.keys.erase(value.keys.begin() + static_cast<std::ptrdiff_t>(at));
    } else if (what == 1) {
      std::swap(value.items[at], value.items.front());
    } else if (what == 2 && value.kind == Kind::object) {
      Text key = value.keys[at];
      change_text(key, random);
      if (!has_key(value, key)) value.keys[at] = key;
    } else {
      change(value.items[at], random);
    }
    return;
  }
  if (value.kind == Kind::text && random.below(2) == 0) return change_text(value.text, random);
  if (value.kind == Kind::integer && value.integer != INT64_MIN && random.below(2) == 0) {
    value.integer = -value.integer;
    return;
  }
  value = random_value(random, 1);
}

class Identities {
 public:
  Digest of(const std::string& body) {
    simdjson::dom::object root;
    EXPECT_EQ(parser_.parse(body).get_object().get(root), simdjson::SUCCESS) << body;
    return identity_of({"/v1/chat/completions", "", "", "", ""}, root, scratch_);
  }

 private:
  simdjson::dom::parser parser_;
  IdentityScratch scratch_;
};

TEST(CacheIdentityProperty, S22_TwoBodiesAreOneIfAndOnlyIfTheirValuesAreEqual) {
  Random random(20260721);
  Speller speller(random);
  Identities identities;
  int different = 0;
  constexpr int kRounds = 20'000;
  for (int round = 0; round < kRounds; ++round) {
    const Value body = random_body(random);
    Value other = body;
    change(other, random);
    const std::string first = speller.spell(body);
    const std::string second = speller.spell(body);
    const std::string third = speller.spell(other);
    ASSERT_EQ(identities.of(first), identities.of(second)) << first << "\n" << second;
    const bool equal = plain(body, true) == plain(other, true);
    ASSERT_EQ(identities.of(first) == identities.of(third), equal) << first << "\n" << third;
    different += equal ? 0 : 1;
  }
  EXPECT_GT(different, kRounds / 2);
}

// Small values collide in the plain model too, so both directions are met among unrelated bodies.
TEST(CacheIdentityProperty, S22_AmongManyBodiesTheIdentitiesAreTheValues) {
  Random random(42);
  Speller speller(random);
  Identities identities;
  std::map<std::string, Digest> by_value;
  std::map<Digest, std::string> by_identity;
  for (int round = 0; round < 20'000; ++round) {
    const Value body = random_body(random);
    const Digest identity = identities.of(speller.spell(body));
    const std::string value = plain(body, true);
    ASSERT_EQ(by_value.emplace(value, identity).first->second, identity) << value;
    ASSERT_EQ(by_identity.emplace(identity, value).first->second, value);
  }
  EXPECT_LT(by_value.size(), 20'000U);
}

}  // namespace
}  // namespace sentinel::cache
