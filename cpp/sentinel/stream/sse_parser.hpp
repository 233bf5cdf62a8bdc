// Server-sent events (WHATWG HTML, "event stream interpretation"), bytes in, events out.
//
// What: a push parser. Feed it chunks cut anywhere; it calls back once for every block that a blank line
// ends, in order, blocks without data (comments, keep-alives) included, so that a relay can pass `raw` on
// unchanged: the raws put together are the input without its unfinished tail. A consumer of events looks only
// at those with `has_data`.
// To the letter: one leading BOM; CR, LF and CRLF end a line, nothing else does; an id with NUL is ignored;
// retry only of digits; the last block without its blank line is never reported. Bytes are not decoded: who
// needs UTF-8 checks it.
// A CRLF cut between two chunks ends its line at the CR; the LF opens the next block's raw.
//
// Contract: views live until the callback returns. `on_event` returns nothing, or a Status whose error stops
// the feed.
// Cost: one pass. No copy and no allocation for a block that lies in one chunk and has one data line; else
// the block is held (and its data lines joined) in buffers that are given back when they grew beyond 16 KiB.
// Bound: a block of more than `max_event_bytes` before its blank line, wherever it is cut, is an
// `upstream_error`.
// Thread rule: one thread at a time, not re-entrant. Failure rule: after an error, or an exception out of
// `on_event`, the parser is closed: it holds nothing, and every later feed is an error.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "sentinel/base/result.hpp"

namespace sentinel::stream {

struct SseEvent {
  std::string_view event;                 // the type; "message" when the block names none; empty without data
  std::string_view data;                  // data lines joined by LF
  std::string_view id;                    // the last id so far, as a browser would have it
  std::optional<std::uint64_t> retry_ms;  // of this block
  std::string_view raw;                   // the block's bytes, blank line included
  bool has_data = false;                  // false: not an event by the standard, only bytes to pass on
};

class SseParser {
 public:
  explicit SseParser(std::size_t max_event_bytes) : max_event_bytes_(max_event_bytes) {}

  template <class F>
  Status feed(std::string_view chunk, F&& on_event);

  std::optional<std::uint64_t> retry_ms() const { return retry_ms_; }  // the last one, of any block
  std::size_t pending_bytes() const { return delivered_ ? 0 : held_.size(); }
  bool failed() const { return state_ == State::closed; }

 private:
  enum class State : std::uint8_t { ready, busy, closed };
  enum class Step : std::uint8_t { event, need_more, too_big };

  struct Slice {  // of the block; offsets stay true when the block moves into held_
    std::size_t offset = 0;
    std::size_t size = 0;
  };

  struct Block {
    std::size_t line_start = 0;  // where the current line begins
    std::size_t carried = 0;     // 1 when the block opens with the LF of a cut CRLF
    Slice event;
    Slice data;
    std::size_t data_lines = 0;
    std::optional<std::uint64_t> retry_ms;
  };

  class Busy {  // closes the parser unless the feed comes to its end
   public:
    explicit Busy(SseParser& parser) : parser_(parser) { parser_.state_ = State::busy; }
    ~Busy() { done_ ? void(parser_.state_ = State::ready) : parser_.close(); }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;
    void done() { done_ = true; }

   private:
    SseParser& parser_;
    bool done_ = false;
  };

  Step next(std::string_view& rest, SseEvent& out);
  bool take_plain(std::string_view& rest, SseEvent& out);
  void take_line(const char* base, std::size_t offset, std::string_view line);
  void take_data(const char* base, Slice value);
  void dispatch(std::string_view raw, SseEvent& out);
  void begin_block();
  void close();
  Error closed_error() const;
  Error too_big_error() const;

  std::size_t max_event_bytes_;
  State state_ = State::ready;
  bool first_line_ = true;  // a BOM may still come
  bool after_cr_ = false;   // an LF now would belong to the line just ended
  bool delivered_ = false;  // held_ and block_ belong to the event last reported
  Block block_;
  std::string held_;    // the block so far, when it did not end in its chunk
  std::string joined_;  // data of several lines
  std::string last_id_;
  std::optional<std::uint64_t> retry_ms_;
};

template <class F>
Status SseParser::feed(std::string_view chunk, F&& on_event) {
  assert(state_ != State::busy && "feed called from its own callback");
  if (state_ == State::closed) return closed_error();
  Busy busy(*this);
  SseEvent event;
  for (;;) {
    const Step step = next(chunk, event);
    if (step == Step::too_big) return too_big_error();
    if (step == Step::need_more) break;
    if constexpr (std::is_same_v<std::invoke_result_t<F&, const SseEvent&>, Status>) {
      Status status = on_event(static_cast<const SseEvent&>(event));
      if (!status) return status;
    } else {
      on_event(static_cast<const SseEvent&>(event));
    }
  }
  busy.done();
  return Done{};
}

}  // namespace sentinel::stream
