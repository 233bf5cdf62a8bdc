#include "sentinel/base/redact.hpp"

#include <array>
#include <cstddef>
#include <optional>

namespace sentinel {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_alpha(char c) { return is_lower(c) || is_upper(c); }
bool is_alnum(char c) { return is_alpha(c) || is_digit(c); }
constexpr std::array<bool, 256> kWord = [] {
  std::array<bool, 256> word{};
  for (std::size_t c = 0; c < 256; ++c) {
    word[c] = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  }
  return word;
}();

bool is_word(char c) { return kWord[static_cast<unsigned char>(c)]; }
bool is_key_char(char c) { return is_word(c) || c == '-'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_beyond_ascii(char c) { return static_cast<unsigned char>(c) >= 0x80; }

// A loop, not find(): the sets are a few constant characters, which a compiler turns into a few comparisons.
inline bool contains(std::string_view set, char c) {
  for (const char one : set) {
    if (one == c) return true;
  }
  return false;
}

// Whether an escape ends right before `at`: \n and \u0020 of JSON, %20 of an address.
bool ends_escape(std::string_view text, std::size_t at) {
  if (at >= 2 && text[at - 2] == '\\' && contains("nrtbf", text[at - 1])) return true;
  if (at < 3 || !is_hex(text[at - 1]) || !is_hex(text[at - 2])) return false;
  return text[at - 3] == '%' || (at >= 6 && text[at - 5] == 'u' && text[at - 6] == '\\');
}

// Whether a word may begin at `at`: after a character no word has, or after an escape.
bool starts_word(std::string_view text, std::size_t at) {
  return at == 0 || !is_word(text[at - 1]) || ends_escape(text, at);
}

bool ends_word(std::string_view text, std::size_t at) { return at == text.size() || !is_word(text[at]); }

// Whether the word characters around `at` follow a backslash or a percent sign so closely that an escape may
// end here.
bool may_hold_escape(std::string_view text, std::size_t at) {
  constexpr std::size_t kLongestEscape = 6;  // \u0020
  for (std::size_t back = 1; back <= kLongestEscape && back <= at; ++back) {
    if (!is_word(text[at - back])) return text[at - back] == '\\' || text[at - back] == '%';
  }
  return false;
}

// The first place from `at` on where a word may start.
std::size_t next_word(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    if (!is_word(text[at])) {
      ++at;
    } else if (at == 0 || !is_word(text[at - 1])) {
      return at;
    } else if (may_hold_escape(text, at)) {
      if (ends_escape(text, at)) return at;
      ++at;
    } else {
      while (at < text.size() && is_word(text[at])) ++at;
    }
  }
  return text.size();
}

template <class Predicate>
std::size_t run_end(std::string_view text, std::size_t at, Predicate fits) {
  while (at < text.size() && fits(text[at])) ++at;
  return at;
}

// --- digits: cards, social security and telephone numbers

constexpr std::size_t kMaxGroups = 8;

struct Group {  // a word of nothing but digits
  std::size_t begin;
  std::size_t end;
  std::size_t size() const { return end - begin; }
};

// Up to eight groups from a place on, each one separator apart.
struct Groups {
  std::array<Group, kMaxGroups> at;
  std::array<char, kMaxGroups> before;  // the separator in front of each; of the first, 0
  std::size_t count = 0;
};

std::optional<Group> group_at(std::string_view text, std::size_t at) {
  constexpr std::size_t kLongest = 19;  // longer ones are nothing we look for
  std::size_t end = at;
  while (end < text.size() && end - at <= kLongest && is_digit(text[end])) ++end;
  if (end == at || end - at > kLongest || !ends_word(text, end)) return std::nullopt;
  return Group{at, end};
}

Groups groups_from(std::string_view text, std::size_t at) {
  Groups groups;
  char separator = 0;
  while (groups.count < kMaxGroups) {
    const auto group = group_at(text, at);
    if (!group) break;
    groups.at[groups.count] = *group;
    groups.before[groups.count] = separator;
    ++groups.count;
    if (group->end >= text.size() || !contains(" -./", text[group->end])) break;
    separator = text[group->end];
    at = group->end + 1;
  }
  return groups;
}

bool luhn(std::string_view text, std::size_t begin, std::size_t end) {
  int sum = 0;
  bool doubled = false;
  for (std::size_t at = end; at > begin; --at) {
    if (!is_digit(text[at - 1])) continue;
    const int digit = text[at - 1] - '0';
    const int value = doubled ? digit * 2 : digit;
    sum += value > 9 ? value - 9 : value;
    doubled = !doubled;
  }
  return sum % 10 == 0;
}

// 13 to 19 digits in one piece, or in pieces as printed on cards (4-4-4-4, 4-6-5, ...). Issuers' numbers
// begin with 3 to 6, or with 2 when they have sixteen digits; times (1700000000000, 20240102030405) do not
// and stay.
std::size_t card_end(std::string_view text, const Groups& groups) {
  const char first = text[groups.at[0].begin];
  if (first < '2' || first > '6') return 0;
  std::size_t found = 0;
  std::size_t digits = 0;
  for (std::size_t i = 0; i < groups.count; ++i) {
    const Group group = groups.at[i];
    if (i > 0 && (group.size() < 3 || !contains(" -", groups.before[i]))) break;
    if (i == 1 && digits != 4 && digits != 6) break;
    digits += group.size();
    const bool issued = digits >= 13 && digits <= 19 && (first != '2' || digits == 16);
    if (issued && luhn(text, groups.at[0].begin, group.end)) found = group.end;
  }
  return found;
}

std::size_t ssn_end(std::string_view text, const Groups& groups) {
  if (groups.count < 3 || groups.before[1] != groups.before[2] || !contains(" -", groups.before[1])) return 0;
  const std::string_view area = text.substr(groups.at[0].begin, groups.at[0].size());
  if (area.size() != 3 || groups.at[1].size() != 2 || groups.at[2].size() != 4) return 0;
  if (area == "000" || area == "666" || area[0] == '9') return 0;
  if (text.substr(groups.at[1].begin, 2) == "00" || text.substr(groups.at[2].begin, 4) == "0000") return 0;
  return groups.at[2].end;
}

// 555-123-4567, 555.123.4567; with spaces only where both parts may begin so, for columns of numbers look the
// same.
std::size_t american_end(std::string_view text, const Groups& groups, std::size_t first) {
  if (groups.count < first + 3) return 0;
  const Group area = groups.at[first];
  const Group exchange = groups.at[first + 1];
  const Group line = groups.at[first + 2];
  if (area.size() != 3 || exchange.size() != 3 || line.size() != 4) return 0;
  const char separator = groups.before[first + 1];
  if (separator != groups.before[first + 2] || separator == '/') return 0;
  if (separator == ' ' && (text[area.begin] < '2' || text[exchange.begin] < '2')) return 0;
  return line.end;
}

// 020 7946 0958, 030/1234567, 06 12 34 56 78: a leading zero, two or three long parts or five pairs.
std::size_t trunk_end(std::string_view text, const Groups& groups) {
  const Group first = groups.at[0];
  if (text[first.begin] != '0') return 0;
  std::size_t pairs = 0;
  while (pairs < groups.count && groups.at[pairs].size() == 2 &&
         (pairs == 0 || contains(" .", groups.before[pairs])) &&
         (pairs < 2 || groups.before[pairs] == groups.before[1])) {
    ++pairs;
  }
  if (pairs >= 5) return groups.at[4].end;
  if (first.size() < 3 || first.size() > 5) return 0;
  std::size_t digits = first.size();
  std::size_t found = 0;
  for (std::size_t i = 1; i < groups.count && i < 3; ++i) {
    if (groups.at[i].size() < 3 || groups.before[i] == '.') break;
    digits += groups.at[i].size();
    if (digits >= 10 && digits <= 12) found = groups.at[i].end;
  }
  return found;
}

std::size_t phone_end(std::string_view text, const Groups& groups) {
  if (const std::size_t end = american_end(text, groups, 0)) return end;
  const bool long_distance = text[groups.at[0].begin] == '1' && groups.at[0].size() == 1;
  if (const std::size_t end = long_distance ? american_end(text, groups, 1) : 0) return end;
  return trunk_end(text, groups);
}

// (555) 123-4567
std::size_t bracketed_phone_end(std::string_view text, std::size_t at) {
  const auto area = group_at(text, at + 1);
  if (!area || area->size() < 2 || area->size() > 5) return 0;
  std::size_t next = area->end;
  if (next >= text.size() || text[next] != ')') return 0;
  ++next;
  if (next < text.size() && contains(" -", text[next])) ++next;
  const Groups groups = groups_from(text, next);
  std::size_t digits = area->size();
  std::size_t found = 0;
  for (std::size_t i = 0; i < groups.count && i < 3; ++i) {
    if (groups.at[i].size() < 3) break;
    digits += groups.at[i].size();
    if (digits >= 9 && digits <= 12) found = groups.at[i].end;
  }
  return found;
}

// +1 (555) 123-4567, +44 (0)20 7946 0958: seven to fifteen digits, as many as are there.
std::size_t international_end(std::string_view text, std::size_t at) {
  constexpr std::size_t kFewest = 7;
  constexpr std::size_t kMost = 15;
  std::size_t cursor = at + 1;
  std::size_t digits = 0;
  std::size_t found = 0;
  if (cursor >= text.size() || text[cursor] == '0' || !is_digit(text[cursor])) return 0;
  for (;;) {
    const std::size_t begin = cursor;
    while (cursor < text.size() && is_digit(text[cursor]) && digits <= kMost) ++cursor, ++digits;
    if (cursor == begin || digits > kMost || !ends_word(text, cursor)) return found;
    if (digits >= kFewest) found = cursor;
    for (int marks = 0; marks < 2 && cursor < text.size() && contains(" -./()", text[cursor]); ++marks)
      ++cursor;
  }
}

// 8-4-4-4-12 hexadecimal digits: kept whole, or its all-digit parts would look like something else.
std::size_t uuid_end(std::string_view text, std::size_t at) {
  constexpr std::size_t kLength = 36;
  if (text.size() - at < kLength || !ends_word(text, at + kLength)) return 0;
  for (std::size_t i = 0; i < kLength; ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[at + i] != '-' : !is_hex(text[at + i])) return 0;
  }
  return at + kLength;
}

