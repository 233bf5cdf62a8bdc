// The governed work without I/O for a cached principal (decide, admit, choose a target, finish), and what it is made of.
//
//   build/release/bench_pipeline_bench [seconds per line [part of the lines' names]]     (run within the source tree)
//
// Each line is the fastest of many short rounds: on a shared machine the least disturbed one tells most. Records go to
// a real ledger; between the rounds, unmeasured, its writer thread stores them, so that it does not share the core's
// units with what is measured.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/engine/pipeline.hpp"
#include "sentinel/engine/send.hpp"
#include "sentinel/metrics/registry.hpp"

namespace {

using namespace sentinel;
using namespace sentinel::engine;

constexpr std::string_view kSnapshot = R"({
  "version": "1", "insecure": false,
  "limits": {"body_bytes": 10485760, "head_bytes": 65536, "headers": 200, "response_bytes": 10485760,
             "event_bytes": 1048576, "credit_bytes": 262144, "in_flight": 10000},
  "upstreams": [{"name": "openai", "kind": "openai", "base_url": "https://api.openai.com/v1",
                 "auth_header": "Authorization", "credentials": ["sk-upstream-0123456789abcdef0123456789"],
                 "breaker": {"enabled": true},
                 "timeouts_us": {"connect": 2000000, "first_byte": 60000000, "idle": 30000000, "total": 600000000}}],
  "routes": [{"name": "gpt-4o-mini", "targets": [{"upstream": "openai", "model": "", "weight": 1}]},
             {"name": "kept-4o-mini", "targets": [{"upstream": "openai", "model": "", "weight": 1}],
              "cache": {"ttl_us": 3600000000000}},
             {"name": "told-4o-mini", "targets": [{"upstream": "openai", "model": "", "weight": 1}],
              "rules": {"rates": ["1000000000 tokens/min"]}}],
  "accounts": [{"id": "limited", "rules": {"rates": ["10000000/min", "1000000000 tokens/min", "1000000 usd/day"]}}],
  "prices": {"version": "2025-01", "models": [{"model": "gpt-4o-mini", "prompt": 150000, "cached": 75000,
                                               "cache_write": 0, "completion": 600000}]}})";
constexpr std::string_view kCredential = "sk-operator-key-0123456789abcdef";
constexpr std::string_view kLimitedCredential = "sk-limited-key-0123456789abcdef0";
constexpr std::string_view kLimitedRules =
    R"("rules":{"rates":["10000000/min","1000000000 tokens/min"],"concurrency":1000})";

// A chat request of about `bytes`, its text spread over messages as in a conversation.
std::string chat_body(std::size_t bytes, bool stream) {
  std::string body = R"({"model":"gpt-4o-mini","temperature":0.0,"max_tokens":256,)";
  if (stream) body += R"("stream":true,)";
  body += R"("messages":[{"role":"system","content":"You answer in one sentence."})";
  const std::size_t share = std::max<std::size_t>(bytes / 20, 120);
  while (body.size() + share + 40 < bytes) {
    body += R"(,{"role":"user","content":")";
    for (std::size_t i = 0; i < share; ++i) body += i % 6 == 5 ? ' ' : static_cast<char>('a' + i % 26);
    body += "\"}";
  }
  return body + "]}";
}

// Prose of about `tokens` tokens, for the route that counts them.
std::string prose_body(std::size_t tokens) {
  std::string body = R"({"model":"told-4o-mini","max_tokens":256,"messages":[{"role":"user","content":")";
  constexpr std::string_view kSentence = "The gateway counts what it sends before it is sent. ";  // 11 tokens
  for (std::size_t counted = 0; counted < tokens; counted += 11) body += kSentence;
  return body + "\"}]}";
}

std::string asking_for(std::string_view model, std::string body) {
  return body.replace(body.find("gpt-4o-mini"), std::string_view("gpt-4o-mini").size(), model);
}

// The vocabularies of the source tree, found from the working directory or a folder above it.
std::string vocabulary_directory() {
  const std::filesystem::path data = "python/sentinel/tokens/data";
  std::filesystem::path folder = std::filesystem::current_path();
  while (!std::filesystem::exists(folder / data) && folder.has_relative_path()) folder = folder.parent_path();
  return (folder / data).string();
}

std::string padded(std::string_view text) {
  std::string copy;
  copy.reserve(text.size() + kBodyPadding);
  copy.assign(text);
  return copy;
}

