// Whose address counts: only trusted proxies may say whose request they carry (D22).
#include "sentinel/engine/client_address.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sentinel::engine {
namespace {

TrustedProxies proxies(const std::vector<std::string>& networks) {
  auto parsed = TrustedProxies::parse(networks);
  EXPECT_TRUE(parsed) << parsed.error().message;
  return parsed ? std::move(*parsed) : TrustedProxies{};
}

TEST(ClientAddress, WithoutTrustedProxiesThePeerCountsWhateverItSays) {
  const TrustedProxies none = proxies({});
  EXPECT_EQ(none.client_of("203.0.113.7", ""), "203.0.113.7");
  EXPECT_EQ(none.client_of("203.0.113.7", "198.51.100.1"), "203.0.113.7");
  EXPECT_EQ(none.client_of("127.0.0.1", "198.51.100.1"), "127.0.0.1");
}

TEST(ClientAddress, ATrustedProxysLastWordCountsAndNothingBeforeIt) {
  const TrustedProxies ten = proxies({"10.0.0.0/8"});
  EXPECT_EQ(ten.client_of("10.1.2.3", "198.51.100.1"), "198.51.100.1");
  EXPECT_EQ(ten.client_of("10.1.2.3", "6.6.6.6, 198.51.100.1"), "198.51.100.1")
      << "the client made 6.6.6.6 up";
  EXPECT_EQ(ten.client_of("10.1.2.3", "6.6.6.6,\t198.51.100.1 "), "198.51.100.1");
  EXPECT_EQ(ten.client_of("10.1.2.3", ""), "10.1.2.3");
  EXPECT_EQ(ten.client_of("11.1.2.3", "198.51.100.1"), "11.1.2.3");
}

TEST(ClientAddress, AChainOfTrustedProxiesIsFollowedToTheFirstStranger) {
  const TrustedProxies chain = proxies({"10.0.0.0/8", "192.0.2.1/32"});
  EXPECT_EQ(chain.client_of("10.0.0.1", "6.6.6.6, 198.51.100.1, 192.0.2.1, 10.9.9.9"), "198.51.100.1");
  EXPECT_EQ(chain.client_of("10.0.0.1", "10.0.0.2, 10.0.0.3"), "10.0.0.2")
      << "nobody but proxies: the farthest";
  EXPECT_EQ(chain.client_of("10.0.0.1", "192.0.2.2"), "192.0.2.2");
}

TEST(ClientAddress, WhatIsNoAddressEndsTheReadingAtTheProxyBeforeIt) {
  const TrustedProxies ten = proxies({"10.0.0.0/8"});
  EXPECT_EQ(ten.client_of("10.0.0.1", "unknown"), "10.0.0.1");
  EXPECT_EQ(ten.client_of("10.0.0.1", "198.51.100.1, unknown, 10.0.0.2"), "10.0.0.2");
  EXPECT_EQ(ten.client_of("10.0.0.1", "198.51.100.1,"), "10.0.0.1");
  EXPECT_EQ(ten.client_of("10.0.0.1", "198.51.100.1:8080"), "10.0.0.1");
  EXPECT_EQ(ten.client_of("10.0.0.1", ",,,"), "10.0.0.1");
}

TEST(ClientAddress, IPv6ClientsCountByTheirCustomersNetwork) {
  const TrustedProxies loopback = proxies({"::1/128", "2001:db8:1::/48"});
  EXPECT_EQ(loopback.client_of("2001:db8::1", ""), loopback.client_of("2001:db8::ffff:1", ""));
  EXPECT_NE(loopback.client_of("2001:db8::1", ""), loopback.client_of("2001:db8:0:1::1", ""));
  EXPECT_EQ(loopback.client_of("2001:db8::1", ""), "2001:db8::/64");
  EXPECT_EQ(loopback.client_of("::1", "2001:db8:7::5"), "2001:db8:7::/64");
  EXPECT_EQ(loopback.client_of("2001:db8:1:ff::9", "198.51.100.1"), "198.51.100.1");
}

TEST(ClientAddress, AnIPv4AddressInIPv6ClothesIsTheSameAddress) {
  const TrustedProxies ten = proxies({"10.0.0.0/8"});
  EXPECT_EQ(ten.client_of("::ffff:203.0.113.7", ""), "203.0.113.7");
  EXPECT_EQ(ten.client_of("::ffff:10.0.0.1", "::ffff:198.51.100.1"), "198.51.100.1");
}

TEST(ClientAddress, APeerThatIsNoAddressCountsByItsText) {
  const TrustedProxies ten = proxies({"10.0.0.0/8"});
  EXPECT_EQ(ten.client_of("", "198.51.100.1"), "");
  EXPECT_EQ(ten.client_of("unix", "198.51.100.1"), "unix");
}

TEST(ClientAddress, AWrongNetworkIsNamed) {
  for (const char* wrong : {"10.0.0.0", "10.0.0.0/33", "example.com/8", "::1/129", ""}) {
    const auto parsed = TrustedProxies::parse({"10.0.0.0/8", wrong});
    ASSERT_FALSE(parsed) << wrong;
    EXPECT_NE(parsed.error().message.find("\"" + std::string(wrong) + "\""), std::string::npos);
    EXPECT_EQ(parsed.error().param, "trusted_proxies");
  }
}

}  // namespace
}  // namespace sentinel::engine
