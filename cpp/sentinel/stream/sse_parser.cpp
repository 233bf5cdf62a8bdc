#include "sentinel/stream/sse_parser.hpp"

#include <algorithm>
#include <limits>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sentinel::stream {
namespace {

constexpr std::size_t kKeptCapacity = 16 * 1024;
constexpr std::string_view kBom = "\xEF\xBB\xBF";

#if defined(__SSE2__)
// Which of the sixteen bytes end a line.
__m128i line_ends(const char* from) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\r')));
}
#endif

// The first CR or LF, or `end`. Both are looked for at once: memchr would need two passes.
const char* find_line_end(const char* cursor, const char* end) {
#if defined(__SSE2__)
  for (; end - cursor >= 64; cursor += 64) {
    const __m128i first = _mm_or_si128(line_ends(cursor), line_ends(cursor + 16));
    const __m128i second = _mm_or_si128(line_ends(cursor + 32), line_ends(cursor + 48));
    if (_mm_movemask_epi8(_mm_or_si128(first, second)) != 0) break;
  }
  if (end - cursor >= 16) {
    const char* const last = end - 16;  // the last step looks back as far as it must
    for (;; cursor = std::min(cursor + 16, last)) {
      const auto mask = static_cast<unsigned>(_mm_movemask_epi8(line_ends(cursor)));
      if (mask != 0) return cursor + __builtin_ctz(mask);
      if (cursor == last) return end;
    }
  }
#endif
  while (cursor != end && *cursor != '\n' && *cursor != '\r') ++cursor;
  return cursor;
}

// Of the line end that opens `rest` if a blank line with the same end follows; else 0.
std::size_t size_of_ending(std::string_view rest) {
  if (rest.starts_with("\n\n")) return 1;
  return rest.starts_with("\r\n\r\n") ? 2 : 0;
}

// Only digits, at least one, that fit: anything else leaves the reconnection time as it was.
std::optional<std::uint64_t> parse_retry(std::string_view value) {
  if (value.empty()) return std::nullopt;
  std::uint64_t number = 0;
  for (const char c : value) {
    if (c < '0' || c > '9') return std::nullopt;
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (number > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) return std::nullopt;
    number = number * 10 + digit;
  }
  return number;
}

void clear_or_free(std::string& buffer) {
  buffer.clear();
  if (buffer.capacity() > kKeptCapacity) buffer.shrink_to_fit();
}

}  // namespace

void SseParser::begin_block() {
  delivered_ = false;
  block_ = Block{};
  clear_or_free(held_);
  clear_or_free(joined_);
}

void SseParser::close() {
  begin_block();
  state_ = State::closed;
}

Error SseParser::closed_error() const {
  return Error{ErrorCode::upstream_error, "the event stream has already failed"};
}

Error SseParser::too_big_error() const {
  return Error{ErrorCode::upstream_error,
               "an event of the stream is larger than " + std::to_string(max_event_bytes_) + " bytes"};
}

// What nearly every chunk begins with: a block of one data line, whole. It leaves no trace in the parser.
bool SseParser::take_plain(std::string_view& rest, SseEvent& out) {
  if (!rest.starts_with("data:")) return false;
  const char* const begin = rest.data();
  const char* const end = begin + rest.size();
  const char* const stop = find_line_end(begin + 5, end);
  const std::size_t ending = size_of_ending({stop, static_cast<std::size_t>(end - stop)});
  const auto line = static_cast<std::size_t>(stop - begin);
  if (ending == 0 || line + ending > max_event_bytes_) return false;
  const std::size_t value_at = begin[5] == ' ' ? 6 : 5;
  out.event = "message";
  out.data = {begin + value_at, line - value_at};
  out.id = last_id_;
  out.retry_ms.reset();
  out.raw = {begin, line + 2 * ending};
  out.has_data = true;
  rest.remove_prefix(out.raw.size());
  return true;
}

