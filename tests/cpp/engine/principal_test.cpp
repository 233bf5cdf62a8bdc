// Who calls: issued keys by their checksum, every key by its whole digest, and revocation that running streams see.
#include "sentinel/engine/principal.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "engine/support.hpp"

namespace sentinel::engine {
namespace {

std::string list(std::initializer_list<std::string> keys) {
  std::string text = "[";
  for (const auto& key : keys) text += (text.size() > 1 ? "," : "") + key;
  return text + "]";
}

class Keys : public ::testing::Test {
 protected:
  KeyTable keys{kPepper};
};

// Computed with Python's zlib.crc32.
class Issued : public ::testing::TestWithParam<std::string> {};

TEST_P(Issued, KeysCarryTheirChecksum) {
  EXPECT_TRUE(is_well_formed_issued_key(GetParam()));
  for (std::size_t at = 0; at < GetParam().size(); ++at) {
    std::string changed = GetParam();
    changed[at] = changed[at] == 'a' ? 'b' : 'a';
    EXPECT_FALSE(is_well_formed_issued_key(changed)) << "changed at " << at;
    EXPECT_FALSE(is_well_formed_issued_key(GetParam().substr(0, at))) << "cut at " << at;
  }
  EXPECT_FALSE(is_well_formed_issued_key(GetParam() + "0"));
}

INSTANTIATE_TEST_SUITE_P(Vectors, Issued,
                         ::testing::Values("sk-sen-0000000000000000000000000002MvMGi",
                                           "sk-sen-ABCDEFGHIJKLMNOPQRSTUVWXYZ00bXYzd",
                                           "sk-sen-7nQx0Zp3LkVtY5mB8cRwE2sHfJd1BZZcq"));

TEST_F(Keys, AMalformedIssuedKeyIsRefusedEvenIfItsDigestIsKnown) {
  const std::string malformed = "sk-sen-not-what-we-issue";
  ASSERT_TRUE(keys.put(list({key_text("a", malformed), key_text("b", "sk-not-ours-0123456789")})));
  EXPECT_EQ(keys.find(malformed), nullptr);
  EXPECT_NE(keys.find("sk-not-ours-0123456789"), nullptr);
}

TEST_F(Keys, S11CredentialsWithTheSamePrefixAreDifferentIdentities) {
  for (const std::size_t shared : {20U, 64U, 128U, 500U}) {
    const std::string prefix(shared, 'k');
    ASSERT_TRUE(keys.put(list({key_text("one", prefix + "1"), key_text("two", prefix + "2")})));
    EXPECT_EQ(keys.find(prefix + "1")->key_id, "one");
    EXPECT_EQ(keys.find(prefix + "2")->key_id, "two");
    EXPECT_EQ(keys.find(prefix), nullptr);
    EXPECT_EQ(keys.find(prefix + "12"), nullptr);
    EXPECT_EQ(keys.find(prefix + "1" + std::string(1, '\0')), nullptr);
  }
}

TEST_F(Keys, APrincipalSaysWhoPaysAndWhatItMayUse) {
  ASSERT_TRUE(keys.put(
      R"([{"id":"a","digest":")" + to_hex(keys.digest("credential")) +
      R"(","accounts":["acme","acme/search"],"scopes":["embeddings"],"models":["gpt-4o-*","o1"]}])"));
  const auto principal = keys.find("credential");
  ASSERT_NE(principal, nullptr);
  EXPECT_EQ(principal->account(), "acme/search");
  EXPECT_TRUE(principal->may_use(Scope::embeddings));
  EXPECT_FALSE(principal->may_use(Scope::chat));
  EXPECT_TRUE(principal->may_use(Scope::none));
  EXPECT_TRUE(principal->may_use("gpt-4o-mini"));
  EXPECT_TRUE(principal->may_use("o1"));
  EXPECT_FALSE(principal->may_use("gpt-4o"));
  EXPECT_FALSE(principal->may_use("o1-mini"));
}

TEST_F(Keys, WithoutScopesAndModelsEverythingIsAllowed) {
  ASSERT_TRUE(keys.put(list({key_text("a", "credential")})));
  EXPECT_TRUE(keys.find("credential")->may_use(Scope::chat));
  EXPECT_TRUE(keys.find("credential")->may_use(Scope::embeddings));
  EXPECT_TRUE(keys.find("credential")->may_use("anything"));
}

TEST_F(Keys, ARemovedKeyIsGoneAndItsHoldersSeeIt) {
  ASSERT_TRUE(keys.put(list({key_text("a", "credential")})));
  const auto held = keys.find("credential");
  EXPECT_FALSE(held->revoked());
  EXPECT_TRUE(keys.remove("a"));
  EXPECT_TRUE(held->revoked());
  EXPECT_EQ(keys.find("credential"), nullptr);
  EXPECT_FALSE(keys.remove("a"));
  EXPECT_EQ(keys.size(), 0U);
}

