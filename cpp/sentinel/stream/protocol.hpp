// Which of the provider protocols a body or a stream is written in. `embeddings` is never streamed.
#pragma once

#include <cstdint>

namespace sentinel::stream {

enum class Protocol : std::uint8_t { chat, completions, responses, messages, embeddings };

}  // namespace sentinel::stream
