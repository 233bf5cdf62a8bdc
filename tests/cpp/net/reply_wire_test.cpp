// What a reply looks like on the wire.
#include "sentinel/net/reply_wire.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace sentinel::net {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

TEST(ReplyWire, AHeadWithALengthIsWrittenAsItIs) {
  std::string wire;
  const Fields fields{{"content-type", "application/json"}, {"content-length", "2"}};
  EXPECT_EQ(append_reply_head(wire, 200, fields, "now"), Length::declared);
  EXPECT_EQ(wire,
            "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n");
}

TEST(ReplyWire, AHeadWithoutALengthIsChunked) {
  std::string wire;
  EXPECT_EQ(append_reply_head(wire, 200, Fields{{"x-note", "content-length: 3"}}, "now"), Length::chunked);
  EXPECT_TRUE(wire.ends_with("x-note: content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n"));
  wire.clear();
  append_chunk(wire, "0123456789abcdef0");
  append_chunk(wire, "");
  append_chunk(wire, "x");
  append_last_chunk(wire);
  EXPECT_EQ(wire, "11\r\n0123456789abcdef0\r\n1\r\nx\r\n0\r\n\r\n");
}

TEST(ReplyWire, AStatusWithoutANameHasAnEmptyReason) {
  std::string wire;
  append_reply_head(wire, 599, {}, "now");
  EXPECT_TRUE(wire.starts_with("HTTP/1.1 599 \r\n"));
}

TEST(HttpDates, AreWrittenAsTheRfcHasThem) {
  HttpDate date;
  EXPECT_EQ(date.at(std::chrono::seconds(784111777)), "Sun, 06 Nov 1994 08:49:37 GMT");  // RFC 9110, 5.6.7
  EXPECT_EQ(date.at(std::chrono::microseconds(784111777'999'999)), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(date.at(std::chrono::seconds(951782400)), "Tue, 29 Feb 2000 00:00:00 GMT");
  EXPECT_EQ(date.at(Duration{0}), "Thu, 01 Jan 1970 00:00:00 GMT");
}

}  // namespace
}  // namespace sentinel::net
