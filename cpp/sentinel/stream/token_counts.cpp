#include "sentinel/stream/token_counts.hpp"

namespace sentinel::stream {
namespace {

void keep_larger(std::optional<std::int64_t>& mine, const std::optional<std::int64_t>& other) {
  if (other && (!mine || *other > *mine)) mine = other;
}

std::int64_t part_of(std::int64_t whole, const std::optional<std::int64_t>& part) {
  return part && *part <= whole ? *part : 0;
}

}  // namespace

void TokenCounts::merge(const TokenCounts& later) {
  keep_larger(prompt, later.prompt);
  keep_larger(completion, later.completion);
  keep_larger(cached, later.cached);
  keep_larger(cache_write, later.cache_write);
  keep_larger(reasoning, later.reasoning);
}

std::optional<Usage> to_usage(Protocol protocol, const TokenCounts& counts) {
  if (!counts.prompt) return std::nullopt;
  if (!counts.completion && protocol != Protocol::embeddings) return std::nullopt;
  Usage usage;
  usage.completion = counts.completion.value_or(0);
  usage.reasoning = part_of(usage.completion, counts.reasoning);
  if (protocol == Protocol::messages) {
    usage.cached = counts.cached.value_or(0);
    usage.cache_write = counts.cache_write.value_or(0);
    usage.prompt = *counts.prompt + usage.cached + usage.cache_write;
    return usage;
  }
  usage.prompt = *counts.prompt;
  usage.cached = part_of(usage.prompt, counts.cached);
  usage.cache_write = part_of(usage.prompt - usage.cached, counts.cache_write);
  return usage;
}

}  // namespace sentinel::stream