TEST_F(Keys, NewRulesForTheSameCredentialLeaveRunningStreamsAndTheirLaterEndAlone) {
  ASSERT_TRUE(keys.put(list({key_text("a", "credential")})));
  const auto held = keys.find("credential");
  ASSERT_TRUE(keys.put(list({key_text("a", "credential")})));
  EXPECT_FALSE(held->revoked());
  EXPECT_NE(keys.find("credential"), held);
  EXPECT_TRUE(keys.remove("a"));
  EXPECT_TRUE(held->revoked()) << "a replaced principal still sees its key's end";
}

TEST_F(Keys, ANewCredentialForAnIdRevokesTheOldOne) {
  ASSERT_TRUE(keys.put(list({key_text("a", "old credential")})));
  const auto held = keys.find("old credential");
  ASSERT_TRUE(keys.put(list({key_text("a", "new credential")})));
  EXPECT_TRUE(held->revoked());
  EXPECT_EQ(keys.find("old credential"), nullptr);
  EXPECT_FALSE(keys.find("new credential")->revoked());
  EXPECT_EQ(keys.size(), 1U);
}

TEST_F(Keys, ReplaceAllRemovesWhatIsNotNamedAndTellsWhich) {
  ASSERT_TRUE(keys.put(list({key_text("a", "credential a"), key_text("b", "credential b")})));
  const auto a = keys.find("credential a");
  const auto b = keys.find("credential b");
  const auto removed = keys.replace_all(list({key_text("b", "credential b"), key_text("c", "credential c")}));
  ASSERT_TRUE(removed);
  EXPECT_EQ(*removed, std::vector<std::string>{"a"});
  EXPECT_TRUE(a->revoked());
  EXPECT_FALSE(b->revoked());
  EXPECT_EQ(keys.size(), 2U);
}

TEST_F(Keys, OneCredentialUnderTwoIdsIsOneKeyTheLaterOne) {
  ASSERT_TRUE(keys.put(list({key_text("a", "credential"), key_text("b", "credential")})));
  EXPECT_EQ(keys.find("credential")->key_id, "b");
  EXPECT_FALSE(keys.remove("a"));
  ASSERT_TRUE(keys.put(list({key_text("b", "credential")})));
  EXPECT_FALSE(keys.find("credential")->revoked());
  EXPECT_EQ(keys.size(), 1U);
  EXPECT_TRUE(keys.remove("b"));
  EXPECT_EQ(keys.size(), 0U);
}

class BadKeys : public ::testing::TestWithParam<std::string> {};

TEST_P(BadKeys, ChangeNothing) {
  KeyTable keys(kPepper);
  ASSERT_TRUE(keys.put(list({key_text("a", "credential")})));
  EXPECT_FALSE(keys.put(GetParam())) << GetParam();
  EXPECT_FALSE(keys.replace_all(GetParam())) << GetParam();
  EXPECT_FALSE(keys.find("credential")->revoked());
  EXPECT_EQ(keys.size(), 1U);
}

INSTANTIATE_TEST_SUITE_P(
    Documents, BadKeys,
    ::testing::Values("", "{}", "null", "5", "[1]", "[{}]", list({key_text("x", "other"), "{}"}),
                      list({key_text("", "other")}), R"([{"id":"x","digest":"00","accounts":["a"]}])",
                      R"([{"id":"x","digest":")" + std::string(64, 'g') + R"(","accounts":["a"]}])",
                      R"([{"id":"x","digest":")" + std::string(64, '0') + R"(","accounts":[]}])",
                      R"([{"id":"x","digest":")" + std::string(64, '0') +
                          R"(","accounts":["a"],"scopes":["admin"]}])"));

TEST_F(Keys, S1HostileCredentialsFindNothing) {
  ASSERT_TRUE(keys.put(list({key_text("a", "credential")})));
  for (const std::string_view text :
       {"' OR 1=1 --", "credential' --", "*3\r\n$3\r\nSET", "{\"$ne\":null}", "", "%00"}) {
    EXPECT_EQ(keys.find(text), nullptr) << text;
  }
}

TEST_F(Keys, ReadersAndWritersMayRunAtOnce) {
  const std::string both = list({key_text("a", "credential a"), key_text("b", "credential b")});
  const std::string only_a = list({key_text("a", "credential a")});
  ASSERT_TRUE(keys.put(both));
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  const auto read = [this, &stop, &wrong] {
    while (!stop.load()) {
      const auto a = keys.find("credential a");
      const auto b = keys.find("credential b");
      if (!a || a->key_id != "a" || a->revoked()) ++wrong;
      if (b && (b->key_id != "b" || b->account() != "acme/search")) ++wrong;
    }
  };
  std::thread first(read);
  std::thread second(read);
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(keys.replace_all(only_a));
    ASSERT_TRUE(keys.put(both));
    keys.remove("b");
  }
  stop.store(true);
  first.join();
  second.join();
  EXPECT_EQ(wrong.load(), 0) << "the key that stayed was found at every moment";
}

}  // namespace
}  // namespace sentinel::engine
