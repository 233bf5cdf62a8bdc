// What the engine's tests share: a directory that goes away, snapshots as text, JSON to look at, a ledger in memory.
#pragma once

#include <gtest/gtest.h>
#include <simdjson.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sentinel/cache/exact_cache.hpp"
#include "sentinel/engine/answers.hpp"
#include "sentinel/engine/exchange.hpp"
#include "sentinel/engine/pipeline.hpp"
#include "sentinel/engine/principal.hpp"
#include "sentinel/engine/prompt_tokens.hpp"
#include "sentinel/engine/quotas.hpp"
#include "sentinel/engine/request.hpp"
#include "sentinel/engine/send.hpp"
#include "sentinel/engine/snapshot.hpp"
#include "sentinel/journal/sqlite_sink.hpp"
#include "sentinel/metrics/registry.hpp"

namespace sentinel::engine {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sentinel-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A configuration document; tests change the part they are about.
struct SnapshotText {
  std::string limits =
      R"({"body_bytes":1048576,"head_bytes":16384,"headers":64,"response_bytes":1048576,"event_bytes":65536,)"
      R"("credit_bytes":65536,"in_flight":100})";
  std::string upstreams;
  std::string routes = R"([{"name":"gpt","targets":[{"upstream":"up","model":"","weight":1}]}])";
  std::string prices = R"({"version":"2025-01","models":[{"model":"gpt","prompt":1000000,"cached":100000,)"
                       R"("cache_write":2000000,"completion":4000000}]})";
  bool insecure = false;
  std::string more;  // further members of the document; begins with a comma

  std::string str() const {
    const std::string given =
        upstreams.empty() ? "[" + upstream("up", "openai", "http://127.0.0.1:1/v1") + "]" : upstreams;
    return R"({"version":"v1","insecure":)" + std::string(insecure ? "true" : "false") + R"(,"limits":)" +
           limits + R"(,"upstreams":)" + given + R"(,"routes":)" + routes + R"(,"prices":)" + prices + more +
           "}";
  }

  // `more` begins with a comma.
  static std::string upstream(const std::string& name, const std::string& kind, const std::string& base_url,
                              const std::string& more = {},
                              const std::string& auth_header = "Authorization") {
    return R"({"name":")" + name + R"(","kind":")" + kind + R"(","base_url":")" + base_url +
           R"(","auth_header":")" + auth_header +
           R"(","credentials":["sk-upstream-credential-0123456789"],"allow_private":true,)" +
           R"("max_connections":8,"timeouts_us":{"connect":2000000,"first_byte":60000000,"idle":30000000,)" +
           R"("total":600000000})" + more + "}";
  }
};

inline SnapshotText leading_to(std::uint16_t port) {
  SnapshotText text;
  text.upstreams =
      "[" + SnapshotText::upstream("up", "openai", "http://127.0.0.1:" + std::to_string(port) + "/v1") + "]";
  return text;
}

// With the one route's `cache` member.
inline SnapshotText keeping(SnapshotText text, const std::string& cache = R"({"ttl_us":3600000000})") {
  text.routes =
      R"([{"name":"gpt","targets":[{"upstream":"up","model":"","weight":1}],"cache":)" + cache + "}]";
  return text;
}

inline std::shared_ptr<Snapshot> make_snapshot(const SnapshotText& text = {}) {
  auto snapshot = Snapshot::from_json(text.str());
  EXPECT_TRUE(snapshot) << snapshot.error().message;
  return *snapshot;
}

inline std::string padded(std::string_view text) {
  std::string body;
  body.reserve(text.size() + kBodyPadding);
  body.assign(text);
  return body;
}

// A parsed document that keeps its parser.
class Json {
 public:
  explicit Json(std::string_view text) {
    const auto error = parser_->parse(text.data(), text.size()).get(root_);
    valid_ = error == simdjson::SUCCESS;
    EXPECT_TRUE(valid_) << simdjson::error_message(error) << ": " << text;
  }
  bool valid() const { return valid_; }
  simdjson::dom::element root() const { return root_; }
  // The string at a pointer like "/error/code"; "(none)" when there is no string.
  std::string text(std::string_view pointer) const {
    std::string_view found;
    return root_.at_pointer(pointer).get_string().get(found) == simdjson::SUCCESS ? std::string(found)
                                                                                  : "(none)";
  }
  bool is_null(std::string_view pointer) const {
    simdjson::dom::element found;
    return root_.at_pointer(pointer).get(found) == simdjson::SUCCESS && found.is_null();
  }

