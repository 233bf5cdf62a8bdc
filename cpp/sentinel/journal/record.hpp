// One finished exchange as the usage ledger and the exchange log keep it.
//
// Contract: the fields are the columns of the usage table, in its order; `error_code` and `trace_id` go to
// the log line only. A record owns all text that is not static, so it may outlive the exchange and cross threads.
// `instance` and `sequence` are the ledger's identity of a record: leave `instance` empty and the sink assigns both; a
// record read back from a journal brings its own, and is stored once however often it is replayed.
// Cost: about 450 bytes; a move copies no text longer than 15 bytes. Thread rule: a plain value, one owner at
// a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sentinel/base/trace_id.hpp"

namespace sentinel::journal {

enum class Outcome : std::uint8_t {
  done,
  client_gone,
  upstream_cut,
  upstream_error,
  refused,
  shutdown,
  crash
};
inline constexpr std::size_t kOutcomes = 7;

enum class CacheVerdict : std::uint8_t { hit_exact, hit_semantic, follow, miss, bypass };
inline constexpr std::size_t kCacheVerdicts = 5;

constexpr std::string_view name(Outcome outcome) {
  switch (outcome) {
    case Outcome::done: return "done";
    case Outcome::client_gone: return "client_gone";
    case Outcome::upstream_cut: return "upstream_cut";
    case Outcome::upstream_error: return "upstream_error";
    case Outcome::refused: return "refused";
    case Outcome::shutdown: return "shutdown";
    case Outcome::crash: return "crash";
  }
  return "crash";
}

constexpr std::string_view name(CacheVerdict verdict) {
  switch (verdict) {
    case CacheVerdict::hit_exact: return "hit-exact";
    case CacheVerdict::hit_semantic: return "hit-semantic";
    case CacheVerdict::follow: return "follow";
    case CacheVerdict::miss: return "miss";
    case CacheVerdict::bypass: return "bypass";
  }
  return "bypass";
}

struct UsageRecord {
  std::string request_id;
  std::string instance;
  std::int64_t sequence = 0;
  std::int64_t ts_us = 0;  // microseconds since 1970, when the exchange began
  std::string key_id;
  std::string account_id;
  std::string_view endpoint;  // "/v1/chat/completions", one of the few names there are, static text
  std::string model;          // as the client named it
  std::string target;         // "upstream/model"; empty when nothing was sent
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t reasoning_tokens = 0;
  bool estimated = false;  // tokens are our own count, not the upstream's
  std::int64_t cost_micro_usd = 0;
  std::int64_t saved_micro_usd = 0;
  std::string price_version;
  Outcome outcome = Outcome::done;
  CacheVerdict cache = CacheVerdict::bypass;
  int status = 0;
  std::int64_t latency_us = 0;
  std::optional<std::int64_t> ttft_us;  // first token; absent when none came

  std::string error_code;  // log line only
  TraceId trace_id;        // log line only
};

}  // namespace sentinel::journal