struct Match {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::string_view label;
};

// `floor` is where the last match ended: what lies before it is out of sight.
std::optional<Match> match_digits(std::string_view text, std::size_t at, std::size_t floor) {
  const char c = text[at];
  if (c == '+') {
    const std::size_t end = at == floor || starts_word(text, at) ? international_end(text, at) : 0;
    return end ? std::optional(Match{at, end, "[phone]"}) : std::nullopt;
  }
  if (c == '(') {
    const std::size_t end = bracketed_phone_end(text, at);
    return end ? std::optional(Match{at, end, "[phone]"}) : std::nullopt;
  }
  if (!is_digit(c)) return std::nullopt;
  const Groups groups = groups_from(text, at);
  if (groups.count == 0) return std::nullopt;
  const bool fraction = at >= floor + 2 && text[at - 1] == '.' && is_digit(text[at - 2]);
  if (const std::size_t end = fraction ? 0 : card_end(text, groups)) return Match{at, end, "[card]"};
  if (const std::size_t end = ssn_end(text, groups)) return Match{at, end, "[ssn]"};
  if (const std::size_t end = phone_end(text, groups)) return Match{at, end, "[phone]"};
  return std::nullopt;
}

void append_digits(std::string& out, std::string_view text) {
  std::size_t copied = 0;
  std::size_t word = next_word(text, 0);
  for (std::size_t at = 0; at < text.size();) {
    if (word < at) word = next_word(text, at);
    at = run_end(text.substr(0, word), at, [](char c) { return c != '+' && c != '('; });
    if (at == text.size()) break;
    if (const std::size_t end = uuid_end(text, at)) {
      at = end;
    } else if (const auto match = match_digits(text, at, copied)) {
      out.append(text, copied, match->begin - copied).append(match->label);
      copied = at = match->end;
    } else {
      ++at;
    }
  }
  out.append(text, copied);
}

