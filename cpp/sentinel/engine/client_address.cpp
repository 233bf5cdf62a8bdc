#include "sentinel/engine/client_address.hpp"

#include <algorithm>
#include <optional>

#include "sentinel/base/ascii.hpp"

namespace sentinel::engine {
namespace {

namespace ip = boost::asio::ip;

std::optional<ip::address> read_address(std::string_view text) {
  boost::system::error_code failed;
  const ip::address address = ip::make_address(text, failed);
  if (failed) return std::nullopt;
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    return ip::address(ip::make_address_v4(ip::v4_mapped, address.to_v6()));
  return address;
}

std::string counted_as(const ip::address& address) {
  constexpr unsigned short kCustomerBits = 64;
  if (address.is_v4()) return address.to_string();
  const ip::network_v6 customer(address.to_v6(), kCustomerBits);
  return ip::network_v6(customer.network(), kCustomerBits).to_string();
}

}  // namespace

Result<TrustedProxies> TrustedProxies::parse(const std::vector<std::string>& networks) {
  TrustedProxies proxies;
  for (const std::string& text : networks) {
    boost::system::error_code failed;
    const auto v4 = ip::make_network_v4(text, failed);
    if (!failed) {
      proxies.v4_.push_back(v4);
      continue;
    }
    const auto v6 = ip::make_network_v6(text, failed);
    if (failed)
      return Error(ErrorCode::invalid_request, "\"" + text + "\" is not a network", "trusted_proxies");
    proxies.v6_.push_back(v6);
  }
  return proxies;
}

bool TrustedProxies::trusts(const Address& address) const {
  if (address.is_v4()) {
    const ip::network_v4 host(address.to_v4(), 32);
    return std::any_of(v4_.begin(), v4_.end(), [&host](const ip::network_v4& network) {
      return host == network || host.is_subnet_of(network);
    });
  }
  const ip::network_v6 host(address.to_v6(), 128);
  return std::any_of(v6_.begin(), v6_.end(), [&host](const ip::network_v6& network) {
    return host == network || host.is_subnet_of(network);
  });
}

std::string TrustedProxies::client_of(std::string_view peer, std::string_view forwarded_for) const {
  auto client = read_address(peer);
  if (!client) return std::string(peer);
  while (trusts(*client) && !forwarded_for.empty()) {
    const std::size_t comma = forwarded_for.rfind(',');
    const bool last = comma == std::string_view::npos;
    const auto before = read_address(trimmed(last ? forwarded_for : forwarded_for.substr(comma + 1)));
    if (!before) break;
    client = before;
    forwarded_for = last ? std::string_view{} : forwarded_for.substr(0, comma);
  }
  return counted_as(*client);
}

}  // namespace sentinel::engine
