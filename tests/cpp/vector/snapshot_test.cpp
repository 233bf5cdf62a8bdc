#include "sentinel/vector/snapshot.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <set>
#include <string>

#include "sentinel/vector/flat_index.hpp"
#include "vector/vectors.hpp"

namespace sentinel::vector {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes encoded(const FlatIndex& index) {
  Bytes bytes(index.encode({}));
  EXPECT_EQ(index.encode(bytes), bytes.size());
  return bytes;
}

std::unique_ptr<FlatIndex> filled(std::size_t dimension, std::size_t rows, std::uint64_t seed = 1) {
  Random random(seed);
  auto index = *FlatIndex::make(dimension);
  for (const std::string_view partition : {"", "a",
                                           "gr\xc3\xbc\xc3\x9f"
                                           "e"}) {
    std::vector<std::int64_t> ids(rows);
    std::iota(ids.begin(), ids.end(), static_cast<std::int64_t>(index->size()) - 5);
    EXPECT_TRUE(index->add(ids, test::vectors_of(random, rows, dimension), partition));
  }
  return index;
}

std::string fault_of(const Bytes& bytes) {
  const auto decoded = FlatIndex::decode(bytes);
  EXPECT_FALSE(decoded);
  return decoded ? std::string() : decoded.error().message;
}

// As a writer that means harm, or is only wrong, would end it.
void seal(Bytes& bytes) {
  const std::uint64_t sum = checksum(std::span(bytes).first(bytes.size() - 8));
  std::memcpy(bytes.data() + bytes.size() - 8, &sum, 8);
}

template <class Integer>
Bytes with(Bytes bytes, std::size_t at, Integer value) {
  std::memcpy(bytes.data() + at, &value, sizeof(value));
  seal(bytes);
  return bytes;
}

TEST(Snapshot, AnIndexComesBackWithItsRowsPartitionsAndAnswers) {
  for (const std::size_t dimension : {1U, 7U, 9U, 31U, 48U}) {
    const auto index = filled(dimension, 400);
    index->remove(std::vector<std::int64_t>{3, 4, 500, 900});
    const Bytes bytes = encoded(*index);
    const auto decoded = FlatIndex::decode(bytes);
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ((*decoded)->dimension(), dimension);
    EXPECT_EQ((*decoded)->size(), index->size());
    EXPECT_EQ(encoded(**decoded), bytes);
    Random random(9);
    for (int i = 0; i < 20; ++i) {
      const auto query = test::vector_of(random, dimension);
      for (const bool exact : {true, false}) {
        for (const auto partition :
             {std::optional<std::string_view>(), std::optional<std::string_view>("a")}) {
          const Question question{5, partition, exact};
          EXPECT_EQ(*(*decoded)->search(query, question), *index->search(query, question));
        }
      }
    }
  }
}

TEST(Snapshot, WhatComesBackGoesOnAsTheOriginalDoes) {
  const auto index = filled(16, 300);
  const auto decoded = *FlatIndex::decode(encoded(*index));
  for (FlatIndex* one : {index.get(), decoded.get()}) {
    Random random(2);
    one->remove(std::vector<std::int64_t>{0, 1, 310});
    std::vector<std::int64_t> ids(1'000);
    std::iota(ids.begin(), ids.end(), 200);
    ASSERT_TRUE(one->add(ids, test::vectors_of(random, ids.size(), 16), "a"));
  }
  EXPECT_EQ(encoded(*decoded), encoded(*index));
}

TEST(Snapshot, AnEmptyIndexComesBackEmpty) {
  const auto decoded = FlatIndex::decode(encoded(**FlatIndex::make(3)));
  ASSERT_TRUE(decoded);
  EXPECT_EQ((*decoded)->size(), 0U);
  EXPECT_EQ((*decoded)->dimension(), 3U);
}

TEST(Snapshot, ASpanOfAnotherSizeIsLeftAlone) {
  const auto index = filled(3, 2);
  Bytes small(index->encode({}) - 1, 7);
  EXPECT_EQ(index->encode(small), small.size() + 1);
  EXPECT_EQ(small, Bytes(small.size(), 7));
}

TEST(Snapshot, EveryChangedByteIsFound) {
  const Bytes bytes = encoded(*filled(5, 3));
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const unsigned flip : {0x01U, 0x80U, 0xffU}) {
      Bytes changed = bytes;
      changed[at] = static_cast<std::uint8_t>(changed[at] ^ flip);
      EXPECT_NE(fault_of(changed).find("vector snapshot: "), std::string::npos) << at;
    }
  }
}

TEST(Snapshot, EveryCutIsFound) {
  const Bytes bytes = encoded(*filled(5, 3));
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(fault_of(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size))).empty())
        << size;
  Bytes longer = bytes;
  longer.push_back(0);
  EXPECT_FALSE(fault_of(longer).empty());
}

TEST(Snapshot, TheReasonIsTold) {
  const Bytes bytes = encoded(*filled(2, 3));
  EXPECT_NE(fault_of({}).find("not a vector index"), std::string::npos);
  EXPECT_NE(fault_of(Bytes(100, 'x')).find("not a vector index"), std::string::npos);
  EXPECT_NE(fault_of(with(bytes, 6, std::uint16_t{2})).find("version 2, this reads 1"), std::string::npos);
  Bytes damaged = bytes;
  damaged[40] ^= 1U;
  EXPECT_NE(fault_of(damaged).find("the checksum differs"), std::string::npos);
}

