// Pipeline step 8 without I/O: which target serves an exchange, and the bytes it is sent.
//
// Contract: what goes upstream is our own head with a short list of the client's headers (design: privacy); the client's
// credential, organisation and cookies never do. The body is the client's, byte for byte, unless the target's model name
// differs or usage must be asked for.
#pragma once

#include <string>
#include <string_view>

#include "sentinel/base/random.hpp"
#include "sentinel/engine/exchange.hpp"

namespace sentinel::engine {

struct ForwardedHeaders {
  std::string_view anthropic_version;
  std::string_view anthropic_beta;
  std::string_view openai_beta;
  std::string_view idempotency_key;
  std::string_view tracestate;

  bool are_ascii() const;
};

void prepare_upstream_request(Exchange& exchange, const ForwardedHeaders& forwarded, std::string body,
                              Random& random);

// "upstream/model" as sent.
std::string target_label(const Exchange& exchange);

}  // namespace sentinel::engine
