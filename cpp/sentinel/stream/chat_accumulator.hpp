// A chat completion put together again from its stream, whole: what a plain call would have answered.
//
// What: bytes of server-sent events in, cut anywhere; out come the text that each piece adds and, at any time, the
// completion so far with every member that was sent, known to us or not. (StreamAccumulator counts for the gateway and
// keeps only what it bills by; this one keeps everything and is for who consumes the answer.)
// How deltas combine is what the official Python SDK does: in a message texts are appended, numbers added, objects
// merged, lists joined entry by entry where entries have an `index`; null says nothing. Except that `role`, `id` and
// `name` stay as first given (some providers repeat them in every chunk), that an `index` is looked for by its value and
// not its position, and that a null `usage` or `system_fingerprint` does not take back one that was given.
// `obfuscation` is dropped.
//
// How it is fast: nearly every event of a stream is the one before it with another text in one place. When an event did
// nothing but append to one text, its bytes around that text (and around `obfuscation`) are kept as a shape. An event
// with the same bytes around another text needs no JSON parser: the text is checked and appended. Anything else is read
// in full. The result never depends on which way an event went.
//
// Contract: data is a JSON object in UTF-8, or [DONE], which ends the stream; what follows it is not read. Bounds:
// `max_event_bytes` for an event; past `max_kept_bytes` of answer the stream fails with the event that went over.
// Cost: 0.1 us for an event of a known shape, one JSON parse for another. Thread rule: that of the JsonParser lent.
// Failure rule: after a fault every feed is that fault again; what was taken in before stays readable, in whole events.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/base/result.hpp"
#include "sentinel/stream/json.hpp"
#include "sentinel/stream/json_value.hpp"
#include "sentinel/stream/sse_parser.hpp"

namespace sentinel::stream {

enum class StreamFault : std::uint8_t {
  none,
  malformed,  // an event is not a JSON object
  too_large,  // a bound was passed
  provider,   // the provider says that it failed
  cut,        // the bytes ended before [DONE]
};

struct ChatBounds {
  std::size_t max_event_bytes = std::size_t{1} << 20;
  std::size_t max_kept_bytes = std::size_t{16} << 20;
};

class ChatAccumulator {
 public:
  explicit ChatAccumulator(ChatBounds bounds) : bounds_(bounds), sse_(bounds.max_event_bytes) {}
  ChatAccumulator(const ChatAccumulator&) = delete;  // the shapes point into the choices
  ChatAccumulator& operator=(const ChatAccumulator&) = delete;

  // Appends to `text` what these bytes add to the content of choice 0, up to the fault if there is one.
  Status feed(std::string_view chunk, JsonParser& json, std::string& text);

  // No more bytes come: the fault there was, or `cut` unless the stream is complete.
  Status close();

  bool complete() const { return complete_; }  // [DONE] was read
  StreamFault fault() const { return fault_; }

  // Copies of what there is so far. A message has `role` and `content` whatever was sent.
  JsonValue completion() const;
  JsonValue choices() const;               // a list, by index
  JsonValue message() const;               // of the first choice
  const JsonValue* usage() const;          // nullptr or null: not known yet
  const JsonValue* finish_reason() const;  // of the first choice; nullptr or null: not known yet
  std::uint64_t events_by_shape() const { return events_by_shape_; }  // how many needed no JSON parser

 private:
  friend class ChunkReader;

  struct ChatChoice {
    std::int64_t index = 0;
    JsonValue::Object members;  // finish_reason, logprobs, whatever else was sent beside the delta
    JsonValue::Object message;
  };

  // An event as bytes around one text, and perhaps around a second that is thrown away.
  struct Shape {
    std::string before, between, after;
    bool has_padding = false;
    bool padding_first = false;
    std::string* text = nullptr;  // where the text goes
    bool is_content = false;      // whether that is the content of choice 0
  };

  Status take(const SseEvent& event, JsonParser& json, std::string& text);
  Status read(std::string_view data, std::string_view event_name, JsonParser& json, std::string& text);
  bool take_by_shape(std::string_view data, std::string& text);
  bool matches(const Shape& shape, std::string_view data);
  void learn(std::string_view data, std::string_view key, std::string* text);
  void forget_shapes();
  Status fail(StreamFault fault, std::string message);

  static constexpr std::size_t kShapes = 4;  // several choices, or text and tool calls in turn

  ChatBounds bounds_;
  SseParser sse_;
  JsonValue::Object members_;
  std::vector<ChatChoice> choices_;  // by index
  std::size_t kept_bytes_ = 0;
  std::uint64_t events_ = 0;
  std::uint64_t events_by_shape_ = 0;
  std::array<Shape, kShapes> shapes_;
  std::size_t known_shapes_ = 0;
  std::size_t last_shape_ = 0;
  std::string_view
      matched_;  // the text of the event that a shape matched last, in its chunk or in unescaped_
  std::string unescaped_;
  bool begun_ = false;
  bool complete_ = false;
  StreamFault fault_ = StreamFault::none;
  std::string fault_message_;
};

}  // namespace sentinel::stream