// --- e-mail addresses

bool is_local(char c) { return is_alnum(c) || is_beyond_ascii(c) || contains("._+-'!#$*^~", c); }
bool is_domain(char c) { return is_alnum(c) || is_beyond_ascii(c) || c == '.' || c == '-'; }

// The end of the longest a.b.tld that begins at `at`; the last label is letters. 0 when there is none.
std::size_t domain_end(std::string_view text, std::size_t at) {
  const std::size_t stop = run_end(text, at, is_domain);
  std::size_t found = 0;
  std::size_t label = at;
  while (label < stop) {
    const std::size_t letters =
        run_end(text, label, [](char c) { return is_alpha(c) || is_beyond_ascii(c); });
    if (label > at && letters - label >= 2) found = letters;
    const std::size_t dot = run_end(text.substr(0, stop), label, [](char c) { return c != '.'; });
    if (dot == label) break;
    label = dot + 1;
  }
  return found;
}

std::size_t local_begin(std::string_view text, std::size_t at, std::size_t floor) {
  while (at > floor && is_local(text[at - 1])) {
    if (ends_escape(text.substr(floor), at - floor)) break;
    --at;
  }
  return at;
}

void append_emails(std::string& out, std::string_view text) {
  std::size_t copied = 0;
  const auto other = [](char c) { return c != '@' && c != '%'; };
  for (std::size_t at = run_end(text, 0, other); at < text.size(); at = run_end(text, at, other)) {
    const std::size_t sign = text[at] == '@' ? 1 : text.substr(at).starts_with("%40") ? 3 : 0;
    const std::size_t begin = sign ? local_begin(text, at, copied) : at;
    const std::size_t end = begin < at ? domain_end(text, at + sign) : 0;
    if (end == 0) {
      ++at;
      continue;
    }
    append_digits(out, text.substr(copied, begin - copied));
    out.append("[email]");
    copied = at = end;
  }
  append_digits(out, text.substr(copied));
}

