// Which requests are the same question: the identity of a body, and the partition inside which it counts.
//
// Identity is by exclusion: every member of the body is identity, unknown ones too, except the top-level members of
// kExcludedMembers, which are known not to change the answer. The endpoint, the query string and the versioning headers
// are identity too. What is digested is a canonical form: keys sorted at every depth, escapes decoded, white space gone,
// numbers by value (1, 1.0 and 1e0 are one number, so are 0 and -0; integers are exact, decimals are IEEE doubles).
// Every value is written with a tag for its type, and its length or count before its bytes: the form can be read back,
// so two different values never have the same bytes. A null member differs from an absent one.
//
// Contract: `root` comes from a body that was validated strictly (UTF-8, no duplicate keys, no lone surrogates), and its
// parser lives through the call. The digests stay the same for as long as kIdentityVersion does: change that with the
// form. Cost: one walk, keys sorted per object, one SHA-256; nothing is allocated once the scratch has grown (it
// gives its memory back after a body above 1 MiB). Thread rule: pure; a scratch has one owner. Failure rule: none.
#pragma once

#include <simdjson.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/base/digest.hpp"
#include "sentinel/base/result.hpp"

namespace sentinel::cache {

inline constexpr std::uint8_t kIdentityVersion = 1;

inline constexpr std::array<std::string_view, 6> kExcludedMembers{
    "stream", "stream_options", "user", "safety_identifier", "metadata", "prompt_cache_key"};

// What of a request's head is identity. An absent header is an empty one.
struct IdentityHead {
  std::string_view endpoint;  // its public name
  std::string_view query;     // after the '?', as it came
  std::string_view anthropic_version;
  std::string_view anthropic_beta;
  std::string_view openai_beta;
};

// Memory of the walk, kept by the caller from one request to the next.
struct IdentityScratch {
  struct Member {
    std::string_view key;
    simdjson::dom::element value;
  };
  std::string text;             // the canonical form
  std::vector<Member> members;  // a stack: the members of the object being sorted lie on top
};

Digest identity_of(const IdentityHead& head, simdjson::dom::object root, IdentityScratch& scratch);

// The identity of a body as it came, which need not have been validated: it is read as strictly as the gateway reads it.
// Not a JSON object in UTF-8, a key twice in one object, half of a surrogate pair: `invalid_json` or `invalid_request`.
// Memory is kept for the next body, as in a scratch.
class BodyReader {
 public:
  Result<Digest> identity(const IdentityHead& head, std::string_view body);

 private:
  simdjson::dom::parser parser_;
  std::string padded_;  // the body with room behind it, as the parser wants it
  IdentityScratch scratch_;
};

// The identities of an embeddings request's items: everything but `input` once, then each item by itself. An item is what
// one vector answers to: a text, or an array of token ids. The same item has the same identity alone and in any batch.
class EmbeddingIdentity {
 public:
  EmbeddingIdentity(const IdentityHead& head, simdjson::dom::object root, IdentityScratch& scratch);
  Digest of(simdjson::dom::element item, IdentityScratch& scratch) const;

 private:
  Digest rest_;
};

// Nothing is ever shared across partitions.
struct Partition {
  std::string_view
      tenant_scope;  // the account, or the name of a sharing group: the caller keeps the two apart
  std::string_view route;
  std::string_view route_version;
  std::string_view name_space;
};

Digest partition_of(const Partition& partition);

}  // namespace sentinel::cache
