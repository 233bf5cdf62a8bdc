#include "sentinel/limit/snapshot.hpp"

#include <gtest/gtest.h>

#include "sentinel/base/digest.hpp"
#include "sentinel/base/random.hpp"
#include "sentinel/limit/gcra.hpp"

namespace sentinel::limit {
namespace {

std::string with_checksum(std::string body) {
  const Digest digest = sha256(body);
  return body.append(reinterpret_cast<const char*>(digest.data()), digest.size());
}

SavedLimits some() {
  const Rate money = *Rate::parse("5 usd/day");
  const Rate requests = *Rate::parse("100/min burst 20");
  return {Duration{1'700'000'000'000'001},
          {{"account:acme/search", money, max_debt(money)},
           {"address:::1", requests, 1},
           {"", requests, 7},
           {"end-user:acme#0a", money, 9, true}}};
}

TEST(LimitSnapshot, B25_WhatWasWrittenIsRead) {
  const auto read = decode(encode(some()));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, some());
  EXPECT_EQ(*decode(encode({})), SavedLimits{});
}

TEST(LimitSnapshot, EveryCutAndEveryChangedByteIsRefused) {
  const std::string bytes = encode(some());
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(decode(bytes.substr(0, size))) << size;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ 0x20);
    EXPECT_FALSE(decode(changed)) << i;
  }
  EXPECT_FALSE(decode(bytes + '\0'));
}

TEST(LimitSnapshot, AnotherVersionIsNamed) {
  std::string bytes = encode({});
  bytes[6] = 9;
  const auto read = decode(bytes);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().message, "limit snapshot: version 9 is not known");
}

TEST(LimitSnapshot, JunkWithARightChecksumIsCheckedFieldByField) {
  const std::string bytes = encode(some());
  const std::string body = bytes.substr(0, bytes.size() - 32);
  Random random(3);
  for (int i = 0; i < 20'000; ++i) {
    std::string changed = body;
    for (std::uint64_t n = 1 + random.below(4); n > 0; --n) {
      changed[8 + static_cast<std::size_t>(random.below(changed.size() - 8))] =
          static_cast<char>(random.below(256));
    }
    const auto read = decode(with_checksum(changed));
    if (!read) continue;
    for (const SavedBucket& bucket : read->buckets) {
      ASSERT_TRUE(bucket.debt > 0 && bucket.debt <= max_debt(bucket.rate) && bucket.id.size() <= kMaxIdBytes);
    }
  }
  std::string many = body;
  many[16] = many[17] = many[18] = many[19] = static_cast<char>(0xff);
  EXPECT_EQ(decode(with_checksum(many)).error().message, "limit snapshot: more buckets than bytes");
}

}  // namespace
}  // namespace sentinel::limit
