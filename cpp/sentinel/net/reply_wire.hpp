// A reply as it stands on an HTTP/1.1 connection.
//
// Contract: append_reply_head() writes status line, `date`, the given fields and the empty line; a reply whose fields
// have no content-length is of unknown length and gets `transfer-encoding: chunked`, and its body goes through
// append_chunk() and append_last_chunk(). Fields are written as they are: whoever made them has checked them.
// Cost: appends only. Thread rule: a HttpDate is of one thread; the rest is pure. Failure rule: none.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "sentinel/base/clock.hpp"

namespace sentinel::net {

using HeaderPairs = std::span<const std::pair<std::string, std::string>>;

// The time as a Date field has it (RFC 9110, 5.6.7), written anew once a second.
class HttpDate {
 public:
  std::string_view at(Duration unix_time);

 private:
  std::int64_t second_ = -1;
  std::string text_;
};

enum class Length : std::uint8_t { declared, chunked };

// How the body behind this head has to be written.
Length append_reply_head(std::string& wire, int status, HeaderPairs fields, std::string_view date);

void append_chunk(std::string& wire, std::string_view bytes);  // nothing for no bytes: that would be the last
void append_last_chunk(std::string& wire);

}  // namespace sentinel::net
