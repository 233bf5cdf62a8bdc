// Whose address a request comes from, behind proxies that the operator trusts (D22).
//
// Contract: the peer's address counts, unless the peer is a trusted proxy: then X-Forwarded-For is read from its right
// end, past further trusted proxies, to the first address that is not one of them (the only one a client cannot invent).
// An element that is no address ends the reading at the proxy before it. IPv6 clients count by their /64, the smallest
// network that is given to one customer (RFC 6177), so that nobody has 2^64 addresses to use up.
// Cost: parsing only when rules by address exist. Thread rule: immutable. Failure rule: no peer gives an empty text.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>

#include "sentinel/base/result.hpp"

namespace sentinel::engine {

class TrustedProxies {
 public:
  // Networks as "10.0.0.0/8" or "::1/128"; the error names the one that is wrong.
  static Result<TrustedProxies> parse(const std::vector<std::string>& networks);

  std::string client_of(std::string_view peer, std::string_view forwarded_for) const;

 private:
  using Address = boost::asio::ip::address;
  bool trusts(const Address& address) const;

  std::vector<boost::asio::ip::network_v4> v4_;
  std::vector<boost::asio::ip::network_v6> v6_;
};

}  // namespace sentinel::engine
