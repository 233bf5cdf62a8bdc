#include "sentinel/engine/trace.hpp"

#include <gtest/gtest.h>

#include <string>

namespace sentinel::engine {
namespace {

const std::string kTrace = "4bf92f3577b34da6a3ce929d0e0e4736";
const std::string kParent = "00f067aa0ba902b7";

std::string span(const TraceContext& context) {
  std::string text;
  append_hex(text, context.span_id);
  return text;
}

std::string traceparent(const TraceContext& context) {
  std::string text;
  context.append_traceparent(text);
  return text;
}

TEST(Trace, ReadsTheExampleOfTheRecommendation) {
  const auto context = read_traceparent("00-" + kTrace + "-" + kParent + "-01");
  ASSERT_TRUE(context);
  EXPECT_EQ(context->trace_id.text(), kTrace);
  EXPECT_EQ(context->parent_id, 0x00f067aa0ba902b7U);
  EXPECT_TRUE(context->sampled);
}

TEST(Trace, TheSampledFlagIsTheLowestBit) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (std::size_t flags = 0; flags < 256; ++flags) {
    const std::string text{kDigits[flags >> 4U], kDigits[flags & 15U]};
    const auto context = read_traceparent("00-" + kTrace + "-" + kParent + "-" + text);
    ASSERT_TRUE(context) << text;
    EXPECT_EQ(context->sampled, flags % 2 == 1) << text;
  }
}

class Malformed : public ::testing::TestWithParam<std::string> {};

TEST_P(Malformed, TraceparentIsIgnored) { EXPECT_FALSE(read_traceparent(GetParam())) << GetParam(); }

INSTANTIATE_TEST_SUITE_P(
    Vectors, Malformed,
    ::testing::Values("", "00", "00-" + kTrace + "-" + kParent, "00-" + kTrace + "-" + kParent + "-1",
                      "ff-" + kTrace + "-" + kParent + "-01", "0-" + kTrace + "-" + kParent + "-011",
                      "00-" + std::string(32, '0') + "-" + kParent + "-01",
                      "00-" + kTrace + "-" + std::string(16, '0') + "-01",
                      "00-" + kTrace + "-" + kParent + "-01-more", "00-" + kTrace + "-" + kParent + "-01.",
                      "00-4BF92F3577B34DA6A3CE929D0E0E4736-" + kParent + "-01",
                      "00-" + kTrace.substr(1) + "g-" + kParent + "-01",
                      "00-" + kTrace + "-" + kParent + "-0g", "0g-" + kTrace + "-" + kParent + "-01",
                      "00_" + kTrace + "-" + kParent + "-01", "01-" + kTrace + "-" + kParent + "-01.what",
                      " 00-" + kTrace + "-" + kParent + "-01", "00-" + kTrace + "-" + kParent + "-01 "));

TEST(Trace, ALaterVersionMayCarryMoreAfterADash) {
  EXPECT_TRUE(read_traceparent("cc-" + kTrace + "-" + kParent + "-01"));
  EXPECT_TRUE(read_traceparent("cc-" + kTrace + "-" + kParent + "-01-what-the-future"));
}

TEST(Trace, OurSpanContinuesTheCallersTraceUnderANewId) {
  Random random(1);
  const auto context = begin_span(read_traceparent("00-" + kTrace + "-" + kParent + "-00"), random);
  EXPECT_EQ(context.trace_id.text(), kTrace);
  EXPECT_NE(span(context), kParent);
  EXPECT_EQ(traceparent(context), "00-" + kTrace + "-" + span(context) + "-00");
}

TEST(Trace, WithoutACallerATraceBeginsThatOthersCanRead) {
  Random random(1);
  const auto context = begin_span(std::nullopt, random);
  EXPECT_EQ(context.parent_id, 0U);
  const auto read = read_traceparent(traceparent(context));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->trace_id, context.trace_id);
  EXPECT_EQ(read->parent_id, context.span_id);
}

}  // namespace
}  // namespace sentinel::engine