double now_ns() {
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::string_view only;  // lines whose names hold this

template <class Work, class Rest>
void measure(std::string_view name, double seconds, Work&& work, Rest&& rest) {
  if (name.find(only) == std::string_view::npos) return;
  constexpr int kRound = 400;
  double best = 1e18;
  const double end = now_ns() + seconds * 1e9;
  do {
    const double began = now_ns();
    for (int i = 0; i < kRound; ++i) work();
    best = std::min(best, (now_ns() - began) / kRound);
    rest();
  } while (now_ns() < end);
  std::printf("%-46.*s %9.0f ns\n", static_cast<int>(name.size()), name.data(), best);
}

template <class Work>
void measure(std::string_view name, double seconds, Work&& work) {
  measure(name, seconds, work, [] {});
}

class Bench {
 public:
  Bench() {
    std::filesystem::create_directories(directory_);
    journal::SqliteSinkOptions options;
    options.path = (directory_ / "usage.db").string();
    sink_ = std::move(*journal::SqliteSink::open(std::move(options)));
    auto snapshot = *Snapshot::from_json(kSnapshot);
    snapshot->intern_labels(labels_);
    snapshots_.set(std::move(snapshot));
    if (!keys_.put("[" + key("k", kCredential, "acme/search", "") + "," +
                   key("limited", kLimitedCredential, "limited", "," + std::string(kLimitedRules)) + "]"))
      std::abort();
    pipeline_ = std::make_unique<Pipeline>(
        PipelineParts{keys_, snapshots_, *sink_, labels_, quotas_, answers_, encodings_});
  }
  ~Bench() {
    const auto stats = sink_->stats();
    std::printf("ledger: %llu records, %llu lost or refused\n",
                static_cast<unsigned long long>(stats.committed),
                static_cast<unsigned long long>(stats.rejected + stats.lost));
    sink_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  // As the door and the loop do it: the body's own copy is part of the work, the upstream's answer is not.
  void govern(const std::string& body, std::int64_t unix_us, bool limited = false) {
    const Instant now{Duration{unix_us}, Duration{unix_us}};
    auto exchange = decide(body, now, limited);
    if (exchange->reply || !pipeline_->admit(lane_, *exchange, now)) std::abort();
    Sending sending(*exchange, quotas_, lane_.random);
    if (!sending.begin(now)) std::abort();
    sending.report_answer(now);
    answer(*exchange, now);
    pipeline_->finish(lane_, *exchange, now);
  }

  // The two ends alone, as for a call that is answered at once and asked nobody for tokens.
  void decide_and_finish(const std::string& body, std::int64_t unix_us) {
    const Instant now{Duration{unix_us}, Duration{unix_us}};
    auto exchange = decide(body, now);
    if (exchange->reply) std::abort();
    answer(*exchange, now);
    pipeline_->finish(lane_, *exchange, now);
  }

  // Answers this question once, so that the next ones are hits.
  void keep(const std::string& body, std::int64_t unix_us) {
    const Instant now{Duration{unix_us}, Duration{unix_us}};
    auto exchange = decide(body, now);
    if (exchange->reply || !pipeline_->admit(lane_, *exchange, now)) std::abort();
    if (!Sending(*exchange, quotas_, lane_.random).begin(now)) std::abort();
    answer(*exchange, now);
    pipeline_->answers().keep(*exchange, "application/json", std::string(kAnswer), lane_.answers, now);
    pipeline_->finish(lane_, *exchange, now);
  }

  void hit(const std::string& body, std::int64_t unix_us) {
    const Instant now{Duration{unix_us}, Duration{unix_us}};
    auto exchange = decide(body, now);
    if (!exchange->reply || exchange->verdict != journal::CacheVerdict::hit_exact) std::abort();
    pipeline_->finish(lane_, *exchange, now);
  }

  std::unique_ptr<Exchange> decide(const std::string& body, Instant now, bool limited = false) {
    const auto& headers = limited ? limited_headers_ : headers_;
    return pipeline_->decide(lane_, {Endpoint::chat, "/v1/chat/completions", "", headers, "127.0.0.1"},
                             padded(body), now);
  }

  void decide_only(const std::string& body) {
    if (decide(body, {})->reply) std::abort();
  }

  void store_records() {
    if (!sink_->flush(std::chrono::seconds{10})) std::abort();
  }

  KeyTable& keys() { return keys_; }
  RequestReader& reader() { return lane_.requests; }

 private:
  static constexpr std::string_view kAnswer =
      R"({"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini","choices":[)"
      R"({"index":0,"message":{"role":"assistant","content":"Paris is the capital of France."},)"
      R"("finish_reason":"stop"}],"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150}})";

  std::string key(std::string_view id, std::string_view credential, std::string_view account,
                  const std::string& more) {
    return R"({"id":")" + std::string(id) + R"(","digest":")" + to_hex(keys_.digest(credential)) +
           R"(","accounts":["acme",")" + std::string(account) + "\"]" + more + "}";
  }

  static void answer(Exchange& exchange, Instant now) {
    exchange.status = 200;
    exchange.sent_at = now;
    exchange.usage = stream::Usage{.prompt = 100, .completion = 50};
  }

  // What the openai SDK sends.
  static std::vector<HeaderView> headers_with(const std::string& authorization) {
    return {{"host", "127.0.0.1:8080"},
            {"accept-encoding", "gzip, deflate"},
            {"connection", "keep-alive"},
            {"accept", "application/json"},
            {"content-type", "application/json"},
            {"user-agent", "OpenAI/Python 1.99.1"},
            {"x-stainless-lang", "python"},
            {"x-stainless-package-version", "1.99.1"},
            {"x-stainless-os", "Linux"},
            {"x-stainless-arch", "x64"},
            {"x-stainless-runtime", "CPython"},
            {"x-stainless-runtime-version", "3.11.2"},
            {"authorization", authorization},
            {"x-stainless-async", "false"},
            {"x-stainless-retry-count", "0"},
            {"x-stainless-read-timeout", "600"},
            {"content-length", "400"}};
  }

  const std::filesystem::path directory_ = std::filesystem::temp_directory_path() / "sentinel-pipeline-bench";
  std::unique_ptr<journal::SqliteSink> sink_;
  metrics::LabelNames labels_;
  metrics::MetricRegistry registry_{labels_};
  KeyTable keys_{"pepper"};
  SnapshotHolder snapshots_;
  Quotas quotas_{std::chrono::hours{1}, 1};
  cache::ExactCache cache_{{}, 1};
  Answers answers_{cache_, quotas_};
  Encodings encodings_{vocabulary_directory()};
  std::unique_ptr<Pipeline> pipeline_;
  metrics::MetricLane metric_lane_{registry_};
  Lane lane_{1, metric_lane_};
  const std::string authorization_ = "Bearer " + std::string(kCredential);
  const std::string limited_authorization_ = "Bearer " + std::string(kLimitedCredential);
  const std::vector<HeaderView> headers_ = headers_with(authorization_);
  const std::vector<HeaderView> limited_headers_ = headers_with(limited_authorization_);
};

}  // namespace

