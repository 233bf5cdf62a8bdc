#include "sentinel/net/address_policy.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <string>

namespace sentinel::net {
namespace {

struct Case {
  const char* address;
  AddressKind kind;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.address; }

AddressKind classify_text(const char* text) {
  V4Bytes v4{};
  if (inet_pton(AF_INET, text, v4.data()) == 1) return classify(v4);
  V6Bytes v6{};
  EXPECT_EQ(inet_pton(AF_INET6, text, v6.data()), 1) << text;
  return classify(v6);
}

class AddressPolicy : public ::testing::TestWithParam<Case> {};

TEST_P(AddressPolicy, S7KnowsWhatAnAddressIs) {
  EXPECT_EQ(name(classify_text(GetParam().address)), name(GetParam().kind));
}

INSTANTIATE_TEST_SUITE_P(
    V4, AddressPolicy,
    ::testing::Values(
        Case{"8.8.8.8", AddressKind::global}, Case{"1.1.1.1", AddressKind::global},
        Case{"9.255.255.255", AddressKind::global}, Case{"11.0.0.0", AddressKind::global},
        Case{"100.63.255.255", AddressKind::global}, Case{"100.128.0.0", AddressKind::global},
        Case{"126.255.255.255", AddressKind::global}, Case{"128.0.0.0", AddressKind::global},
        Case{"169.253.255.255", AddressKind::global}, Case{"169.255.0.0", AddressKind::global},
        Case{"172.15.255.255", AddressKind::global}, Case{"172.32.0.0", AddressKind::global},
        Case{"192.167.255.255", AddressKind::global}, Case{"192.169.0.0", AddressKind::global},
        Case{"198.17.255.255", AddressKind::global}, Case{"198.20.0.0", AddressKind::global},
        Case{"223.255.255.255", AddressKind::global}, Case{"0.0.0.0", AddressKind::unspecified},
        Case{"0.1.2.3", AddressKind::unspecified}, Case{"10.0.0.1", AddressKind::private_use},
        Case{"10.255.255.255", AddressKind::private_use}, Case{"100.64.0.0", AddressKind::shared_nat},
        Case{"100.127.255.255", AddressKind::shared_nat}, Case{"127.0.0.1", AddressKind::loopback},
        Case{"127.255.255.255", AddressKind::loopback}, Case{"169.254.169.254", AddressKind::link_local},
        Case{"172.16.0.0", AddressKind::private_use}, Case{"172.31.255.255", AddressKind::private_use},
        Case{"192.0.0.8", AddressKind::reserved}, Case{"192.0.2.1", AddressKind::reserved},
        Case{"192.88.99.1", AddressKind::reserved}, Case{"192.168.1.1", AddressKind::private_use},
        Case{"198.18.0.1", AddressKind::benchmarking}, Case{"198.19.255.255", AddressKind::benchmarking},
        Case{"198.51.100.7", AddressKind::reserved}, Case{"203.0.113.9", AddressKind::reserved},
        Case{"224.0.0.1", AddressKind::multicast}, Case{"239.255.255.255", AddressKind::multicast},
        Case{"240.0.0.1", AddressKind::reserved}, Case{"255.255.255.255", AddressKind::broadcast}));

INSTANTIATE_TEST_SUITE_P(
    V6, AddressPolicy,
    ::testing::Values(Case{"2606:4700:4700::1111", AddressKind::global},
                      Case{"2a00:1450::1", AddressKind::global},
                      Case{"2001:4860:4860::8888", AddressKind::global}, Case{"::", AddressKind::unspecified},
                      Case{"::1", AddressKind::loopback}, Case{"fe80::1", AddressKind::link_local},
                      Case{"febf::1", AddressKind::link_local}, Case{"fec0::1", AddressKind::private_use},
                      Case{"fc00::1", AddressKind::private_use}, Case{"fdff::1", AddressKind::private_use},
                      Case{"ff02::1", AddressKind::multicast}, Case{"2001:db8::1", AddressKind::reserved},
                      Case{"2001::1", AddressKind::reserved}, Case{"100::1", AddressKind::reserved},
                      Case{"3fff::1", AddressKind::reserved}, Case{"4000::1", AddressKind::reserved},
                      Case{"5f00::1", AddressKind::reserved},
                      Case{"64:ff9b:1::1", AddressKind::private_use}));

INSTANTIATE_TEST_SUITE_P(V4InV6, AddressPolicy,
                         ::testing::Values(Case{"::ffff:127.0.0.1", AddressKind::loopback},
                                           Case{"::ffff:8.8.8.8", AddressKind::global},
                                           Case{"::ffff:169.254.169.254", AddressKind::link_local},
                                           Case{"::127.0.0.1", AddressKind::loopback},
                                           Case{"::10.1.2.3", AddressKind::private_use},
                                           Case{"::ffff:0:127.0.0.1", AddressKind::loopback},
                                           Case{"64:ff9b::10.0.0.1", AddressKind::private_use},
                                           Case{"64:ff9b::8.8.8.8", AddressKind::global},
                                           Case{"2002:7f00:1::1", AddressKind::loopback},
                                           Case{"2002:a9fe:a9fe::", AddressKind::link_local},
                                           Case{"2002:808:808::1", AddressKind::global}));

TEST(MayDial, S6PrivateKindsNeedConfigurationAndSomeAreNeverDialled) {
  using Kind = AddressKind;
  for (const Kind kind :
       {Kind::loopback, Kind::private_use, Kind::link_local, Kind::shared_nat, Kind::benchmarking}) {
    EXPECT_FALSE(may_dial(kind, false)) << name(kind);
    EXPECT_TRUE(may_dial(kind, true)) << name(kind);
  }
  for (const Kind kind : {Kind::unspecified, Kind::multicast, Kind::broadcast, Kind::reserved}) {
    EXPECT_FALSE(may_dial(kind, false)) << name(kind);
    EXPECT_FALSE(may_dial(kind, true)) << name(kind);
  }
  EXPECT_TRUE(may_dial(Kind::global, false));
}

}  // namespace
}  // namespace sentinel::net
