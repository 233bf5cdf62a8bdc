// How many tokens a request's prompt has, before it is sent (B6, B11, B13).
//
// What is counted: the text of messages with the family's overhead for each, of `prompt`, `input`, `system` and
// `instructions`, and the tools' definitions as the bytes they are written in. Images and audio are not: their cost is in
// the provider's figures. Token ids given as numbers count as one each.
//
// Contract: the model's encoding is chosen once per request; a model that no rule covers is counted with o200k_base and
// marked estimated. An encoding is read from `directory` when it is first needed, or by load_all, and stays (there are two, 9 MB each).
// Cost: the tokenizer's, 0.04 to 0.07 us a token; a load of about 40 ms once. Thread rule: any thread.
// Failure rule: a vocabulary that cannot be read is an Error; the caller estimates from bytes then.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "sentinel/base/result.hpp"
#include "sentinel/engine/request.hpp"
#include "sentinel/tokens/encoding.hpp"
#include "sentinel/tokens/models.hpp"

namespace sentinel::engine {

class Encodings {
 public:
  explicit Encodings(std::string directory) : directory_(std::move(directory)) {}

  Result<const tokens::Encoding*> get(tokens::EncodingName name);
  void load_all();

 private:
  Result<tokens::Encoding> load(tokens::EncodingName name) const;

  const std::string directory_;
  std::mutex mutex_;
  std::array<std::optional<Result<tokens::Encoding>>, 2> loaded_;
};

struct PromptTokens {
  std::int64_t count = 0;
  bool estimated = false;
};

// Requires a body that a RequestReader accepted.
PromptTokens count_prompt(Encodings& encodings, const tokens::ModelRules& rules, RequestReader& reader,
                          const RequestFacts& facts, std::string_view padded_body);

}  // namespace sentinel::engine
