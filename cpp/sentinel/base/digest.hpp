// Digests of credentials: HMAC-SHA-256 with a pepper (RFC 2104, FIPS 180-4), and comparison in constant time.
//
// Contract: a credential is never stored or compared as text; only its keyed digest is. The pepper's two hash states are
// computed once, so one digest costs two compressions for credentials up to 55 bytes.
// Thread rule: a Hmac is immutable; any thread may call `digest`.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace sentinel {

using Digest = std::array<std::uint8_t, 32>;

class Hmac {
 public:
  explicit Hmac(std::string_view key);
  ~Hmac();
  Hmac(const Hmac&) = delete;
  Hmac& operator=(const Hmac&) = delete;

  Digest digest(std::string_view message) const;

 private:
  struct States;
  std::unique_ptr<States> states_;
};

Digest sha256(std::string_view message);

// Time depends on the size only, never on where the two differ.
bool equal_in_constant_time(std::span<const std::uint8_t> left, std::span<const std::uint8_t> right);

std::string to_hex(std::span<const std::uint8_t> bytes);
std::optional<Digest> digest_from_hex(std::string_view hex);  // nothing unless exactly 64 hexadecimal digits

}  // namespace sentinel