int main(int count, char** arguments) {
  const double seconds = count > 1 ? std::atof(arguments[1]) : 1.0;
  if (count > 2) only = arguments[2];
  Bench bench;
  std::int64_t time = 1'700'000'000'000'000;
  const std::string small = chat_body(400, false);
  const std::string streamed = chat_body(400, true);
  const std::string medium = chat_body(8'000, false);
  const std::string large = chat_body(64'000, false);
  const auto line = [&](const char* name, auto&& work) {
    measure(name, seconds, work, [&] { bench.store_records(); });
  };
  const auto whole = [&](const char* name, const std::string& body, bool limited = false) {
    line(name, [&bench, &time, &body, limited] { bench.govern(body, time += 1000, limited); });
  };
  line("decide + finish, 0.4 KB", [&] { bench.decide_and_finish(small, time += 1000); });
  whole("governed, 0.4 KB", small);
  whole("governed, 0.4 KB stream (usage asked)", streamed);
  whole("governed, 8 KB", medium);
  whole("governed, 64 KB", large);
  const std::string kept = asking_for("kept-4o-mini", small);
  bench.keep(kept, time);
  line("exact hit 0.4 KB", [&] { bench.hit(kept, time += 1000); });
  whole("limits: 6 rules", small, true);
  whole("1k-token prompt counted", prose_body(1000));
  measure("  decide, 0.4 KB", seconds, [&] { bench.decide_only(small); });
  measure("  digest and key look-up", seconds, [&] {
    if (!bench.keys().find(kCredential)) std::abort();
  });
  const auto read = [&](const char* name, const std::string& body) {
    const std::string ready = padded(body);
    measure(name, seconds, [&] {
      if (!bench.reader().read(Endpoint::chat, ready)) std::abort();
    });
  };
  read("  read request, 0.4 KB", small);
  read("  read request, 8 KB", medium);
  read("  read request, 64 KB", large);
}
