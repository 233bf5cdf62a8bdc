// What goes straight to the engine, and above all what does not.
#include "sentinel/net/whole_request.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sentinel::net {
namespace {

const std::string kBody = R"({"model":"m"})";
const std::string kHead =
    "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n";
const std::string kLength = "Content-Length: " + std::to_string(kBody.size()) + "\r\n";
const std::string kWhole = kHead + kLength + "\r\n" + kBody;

bool accepts(const std::string& bytes) {
  std::vector<RequestHeader> headers;
  return read_whole_request(bytes, headers).has_value();
}

bool accepts_with(const std::string& field) { return accepts(kHead + kLength + field + "\r\n\r\n" + kBody); }

TEST(WholeRequest, IsReadIntoItsParts) {
  std::vector<RequestHeader> headers;
  const std::string bytes =
      "POST /v1/a%20b?x=1&y=?2 HTTP/1.1\r\nhOsT:gateway\r\nX-Note: \t two words \t\r\n" + kLength +
      "X-Empty:\r\n\r\n" + kBody;
  const auto request = read_whole_request(bytes, headers);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->path, "/v1/a%20b");
  EXPECT_EQ(request->query, "x=1&y=?2");
  EXPECT_EQ(request->body, kBody);
  ASSERT_EQ(headers.size(), 4U);
  EXPECT_EQ(headers[0].name, "hOsT");
  EXPECT_EQ(headers[0].value, "gateway");
  EXPECT_EQ(headers[1].value, "two words");
  EXPECT_EQ(headers[3].value, "");
}

TEST(WholeRequest, WithoutABodyNeedsNoLength) {
  EXPECT_TRUE(accepts("POST / HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_FALSE(accepts("POST / HTTP/1.1\r\nHost: a\r\n\r\nx"));
}

TEST(WholeRequest, NoPrefixOfOneIsOne) {
  ASSERT_TRUE(accepts(kWhole));
  for (std::size_t size = 0; size < kWhole.size(); ++size)
    EXPECT_FALSE(accepts(kWhole.substr(0, size))) << size;
}

TEST(WholeRequest, WithAnythingBehindItIsNone) {
  EXPECT_FALSE(accepts(kWhole + "\n"));
  EXPECT_FALSE(accepts(kWhole + kWhole));
}

TEST(WholeRequest, WithAControlByteAnywhereInItsHeadIsNone) {
  const std::size_t head = kHead.size() + kLength.size();
  for (std::size_t place = 0; place <= head; ++place)
    for (const char byte : {'\0', '\x01', '\x0b', '\x1f', '\x7f', '\r', '\n'}) {
      std::string bytes = kWhole;
      bytes.insert(place, 1, byte);
      EXPECT_FALSE(accepts(bytes)) << place << " " << static_cast<int>(byte);
    }
}

TEST(WholeRequest, WithABareLineFeedIsNone) {
  std::string bytes = kWhole;
  while (true) {
    const std::size_t place = bytes.find("\r\n");
    if (place == std::string::npos) break;
    bytes.erase(place, 1);
    EXPECT_FALSE(accepts(bytes));
  }
}

class OddFields : public ::testing::TestWithParam<const char*> {};

TEST_P(OddFields, LeaveTheRequestToTheServersParser) { EXPECT_FALSE(accepts_with(GetParam())); }

INSTANTIATE_TEST_SUITE_P(All, OddFields,
                         ::testing::Values("Transfer-Encoding: chunked",
                                           "transfer-encoding:", "TRANSFER-ENCODING: identity",
                                           "Content-Length: 13", "content-length: 0", "Expect: 100-continue",
                                           "Upgrade: h2c", "Connection: close", "Connection: upgrade",
                                           "Connection: keep-alive, close",
                                           "Connection:", "Proxy-Connection: keep-alive", "X-Note : 1",
                                           " X-Note: 1", "X-Note", ": 1", "X Note: 1", "X-Note: 1\r\n folded",
                                           "X-N\xc3\xb6te: 1", "X(Note): 1", "X-Note: a\rb"));

class PlainFields : public ::testing::TestWithParam<const char*> {};

TEST_P(PlainFields, KeepItPlain) { EXPECT_TRUE(accepts_with(GetParam())); }

INSTANTIATE_TEST_SUITE_P(All, PlainFields,
                         ::testing::Values("Connection: Keep-Alive", "connection:keep-alive ", "TE: trailers",
                                           "X-Note: gr\xc3\xbc\xc3\x9f", "Content-Lengthy: 9",
                                           "X-Transfer-Encoding: chunked", "Accept-Encoding: gzip, br"));

class OddLengths : public ::testing::TestWithParam<const char*> {};

TEST_P(OddLengths, AreNone) {
  EXPECT_FALSE(accepts(kHead + "Content-Length: " + GetParam() + "\r\n\r\n" + kBody));
}

INSTANTIATE_TEST_SUITE_P(All, OddLengths,
                         ::testing::Values("", "+13", "-13", "0x0d", "13 13", "13,13", "12", "14", "1 3",
                                           "13.0", "99999999999999999999", "0000000000000013",
                                           "\x31\x33\x7f"));

class OddLines : public ::testing::TestWithParam<const char*> {};

TEST_P(OddLines, AreNone) { EXPECT_FALSE(accepts(std::string(GetParam()) + "\r\nHost: a\r\n\r\n")); }

INSTANTIATE_TEST_SUITE_P(All, OddLines,
                         ::testing::Values("POST / HTTP/1.0", "POST / HTTP/2.0", "POST / http/1.1",
                                           "POST / HTTP/1.1 ", "POST  / HTTP/1.1", "POST /  HTTP/1.1",
                                           " POST / HTTP/1.1", "POST /", "POST http://a/ HTTP/1.1",
                                           "POST * HTTP/1.1", "post / HTTP/1.1", "POST /#part HTTP/1.1",
                                           "POST /\xc3\xbc HTTP/1.1", "POST\t/ HTTP/1.1", "GET / HTTP/1.1",
                                           "", "\r\nPOST / HTTP/1.1"));

TEST(WholeRequest, HasAtMostAHundredFields) {
  std::string many;
  for (int i = 0; i < 100; ++i) many += "x-" + std::to_string(i) + ": 1\r\n";
  EXPECT_TRUE(accepts("POST / HTTP/1.1\r\n" + many + "\r\n"));
  EXPECT_FALSE(accepts("POST / HTTP/1.1\r\n" + many + "x-100: 1\r\n\r\n"));
}

}  // namespace
}  // namespace sentinel::net
