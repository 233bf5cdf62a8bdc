// Where lines go: filters, and descriptors that are slow, stuck, full or gone.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "sentinel/log/json_log.hpp"

namespace sentinel::log {
namespace {

using journal::Outcome;
using journal::UsageRecord;

constexpr Duration kWhen{1'795'253'400'123'456};

class Ends {  // two descriptors, closed at the end
 public:
  static Ends pipe() {
    Ends ends;
    EXPECT_EQ(::pipe2(ends.both_.data(), O_CLOEXEC), 0);
    return ends;
  }
  static Ends socket() {
    Ends ends;
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.both_.data()), 0);
    return ends;
  }
  Ends(Ends&& other) noexcept : both_(std::exchange(other.both_, {-1, -1})) {}
  ~Ends() {
    close_reader();
    if (both_[1] >= 0) ::close(both_[1]);
  }
  void close_reader() {
    if (both_[0] >= 0) ::close(std::exchange(both_[0], -1));
  }
  int writer() const { return both_[1]; }

  // All that is there now.
  std::string drain() const {
    ::fcntl(both_[0], F_SETFL, O_NONBLOCK);
    std::string all;
    std::array<char, 4096> part{};
    for (ssize_t got = 0; (got = ::read(both_[0], part.data(), part.size())) > 0;) {
      all.append(part.data(), static_cast<std::size_t>(got));
    }
    return all;
  }

 private:
  Ends() = default;
  std::array<int, 2> both_{-1, -1};
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

std::vector<UsageRecord> records(std::size_t count, Outcome outcome = Outcome::done) {
  std::vector<UsageRecord> all(count);
  for (std::size_t i = 0; i < count; ++i) {
    all[i].request_id = "req-" + std::to_string(i);
    all[i].ts_us = kWhen.count();
    all[i].status = outcome == Outcome::done ? 200 : 502;
    all[i].outcome = outcome;
  }
  return all;
}

TEST(LogWriting, a_batch_goes_out_whole_and_in_order) {
  for (const Ends& ends : {Ends::pipe(), Ends::socket()}) {
    JsonLog log{ends.writer(), {}};
    log.exchanges(records(20));
    const auto lines = lines_of(ends.drain());
    ASSERT_EQ(lines.size(), 20U);
    EXPECT_NE(lines[19].find("req-19"), std::string::npos);
    EXPECT_EQ(log.dropped(), 0U);
  }
}

TEST(LogWriting, a_file_takes_a_batch_of_any_size) {
  std::FILE* file = std::tmpfile();
  JsonLog log{::fileno(file), {}};
  log.exchanges(records(2000));
  std::rewind(file);
  std::size_t lines = 0;
  for (int byte = 0; (byte = std::fgetc(file)) != EOF;) lines += byte == '\n' ? 1U : 0U;
  std::fclose(file);
  EXPECT_EQ(lines, 2000U);
}

TEST(LogWriting, lines_below_the_level_are_not_written) {
  const Ends ends = Ends::pipe();
  JsonLog log{ends.writer(), {.level = Level::error}};
  log.exchanges(records(5));
  log.event(kWhen, Level::warning, "quiet", {});
  log.exchanges(records(1, Outcome::upstream_error));
  log.event(kWhen, Level::error, "loud", {});
  const auto lines = lines_of(ends.drain());
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_NE(lines[1].find("loud"), std::string::npos);
}

TEST(LogWriting, sampling_keeps_its_share_and_the_same_lines_each_time) {
  std::vector<std::string> kept[2];
  for (auto& lines : kept) {
    const Ends ends = Ends::pipe();
    JsonLog log{ends.writer(), {.sample = 0.25}};
    for (const UsageRecord& record : records(4000)) {
      log.exchanges({&record, 1});
      for (const std::string& line : lines_of(ends.drain())) lines.push_back(line);
    }
  }
  EXPECT_EQ(kept[0], kept[1]);
  EXPECT_NEAR(static_cast<double>(kept[0].size()), 1000.0, 150.0);
}

TEST(LogWriting, errors_are_never_sampled_away) {
  const Ends ends = Ends::pipe();
  JsonLog log{ends.writer(), {.sample = 0.0}};
  log.exchanges(records(50));
  log.exchanges(records(50, Outcome::upstream_cut));
  EXPECT_EQ(lines_of(ends.drain()).size(), 50U);
}

TEST(LogWriting, a_stuck_reader_costs_lines_but_not_the_writer_and_is_told_afterwards) {
  for (const Ends& ends : {Ends::pipe(), Ends::socket()}) {
    JsonLog log{ends.writer(), {}};
    for (int i = 0; i < 10; ++i)
      log.exchanges(records(512));  // far more than either buffer holds; nobody reads
    const std::uint64_t dropped = log.dropped();
    EXPECT_GT(dropped, 0U);
    const auto before = lines_of(ends.drain());
    log.event(kWhen, Level::info, "back", {});
    const auto after = lines_of(ends.drain());
    ASSERT_GE(after.size(), 2U);
    EXPECT_NE(after.back().find("\"back\""), std::string::npos);
    EXPECT_NE(after[after.size() - 2].find("\"lines\":\"" + std::to_string(dropped) + "\""),
              std::string::npos);
    EXPECT_EQ(log.dropped(), dropped);
    for (std::size_t i = 0; i + 1 < before.size(); ++i) EXPECT_EQ(before[i].back(), '}');
  }
}

TEST(LogWriting, a_line_torn_by_a_full_pipe_is_ended_before_the_next) {
  const Ends ends = Ends::pipe();
  ASSERT_EQ(::fcntl(ends.writer(), F_SETPIPE_SZ, 4096), 4096);
  JsonLog log{ends.writer(), {}};
  const std::string value(200, 'v');
  log.event(kWhen, Level::info, "long", std::vector<Field>(50, Field{"field", value}));
  EXPECT_EQ(log.dropped(), 1U);
  const std::string torn = ends.drain();
  EXPECT_EQ(torn.size(), 4096U);
  log.event(kWhen, Level::info, "next", {});
  const auto lines = lines_of(torn + ends.drain());
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_NE(lines[1].find("log_lines_dropped"), std::string::npos);
  EXPECT_NE(lines[2].find("next"), std::string::npos);
}

TEST(LogWriting, a_gone_reader_does_not_kill_the_process) {
  for (Ends* ends : {new Ends{Ends::pipe()}, new Ends{Ends::socket()}}) {
    const std::unique_ptr<Ends> owned{ends};
    ends->close_reader();
    const auto before = std::signal(SIGPIPE, SIG_DFL);
    JsonLog log{ends->writer(), {}};
    log.exchanges(records(3));
    std::signal(SIGPIPE, before);
    EXPECT_EQ(log.dropped(), 3U);
  }
}

TEST(LogWriting, a_full_disk_drops_and_counts) {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  JsonLog log{full, {}};
  log.exchanges(records(3));
  ::close(full);
  EXPECT_EQ(log.dropped(), 3U);
}

TEST(LogWriting, lines_of_several_threads_do_not_mix) {
  const Ends ends = Ends::pipe();
  JsonLog log{ends.writer(), {}};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&log] {
        for (int i = 0; i < 25; ++i) log.event(kWhen, Level::info, "thread", {});
      });
    }
  }
  const auto lines = lines_of(ends.drain());
  ASSERT_EQ(lines.size(), 100U);
  for (const std::string& line : lines) EXPECT_EQ(line, lines[0]);
}

}  // namespace
}  // namespace sentinel::log