// --- keys

struct KeyShape {
  std::string_view prefix;
  std::size_t fewest;  // key characters that must follow
};

constexpr KeyShape kKeyShapes[] = {
    {"sk-", 8},    {"sk_live_", 8},     {"sk_test_", 8}, {"rk_live_", 8}, {"pk_live_", 8}, {"whsec_", 8},
    {"ghp_", 16},  {"gho_", 16},        {"ghu_", 16},    {"ghs_", 16},    {"ghr_", 16},    {"glpat-", 16},
    {"xoxb-", 10}, {"xoxp-", 10},       {"xoxa-", 10},   {"xoxr-", 10},   {"xoxs-", 10},   {"xapp-", 10},
    {"AIza", 30},  {"hf_", 16},         {"gsk_", 16},    {"xai-", 16},    {"pplx-", 16},   {"npm_", 30},
    {"r8_", 16},   {"github_pat_", 16},
};

constexpr std::array<bool, 256> kKeyInitial = [] {
  std::array<bool, 256> initial{};
  for (const KeyShape& shape : kKeyShapes) initial[static_cast<unsigned char>(shape.prefix[0])] = true;
  return initial;
}();

std::size_t prefixed_key_end(std::string_view text, std::size_t at) {
  if (!kKeyInitial[static_cast<unsigned char>(text[at])]) return 0;
  const std::string_view rest = text.substr(at);
  for (const KeyShape& shape : kKeyShapes) {
    if (rest[0] != shape.prefix[0] || !rest.starts_with(shape.prefix)) continue;
    const std::size_t body = at + shape.prefix.size();
    const std::size_t end = run_end(text, body, is_key_char);
    return end - body >= shape.fewest ? end : 0;
  }
  return 0;
}

// AKIA or ASIA and sixteen capitals or digits.
std::size_t aws_key_end(std::string_view text, std::size_t at) {
  constexpr std::size_t kLength = 20;
  const std::string_view rest = text.substr(at);
  if (!rest.starts_with("AKIA") && !rest.starts_with("ASIA")) return 0;
  if (rest.size() < kLength || !ends_word(text, at + kLength)) return 0;
  for (const char c : rest.substr(4, kLength - 4)) {
    if (!is_upper(c) && !is_digit(c)) return 0;
  }
  return at + kLength;
}

