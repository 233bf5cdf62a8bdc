// Who calls: the digest of the whole credential leads to an account path, scopes and permitted models.
//
// Contract: credentials are looked up by HMAC-SHA-256 of all their bytes (S11: same prefixes are different identities),
// never by a prefix. A key that carries our own mark is refused by its checksum before any look-up. A principal is
// immutable; revoking its key sets `revoked()`, which every exchange that holds the principal sees.
// Cost: one digest, one probe of a hash table under a shared lock. Thread rule: any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sentinel/base/digest.hpp"
#include "sentinel/base/result.hpp"
#include "sentinel/engine/endpoint.hpp"
#include "sentinel/engine/rules.hpp"

namespace sentinel::engine {

// Whose limits count where no key says who calls (insecure mode).
inline const std::string kDefaultAccount = "default";

struct Principal {
  std::string key_id;
  Digest digest{};
  std::vector<std::string> accounts;  // the path from the root; the last one pays
  std::uint8_t scopes = 0;            // bits of Scope; 0 means every scope
  std::vector<std::string> models;    // patterns; empty means all
  RuleSet rules;                      // the key's own limits
  // Shared with the principals this one replaces, so that running streams see their key's end.
  std::shared_ptr<std::atomic<bool>> revoked_flag = std::make_shared<std::atomic<bool>>(false);

  const std::string& account() const { return accounts.back(); }
  bool revoked() const { return revoked_flag->load(std::memory_order_acquire); }
  bool may_use(Scope scope) const;
  bool may_use(std::string_view model) const;
};

// "sk-sen-" + 27 base62 characters + 6 of their CRC-32.
bool has_issued_prefix(std::string_view credential);
bool is_well_formed_issued_key(std::string_view credential);

class KeyTable {
 public:
  explicit KeyTable(std::string_view pepper);

  Digest digest(std::string_view credential) const { return hmac_.digest(credential); }
  std::shared_ptr<const Principal> find(std::string_view credential) const;

  // Adds or replaces by id, all of the document or nothing. A replaced key's old principal is revoked.
  Status put(std::string_view document);
  // False if there is no such key. Exchanges of the key see `revoked`.
  bool remove(std::string_view key_id);
  // Puts the document and removes every key it does not name; the ids removed are returned.
  Result<std::vector<std::string>> replace_all(std::string_view document);
  std::size_t size() const;

 private:
  struct DigestHash {
    std::size_t operator()(const Digest& digest) const {
      std::size_t bits;
      std::memcpy(&bits, digest.data(), sizeof bits);
      return bits;
    }
  };
  using Principals = std::vector<std::shared_ptr<Principal>>;
  static Result<Principals> read(std::string_view document);
  void insert(std::shared_ptr<Principal> principal);
  bool erase(const std::string& key_id);

  const Hmac hmac_;
  mutable std::shared_mutex mutex_;
  std::unordered_map<Digest, std::shared_ptr<Principal>, DigestHash> by_digest_;
  std::unordered_map<std::string, Digest> digest_of_key_;
};

}  // namespace sentinel::engine
