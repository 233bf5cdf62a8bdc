#include "sentinel/engine/principal.hpp"

#include <zlib.h>

#include <algorithm>
#include <mutex>
#include <unordered_set>

#include "sentinel/engine/document.hpp"
#include "sentinel/engine/snapshot.hpp"

namespace sentinel::engine {
namespace {

constexpr std::string_view kIssuedPrefix = "sk-sen-";
constexpr std::string_view kBase62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr std::size_t kRandomDigits = 27;
constexpr std::size_t kChecksumDigits = 6;

std::uint8_t scope_bits(Scope scope) { return static_cast<std::uint8_t>(scope); }

Result<std::uint8_t> read_scopes(const Document& names) {
  std::uint8_t bits = 0;
  for (const auto& name : names.strings()) {
    if (name == "chat") {
      bits |= scope_bits(Scope::chat);
    } else if (name == "embeddings") {
      bits |= scope_bits(Scope::embeddings);
    } else {
      return Error(ErrorCode::invalid_request, "unknown scope \"" + name + "\"", "scopes");
    }
  }
  return bits;
}

}  // namespace

bool Principal::may_use(Scope scope) const {
  return scopes == 0 || (scopes & scope_bits(scope)) == scope_bits(scope);
}

bool Principal::may_use(std::string_view model) const {
  if (models.empty()) return true;
  return std::any_of(models.begin(), models.end(),
                     [model](const std::string& pattern) { return matches_pattern(pattern, model); });
}

bool has_issued_prefix(std::string_view credential) {
  return credential.substr(0, kIssuedPrefix.size()) == kIssuedPrefix;
}

bool is_well_formed_issued_key(std::string_view credential) {
  if (!has_issued_prefix(credential)) return false;
  if (credential.size() != kIssuedPrefix.size() + kRandomDigits + kChecksumDigits) return false;
  const std::string_view random = credential.substr(kIssuedPrefix.size(), kRandomDigits);
  auto checksum = crc32(0, reinterpret_cast<const Bytef*>(random.data()), static_cast<uInt>(random.size()));
  for (std::size_t i = credential.size(); i > credential.size() - kChecksumDigits; --i) {
    if (credential[i - 1] != kBase62[checksum % kBase62.size()]) return false;
    checksum /= kBase62.size();
  }
  return true;
}

KeyTable::KeyTable(std::string_view pepper) : hmac_(pepper) {}

std::shared_ptr<const Principal> KeyTable::find(std::string_view credential) const {
  if (has_issued_prefix(credential) && !is_well_formed_issued_key(credential)) return nullptr;
  const Digest wanted = hmac_.digest(credential);
  const std::shared_lock lock(mutex_);
  const auto found = by_digest_.find(wanted);
  if (found == by_digest_.end()) return nullptr;
  return equal_in_constant_time(found->second->digest, wanted) ? found->second : nullptr;
}

Result<KeyTable::Principals> KeyTable::read(std::string_view document) {
  auto parsed = Document::parse(document);
  if (!parsed) return std::move(parsed.error());
  if (parsed->kind() != Document::Kind::array)
    return Error(ErrorCode::invalid_request, "keys are an array", "keys");
  Principals principals;
  for (const Document& entry : parsed->items()) {
    auto principal = std::make_shared<Principal>();
    principal->key_id = entry["id"].string();
    const auto digest = digest_from_hex(entry["digest"].string());
    if (!digest)
      return Error(ErrorCode::invalid_request, "a key's digest is 64 hexadecimal digits", "digest");
    principal->digest = *digest;
    principal->accounts = entry["accounts"].strings();
    principal->models = entry["models"].strings();
    auto scopes = read_scopes(entry["scopes"]);
    if (!scopes) return std::move(scopes.error());
    principal->scopes = *scopes;
    auto rules = read_rules(entry["rules"], "key:" + principal->key_id, "keys." + principal->key_id);
    if (!rules) return std::move(rules.error());
    principal->rules = std::move(*rules);
    if (principal->key_id.empty() || principal->accounts.empty()) {
      return Error(ErrorCode::invalid_request, "a key has an id and at least one account", "accounts");
    }
    principals.push_back(std::move(principal));
  }
  return principals;
}

Status KeyTable::put(std::string_view document) {
  auto principals = read(document);
  if (!principals) return std::move(principals.error());
  const std::unique_lock lock(mutex_);
  for (auto& principal : *principals) insert(std::move(principal));
  return Done{};
}

bool KeyTable::remove(std::string_view key_id) {
  const std::unique_lock lock(mutex_);
  return erase(std::string(key_id));
}

Result<std::vector<std::string>> KeyTable::replace_all(std::string_view document) {
  auto principals = read(document);
  if (!principals) return std::move(principals.error());
  std::unordered_set<std::string> kept;
  for (const auto& principal : *principals) kept.insert(principal->key_id);
  std::vector<std::string> removed;
  const std::unique_lock lock(mutex_);
  for (const auto& [key_id, digest] : digest_of_key_) {
    if (!kept.contains(key_id)) removed.push_back(key_id);
  }
  for (const auto& key_id : removed) erase(key_id);
  for (auto& principal : *principals) insert(std::move(principal));
  return removed;
}

std::size_t KeyTable::size() const {
  const std::shared_lock lock(mutex_);
  return by_digest_.size();
}

// A key that is put again unchanged in digest keeps its running streams: only the rules for new requests change.
// One credential under two ids is one key: the later id takes it over.
void KeyTable::insert(std::shared_ptr<Principal> principal) {
  const auto holder = by_digest_.find(principal->digest);
  if (holder != by_digest_.end() && holder->second->key_id != principal->key_id) {
    erase(std::string(holder->second->key_id));
  }
  const auto known = digest_of_key_.find(principal->key_id);
  if (known != digest_of_key_.end() && known->second == principal->digest) {
    principal->revoked_flag = by_digest_.at(principal->digest)->revoked_flag;
  } else {
    erase(principal->key_id);
  }
  digest_of_key_[principal->key_id] = principal->digest;
  by_digest_[principal->digest] = std::move(principal);
}

bool KeyTable::erase(const std::string& key_id) {
  const auto known = digest_of_key_.find(key_id);
  if (known == digest_of_key_.end()) return false;
  const auto entry = by_digest_.find(known->second);
  if (entry != by_digest_.end()) {
    entry->second->revoked_flag->store(true, std::memory_order_release);
    by_digest_.erase(entry);
  }
  digest_of_key_.erase(known);
  return true;
}

}  // namespace sentinel::engine
