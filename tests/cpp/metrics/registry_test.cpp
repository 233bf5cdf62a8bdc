// What a scrape shows: every metric of the contract, names for ids, sums over lanes that come and go.
#include "sentinel/metrics/registry.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <thread>

#include "sentinel/base/random.hpp"

namespace sentinel::metrics {
namespace {

using namespace std::chrono_literals;

// "name{labels}" -> value, as written.
std::map<std::string, std::string> series_of(const std::string& text) {
  std::map<std::string, std::string> series;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    if (line.empty() || line[0] == '#') continue;
    const std::size_t space = line.rfind(' ');
    EXPECT_TRUE(series.emplace(line.substr(0, space), line.substr(space + 1)).second) << "twice: " << line;
  }
  return series;
}

ExchangeSample sample_of(LabelId endpoint, LabelId model, int status) {
  ExchangeSample sample;
  sample.endpoint = endpoint;
  sample.model = model;
  sample.status = status;
  return sample;
}

struct Fixture {
  LabelNames names;
  LabelId chat = names.endpoints.intern("/v1/chat/completions");
  LabelId mini = names.models.intern("gpt-4o-mini");
  LabelId openai = names.targets.intern("openai/gpt-4o-mini");
  MetricRegistry registry{names};
};

TEST(MetricRegistry, shows_one_exchange_in_every_metric_of_the_contract) {
  Fixture f;
  MetricLane lane{f.registry};
  ExchangeSample sample = sample_of(f.chat, f.mini, 200);
  sample.duration = 1500ms;
  sample.overhead = 40us;
  sample.upstream = UpstreamSample{.target = f.openai, .duration = 1400ms, .first_token = 200ms};
  sample.tokens = {.prompt = 100, .completion = 20, .cached = 64, .cache_write = 3, .reasoning = 5};
  sample.cost_micro_usd = 1234;
  sample.cache = journal::CacheVerdict::miss;
  lane.observe(sample);
  auto series = series_of(f.registry.expose());
  const std::string served = R"(endpoint="/v1/chat/completions",model="gpt-4o-mini")";
  const std::string target = R"(target="openai/gpt-4o-mini")";
  EXPECT_EQ(series["sentinel_http_requests_total{" + served + R"(,status="200"})"], "1");
  EXPECT_EQ(series["sentinel_http_request_duration_seconds_count{" + served + "}"], "1");
  EXPECT_EQ(series["sentinel_http_request_duration_seconds_sum{" + served + "}"], "1.5");
  EXPECT_EQ(series["sentinel_http_request_duration_seconds_bucket{" + served + R"(,le="1"})"], "0");
  EXPECT_EQ(series["sentinel_http_request_duration_seconds_bucket{" + served + R"(,le="2.5"})"], "1");
  EXPECT_EQ(series["sentinel_http_request_duration_seconds_bucket{" + served + R"(,le="+Inf"})"], "1");
  EXPECT_EQ(series["sentinel_overhead_seconds_count"], "1");
  EXPECT_EQ(series["sentinel_upstream_requests_total{" + target + R"(,outcome="done"})"], "1");
  EXPECT_EQ(series["sentinel_upstream_duration_seconds_count{" + target + "}"], "1");
  EXPECT_EQ(series["sentinel_time_to_first_token_seconds_count{" + target + "}"], "1");
  EXPECT_EQ(series[R"(sentinel_tokens_total{model="gpt-4o-mini",kind="prompt"})"], "100");
  EXPECT_EQ(series[R"(sentinel_tokens_total{model="gpt-4o-mini",kind="completion"})"], "20");
  EXPECT_EQ(series[R"(sentinel_tokens_total{model="gpt-4o-mini",kind="cached"})"], "64");
  EXPECT_EQ(series[R"(sentinel_tokens_total{model="gpt-4o-mini",kind="cache_write"})"], "3");
  EXPECT_EQ(series[R"(sentinel_tokens_total{model="gpt-4o-mini",kind="reasoning"})"], "5");
  EXPECT_NEAR(
      std::stod(series[R"(sentinel_cost_usd_total{model="gpt-4o-mini",endpoint="/v1/chat/completions"})"]),
      0.001234, 1e-12);
  EXPECT_EQ(series[R"(sentinel_cache_requests_total{verdict="miss"})"], "1");
  EXPECT_EQ(series[R"(sentinel_cache_requests_total{verdict="bypass"})"], "0");
}

TEST(MetricRegistry, a_family_is_described_before_anything_happened) {
  const Fixture f;
  const std::string text = f.registry.expose();
  for (const std::string name :
       {"http_requests_total counter", "http_request_duration_seconds histogram",
        "overhead_seconds histogram", "cache_requests_total counter", "upstream_requests_total counter",
        "upstream_duration_seconds histogram", "time_to_first_token_seconds histogram",
        "tokens_total counter", "cost_usd_total counter", "upstream_retries_total counter",
        "saved_usd_total counter", "limit_refusals_total counter"}) {
    EXPECT_NE(text.find("# TYPE sentinel_" + name + "\n"), std::string::npos) << name;
  }
}

TEST(MetricRegistry, a_refusal_is_counted_under_the_limit_that_refused_it) {
  Fixture f;
  MetricLane lane{f.registry};
  for (std::size_t i = 0; i < kLimitNames.size(); ++i) {
    ExchangeSample sample = sample_of(f.chat, f.mini, 429);
    sample.refused_by = static_cast<LimitName>(i);
    for (std::size_t times = 0; times <= i; ++times) lane.observe(sample);
  }
  auto series = series_of(f.registry.expose());
  EXPECT_EQ(series[R"(sentinel_limit_refusals_total{limit="requests"})"], "1");
  EXPECT_EQ(series[R"(sentinel_limit_refusals_total{limit="tokens"})"], "2");
  EXPECT_EQ(series[R"(sentinel_limit_refusals_total{limit="money"})"], "3");
  EXPECT_EQ(series[R"(sentinel_limit_refusals_total{limit="concurrency"})"], "4");
  EXPECT_EQ(series[R"(sentinel_limit_refusals_total{limit="address"})"], "5");
}

TEST(MetricRegistry, what_was_saved_is_told_by_how) {
  Fixture f;
  MetricLane lane{f.registry};
  ExchangeSample sample = sample_of(f.chat, f.mini, 200);
  sample.saved_micro_usd = 1'500'000;
  sample.cache = journal::CacheVerdict::follow;
  lane.observe(sample);
  auto series = series_of(f.registry.expose());
  EXPECT_EQ(series[R"(sentinel_saved_usd_total{verdict="follow"})"], "1.5");
  EXPECT_EQ(series[R"(sentinel_saved_usd_total{verdict="hit-exact"})"], "0");
  EXPECT_EQ(series[R"(sentinel_cache_requests_total{verdict="follow"})"], "1");
}

TEST(MetricRegistry, a_call_that_was_tried_again_counts_for_its_target_as_an_error_and_a_retry) {
  Fixture f;
  MetricLane lane{f.registry};
  lane.observe_retried({.target = f.openai, .duration = 300ms, .first_token = {}});
  auto series = series_of(f.registry.expose());
  const std::string target = R"(target="openai/gpt-4o-mini")";
  EXPECT_EQ(series["sentinel_upstream_retries_total{" + target + "}"], "1");
  EXPECT_EQ(series["sentinel_upstream_requests_total{" + target + R"(,outcome="upstream_error"})"], "1");
  EXPECT_EQ(series["sentinel_upstream_duration_seconds_count{" + target + "}"], "1");
  EXPECT_EQ(series["sentinel_overhead_seconds_count"], "0") << "no exchange has ended";
}

TEST(MetricRegistry, s8_an_unknown_model_is_called_unknown) {
  Fixture f;
  MetricLane lane{f.registry};
  lane.observe(sample_of(f.chat, f.names.models.intern(""), 404));
  auto series = series_of(f.registry.expose());
  EXPECT_EQ(
      series[R"(sentinel_http_requests_total{endpoint="/v1/chat/completions",model="unknown",status="404"})"],
      "1");
}

TEST(MetricRegistry, nothing_sent_upstream_leaves_no_target) {
  Fixture f;
  MetricLane lane{f.registry};
  lane.observe(sample_of(f.chat, f.mini, 401));
  EXPECT_EQ(f.registry.expose().find("target="), std::string::npos);
}

TEST(MetricRegistry, a_value_on_a_bound_belongs_below_it) {
  Fixture f;
  MetricLane lane{f.registry};
  for (const Duration overhead : {0us, 5us, 6us, 100'000us, 100'001us}) {
    ExchangeSample sample = sample_of(f.chat, f.mini, 200);
    sample.overhead = overhead;
    lane.observe(sample);
  }
  auto series = series_of(f.registry.expose());
  std::vector<std::string> counts;
  for (const auto& [name, value] : series) {
    if (name.rfind("sentinel_overhead_seconds_bucket", 0) == 0) counts.push_back(value);
  }
  std::sort(counts.begin(), counts.end());
  EXPECT_EQ(counts.size(), kOverheadBoundsUs.size() + 1);
  EXPECT_EQ(counts.front(), "2");             // 0 and 5 us
  EXPECT_EQ(counts[counts.size() - 2], "4");  // all but the last
  EXPECT_EQ(series[R"(sentinel_overhead_seconds_bucket{le="+Inf"})"], "5");
}

TEST(MetricRegistry, counts_of_an_ended_lane_stay) {
  Fixture f;
  auto first = std::make_unique<MetricLane>(f.registry);
  MetricLane second{f.registry};
  first->observe(sample_of(f.chat, f.mini, 200));
  first.reset();
  second.observe(sample_of(f.chat, f.mini, 200));
  auto series = series_of(f.registry.expose());
  EXPECT_EQ(
      series
          [R"(sentinel_http_requests_total{endpoint="/v1/chat/completions",model="gpt-4o-mini",status="200"})"],
      "2");
}

TEST(MetricRegistry, names_may_be_added_while_lanes_count) {
  Fixture f;
  MetricLane lane{f.registry};
  lane.observe(sample_of(f.chat, f.names.models.intern("added-by-reload"), 200));
  EXPECT_NE(f.registry.expose().find("added-by-reload"), std::string::npos);
}

TEST(MetricRegistry, s4_a_hostile_configured_name_cannot_break_out_of_its_label) {
  Fixture f;
  MetricLane lane{f.registry};
  lane.observe(sample_of(f.chat, f.names.models.intern("a\"} 1\nevil_total{x=\"\\"), 200));
  const std::string text = f.registry.expose();
  EXPECT_EQ(text.find("\nevil_total"), std::string::npos);
}

TEST(MetricRegistry, shows_the_health_of_the_engine) {
  const LabelNames names;
  const MetricRegistry registry{names, [] {
                                  return EngineHealth{.records = 1,
                                                      .rejected = 2,
                                                      .retries = 3,
                                                      .lost = 4,
                                                      .pending = 5,
                                                      .log_lines_dropped = 6,
                                                      .in_flight = 7,
                                                      .cache_bytes = 8,
                                                      .cache_evictions = 9,
                                                      .breakers = {{"up/a", 2}, {"up/b", 0}}};
                                }};
  auto series = series_of(registry.expose());
  EXPECT_EQ(series["sentinel_usage_records_total"], "1");
  EXPECT_EQ(series["sentinel_usage_rejected_total"], "2");
  EXPECT_EQ(series["sentinel_usage_retries_total"], "3");
  EXPECT_EQ(series["sentinel_usage_lost_total"], "4");
  EXPECT_EQ(series["sentinel_usage_pending"], "5");
  EXPECT_EQ(series["sentinel_log_lines_dropped_total"], "6");
  EXPECT_EQ(series["sentinel_in_flight"], "7");
  EXPECT_EQ(series["sentinel_cache_bytes"], "8");
  EXPECT_EQ(series["sentinel_cache_evictions_total"], "9");
  EXPECT_EQ(series[R"(sentinel_breaker_state{target="up/a"})"], "2");
  EXPECT_EQ(series[R"(sentinel_breaker_state{target="up/b"})"], "0");
}

TEST(LabelTable, gives_the_same_id_again_and_stops_growing_at_its_bound) {
  LabelTable table;
  const LabelId first = table.intern("a");
  EXPECT_NE(first, kUnknown);
  EXPECT_EQ(table.intern("a"), first);
  for (std::size_t i = 0; i < kMaxLabels + 10; ++i) table.intern("name-" + std::to_string(i));
  EXPECT_EQ(table.names().size(), kMaxLabels);
  EXPECT_EQ(table.intern("too late"), kUnknown);
  EXPECT_EQ(table.intern("a"), first);
}

// A scrape in the middle of it all sees counters that only grow, and in the end every exchange once.
TEST(MetricRegistryThreads, lanes_come_count_and_go_while_scrapes_run) {
  Fixture f;
  constexpr int kThreads = 3;
  constexpr int kRounds = 20;
  constexpr int kEach = 2000;
  const std::string name =
      R"(sentinel_http_requests_total{endpoint="/v1/chat/completions",model="gpt-4o-mini",status="200"})";
  std::atomic<int> running{kThreads};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        for (int round = 0; round < kRounds; ++round) {
          MetricLane lane{f.registry};
          for (int i = 0; i < kEach; ++i) {
            lane.observe(sample_of(f.chat, f.mini, 200));
          }
        }
        running.fetch_sub(1);
      });
    }
    long last = 0;
    while (running.load() > 0) {
      const auto series = series_of(f.registry.expose());
      const auto found = series.find(name);
      const long now = found == series.end() ? 0 : std::stol(found->second);
      EXPECT_GE(now, last);
      last = now;
    }
  }
  EXPECT_EQ(series_of(f.registry.expose())[name], std::to_string(kThreads * kRounds * kEach));
}

}  // namespace
}  // namespace sentinel::metrics
