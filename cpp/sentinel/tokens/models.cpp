#include "sentinel/tokens/models.hpp"

namespace sentinel::tokens {
namespace {

bool letter_or_digit(char byte) {
  return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

bool covers(std::string_view prefix, std::string_view model) {
  if (!model.starts_with(prefix)) return false;
  return model.size() == prefix.size() || !letter_or_digit(model[prefix.size()]);
}

}  // namespace

ModelRules ModelRules::standard() {
  std::vector<ModelRule> rules;
  for (const char* prefix :
       {"gpt-4o", "chatgpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "gpt-oss", "o1", "o3", "o4"}) {
    rules.push_back({prefix, EncodingName::o200k_base});
  }
  for (const char* prefix : {"gpt-4", "gpt-3.5", "gpt-35", "text-embedding-3", "text-embedding-ada-002",
                             "ada-002", "davinci-002", "babbage-002"}) {
    rules.push_back({prefix, EncodingName::cl100k_base});
  }
  return ModelRules(std::move(rules));
}

ModelRules ModelRules::standard_after(std::vector<ModelRule> own) {
  ModelRules rules = standard();
  own.insert(own.end(), rules.rules_.begin(), rules.rules_.end());
  return ModelRules(std::move(own));
}

ModelChoice ModelRules::choose(std::string_view model) const {
  constexpr std::string_view kFineTuned = "ft:";
  if (model.starts_with(kFineTuned)) model.remove_prefix(kFineTuned.size());
  const ModelRule* longest = nullptr;
  for (const ModelRule& rule : rules_) {
    if (!covers(rule.prefix, model)) continue;
    if (longest == nullptr || rule.prefix.size() > longest->prefix.size()) longest = &rule;
  }
  if (longest == nullptr) return {};
  return {longest->encoding, longest->overhead, false};
}

std::size_t count_messages(const Encoding& encoding, const MessageOverhead& overhead,
                           std::span<const Message> messages) {
  std::size_t tokens = overhead.reply;
  for (const Message& message : messages) {
    tokens += overhead.per_message + encoding.count(message.role) + encoding.count(message.content);
    if (message.name) tokens += overhead.per_name + encoding.count(*message.name);
  }
  return tokens;
}

}  // namespace sentinel::tokens
