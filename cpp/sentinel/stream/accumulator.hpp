// One object that reads a provider's stream beside the relay: line buffer, content, tool calls, refusals,
// logprobs, several choices, usage and finish (B7).
//
// What: chunks in, one StreamEvent per block out, its `raw` untouched for the relay. A block's facts are
// taken in before its callback runs, so what was relayed and what was counted never differ, wherever the
// stream is cut.
// Not here: no bytes are rewritten, nothing is withheld; the relay decides by `kind`.
//
// Contract: `chat`, `completions`, `responses` or `messages`. Data must be JSON in UTF-8 (or [DONE]);
// anything else is an `upstream_error` from feed. Events after the terminal one are reported as `other` and
// not read. `on_event` returns nothing or a Status whose error stops the feed; it must not use the same
// JsonParser for a document it keeps.
// Bounds: `max_event_bytes` as in SseParser. Text, tool calls and choices are kept up to `max_kept_bytes`;
// the first thing that does not fit ends keeping for good (`truncated`), counting goes on. 0 keeps nothing:
// counting only.
// Cost: one JSON parse per event, about a third of a microsecond for 200 bytes; no allocation but for kept
// text.
// Thread rule: that of its JsonParser. Failure rule: after an error or an exception the accumulator takes no
// more input; all it has counted and kept stays readable and belongs to whole deltas.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "sentinel/base/result.hpp"
#include "sentinel/stream/json.hpp"
#include "sentinel/stream/protocol.hpp"
#include "sentinel/stream/sse_parser.hpp"
#include "sentinel/stream/token_counts.hpp"
#include "sentinel/stream/usage.hpp"

namespace sentinel::stream {

struct Bounds {
  std::size_t max_event_bytes = std::size_t{1} << 20;
  std::size_t max_kept_bytes = std::size_t{1} << 20;
};

struct StreamEvent {
  enum class Kind : std::uint8_t {
    content,     // generated text, tool arguments, refusal or reasoning
    usage_only,  // the chunk include_usage adds: no choices, a usage object
    terminal,    // the protocol's last event ([DONE], response.completed, message_stop, ...)
    error,       // the provider says that it failed
    other,       // comments, pings, roles, finish reasons, whatever follows the terminal event
  };
  std::string_view raw;
  Kind kind = Kind::other;
  std::string_view error_message;  // of an error event, and of a terminal response.failed
};

struct ToolCall {
  std::int64_t index = 0;  // the provider's; -1 for a chat `function_call` of the old form
  std::string id;
  std::string type;
  std::string name;
  std::string arguments;
};

struct Choice {
  std::int64_t index = 0;
  std::string role;
  std::string content;
  std::string refusal;
  std::string reasoning;
  std::vector<ToolCall> tool_calls;
  std::int64_t logprob_tokens = 0;  // how many tokens came with log probabilities
  std::string finish_reason;        // responses: the status; messages: the stop_reason
};

class StreamAccumulator {
 public:
  StreamAccumulator(Protocol protocol, Bounds bounds, JsonParser& json);

  template <class F>
  Status feed(std::string_view chunk, F&& on_event);

  // nullptr until the provider has said. For messages the first figures come before the text: until the final
  // ones, `completion` is at least content_deltas() and usage_estimated() is true.
  const Usage* usage() const;
  bool usage_estimated() const { return usage_known_ && usage_estimated_; }

  bool finished() const { return finished_; }  // the terminal event was seen
  bool failed() const {
    return failed_ || sse_.failed();
  }  // an error event, response.failed, or a broken stream
  bool truncated() const { return truncated_; }
  std::int64_t content_deltas() const { return content_deltas_; }  // events that carried something generated
  std::int64_t content_bytes() const { return content_bytes_; }    // of all generated text, kept or not
  std::size_t pending_bytes() const { return sse_.pending_bytes(); }
  const std::string& error_message() const { return error_message_; }
  const std::vector<Choice>& choices() const { return choices_; }

 private:
  friend class EventReader;

  Status read(const SseEvent& event, StreamEvent& out);

  Protocol protocol_;
  bool finished_ = false;
  bool failed_ = false;
  bool truncated_ = false;
  bool usage_known_ = false;
  bool usage_estimated_ = false;
  SseParser sse_;
  JsonParser* json_;
  std::size_t max_kept_bytes_;
  std::size_t kept_bytes_ = 0;
  std::int64_t events_ = 0;
  std::int64_t content_deltas_ = 0;
  std::int64_t content_bytes_ = 0;
  TokenCounts counts_;  // messages: merged over the stream
  Usage usage_;
  std::string error_message_;
  std::vector<Choice> choices_;
};

template <class F>
Status StreamAccumulator::feed(std::string_view chunk, F&& on_event) {
  const auto take = [this, &on_event](const SseEvent& event) -> Status {
    StreamEvent out;
    Status status = read(event, out);
    if (!status) return status;
    if constexpr (std::is_same_v<std::invoke_result_t<F&, const StreamEvent&>, Status>) {
      return on_event(static_cast<const StreamEvent&>(out));
    } else {
      on_event(static_cast<const StreamEvent&>(out));
      return Done{};
    }
  };
  return sse_.feed(chunk, take);
}

}  // namespace sentinel::stream
