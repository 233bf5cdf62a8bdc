#include "sentinel/base/result.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

namespace sentinel {
namespace {

TEST(Result, HoldsAValueOrAnError) {
  Result<std::string> good(std::string("text"));
  ASSERT_TRUE(good);
  EXPECT_EQ(*good, "text");
  EXPECT_EQ(good->size(), 4U);
  Result<std::string> bad(Error(ErrorCode::invalid_json, "no", "member"));
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, ErrorCode::invalid_json);
  EXPECT_EQ(bad.error().param, "member");
}

TEST(Result, MovesWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> held(std::make_unique<int>(7));
  const std::unique_ptr<int> taken = *std::move(held);
  EXPECT_EQ(*taken, 7);
}

TEST(Result, AskingForTheOtherIsABrokenPromise) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  Status good = Done{};
  Status bad = Error(ErrorCode::internal_error, "x");
  EXPECT_DEATH((void)good.error(), "index");
  EXPECT_DEATH((void)*bad, "index");
}

TEST(Errors, NamesAreDistinctAndStatusesAreErrors) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(ErrorCode::internal_error); ++code) {
    const ErrorInfo known = info(static_cast<ErrorCode>(code));
    EXPECT_TRUE(names.insert(known.name).second) << known.name;
    EXPECT_TRUE(known.status >= 400 && known.status < 600) << known.name;
    EXPECT_FALSE(known.type.empty());
  }
}

}  // namespace
}  // namespace sentinel
