#include "sentinel/base/hex.hpp"

#include <gtest/gtest.h>

#include <cstdio>

#include "sentinel/base/random.hpp"

namespace sentinel {
namespace {

std::string plain(std::uint64_t word) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(word));
  return text.data();
}

TEST(Hex, WritesEveryDigitAtEveryPlace) {
  for (unsigned place = 0; place < 64; place += 4) {
    for (std::uint64_t digit = 0; digit < 16; ++digit) {
      std::string text;
      append_hex(text, digit << place);
      EXPECT_EQ(text, plain(digit << place));
    }
  }
}

TEST(Hex, EqualsPrintfOnRandomWords) {
  Random random(7);
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t word = random.next();
    std::string text = "x";
    append_hex(text, word);
    EXPECT_EQ(text, "x" + plain(word));
    EXPECT_EQ(read_hex(plain(word)), word);
  }
}

}  // namespace
}  // namespace sentinel
