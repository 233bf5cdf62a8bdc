#include "sentinel/engine/prompt_tokens.hpp"

#include <fstream>
#include <iterator>
#include <utility>

namespace sentinel::engine {

Result<const tokens::Encoding*> Encodings::get(tokens::EncodingName name) {
  const std::lock_guard lock(mutex_);
  auto& slot = loaded_[static_cast<std::size_t>(name)];
  if (!slot) slot.emplace(load(name));
  if (!*slot) return slot->error();
  return &**slot;
}

// What cannot be read is told when it is asked for.
void Encodings::load_all() {
  for (const auto name : {tokens::EncodingName::o200k_base, tokens::EncodingName::cl100k_base}) {
    [[maybe_unused]] const auto loaded = get(name);
  }
}

Result<tokens::Encoding> Encodings::load(tokens::EncodingName name) const {
  const std::string path = directory_ + "/" + std::string(to_string(name)) + ".vocabulary";
  std::ifstream file(path, std::ios::binary);
  const std::string packed{std::istreambuf_iterator<char>(file), {}};
  if (!file) return Error(ErrorCode::internal_error, "cannot read the vocabulary " + path);
  return tokens::Encoding::load(name, packed);
}

PromptTokens count_prompt(Encodings& encodings, const tokens::ModelRules& rules, RequestReader& reader,
                          const RequestFacts& facts, std::string_view padded_body) {
  constexpr std::int64_t kBytesPerToken = 4;
  const tokens::ModelChoice choice = rules.choose(facts.model);
  const auto encoding = encodings.get(choice.encoding);
  if (!encoding) return {(facts.text_bytes + kBytesPerToken - 1) / kBytesPerToken, true};
  const PromptTexts& prompt = reader.prompt_texts(padded_body);
  std::size_t count = 0;
  for (const std::string_view text : prompt.texts)
    count += (*encoding)->count_utf8(text);  // the reader has checked them
  const auto& overhead = choice.overhead;
  const auto messages = static_cast<std::size_t>(prompt.messages);
  if (messages > 0) count += messages * overhead.per_message + overhead.reply;
  count += static_cast<std::size_t>(prompt.names) * overhead.per_name;
  return {static_cast<std::int64_t>(count) + prompt.token_ids, choice.estimated};
}

}  // namespace sentinel::engine
