#include "sentinel/stream/sse_parser.hpp"

#include <gtest/gtest.h>

#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "stream/sse_model.hpp"

namespace sentinel::stream {
namespace {

using namespace std::string_literals;
using testing::Model;
using testing::Seen;

struct Log {
  std::vector<Seen> events;
  std::vector<std::string> raws;
  bool failed = false;

  std::string relayed() const {
    std::string all;
    for (const auto& raw : raws) all += raw;
    return all;
  }
};

void feed(SseParser& parser, std::string_view chunk, Log& log) {
  // A copy of its own, so that a sanitizer sees any look beyond the chunk.
  const std::vector<char> exact(chunk.begin(), chunk.end());
  const Status status = parser.feed({exact.data(), exact.size()}, [&](const SseEvent& event) {
    log.events.push_back({std::string(event.event), std::string(event.data), std::string(event.id),
                          event.retry_ms, event.has_data});
    log.raws.emplace_back(event.raw);
  });
  log.failed = !status;
}

Log parse(const std::vector<std::string_view>& chunks, std::size_t max_event_bytes = 4096) {
  SseParser parser(max_event_bytes);
  Log log;
  for (const auto chunk : chunks) feed(parser, chunk, log);
  return log;
}

std::vector<Seen> data_events(const std::string& text) {
  std::vector<Seen> events = parse({text}).events;
  std::erase_if(events, [](const Seen& seen) { return !seen.has_data; });
  return events;
}

TEST(SseParser, OneEventInOneChunkIsReportedWithoutACopy) {
  const std::string text = "data: {\"a\":1}\n\n";
  SseParser parser(100);
  int count = 0;
  ASSERT_TRUE(parser.feed(text, [&](const SseEvent& event) {
    ++count;
    EXPECT_EQ(event.data, "{\"a\":1}");
    EXPECT_EQ(event.data.data(), text.data() + 6);
    EXPECT_EQ(event.raw.data(), text.data());
    EXPECT_EQ(event.raw, text);
    EXPECT_EQ(event.event, "message");
  }));
  EXPECT_EQ(count, 1);
  EXPECT_EQ(parser.pending_bytes(), 0U);
}

TEST(SseParser, TheStandardsExamplesReadAsTheStandardSays) {
  EXPECT_EQ(data_events("data: YHOO\ndata: +2\ndata: 10\n\n"),
            (std::vector<Seen>{{"message", "YHOO\n+2\n10", "", {}, true}}));
  EXPECT_EQ(data_events(
                ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n"),
            (std::vector<Seen>{{"message", "first event", "1", {}, true},
                               {"message", "second event", "", {}, true}}));
  EXPECT_EQ(data_events("data\n\ndata\ndata\n\ndata:"),
            (std::vector<Seen>{{"message", "", "", {}, true}, {"message", "\n", "", {}, true}}));
  EXPECT_EQ(data_events("data:test\n\ndata: test\n\n"),
            (std::vector<Seen>{{"message", "test", "", {}, true}, {"message", "test", "", {}, true}}));
}

TEST(SseParser, OnlyCrLfAndCrlfEndALine) {
  EXPECT_EQ(data_events("data: a\r\rdata: b\r\n\r\ndata: c\n\r\n").size(), 3U);
  EXPECT_EQ(data_events("data: x\xE2\x80\xA8y\xC2\x85z\x0B\x0C\n\n").at(0).data,
            "x\xE2\x80\xA8y\xC2\x85z\x0B\x0C");
}

TEST(SseParser, OneLeadingBomIsSkippedAndKeptInTheRaw) {
  EXPECT_EQ(data_events("\xEF\xBB\xBF"
                        "data: a\n\n")
                .size(),
            1U);
  EXPECT_TRUE(data_events("\xEF\xBB\xBF\xEF\xBB\xBF"
                          "data: a\n\n")
                  .empty());
  EXPECT_TRUE(data_events("\n\xEF\xBB\xBF"
                          "data: a\n\n")
                  .empty());
  EXPECT_EQ(parse({"\xEF\xBB\xBF\n"}).relayed(), "\xEF\xBB\xBF\n");
}

TEST(SseParser, AnIdWithNulIsIgnoredAndIdsLastUntilTheNext) {
  const auto events = data_events("id: 7\ndata: a\n\nid: x\0y\ndata: b\n\nid\ndata: c\n\n"s);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].id, "7");
  EXPECT_EQ(events[1].id, "7");
  EXPECT_EQ(events[2].id, "");
}

TEST(SseParser, RetryIsOnlyDigitsThatFit) {
  EXPECT_EQ(data_events("retry: 1500\ndata\n\n").at(0).retry_ms, 1500U);
  EXPECT_EQ(data_events("retry: 18446744073709551615\ndata\n\n").at(0).retry_ms, 18446744073709551615U);
  EXPECT_EQ(data_events("retry: 000000000000000000000001500\ndata\n\n").at(0).retry_ms, 1500U);
  for (const char* bad :
       {"", "-1", "1.5", " 1", "1e3", "0x1", "18446744073709551616", "99999999999999999999999"}) {
    EXPECT_FALSE(data_events("retry: "s + bad + "\ndata\n\n").at(0).retry_ms) << bad;
  }
}

TEST(SseParser, TheReconnectionTimeIsTheLastOneOfAnyBlock) {
  SseParser parser(1000);
  Log log;
  EXPECT_FALSE(parser.retry_ms());
  feed(parser, "retry: 5\n\ndata: a\n\nretry: 7\nretry: x\n", log);
  EXPECT_EQ(parser.retry_ms(), 7U);
  EXPECT_FALSE(log.events.at(1).retry_ms);
}

TEST(SseParser, PlainBlocksAndOthersInTurnAreReadAlike) {
  const std::string text =
      "data: a\n\ndata:b\r\n\r\nid: 1\ndata: c\n\ndata: d\n\r\ndata:\n\ndata: e\r\rdata: f\n\n";
  const auto events = data_events(text);
  ASSERT_EQ(events.size(), 7U);
  std::string all;
  for (const Seen& seen : events) all += seen.data + seen.id + ",";
  EXPECT_EQ(all, "a,b,c1,d1,1,e1,f1,");
  EXPECT_EQ(parse({text}).relayed(), text);
}

TEST(SseParser, BlocksWithoutDataArePassedOnWithoutBeingEvents) {
  const Log log = parse({": ping\n\nevent: x\n\n\ndata: a\n\n"});
  ASSERT_EQ(log.events.size(), 4U);
  EXPECT_FALSE(log.events[0].has_data);
  EXPECT_EQ(log.raws[0], ": ping\n\n");
  EXPECT_EQ(log.raws[2], "\n");
  EXPECT_EQ(log.events[3], (Seen{"message", "a", "", {}, true}));
}

TEST(SseParser, ACutCrlfEndsItsEventAtTheCr) {
  const Log log = parse({"data: a\r\n\r", "\ndata: b\r\n\r\n"});
  EXPECT_EQ(log.raws, (std::vector<std::string>{"data: a\r\n\r", "\ndata: b\r\n\r\n"}));
  EXPECT_EQ(parse({"data: a\r", "", "\ndata: b\n\n"}).events.at(0).data, "a\nb");
}

TEST(SseParser, PendingBytesAreThoseOfTheUnfinishedBlock) {
  SseParser parser(100);
  Log log;
  feed(parser, "data: a\n\ndata: b\n", log);
  EXPECT_EQ(parser.pending_bytes(), 8U);
  feed(parser, "\n", log);
  EXPECT_EQ(parser.pending_bytes(), 0U);
  EXPECT_EQ(log.events.size(), 2U);
}

TEST(SseParser, TheBoundHoldsWhereverTheBlockIsCut) {
  const std::string fits = "data: 12\n\n";  // nine bytes and the blank line
  for (std::size_t cut = 0; cut <= fits.size(); ++cut) {
    const std::string_view text = fits;
    EXPECT_FALSE(parse({text.substr(0, cut), text.substr(cut)}, 9).failed) << cut;
    EXPECT_TRUE(parse({text.substr(0, cut), text.substr(cut)}, 8).events.empty()) << cut;
  }
}

TEST(SseParser, ALineWithoutEndIsRefusedAtTheBoundAndNothingIsHeld) {
  SseParser parser(1000);
  const std::string piece(300, 'x');
  Status status = Done{};
  int feeds = 0;
  while (status) {
    ++feeds;
    status = parser.feed(piece, [](const SseEvent&) {});
  }
  EXPECT_EQ(feeds, 4);
  EXPECT_EQ(status.error().code, ErrorCode::upstream_error);
  EXPECT_EQ(parser.pending_bytes(), 0U);
  EXPECT_TRUE(parser.failed());
  EXPECT_FALSE(parser.feed("data: a\n\n", [](const SseEvent&) { FAIL(); }));
}

TEST(SseParser, ACallbacksErrorStopsTheFeed) {
  SseParser parser(1000);
  int calls = 0;
  const Status status = parser.feed("data: a\n\ndata: b\n\n", [&](const SseEvent&) -> Status {
    ++calls;
    return Error{ErrorCode::internal_error, "enough"};
  });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "enough");
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(parser.failed());
}

