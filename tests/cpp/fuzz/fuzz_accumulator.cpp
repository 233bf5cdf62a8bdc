// StreamAccumulator and read_reply: any bytes, any cuts; the same facts, within their bounds.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sentinel/stream/accumulator.hpp"
#include "sentinel/stream/reply.hpp"

namespace {

using namespace sentinel::stream;

constexpr Bounds kBounds{2048, 4096};

void require(bool holds) {
  if (!holds) std::abort();
}

std::string facts(StreamAccumulator& accumulator, std::string_view text, std::size_t step) {
  std::string seen;
  bool failed = false;
  while (!text.empty() && !failed) {
    const std::string chunk(text.substr(0, step));
    failed = !accumulator.feed(chunk, [&](const StreamEvent& event) {
      seen += static_cast<char>('a' + static_cast<int>(event.kind));
      seen.append(event.error_message);
    });
    text.remove_prefix(chunk.size());
  }
  std::size_t kept = 0;
  for (const Choice& choice : accumulator.choices()) {
    seen.append(choice.role).append(choice.content).append(choice.refusal).append(choice.finish_reason);
    kept += choice.content.size() + choice.refusal.size() + choice.reasoning.size();
    for (const ToolCall& tool : choice.tool_calls) {
      seen.append(tool.id).append(tool.name).append(tool.arguments);
      kept += tool.arguments.size();
    }
  }
  require(kept <= kBounds.max_kept_bytes);
  if (const Usage* usage = accumulator.usage()) {
    require(usage->prompt >= 0 && usage->completion >= 0 && usage->reasoning <= usage->completion);
    require(usage->cached + usage->cache_write <= usage->prompt);
    seen += std::to_string(usage->prompt) + "/" + std::to_string(usage->completion);
  }
  seen += std::to_string(accumulator.content_deltas()) + "/" + std::to_string(accumulator.content_bytes());
  return seen + (accumulator.finished() ? "F" : "") + (accumulator.failed() ? "E" : "");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size < 2) return 0;
  static JsonParser json;
  const auto protocol = static_cast<Protocol>(bytes[0] % 4);
  const std::string_view text(reinterpret_cast<const char*>(bytes + 2), size - 2);
  StreamAccumulator whole(protocol, kBounds, json);
  StreamAccumulator cut(protocol, kBounds, json);
  require(facts(whole, text, text.size() + 1) == facts(cut, text, 1 + bytes[1] % 32U));
  const auto reply = read_reply(static_cast<Protocol>(bytes[0] % 5), text, json);
  if (reply) require(reply->content_bytes >= 0 && !(reply->is_error && reply->complete));
  return 0;
}
