// The governed work without I/O: decide + finish for a cached principal, and what it is made of.
//
//   build/release/bench_pipeline_bench [seconds per line [part of the lines' names]]
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
                 "timeouts_us": {"connect": 2000000, "first_byte": 60000000, "idle": 30000000, "total": 600000000}}],
  "routes": [{"name": "gpt-4o-mini", "targets": [{"upstream": "openai", "model": "", "weight": 1}]}],
  "prices": {"version": "2025-01", "models": [{"model": "gpt-4o-mini", "prompt": 150000, "cached": 75000,
                                               "cache_write": 0, "completion": 600000}]}})";
constexpr std::string_view kCredential = "sk-operator-key-0123456789abcdef";

// A chat request of about `bytes`, its text spread over messages as in a conversation.
std::string chat_body(std::size_t bytes, bool stream) {
  std::string body = R"({"model":"gpt-4o-mini","temperature":0.2,"max_tokens":256,)";
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
    const std::string digest = to_hex(keys_.digest(kCredential));
    if (!keys_.put(R"([{"id":"k","digest":")" + digest + R"(","accounts":["acme","acme/search"]}])"))
      std::abort();
    pipeline_ = std::make_unique<Pipeline>(keys_, snapshots_, *sink_, labels_);
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

  // As the door does it: the body's own copy is part of the work.
  void decide_and_finish(const std::string& body, std::int64_t unix_us) {
    const RequestHead head{Endpoint::chat, "/v1/chat/completions", "", headers_};
    const Instant now{Duration{unix_us}, Duration{unix_us}};
    auto exchange = pipeline_->decide(lane_, head, padded(body), now);
    if (exchange->reply) std::abort();
    exchange->status = 200;
    exchange->sent_at = now;
    exchange->usage = stream::Usage{.prompt = 100, .completion = 50};
    pipeline_->finish(lane_, *exchange, now);
  }

  void decide_only(const std::string& body) {
    const RequestHead head{Endpoint::chat, "/v1/chat/completions", "", headers_};
    if (pipeline_->decide(lane_, head, padded(body), {})->reply) std::abort();
  }

  void store_records() {
    if (!sink_->flush(std::chrono::seconds{10})) std::abort();
  }

  KeyTable& keys() { return keys_; }
  RequestReader& reader() { return lane_.requests; }

 private:
  const std::filesystem::path directory_ = std::filesystem::temp_directory_path() / "sentinel-pipeline-bench";
  std::unique_ptr<journal::SqliteSink> sink_;
  metrics::LabelNames labels_;
  metrics::MetricRegistry registry_{labels_};
  KeyTable keys_{"pepper"};
  SnapshotHolder snapshots_;
  std::unique_ptr<Pipeline> pipeline_;
  metrics::MetricLane metric_lane_{registry_};
  Lane lane_{1, metric_lane_};
  // What the openai SDK sends.
  const std::string authorization_ = "Bearer " + std::string(kCredential);
  const std::vector<HeaderView> headers_{{"host", "127.0.0.1:8080"},
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
                                         {"authorization", authorization_},
                                         {"x-stainless-async", "false"},
                                         {"x-stainless-retry-count", "0"},
                                         {"x-stainless-read-timeout", "600"},
                                         {"content-length", "400"}};
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
  const auto whole = [&](const char* name, const std::string& body) {
    measure(name, seconds, [&] { bench.decide_and_finish(body, ++time); }, [&] { bench.store_records(); });
  };
  whole("decide + finish, 0.4 KB", small);
  whole("decide + finish, 0.4 KB stream (usage asked)", streamed);
  whole("decide + finish, 8 KB", medium);
  whole("decide + finish, 64 KB", large);
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