 private:
  std::unique_ptr<simdjson::dom::parser> parser_ = std::make_unique<simdjson::dom::parser>();
  simdjson::dom::element root_;
  bool valid_ = false;
};

inline std::string find_header(const HeaderList& headers, std::string_view name) {
  std::string value = "(none)";
  for (const auto& [known, text] : headers) {
    if (known != name) continue;
    EXPECT_EQ(value, "(none)") << name << " stands twice";
    value = text;
  }
  return value;
}

// A real ledger whose records can be looked at.
class Ledger {
 public:
  explicit Ledger(const std::string& directory) {
    journal::SqliteSinkOptions options;
    options.path = directory + "/usage.db";
    options.observer = [this](std::span<const journal::UsageRecord> batch) {
      const std::lock_guard lock(mutex_);
      records_.insert(records_.end(), batch.begin(), batch.end());
    };
    auto sink = journal::SqliteSink::open(std::move(options));
    EXPECT_TRUE(sink) << sink.error().message;
    sink_ = std::move(*sink);
  }

  journal::SqliteSink& sink() { return *sink_; }

  std::vector<journal::UsageRecord> records() {
    EXPECT_TRUE(sink_->flush(std::chrono::seconds{20}));
    const std::lock_guard lock(mutex_);
    return records_;
  }

 private:
  std::mutex mutex_;
  std::vector<journal::UsageRecord> records_;
  std::unique_ptr<journal::SqliteSink> sink_;
};

inline const std::string kPepper = "pepper";
inline const std::string kCredential = "operators-own-key-0001";

inline std::string key_text(std::string_view id, std::string_view credential, std::string_view more = "") {
  return R"({"id":")" + std::string(id) + R"(","digest":")" + to_hex(Hmac(kPepper).digest(credential)) +
         R"(","accounts":["acme","acme/search"],"scopes":[],"models":[])" + std::string(more) + "}";
}

// The vocabularies of the source tree, found from the working directory or a folder above it.
inline std::string vocabulary_directory() {
  const std::filesystem::path data = "python/sentinel/tokens/data";
  std::filesystem::path folder = std::filesystem::current_path();
  while (!std::filesystem::exists(folder / data) && folder.has_relative_path()) folder = folder.parent_path();
  if (!std::filesystem::exists(folder / data))
    throw std::runtime_error("run this within the source tree: there is no " + data.string());
  return (folder / data).string();
}

// Loaded once for all tests: 9 MB each.
inline Encodings& shared_encodings() {
  static Encodings encodings(vocabulary_directory());
  return encodings;
}

// Everything a pipeline stands on, with one key known.
class Service {
 public:
  explicit Service(const SnapshotText& text = {}) {
    configure(text);
    EXPECT_TRUE(keys.put("[" + key_text("ci", kCredential) + "]"));
  }

  void configure(const SnapshotText& text) {
    auto snapshot = make_snapshot(text);
    snapshot->intern_labels(labels);
    snapshots.set(std::move(snapshot));
  }

  TemporaryDirectory directory;
  Ledger ledger{directory.path()};
  metrics::LabelNames labels;
  metrics::MetricRegistry registry{labels};
  KeyTable keys{kPepper};
  SnapshotHolder snapshots;
  Quotas quotas{std::chrono::hours{1}, 3};
  cache::ExactCache cache{{}, 5};
  Answers answers{cache, quotas};
  Pipeline pipeline{{keys, snapshots, ledger.sink(), labels, quotas, answers, shared_encodings()}};
  metrics::MetricLane metric_lane{registry};
  Lane lane{7, metric_lane};
};

// Steps 7 and 8 as the loop takes them: what would be sent is in the exchange then. The attempt leaves no trace.
inline Status make_ready(Service& service, Exchange& exchange, Instant now) {
  Status admitted = service.pipeline.admit(service.lane, exchange, now);
  if (!admitted) return admitted;
  return Sending(exchange, service.quotas, service.lane.random).begin(now);
}

}  // namespace sentinel::engine