// Byte numbers: dimension at 8, partitions at 12; the first partition at 16 has name size, rows at 20, trained rows at
// 28, no name, 3 ids at 36, vectors from 60 on.
TEST(Snapshot, NumbersThatNoIndexWritesAreRefusedThoughTheChecksumHolds) {
  const Bytes bytes = encoded(*filled(2, 3));
  EXPECT_NE(fault_of(with(bytes, 8, std::uint32_t{0})).find("dimension"), std::string::npos);
  EXPECT_NE(fault_of(with(bytes, 8, std::uint32_t{0xffffffff})).find("dimension"), std::string::npos);
  EXPECT_NE(fault_of(with(bytes, 12, std::uint32_t{2})).find("behind the last"), std::string::npos);
  EXPECT_NE(fault_of(with(bytes, 12, std::uint32_t{0xffffffff})).find("cut off"), std::string::npos);
  EXPECT_NE(fault_of(with(bytes, 16, std::uint32_t{300})).find("name is too long"), std::string::npos);
  EXPECT_NE(fault_of(with(bytes, 20, std::uint64_t{0})).find("size is out of bounds"), std::string::npos);
  EXPECT_NE(fault_of(with(bytes, 20, std::uint64_t{1} << 40U)).find("size is out of bounds"),
            std::string::npos);
  EXPECT_NE(fault_of(with(bytes, 20, std::uint64_t{100})).find("cut off"), std::string::npos);
  EXPECT_NE(fault_of(with(bytes, 28, std::uint64_t{1})).find(""), std::string::npos);
  std::int64_t second = 0;
  std::memcpy(&second, bytes.data() + 44, 8);
  EXPECT_NE(fault_of(with(bytes, 36, second)).find("is there twice"), std::string::npos);
  EXPECT_NE(fault_of(with(bytes, 60, std::numeric_limits<float>::quiet_NaN())).find("not of length 1"),
            std::string::npos);
  EXPECT_NE(fault_of(with(bytes, 60, 5.0F)).find("not of length 1"), std::string::npos);
}

TEST(Snapshot, PartitionsOutOfOrderAreRefused) {
  const auto index = *FlatIndex::make(1);
  const float one = 1;
  for (std::int64_t id : {0, 1}) ASSERT_TRUE(index->add({&id, 1}, {&one, 1}, id == 0 ? "a" : "b"));
  Bytes bytes = encoded(*index);
  const std::size_t first_name = 16 + 20;
  ASSERT_EQ(bytes[first_name], 'a');
  EXPECT_NE(fault_of(with(bytes, first_name, 'b')).find("order of their names"), std::string::npos);
  EXPECT_NE(fault_of(with(bytes, first_name, '\xff')).find("not UTF-8"), std::string::npos);
}

// A file that another process makes shorter while it is read.
TEST(Snapshot, ASourceThatEndsEarlyIsRefused) {
  const Bytes bytes = encoded(*filled(5, 300));
  for (const std::size_t there : {std::size_t{0}, std::size_t{8}, std::size_t{40}, bytes.size() / 2,
                                  bytes.size() - 8, bytes.size() - 1}) {
    std::size_t at = 0;
    const auto read = [&](std::span<std::uint8_t> to) {
      if (there - at < to.size()) return false;
      std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), to.size(), to.begin());
      at += to.size();
      return true;
    };
    const auto decoded = FlatIndex::decode(SnapshotSource{bytes.size(), read});
    EXPECT_FALSE(decoded) << there;
  }
}

TEST(Snapshot, WhatIsDamagedIsNotCalledAFaultOfItsWriter) {
  Bytes bytes = encoded(*filled(5, 3));
  for (const std::size_t at : {std::size_t{8}, std::size_t{16}, std::size_t{20}}) {
    Bytes damaged = bytes;
    damaged[at] ^= 0xffU;
    EXPECT_NE(fault_of(damaged).find("cut off or damaged"), std::string::npos) << at;
  }
}

TEST(Checksum, IsTheSameHoweverTheBytesAreCut) {
  Random random(4);
  for (int round = 0; round < 200; ++round) {
    Bytes bytes(random.below(300));
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.below(256));
    Checksum parts;
    for (std::span<const std::uint8_t> rest = bytes; !rest.empty();) {
      const auto part = rest.first(std::min<std::size_t>(rest.size(), random.below(70)));
      parts.add(part);
      rest = rest.subspan(part.size());
    }
    EXPECT_EQ(parts.value(), checksum(bytes));
  }
}

TEST(Checksum, DependsOnEveryByteAndOnTheSize) {
  std::set<std::uint64_t> seen;
  for (std::size_t size = 0; size < 100; ++size) {
    EXPECT_TRUE(seen.insert(checksum(Bytes(size, 0))).second);
    for (std::size_t at = 0; at < size; ++at) {
      Bytes bytes(size, 0);
      bytes[at] = 1;
      EXPECT_TRUE(seen.insert(checksum(bytes)).second) << size << " " << at;
    }
  }
}

}  // namespace
}  // namespace sentinel::vector
