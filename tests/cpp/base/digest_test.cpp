#include "sentinel/base/digest.hpp"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace sentinel {
namespace {

// RFC 4231, test cases 1 to 4, 6 and 7.
TEST(Hmac, GivesTheVectorsOfTheRfc) {
  const auto hex = [](const std::string& key, const std::string& data) {
    return to_hex(Hmac(key).digest(data));
  };
  EXPECT_EQ(hex(std::string(20, '\x0b'), "Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(hex("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hex(std::string(20, '\xaa'), std::string(50, '\xdd')),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  std::string counting;
  for (char c = 1; c <= 25; ++c) counting += c;
  EXPECT_EQ(hex(counting, std::string(50, '\xcd')),
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
  const std::string large(131, '\xaa');
  EXPECT_EQ(hex(large, "Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  EXPECT_EQ(hex(large,
                "This is a test using a larger than block-size key and a larger than block-size data. The "
                "key needs to "
                "be hashed before being used by the HMAC algorithm."),
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

struct Case {
  std::size_t key;
  std::size_t message;
  std::string hex;
};

// Around the block's bounds, computed with Python's hmac.
class HmacBounds : public ::testing::TestWithParam<Case> {};

TEST_P(HmacBounds, AreHashedAsElsewhere) {
  const auto& [key, message, hex] = GetParam();
  EXPECT_EQ(to_hex(Hmac(std::string(key, 'k')).digest(std::string(message, 'm'))), hex);
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, HmacBounds,
    ::testing::Values(Case{0, 0, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
                      Case{0, 56, "6c9953447b898551f5e8253317d2ddb0c65a5753b03f4817acd509397aa317b6"},
                      Case{64, 55, "6d801b7bd389318c9618b37fb94c6ae3eaf1d2701f58706fe8e8342188f228fe"},
                      Case{64, 56, "62954b00cd56d4c95c6f80b8099009976316bcffc52eada7829bd724402693a1"},
                      Case{65, 55, "56b309135b99aa71a43ce65fe117677a2699cc14009972a5414ea8575e006d0c"},
                      Case{65, 1000, "0255626951bd28a94d656798c97e3078d5a0c6a7ca1f01529b1a8d1987f9f68e"}));

TEST(Digest, Sha256GivesTheVectorsOfTheStandard) {
  EXPECT_EQ(to_hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Digest, HexReadsBackInBothCasesAndNothingElseIsRead) {
  const Digest digest = sha256("abc");
  const std::string hex = to_hex(digest);
  EXPECT_EQ(digest_from_hex(hex), digest);
  std::string upper = hex;
  for (char& c : upper) c = c >= 'a' ? static_cast<char>(c - 32) : c;
  EXPECT_EQ(digest_from_hex(upper), digest);
  for (const std::string& bad :
       {std::string(), hex.substr(1), hex + "0", "g" + hex.substr(1), hex.substr(0, 63) + "\0"}) {
    EXPECT_FALSE(digest_from_hex(bad)) << bad;
  }
}

TEST(Digest, S13EqualityLooksAtEveryByte) {
  const Digest left = sha256("abc");
  EXPECT_TRUE(equal_in_constant_time(left, sha256("abc")));
  for (std::size_t i = 0; i < left.size(); ++i) {
    Digest right = left;
    right[i] ^= 1U;
    EXPECT_FALSE(equal_in_constant_time(left, right)) << i;
  }
  EXPECT_FALSE(equal_in_constant_time(left, std::span(left).first(31)));
  EXPECT_TRUE(equal_in_constant_time({}, {}));
}

TEST(Hmac, ManyThreadsMayDigestAtOnce) {
  const Hmac hmac("pepper");
  const Digest expected = hmac.digest("credential");
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&hmac, &expected, &count = wrong[t]] {
      for (int i = 0; i < 500; ++i) count += hmac.digest("credential") == expected ? 0 : 1;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

}  // namespace
}  // namespace sentinel