TEST(SseParser, ACallbacksExceptionClosesTheParser) {
  SseParser parser(1000);
  const auto thrower = [](const SseEvent&) { throw std::runtime_error("x"); };
  EXPECT_THROW((void)parser.feed("data: a\n\nda", thrower), std::runtime_error);
  EXPECT_TRUE(parser.failed());
  EXPECT_EQ(parser.pending_bytes(), 0U);
  EXPECT_FALSE(parser.feed("ta: b\n\n", [](const SseEvent&) { FAIL(); }));
}

std::string random_text(std::mt19937_64& random) {
  static const std::vector<std::string> kPieces = {"\r",
                                                   "\n",
                                                   "\r\n",
                                                   "\n\n",
                                                   ":",
                                                   " ",
                                                   "data",
                                                   "data: ",
                                                   "event",
                                                   "event: e",
                                                   "id",
                                                   "id:",
                                                   "retry",
                                                   "retry:",
                                                   "5",
                                                   "x",
                                                   "\0"s,
                                                   "\xEF\xBB\xBF",
                                                   "\xE2\x80\xA8",
                                                   "\xC2\x85",
                                                   "99999999999999999999",
                                                   "a long piece of sixteen"};
  std::string text = random() % 4 == 0 ? "\xEF\xBB\xBF" : "";
  for (auto count = random() % 40; count > 0; --count) text += kPieces[random() % kPieces.size()];
  return text;
}

TEST(SseParser, AgreesWithAPlainModelForAnyTextAndAnyCuts) {
  const auto seed = std::random_device{}();
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20'000; ++round) {
    const std::string text = random_text(random);
    const Model model(text);
    const Log whole = parse({text});
    ASSERT_EQ(whole.events, model.events) << "seed " << seed << " round " << round;
    ASSERT_EQ(whole.raws, model.raws) << "seed " << seed << " round " << round;
    std::vector<std::string_view> chunks;
    for (std::string_view rest = text; !rest.empty(); rest.remove_prefix(chunks.back().size())) {
      chunks.push_back(rest.substr(0, random() % 9));
    }
    const Log cut = parse(chunks);
    ASSERT_EQ(cut.events, model.events) << "seed " << seed << " round " << round;
    ASSERT_TRUE(text.starts_with(cut.relayed()));
    ASSERT_GE(cut.relayed().size() + 1, text.size() - model.tail.size())
        << "at most the LF of a cut CRLF waits";
  }
}

}  // namespace
}  // namespace sentinel::stream
