#include "sentinel/net/address_policy.hpp"

#include <algorithm>
#include <cstddef>

namespace sentinel::net {
namespace {

struct V4Block {
  V4Bytes base;
  unsigned bits;
  AddressKind kind;
};

// The first match wins.
constexpr V4Block kV4Blocks[] = {
    {{255, 255, 255, 255}, 32, AddressKind::broadcast}, {{0, 0, 0, 0}, 8, AddressKind::unspecified},
    {{10, 0, 0, 0}, 8, AddressKind::private_use},       {{100, 64, 0, 0}, 10, AddressKind::shared_nat},
    {{127, 0, 0, 0}, 8, AddressKind::loopback},         {{169, 254, 0, 0}, 16, AddressKind::link_local},
    {{172, 16, 0, 0}, 12, AddressKind::private_use},    {{192, 0, 0, 0}, 24, AddressKind::reserved},
    {{192, 0, 2, 0}, 24, AddressKind::reserved},    // documentation
    {{192, 88, 99, 0}, 24, AddressKind::reserved},  // 6to4 relays, withdrawn
    {{192, 168, 0, 0}, 16, AddressKind::private_use},   {{198, 18, 0, 0}, 15, AddressKind::benchmarking},
    {{198, 51, 100, 0}, 24, AddressKind::reserved},  // documentation
    {{203, 0, 113, 0}, 24, AddressKind::reserved},   // documentation
    {{224, 0, 0, 0}, 4, AddressKind::multicast},        {{240, 0, 0, 0}, 4, AddressKind::reserved},
};

struct V6Block {
  V6Bytes base;
  unsigned bits;
  AddressKind kind;
};

constexpr V6Block kV6Blocks[] = {
    {{}, 128, AddressKind::unspecified},
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, AddressKind::loopback},
    {{0x00, 0x64, 0xff, 0x9b, 0, 1}, 48, AddressKind::private_use},  // NAT64 of a local network
    {{0x01}, 8, AddressKind::reserved},                              // discard-only and neighbours
    {{0x20, 0x01, 0, 0}, 23, AddressKind::reserved},                 // Teredo and other protocol assignments
    {{0x20, 0x01, 0x0d, 0xb8}, 32, AddressKind::reserved},           // documentation
    {{0x3f, 0xff}, 20, AddressKind::reserved},                       // documentation
    {{0x5f, 0x00}, 16, AddressKind::reserved},                       // segment routing
    {{0xfc}, 7, AddressKind::private_use},                           // unique local
    {{0xfe, 0x80}, 10, AddressKind::link_local},
    {{0xfe, 0xc0}, 10, AddressKind::private_use},  // site local, withdrawn
    {{0xff}, 8, AddressKind::multicast},
    {{0x20}, 3, AddressKind::global},
};

template <class Bytes>
bool in_block(const Bytes& address, const Bytes& base, unsigned bits) {
  const std::size_t whole = bits / 8;
  const unsigned rest = bits % 8;
  if (!std::equal(base.begin(), base.begin() + static_cast<std::ptrdiff_t>(whole), address.begin()))
    return false;
  return rest == 0 || (address[whole] >> (8 - rest)) == (base[whole] >> (8 - rest));
}

// A v4 address inside a v6 address, and where.
struct Carrier {
  V6Bytes base;
  unsigned bits;
  std::size_t offset;
};

constexpr Carrier kCarriers[] = {
    {{}, 96, 12},                                          // compatible
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96, 12},  // mapped
    {{0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96, 12},        // translated (SIIT)
    {{0x00, 0x64, 0xff, 0x9b}, 96, 12},                    // NAT64, well-known prefix
    {{0x20, 0x02}, 16, 2},                                 // 6to4
};

}  // namespace

AddressKind classify(const V4Bytes& address) {
  for (const V4Block& block : kV4Blocks) {
    if (in_block(address, block.base, block.bits)) return block.kind;
  }
  return AddressKind::global;
}

AddressKind classify(const V6Bytes& address) {
  // The two that look like compatible v4 addresses and are not.
  for (const V6Block& block : kV6Blocks) {
    if (block.bits == 128 && in_block(address, block.base, block.bits)) return block.kind;
  }
  for (const Carrier& carrier : kCarriers) {
    if (!in_block(address, carrier.base, carrier.bits)) continue;
    V4Bytes inner{};
    std::copy_n(address.begin() + static_cast<std::ptrdiff_t>(carrier.offset), inner.size(), inner.begin());
    return classify(inner);
  }
  for (const V6Block& block : kV6Blocks) {
    if (in_block(address, block.base, block.bits)) return block.kind;
  }
  return AddressKind::reserved;  // outside 2000::/3 nothing is assigned to the public Internet
}

bool may_dial(AddressKind kind, bool allow_private) {
  switch (kind) {
    case AddressKind::global: return true;
    case AddressKind::loopback:
    case AddressKind::private_use:
    case AddressKind::link_local:
    case AddressKind::shared_nat:
    case AddressKind::benchmarking: return allow_private;
    case AddressKind::unspecified:
    case AddressKind::multicast:
    case AddressKind::broadcast:
    case AddressKind::reserved: return false;
  }
  return false;
}

std::string_view name(AddressKind kind) {
  switch (kind) {
    case AddressKind::global: return "global";
    case AddressKind::loopback: return "loopback";
    case AddressKind::private_use: return "private";
    case AddressKind::link_local: return "link-local";
    case AddressKind::shared_nat: return "carrier NAT";
    case AddressKind::benchmarking: return "benchmarking";
    case AddressKind::unspecified: return "unspecified";
    case AddressKind::multicast: return "multicast";
    case AddressKind::broadcast: return "broadcast";
    case AddressKind::reserved: return "reserved";
  }
  return "unknown";
}

}  // namespace sentinel::net
