// The low-level SHA256_* calls are used although OpenSSL 3 deprecates them: they allow keeping the two pepper states,
// and cost a fifth of an EVP fetch and initialisation per digest.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "sentinel/base/digest.hpp"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>

namespace sentinel {
namespace {

constexpr std::size_t kBlockBytes = SHA256_CBLOCK;

int hex_value(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

SHA256_CTX keyed_state(const std::array<std::uint8_t, kBlockBytes>& key, std::uint8_t pad) {
  std::array<std::uint8_t, kBlockBytes> block{};
  std::transform(key.begin(), key.end(), block.begin(),
                 [pad](std::uint8_t byte) { return static_cast<std::uint8_t>(byte ^ pad); });
  SHA256_CTX state;
  SHA256_Init(&state);
  SHA256_Update(&state, block.data(), block.size());
  OPENSSL_cleanse(block.data(), block.size());
  return state;
}

}  // namespace

struct Hmac::States {
  SHA256_CTX inner;
  SHA256_CTX outer;
};

Hmac::Hmac(std::string_view key) {
  std::array<std::uint8_t, kBlockBytes> block{};
  if (key.size() > kBlockBytes) {
    const Digest shortened = sha256(key);
    std::copy(shortened.begin(), shortened.end(), block.begin());
  } else {
    std::copy(key.begin(), key.end(), block.begin());
  }
  states_ = std::make_unique<States>(States{keyed_state(block, 0x36), keyed_state(block, 0x5c)});
  OPENSSL_cleanse(block.data(), block.size());
}

Hmac::~Hmac() { OPENSSL_cleanse(states_.get(), sizeof(States)); }

Digest Hmac::digest(std::string_view message) const {
  Digest result;
  SHA256_CTX state = states_->inner;
  SHA256_Update(&state, message.data(), message.size());
  SHA256_Final(result.data(), &state);
  state = states_->outer;
  SHA256_Update(&state, result.data(), result.size());
  SHA256_Final(result.data(), &state);
  return result;
}

Digest sha256(std::string_view message) {
  Digest result;
  SHA256_CTX
  state;  // SHA256() of OpenSSL 3 looks its algorithm up for each call, which costs more than short texts do
  SHA256_Init(&state);
  SHA256_Update(&state, message.data(), message.size());
  SHA256_Final(result.data(), &state);
  return result;
}

bool equal_in_constant_time(std::span<const std::uint8_t> left, std::span<const std::uint8_t> right) {
  return left.size() == right.size() && CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

std::string to_hex(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::uint8_t byte : bytes) {
    text.push_back(kDigits[byte >> 4U]);
    text.push_back(kDigits[byte & 15U]);
  }
  return text;
}

std::optional<Digest> digest_from_hex(std::string_view hex) {
  Digest digest;
  if (hex.size() != digest.size() * 2) return std::nullopt;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const int high = hex_value(hex[2 * i]);
    const int low = hex_value(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return digest;
}

}  // namespace sentinel