// Reads `rest` up to the end of a block. Positions are kept relative to the block, whose first part may be in
// held_; lines that began there are completed there, so that each line is looked at once and in one piece.
SseParser::Step SseParser::next(std::string_view& rest, SseEvent& out) {
  if (rest.empty()) return Step::need_more;
  if (delivered_) begin_block();
  if (held_.empty() && !after_cr_ && !first_line_ && take_plain(rest, out)) return Step::event;
  const char* begin = rest.data();
  const char* const end = begin + rest.size();
  const char* cursor = begin;
  if (after_cr_ && cursor != end) {
    after_cr_ = false;
    if (*cursor == '\n') {
      ++cursor;
      if (block_.line_start == 0) block_.carried = 1;
      ++block_.line_start;
    }
  }
  for (;;) {
    const char* const stop = find_line_end(cursor, end);
    const std::size_t line_end = held_.size() + static_cast<std::size_t>(stop - begin);
    if (line_end - block_.carried > max_event_bytes_) return Step::too_big;
    if (stop == end) {
      if (begin != end) held_.append(begin, end);
      rest = {};
      return Step::need_more;
    }
    const char* after = stop + 1;
    if (*stop == '\r') {
      if (after == end) {
        after_cr_ = true;
      } else if (*after == '\n') {
        ++after;
      }
    }
    const char* base = begin;
    if (!held_.empty()) {
      held_.append(begin, after);
      begin = after;
      base = held_.data();
    }
    std::size_t offset = block_.line_start;
    if (first_line_) {
      first_line_ = false;
      if (std::string_view(base, line_end).starts_with(kBom)) offset += kBom.size();
    }
    if (offset == line_end) {
      dispatch({base, held_.empty() ? static_cast<std::size_t>(after - begin) : held_.size()}, out);
      rest = {after, static_cast<std::size_t>(end - after)};
      return Step::event;
    }
    take_line(base, offset, {base + offset, line_end - offset});
    block_.line_start = held_.empty() ? static_cast<std::size_t>(after - begin) : held_.size();
    cursor = after;
  }
}

void SseParser::take_line(const char* base, std::size_t offset, std::string_view line) {
  std::string_view name = line;
  std::size_t value_at = line.size();
  if (line.starts_with("data:")) {  // nearly every line
    name = line.substr(0, 4);
    value_at = 5;
  } else if (const auto colon = line.find(':'); colon != std::string_view::npos) {
    if (colon == 0) return;  // a comment
    name = line.substr(0, colon);
    value_at = colon + 1;
  }
  if (value_at < line.size() && line[value_at] == ' ') ++value_at;
  const Slice value{offset + value_at, line.size() - value_at};
  if (name == "data") return take_data(base, value);
  const std::string_view text = line.substr(value_at);
  if (name == "event") {
    block_.event = value;
  } else if (name == "id") {
    if (text.find('\0') == std::string_view::npos) last_id_.assign(text);
  } else if (name == "retry") {
    if (const auto retry = parse_retry(text)) block_.retry_ms = retry_ms_ = retry;
  }
}

void SseParser::take_data(const char* base, Slice value) {
  ++block_.data_lines;
  if (block_.data_lines == 1) {
    block_.data = value;
    return;
  }
  if (block_.data_lines == 2) joined_.assign(base + block_.data.offset, block_.data.size);
  joined_.push_back('\n');
  joined_.append(base + value.offset, value.size);
}

void SseParser::dispatch(std::string_view raw, SseEvent& out) {
  const auto view = [raw](Slice slice) { return raw.substr(slice.offset, slice.size); };
  delivered_ = true;
  out.raw = raw;
  out.id = last_id_;
  out.retry_ms = block_.retry_ms;
  out.has_data = block_.data_lines > 0;
  out.event = {};
  out.data = {};
  if (!out.has_data) return;
  out.event = block_.event.size > 0 ? view(block_.event) : std::string_view("message");
  out.data = block_.data_lines == 1 ? view(block_.data) : std::string_view(joined_);
}

}  // namespace sentinel::stream
