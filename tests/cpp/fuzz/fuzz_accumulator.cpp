// StreamAccumulator, ChatAccumulator and read_reply: any bytes, any cuts; the same facts, within their bounds.
// ChatAccumulator besides: known shapes of events never change the result.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sentinel/stream/accumulator.hpp"
#include "sentinel/stream/chat_accumulator.hpp"
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

void write(const JsonValue& value, std::string& out) {
  out += static_cast<char>('a' + static_cast<int>(value.held.index()));
  if (const auto* text = value.as<std::string>()) out.append(*text).append("\"");
  if (const auto* whole = value.as<std::int64_t>()) out += std::to_string(*whole);
  if (const auto* items = value.as<JsonValue::Array>()) {
    for (const JsonValue& item : *items) write(item, out);
  }
  if (const auto* members = value.as<JsonValue::Object>()) {
    for (const JsonMember& member : *members) write(member.value, out.append(member.key).append(":"));
  }
  out += ';';
}

std::string completion(std::string_view text, std::size_t step, JsonParser& json) {
  ChatAccumulator accumulator({kBounds.max_event_bytes, 64 * kBounds.max_kept_bytes});
  std::string seen;
  bool failed = false;
  while (!text.empty() && !failed) {
    const std::string chunk(text.substr(0, step));
    failed = !accumulator.feed(chunk, json, seen);
    text.remove_prefix(chunk.size());
  }
  write(accumulator.completion(), seen);
  return seen + std::to_string(static_cast<int>(accumulator.fault())) + (accumulator.complete() ? "C" : "");
}

// Every event with a blank more before its object than the one before: none has the shape of another.
std::string without_shapes(std::string_view text) {
  std::string spaced;
  std::size_t blanks = 0;
  for (const char c : text) {
    spaced += c;
    const bool opens = spaced.ends_with("\ndata: {") || spaced.ends_with("\rdata: {") || spaced == "data: {";
    if (opens) spaced.insert(spaced.size() - 1, ++blanks % 64, ' ');
  }
  return spaced;
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
  const std::string chat = completion(text, text.size() + 1, json);
  require(chat == completion(text, 1 + bytes[1] % 32U, json));
  const std::string spaced = without_shapes(text);
  if (spaced.size() < kBounds.max_event_bytes) require(chat == completion(spaced, spaced.size() + 1, json));
  const auto reply = read_reply(static_cast<Protocol>(bytes[0] % 5), text, json);
  if (reply) require(reply->content_bytes >= 0 && !(reply->is_error && reply->complete));
  return 0;
}
