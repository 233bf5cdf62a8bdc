// Which addresses may be dialled. A name is resolved first and judged by what it resolved to (threats S6,
// S7).
//
// Contract: only addresses of the public unicast Internet are open to everyone. Addresses inside somebody's
// own network (loopback, private, link-local, carrier NAT, unique-local, benchmarking) need a configuration
// that names them (`allow_private`). Unspecified, multicast, broadcast and reserved addresses are never
// dialled. A v6 address that carries a v4 address (mapped, compatible, NAT64, 6to4) is judged as that v4
// address; Teredo is refused.
// Sources: IANA special-purpose address registries (RFC 6890), RFC 6052 and 8215 (NAT64), RFC 3056 (6to4).
// Cost: a few comparisons. Thread rule: pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace sentinel::net {

enum class AddressKind : std::uint8_t {
  global,
  loopback,
  private_use,
  link_local,
  shared_nat,
  benchmarking,
  unspecified,
  multicast,
  broadcast,
  reserved,
};

using V4Bytes = std::array<std::uint8_t, 4>;
using V6Bytes = std::array<std::uint8_t, 16>;

AddressKind classify(const V4Bytes& address);
AddressKind classify(const V6Bytes& address);
bool may_dial(AddressKind kind, bool allow_private);
std::string_view name(AddressKind kind);

}  // namespace sentinel::net
