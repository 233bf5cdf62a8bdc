#include "sentinel/cache/identity.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "sentinel/base/utf8.hpp"

namespace sentinel::cache {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::element_type;
using simdjson::dom::object;

constexpr std::size_t kKeptBytes = std::size_t{1} << 20U;
constexpr std::size_t kKeptMembers = kKeptBytes / sizeof(IdentityScratch::Member);
constexpr std::size_t kMaxVarint = 10;

// What a digest is of: the first byte after the version, so that no digest of one kind is ever one of another.
enum class Kind : std::uint8_t { body = 'b', embeddings_rest = 'r', embeddings_item = 'e', partition = 'p' };

enum Tag : std::uint8_t {
  kNull = 'n',
  kTrue = 't',
  kFalse = 'f',
  kNotNegative = '+',  // an integer, by its magnitude
  kNegative = '-',
  kDecimal = 'd',  // the bits of a double that is no integer we could write
  kText = 's',
  kArray = '[',
  kArrayEnd = ']',
  kObject = '{',
};

bool is_excluded(std::string_view key) {
  return std::find(kExcludedMembers.begin(), kExcludedMembers.end(), key) != kExcludedMembers.end();
}

// simdjson encodes a lone surrogate escape as three bytes that UTF-8 forbids: 0xED and a byte from 0xA0 on.
bool holds_surrogate(std::string_view text) {
  for (std::size_t at = text.find('\xED'); at != std::string_view::npos; at = text.find('\xED', at + 1)) {
    if (at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) >= 0xA0) return true;
  }
  return false;
}

// Any total order will do, so the cheapest: shorter keys first.
bool before(const IdentityScratch::Member& left, const IdentityScratch::Member& right) {
  if (left.key.size() != right.key.size()) return left.key.size() < right.key.size();
  return std::memcmp(left.key.data(), right.key.data(), left.key.size()) < 0;
}

template <class T>
T got(simdjson::simdjson_result<T> result) {
  return std::move(result).value_unsafe();  // the type was asked for before
}

// Writes the canonical form into the scratch's text, which only ever grows: its size is room, not content.
class Canonical {
 public:
  Canonical(Kind kind, IdentityScratch& scratch) : scratch_(scratch) {
    if (scratch_.text.size() > kKeptBytes) std::string().swap(scratch_.text);
    if (scratch_.members.capacity() > kKeptMembers)
      std::vector<IdentityScratch::Member>().swap(scratch_.members);
    scratch_.members.clear();
    make_room(2);
    byte(kIdentityVersion);
    byte(static_cast<std::uint8_t>(kind));
  }

  void head(const IdentityHead& head) {
    text(head.endpoint);
    text(head.query);
    text(head.anthropic_version);
    text(head.anthropic_beta);
    text(head.openai_beta);
  }

  void text(std::string_view value) {
    if (has_escapes_ && holds_surrogate(value)) has_lone_surrogate_ = true;
    make_room(kMaxVarint + value.size());
    varint(value.size());
    if (value.empty()) return;  // its data may be null
    std::memcpy(scratch_.text.data() + used_, value.data(), value.size());
    used_ += value.size();
  }

  // From here on keys that stand twice and, if the body has \u escapes, halves of surrogate pairs are noticed.
  void be_strict(bool has_escapes) {
    strict_ = true;
    has_escapes_ = has_escapes;
  }

  const std::string& twice() const { return twice_; }
  bool has_key_twice() const { return has_key_twice_; }
  bool has_lone_surrogate() const { return has_lone_surrogate_; }

  // The members that are no part of the identity must be well formed as well.
  void look_through_excluded(object root) {
    std::array<bool, kExcludedMembers.size()> seen{};
    const std::size_t used = used_;
    for (const auto member : root) {
      const auto* const name = std::find(kExcludedMembers.begin(), kExcludedMembers.end(), member.key);
      if (name == kExcludedMembers.end()) continue;
      bool& before = seen[static_cast<std::size_t>(name - kExcludedMembers.begin())];
      if (before) note_key_twice(member.key);
      before = true;
      value(member.value);
      used_ = used;
    }
  }

  void raw(const Digest& digest) {
    make_room(digest.size());
    std::memcpy(scratch_.text.data() + used_, digest.data(), digest.size());
    used_ += digest.size();
  }

  void value(element item) {
    switch (item.type()) {
      case element_type::STRING: return tag(kText), text(got(item.get_string()));
      case element_type::OBJECT:
        return members(got(item.get_object()), [](std::string_view) { return true; });
      case element_type::ARRAY: return items(got(item.get_array()));
      case element_type::INT64: return integer(got(item.get_int64()));
      case element_type::UINT64: return number(kNotNegative, got(item.get_uint64()));
      case element_type::DOUBLE: return decimal(got(item.get_double()));
      case element_type::BOOL: return tag(got(item.get_bool()) ? kTrue : kFalse);
      case element_type::NULL_VALUE: return tag(kNull);
    }
  }

  // `counts`: whether a member of this name is written.
  template <class Counts>
  void members(object whole, Counts counts) {
    auto& stack = scratch_.members;
    const std::size_t first = stack.size();
    for (const auto member : whole) {
      if (counts(member.key)) stack.push_back({member.key, member.value});
    }
    const std::size_t end = stack.size();
    std::sort(stack.begin() + static_cast<std::ptrdiff_t>(first), stack.end(), before);
    if (strict_) find_key_twice(first);
    number(kObject, end - first);
    for (std::size_t at = first; at < end; ++at) {
      const IdentityScratch::Member member = stack[at];  // a copy: deeper objects may move the stack
      text(member.key);
      value(member.value);
    }
    stack.resize(first);
  }

