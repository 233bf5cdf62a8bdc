// Which encoding a model counts with, and what a list of messages costs beyond its text.
//
// Contract: a rule covers the models whose name begins with its prefix, where the prefix ends at the name's end or
// before something that is neither letter nor digit ("gpt-4" covers "gpt-4-0613", not "gpt-4o"); of several the longest
// prefix decides. "ft:" in front of a fine-tuned model's name is passed over. A model that no rule covers is counted
// with o200k_base and marked `estimated` (B6). The rules are a value: configuration may bring others.
//   Message overhead, per family: every message costs `per_message` tokens for its frame, a `name` costs `per_name`
// beside its text, and the reply is primed with `reply` tokens: 3, 1 and 3 for all families of o200k_base and
// cl100k_base that are still served. Tools, images and audio are not in it: their cost is in the provider's figures.
// Cost: `choose` looks at every rule, once per request. Thread rule: immutable, any thread. Failure rule: none.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sentinel/tokens/encoding.hpp"

namespace sentinel::tokens {

struct MessageOverhead {
  std::size_t per_message = 3;
  std::size_t per_name = 1;
  std::size_t reply = 3;
};

struct ModelRule {
  std::string prefix;
  EncodingName encoding;
  MessageOverhead overhead = {};
};

struct ModelChoice {
  EncodingName encoding = EncodingName::o200k_base;
  MessageOverhead overhead = {};
  bool estimated = true;
};

class ModelRules {
 public:
  explicit ModelRules(std::vector<ModelRule> rules) : rules_(std::move(rules)) {}
  static ModelRules standard();
  // The operator's own before the standard ones: of equal prefixes theirs decides.
  static ModelRules standard_after(std::vector<ModelRule> own);

  ModelChoice choose(std::string_view model) const;

 private:
  std::vector<ModelRule> rules_;
};

struct Message {
  std::string_view role;
  std::string_view content;
  std::optional<std::string_view> name = std::nullopt;
};

std::size_t count_messages(const Encoding& encoding, const MessageOverhead& overhead,
                           std::span<const Message> messages);

}  // namespace sentinel::tokens
