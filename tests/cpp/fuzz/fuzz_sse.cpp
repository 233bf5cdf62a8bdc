// SseParser: the events of a slow model of the standard, the same however the bytes are cut, and raws that put the input
// together again.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "../stream/sse_model.hpp"
#include "sentinel/stream/sse_parser.hpp"

namespace {

using sentinel::stream::SseEvent;
using sentinel::stream::SseParser;

constexpr std::size_t kMaxEventBytes = 200;

using sentinel::stream::testing::Model;
using sentinel::stream::testing::Seen;

struct Outcome {
  std::vector<Seen> events;
  std::string relayed;
  std::size_t pending = 0;
  bool failed = false;
};

Outcome parse(std::string_view text, std::size_t step) {
  SseParser parser(kMaxEventBytes);
  Outcome outcome;
  while (!text.empty() && !outcome.failed) {
    const std::string chunk(text.substr(0, step));  // its own memory, so that a look beyond it is seen
    outcome.failed = !parser.feed(chunk, [&](const SseEvent& event) {
      outcome.events.push_back({std::string(event.event), std::string(event.data), std::string(event.id),
                                event.retry_ms, event.has_data});
      outcome.relayed.append(event.raw);
    });
    text.remove_prefix(chunk.size());
  }
  outcome.pending = parser.pending_bytes();
  return outcome;
}

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(bytes + 1), size - 1);
  const Outcome whole = parse(text, text.size() + 1);
  const Outcome cut = parse(text, 1 + bytes[0] % 16);
  require(whole.events == cut.events);
  const Model model{std::string(text)};
  require(whole.failed ? whole.events.size() <= model.events.size() : whole.events == model.events);
  require(std::equal(whole.events.begin(), whole.events.end(), model.events.begin()));
  require(whole.failed == cut.failed);
  require(text.starts_with(whole.relayed));
  require(text.starts_with(cut.relayed));
  require(whole.failed || whole.relayed.size() + whole.pending == text.size());
  require(cut.failed || cut.relayed.size() + cut.pending == text.size());
  return 0;
}