  Digest digest() const { return sha256({scratch_.text.data(), used_}); }

 private:
  void find_key_twice(std::size_t first) {
    const auto begin = scratch_.members.begin() + static_cast<std::ptrdiff_t>(first);
    const auto same = [](const IdentityScratch::Member& left, const IdentityScratch::Member& right) {
      return left.key == right.key;
    };
    const auto found = std::adjacent_find(begin, scratch_.members.end(), same);
    if (found != scratch_.members.end()) note_key_twice(found->key);
  }

  void note_key_twice(std::string_view key) {
    has_key_twice_ = true;
    twice_ = key;
  }

  void items(array values) {
    tag(kArray);
    for (const element item : values) value(item);
    tag(kArrayEnd);
  }

  void integer(std::int64_t value) {
    if (value >= 0) return number(kNotNegative, static_cast<std::uint64_t>(value));
    number(kNegative, std::uint64_t{0} - static_cast<std::uint64_t>(value));
  }

  void decimal(double value) {
    constexpr double kTooLarge = 18446744073709551616.0;  // 2^64
    const double magnitude = std::abs(value);
    if (magnitude < kTooLarge && std::trunc(magnitude) == magnitude) {
      return number(value < 0 ? kNegative : kNotNegative, static_cast<std::uint64_t>(magnitude));
    }
    const auto bits = std::bit_cast<std::uint64_t>(value);
    make_room(1 + sizeof bits);
    byte(kDecimal);
    for (unsigned shift = 0; shift < 64; shift += 8) byte(static_cast<std::uint8_t>(bits >> shift));
  }

  void tag(Tag value) {
    make_room(1);
    byte(value);
  }

  void number(Tag kind, std::uint64_t value) {
    make_room(1 + kMaxVarint);
    byte(kind);
    varint(value);
  }

  void varint(std::uint64_t value) {  // seven bits a byte, the lowest first, the last below 128
    for (; value >= 0x80; value >>= 7U) byte(static_cast<std::uint8_t>(value | 0x80U));
    byte(static_cast<std::uint8_t>(value));
  }

  void byte(std::uint8_t value) { scratch_.text[used_++] = static_cast<char>(value); }

  void make_room(std::size_t bytes) {
    constexpr std::size_t kFirst = 4'096;
    if (scratch_.text.size() - used_ >= bytes) return;
    scratch_.text.resize(std::max({kFirst, scratch_.text.size() * 2, used_ + bytes}));
  }

  IdentityScratch& scratch_;
  std::size_t used_ = 0;
  bool strict_ = false;
  bool has_escapes_ = false;
  bool has_lone_surrogate_ = false;
  bool has_key_twice_ = false;
  std::string twice_;
};

}  // namespace

Digest identity_of(const IdentityHead& head, object root, IdentityScratch& scratch) {
  Canonical form(Kind::body, scratch);
  form.head(head);
  form.members(root, [](std::string_view key) { return !is_excluded(key); });
  return form.digest();
}

Result<Digest> BodyReader::identity(const IdentityHead& head, std::string_view body) {
  if (parser_.capacity() > kKeptBytes) parser_ = simdjson::dom::parser();
  if (padded_.size() > kKeptBytes) std::string().swap(padded_);
  if (padded_.size() < body.size() + simdjson::SIMDJSON_PADDING)
    padded_.resize(body.size() * 2 + simdjson::SIMDJSON_PADDING);
  std::copy(body.begin(), body.end(), padded_.begin());
  element parsed;
  const auto error = parser_.parse(padded_.data(), body.size(), false).get(parsed);
  if (error != simdjson::SUCCESS)
    return Error(ErrorCode::invalid_json,
                 std::string("the body is not valid JSON: ") + simdjson::error_message(error));
  object root;
  if (parsed.get_object().get(root) != simdjson::SUCCESS)
    return Error(ErrorCode::invalid_json, "the body must be a JSON object");
  Canonical form(Kind::body, scratch_);
  form.head(head);
  form.be_strict(body.find("\\u") != std::string_view::npos);
  form.members(root, [](std::string_view key) { return !is_excluded(key); });
  form.look_through_excluded(root);
  if (form.has_lone_surrogate())
    return Error(ErrorCode::invalid_json,
                 "a \\u escape is half of a surrogate pair: the text is not Unicode");
  if (form.has_key_twice())
    return Error(ErrorCode::invalid_request, "the key \"" + std::string(utf8::truncate(form.twice(), 64)) +
                                                 "\" stands twice in one object");
  return form.digest();
}

EmbeddingIdentity::EmbeddingIdentity(const IdentityHead& head, object root, IdentityScratch& scratch) {
  Canonical form(Kind::embeddings_rest, scratch);
  form.head(head);
  form.members(root, [](std::string_view key) { return key != "input" && !is_excluded(key); });
  rest_ = form.digest();
}

Digest EmbeddingIdentity::of(element item, IdentityScratch& scratch) const {
  Canonical form(Kind::embeddings_item, scratch);
  form.raw(rest_);
  form.value(item);
  return form.digest();
}

Digest partition_of(const Partition& partition) {
  IdentityScratch scratch;
  Canonical form(Kind::partition, scratch);
  form.text(partition.tenant_scope);
  form.text(partition.route);
  form.text(partition.route_version);
  form.text(partition.name_space);
  return form.digest();
}

}  // namespace sentinel::cache
