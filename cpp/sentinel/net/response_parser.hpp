// Sans-I/O parser of one HTTP/1.1 response: llhttp with every leniency off, plus our own checks.
//
// Contract: feed() takes bytes as they arrive, cut anywhere, and says what they held, always in this order:
// the head (once), body bytes (views into the fed bytes; nothing is copied), the end of the message.
// Informational replies are skipped. Bytes after the message are left alone (Progress::consumed) and make
// the connection unfit for reuse.
// Refused: heads over 64 KiB or 200 fields, more than 8 informational replies, 101, a repeated Content-
// Length, Content-Length with Transfer-Encoding, any Transfer-Encoding but exactly `chunked`, control bytes
// in values, folded lines, bare LF, versions other than 1.0 and 1.1, any Content-Encoding but identity
// (identity is all we ask for), more than 8 KiB of framing (chunk extensions, trailers) between two body
// bytes.
// Cost: one pass; a handful of allocations for a head, none for a body.
// Thread rule: one thread at a time.
// Failure rule: an Error (upstream_error) that says what was wrong, after which the parser stays failed.
// What came before the fault is handed out first: the same bytes give the same outcome wherever they are
// cut.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/base/result.hpp"

struct llhttp__internal_s;

namespace sentinel::net {

struct Header {
  std::string_view name;  // lower case
  std::string_view value;
};

// Status and fields of a reply. Owns the bytes its headers refer to; moves, does not copy.
struct ResponseHead {
  int status = 0;
  std::vector<Header> headers;
  std::vector<char> text;

  ResponseHead() = default;
  ResponseHead(ResponseHead&&) = default;
  ResponseHead& operator=(ResponseHead&&) = default;

  // The first field of that (lower-case) name.
  std::optional<std::string_view> find(std::string_view name) const;
};

class ResponseParser {
 public:
  struct Progress {
    bool head = false;                       // the head ended in these bytes; ask take_head()
    bool complete = false;                   // the message ended
    std::span<const std::string_view> body;  // in order; valid until the next call
    std::size_t consumed = 0;                // less than fed only when bytes follow the message
  };

  // `no_body`: the request was HEAD, whose reply has a head only, whatever it says.
  explicit ResponseParser(bool no_body = false);
  ResponseParser(const ResponseParser&) = delete;
  ResponseParser& operator=(const ResponseParser&) = delete;
  ~ResponseParser();

  Result<Progress> feed(std::string_view bytes);
  Result<Progress> eof();  // the peer closed: the regular end of a close-delimited body, an Error otherwise

  ResponseHead take_head();
  bool started() const;  // at least one byte was fed
  bool complete() const;
  bool reusable() const;  // complete, nothing followed, and the peer lets the connection live on
  bool failed() const;    // the next feed() or eof() gives the Error

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sentinel::net
