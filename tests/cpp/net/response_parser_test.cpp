#include "sentinel/net/response_parser.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace sentinel::net {
namespace {

struct Outcome {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  bool complete = false;
  bool reusable = false;
  std::string error;
  std::size_t consumed = 0;

  bool operator==(const Outcome&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Outcome& o) {
  return out << o.status << " body=" << o.body.substr(0, 60) << " complete=" << o.complete
             << " reusable=" << o.reusable << " consumed=" << o.consumed << " error=" << o.error;
}

void note(Outcome& outcome, ResponseParser& parser, Result<ResponseParser::Progress> got) {
  if (!got) {
    outcome.error = got.error().message;
    EXPECT_EQ(got.error().code, ErrorCode::upstream_error);
    EXPECT_TRUE(parser.failed());
    return;
  }
  if (got->head) {
    const ResponseHead head = parser.take_head();
    outcome.status = head.status;
    for (const Header& header : head.headers) outcome.headers.emplace_back(header.name, header.value);
  }
  for (const std::string_view piece : got->body) outcome.body += piece;
  outcome.consumed += got->consumed;
}

// Feeds the pieces, then (if the reply still wants more) the end of the connection.
Outcome run(const std::vector<std::string_view>& pieces, bool no_body = false) {
  ResponseParser parser(no_body);
  Outcome outcome;
  for (const std::string_view piece : pieces) {
    // What follows a message is not fed by anybody; one call tells that it is there.
    if (!outcome.error.empty()) break;
    note(outcome, parser, parser.feed(piece));
  }
  if (outcome.error.empty() && !parser.complete()) note(outcome, parser, parser.eof());
  outcome.complete = parser.complete();
  outcome.reusable = parser.reusable();
  if (!outcome.complete) outcome.consumed = 0;  // how far a refused reply was read depends on the cut
  return outcome;
}

// The same outcome whole, byte by byte, and cut in two at every point (in long replies, at many).
Outcome parse(const std::string& bytes, bool no_body = false) {
  const Outcome whole = run({bytes}, no_body);
  const std::size_t stride = bytes.size() > 4096 ? bytes.size() / 512 : 1;
  for (std::size_t cut = 1; cut < bytes.size(); cut += stride) {
    const std::string_view view = bytes;
    const Outcome split = run({view.substr(0, cut), view.substr(cut)}, no_body);
    EXPECT_EQ(split, whole) << "cut at " << cut;
  }
  std::vector<std::string_view> single;
  for (std::size_t i = 0; i < bytes.size(); ++i) single.push_back(std::string_view(bytes).substr(i, 1));
  EXPECT_EQ(run(single, no_body), whole) << "byte by byte";
  return whole;
}

void expect_refused(const std::string& bytes, std::string_view part_of_message) {
  const Outcome outcome = parse(bytes);
  EXPECT_FALSE(outcome.complete) << bytes.substr(0, 200);
  EXPECT_NE(outcome.error.find(part_of_message), std::string::npos) << "message: " << outcome.error;
}

const std::string kOk = "HTTP/1.1 200 OK\r\n";

TEST(ResponseParser, GivesStatusHeadersAndABodyOfKnownLength) {
  const Outcome got = parse(
      kOk + "Content-Type: application/json\r\nX-Two: a  b \t\r\nEmpty:\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_EQ(got.status, 200);
  EXPECT_EQ(got.body, "hello");
  EXPECT_TRUE(got.complete);
  EXPECT_TRUE(got.reusable);
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"content-type", "application/json"}, {"x-two", "a  b"}, {"empty", ""}, {"content-length", "5"}};
  EXPECT_EQ(got.headers, expected);
}

TEST(ResponseParser, TellsTheHeadAsSoonAsItEnds) {
  for (const std::string& framing :
       {std::string("Content-Length: 5\r\n"), std::string("Transfer-Encoding: chunked\r\n"), std::string()}) {
    ResponseParser parser;
    auto got = parser.feed(kOk + framing + "\r\n");
    ASSERT_TRUE(got);
    EXPECT_TRUE(got->head);
    EXPECT_FALSE(got->complete);
    EXPECT_EQ(parser.take_head().status, 200);
  }
}

TEST(ResponseParser, BodyViewsPointIntoTheFedBytes) {
  ResponseParser parser;
  const std::string bytes = kOk + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n";
  auto got = parser.feed(bytes);
  ASSERT_TRUE(got);
  ASSERT_EQ(got->body.size(), 2U);
  for (const std::string_view piece : got->body) {
    EXPECT_GE(piece.data(), bytes.data());
    EXPECT_LE(piece.data() + piece.size(), bytes.data() + bytes.size());
  }
}

TEST(ResponseParser, HeaderViewsSurviveMovesOfTheHead) {
  ResponseParser parser;
  ASSERT_TRUE(parser.feed("HTTP/1.1 200\r\nA: b\r\n\r\n"));
  ResponseHead first = parser.take_head();
  const ResponseHead second = std::move(first);
  EXPECT_EQ(second.find("a"), "b");
  EXPECT_EQ(second.find("c"), std::nullopt);
}

TEST(ResponseParser, ReadsChunksWithExtensionsAndTrailers) {
  const Outcome got = parse(
      kOk + "transfer-encoding: Chunked\r\n\r\n5;a=b;c=\"d\"\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n");
  EXPECT_EQ(got.body, "hello!");
  EXPECT_TRUE(got.reusable);
  EXPECT_EQ(got.headers.size(), 1U) << "trailers are not headers";
}

TEST(ResponseParser, ReadsABodyThatEndsWithTheConnection) {
  const Outcome got = parse(kOk + "Content-Type: text/event-stream\r\n\r\ndata: x\n\n");
  EXPECT_EQ(got.body, "data: x\n\n");
  EXPECT_TRUE(got.complete);
  EXPECT_FALSE(got.reusable);
}

TEST(ResponseParser, RepliesWithoutABodyHaveNone) {
  for (const char* status : {"204 No Content", "304 Not Modified"}) {
    const Outcome got = parse("HTTP/1.1 " + std::string(status) + "\r\nContent-Length: 5\r\n\r\n");
    EXPECT_TRUE(got.complete) << status;
    EXPECT_TRUE(got.reusable) << status;
    EXPECT_EQ(got.body, "");
  }
  EXPECT_TRUE(parse("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n").complete);
  EXPECT_TRUE(parse(kOk + "Content-Length: 0\r\n\r\n").reusable);
}

TEST(ResponseParser, AReplyToHeadHasNoBody) {
  EXPECT_TRUE(parse(kOk + "Content-Length: 5\r\n\r\n", true).reusable);
  EXPECT_TRUE(parse(kOk + "Transfer-Encoding: chunked\r\n\r\n", true).reusable);
  EXPECT_TRUE(parse(kOk + "\r\n", true).complete);
}

TEST(ResponseParser, KeepAliveFollowsVersionAndConnectionHeader) {
  EXPECT_FALSE(parse(kOk + "Connection: close\r\nContent-Length: 1\r\n\r\nx").reusable);
  EXPECT_FALSE(parse(kOk + "Connection: keep-alive, close\r\nContent-Length: 1\r\n\r\nx").reusable);
  EXPECT_FALSE(parse("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx").reusable);
  EXPECT_TRUE(parse("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx").reusable);
}

TEST(ResponseParser, BytesAfterTheMessageAreLeftAloneAndSpoilTheConnection) {
  const std::string reply = kOk + "Content-Length: 2\r\n\r\nhi";
  const Outcome got = run({reply + "HTTP/1.1 200 OK\r\n"});
  EXPECT_EQ(got.consumed, reply.size());
  EXPECT_EQ(got.body, "hi");
  EXPECT_TRUE(got.complete);
  EXPECT_FALSE(got.reusable);
  const std::string chunked = kOk + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
  const Outcome second = run({chunked + "x"});
  EXPECT_EQ(second.consumed, chunked.size());
  EXPECT_FALSE(second.reusable);
  const std::string close = kOk + "Connection: close\r\nContent-Length: 2\r\n\r\nhi";
  EXPECT_EQ(run({close + "x"}).consumed, close.size());
}

TEST(ResponseParser, SkipsInformationalReplies) {
  const std::string hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
  const Outcome got = parse("HTTP/1.1 100 Continue\r\n\r\n" + hints + kOk + "Content-Length: 2\r\n\r\nhi");
  EXPECT_EQ(got.status, 200);
  EXPECT_EQ(got.body, "hi");
  EXPECT_EQ(got.headers.size(), 1U);
  EXPECT_TRUE(got.reusable);
  EXPECT_EQ(parse("HTTP/1.1 150 Odd\r\nContent-Length: 9\r\n\r\n" + kOk + "Content-Length: 0\r\n\r\n").status,
            200);
}

TEST(ResponseParser, BoundsInformationalReplies) {
  std::string eight;
  for (int i = 0; i < 8; ++i) eight += "HTTP/1.1 100 Continue\r\n\r\n";
  EXPECT_EQ(parse(eight + kOk + "Content-Length: 0\r\n\r\n").status, 200);
  expect_refused(eight + "HTTP/1.1 100 Continue\r\n\r\n", "more than 8 informational");
}

TEST(ResponseParser, R7RefusesAmbiguousFraming) {
  expect_refused(kOk + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "");
  expect_refused(kOk + "Content-Length: 2, 2\r\n\r\nhi", "");
  expect_refused(kOk + "Content-Length: +2\r\n\r\nhi", "");
  expect_refused(kOk + "Content-Length: -2\r\n\r\nhi", "");
  expect_refused(kOk + "Content-Length: 0x2\r\n\r\nhi", "");
  expect_refused(kOk + "Content-Length: 99999999999999999999999\r\n\r\nhi", "");
  expect_refused(kOk + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "");
  expect_refused(kOk + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "");
  for (const char* coding :
       {"gzip", "gzip, chunked", "chunked, identity", "identity", "xchunked", "chunked;q=1", ""}) {
    expect_refused(kOk + "Transfer-Encoding: " + coding + "\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "");
  }
  expect_refused(kOk + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "");
  expect_refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.0");
}

TEST(ResponseParser, R7RefusesAnEncodedBody) {
  expect_refused(kOk + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi", "Content-Encoding");
  EXPECT_TRUE(parse(kOk + "Content-Encoding: Identity\r\nContent-Length: 2\r\n\r\nhi").complete);
}

TEST(ResponseParser, RefusesSwitchingProtocols) {
  expect_refused("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", "101");
}

TEST(ResponseParser, R7RefusesControlBytesAndFoldedLines) {
  for (const char bad : {'\0', '\x01', '\x0b', '\x1f', '\x7f', '\n', '\r'}) {
    const std::string value = std::string("a") + bad + "b";
    expect_refused(kOk + "X: " + value + "\r\nContent-Length: 0\r\n\r\n", "");
  }
  expect_refused(kOk + "X: a\r\n b\r\nContent-Length: 0\r\n\r\n", "");
  expect_refused(kOk + "X: a\r\n\tb\r\nContent-Length: 0\r\n\r\n", "");
  expect_refused(kOk + "X : a\r\nContent-Length: 0\r\n\r\n", "");
  expect_refused(kOk + " X: a\r\nContent-Length: 0\r\n\r\n", "");
  expect_refused(kOk + ": a\r\nContent-Length: 0\r\n\r\n", "");
  expect_refused(kOk + "X\r\nContent-Length: 0\r\n\r\n", "");
  expect_refused("HTTP/1.1 200 OK\nContent-Length: 0\n\n", "");
  expect_refused(kOk + "X: a\nContent-Length: 0\r\n\r\n", "");
}

TEST(ResponseParser, ValuesMayHoldTabsAndBytesAbove7f) {
  const Outcome got = parse(kOk + "X: a\tb\xc3\xa9\xff\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(got.headers.at(0).second, "a\tb\xc3\xa9\xff");
}

TEST(ResponseParser, R7RefusesWhatIsNoReply) {
  for (const char* text : {"<html>200</html>", "GET / HTTP/1.1\r\n\r\n", "HTTP/2 200\r\n\r\n",
                           "HTTP/1.2 200 OK\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/0.9 200 OK\r\n\r\n",
                           "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n",
                           "HTTP/1.1 600 OK\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n", "ICY 200 OK\r\n\r\n"}) {
    expect_refused(text, "invalid HTTP reply");
  }
}

TEST(ResponseParser, R7RefusesBrokenChunks) {
  const std::string head = kOk + "Transfer-Encoding: chunked\r\n\r\n";
  for (const char* body : {"x\r\n", "-1\r\n", "2\nhi\r\n0\r\n\r\n", "2\r\nhix\r\n", "2\r\nhi0\r\n\r\n",
                           "2 \r\nhi\r\n", "0x2\r\nhi\r\n", "11111111111111111\r\nhi", "\r\n", ";a\r\n"}) {
    const Outcome outcome = parse(head + body);
    EXPECT_FALSE(outcome.complete) << body;
    EXPECT_FALSE(outcome.error.empty()) << body;
    EXPECT_EQ(outcome.status, 200) << "the head before the fault is handed out";
  }
}

TEST(ResponseParser, R7AReplyCutAnywhereIsNeverComplete) {
  for (const std::string& reply :
       {kOk + "Content-Length: 5\r\n\r\nhello",
        kOk + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: x\r\n\r\n"}) {
    for (std::size_t cut = 0; cut < reply.size(); ++cut) {
      const Outcome got = run({std::string_view(reply).substr(0, cut)});
      EXPECT_FALSE(got.complete) << cut;
      EXPECT_NE(got.error.find("closed the connection"), std::string::npos) << cut;
    }
  }
}

TEST(ResponseParser, R6BoundsTheHead) {
  const std::string start = kOk + "X: ";
  const std::string end = "\r\nContent-Length: 0\r\n\r\n";
  const std::size_t limit = 64 * 1024;
  EXPECT_TRUE(parse(start + std::string(limit - start.size() - end.size(), 'a') + end).complete);
  expect_refused(start + std::string(limit - start.size() - end.size() + 1, 'a') + end, "64 KiB");
  expect_refused("HTTP/1.1 200 " + std::string(limit, 'a') + "\r\n\r\n", "64 KiB");
  expect_refused(std::string(2 * limit, '\n'), "");
}

TEST(ResponseParser, R6BoundsTheNumberOfHeaders) {
  const auto reply = [](int fields) {
    std::string text = kOk;
    for (int i = 0; i < fields - 1; ++i) text += "A: b\r\n";
    return text + "Content-Length: 0\r\n\r\n";
  };
  EXPECT_TRUE(parse(reply(200)).complete);
  expect_refused(reply(201), "200 header fields");
}

TEST(ResponseParser, R6BoundsChunkFraming) {
  const std::string head = kOk + "Transfer-Encoding: chunked\r\n\r\n";
  const std::string long_text(8 * 1024, 'a');
  EXPECT_TRUE(parse(head + "2;" + long_text.substr(100) + "\r\nhi\r\n0\r\n\r\n").complete);
  expect_refused(head + "2;" + long_text + "\r\nhi\r\n0\r\n\r\n", "chunk framing");
  expect_refused(head + "2\r\nhi\r\n0;" + long_text + "\r\n\r\n", "chunk framing");
  expect_refused(head + "2\r\nhi\r\n0\r\nT: " + long_text + "\r\n\r\n", "chunk framing");
  expect_refused(head + std::string(9'000, '0') + "2\r\nhi\r\n0\r\n\r\n", "chunk framing");
}

TEST(ResponseParser, GoodBytesBeforeAFaultAreHandedOutFirst) {
  ResponseParser parser;
  const std::string bytes = kOk + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nzz";
  auto got = parser.feed(bytes);
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->head);
  ASSERT_EQ(got->body.size(), 1U);
  EXPECT_EQ(got->body[0], "hi");
  EXPECT_TRUE(parser.failed());
  EXPECT_FALSE(parser.feed("more"));
  EXPECT_FALSE(parser.eof());
}

}  // namespace
}  // namespace sentinel::net