bool is_token_char(char c) { return c > ' ' && c < 0x7F && !contains("\"'`\\<>,;", c); }

bool starts_with_any_case(std::string_view text, std::string_view lower) {
  if (text.size() < lower.size()) return false;
  for (std::size_t i = 0; i < lower.size(); ++i) {
    const char c = is_upper(text[i]) ? static_cast<char>(text[i] | 0x20) : text[i];
    if (c != lower[i]) return false;
  }
  return true;
}

// Where the secret begins after `Bearer `, `Basic `, `api-key: `, `"password":"` and the like; `at` when none
// is named.
std::size_t named_secret_begin(std::string_view text, std::size_t at) {
  constexpr std::string_view kSchemes[] = {"bearer", "basic"};
  constexpr std::string_view kNames[] = {"authorization", "api-key",  "api_key",
                                         "apikey",        "password", "secret"};
  if (!contains("abpsABPS", text[at])) return at;
  const std::string_view rest = text.substr(at);
  for (const std::string_view scheme : kSchemes) {
    if (!starts_with_any_case(rest, scheme)) continue;
    const std::size_t begin = run_end(rest, scheme.size(), [](char c) { return c == ' '; });
    return begin > scheme.size() ? at + begin : at;
  }
  for (const std::string_view name : kNames) {
    if (!starts_with_any_case(rest, name)) continue;
    const std::size_t begin = run_end(rest, name.size(), [](char c) { return contains(" :=\"'\\", c); });
    const bool assigned = rest.substr(name.size(), begin - name.size()).find_first_of(":=") != rest.npos;
    return assigned ? at + begin : at;
  }
  return at;
}

// Any visible token of eight or more, unless it is plainly a word ("bearer authentication ...").
Match named_secret(std::string_view text, std::size_t at) {
  const std::size_t begin = named_secret_begin(text, at);
  if (begin == at) return {};
  const std::size_t sure =
      run_end(text, begin, [](char c) { return is_token_char(c) && c != '[' && c != ']'; });
  const std::size_t word = run_end(text, begin, is_lower);
  if (sure - begin < 8 || (word == sure && sure - begin < 16)) return {};
  return {begin, run_end(text, sure, is_token_char), "[key]"};
}

// Finds keys; remembers how far a search for the dot of a JWT went in vain, so that it is not made twice.
class KeyScanner {
 public:
  explicit KeyScanner(std::string_view text) : text_(text) {}

  Match match(std::size_t at) {
    const char c = text_[at];
    if (!is_alpha(c)) return {};
    if (const Match secret = named_secret(text_, at); secret.end) return secret;
    std::size_t end = c == 'e' ? jwt_end(at) : 0;
    if (end == 0) end = prefixed_key_end(text_, at);
    if (end == 0) end = aws_key_end(text_, at);
    return end ? Match{at, end, "[key]"} : Match{};
  }

 private:
  std::size_t jwt_end(std::size_t at) {
    constexpr std::size_t kShortestHead = 10;
    if (at < no_dot_before_ || !text_.substr(at).starts_with("eyJ")) return 0;
    const std::size_t head = run_end(text_, at, is_key_char);
    if (head - at < kShortestHead) return 0;
    if (head + 1 >= text_.size() || text_[head] != '.' || !is_key_char(text_[head + 1])) {
      no_dot_before_ = head;
      return 0;
    }
    return run_end(text_, head, [](char c) { return is_key_char(c) || c == '.'; });
  }

  std::string_view text_;
  std::size_t no_dot_before_ = 0;
};

}  // namespace

std::string redact(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  KeyScanner keys(text);
  std::size_t copied = 0;
  for (std::size_t at = next_word(text, 0); at < text.size(); at = next_word(text, at)) {
    const Match match = keys.match(at);
    if (match.end == 0) {
      ++at;
      continue;
    }
    append_emails(out, text.substr(copied, match.begin - copied));
    out.append(match.label);
    copied = at = match.end;
  }
  append_emails(out, text.substr(copied));
  return out;
}

}  // namespace sentinel
