// Pipeline step 9 without I/O: upstream bytes in, client bytes out, one accumulator beside them.
//
// Contract: only whole events are passed on, as the bytes they came in; withheld are the usage chunk that we asked for and
// the client did not, and the terminal event, which waits until the exchange is settled. A stream that ends without its
// terminal event ends with an error event, never cleanly. A plain reply is kept whole (bounded) and checked before it
// goes out. Error texts are scrubbed of the credential that was sent.
// Cost: one scan and one parse per event, no copy unless an event is split over reads. Thread rule: the loop's.
#pragma once

#include <string>
#include <string_view>

#include "sentinel/engine/exchange.hpp"
#include "sentinel/stream/accumulator.hpp"
#include "sentinel/stream/json.hpp"

namespace sentinel::engine {

class StreamRelay {
 public:
  StreamRelay(Exchange& exchange, stream::JsonParser& parser);

  // Bytes for the client are appended to `out`. An error means that the upstream broke its protocol: nothing more may
  // be fed.
  Status feed(std::string_view bytes, Instant now, std::string& out);

  // The terminal event was seen: nothing more is for the client.
  bool finished() const { return accumulator_.finished(); }

  // The upstream's clean end. Done, or the error that the missing terminal event is.
  Status finish();

  // The terminal event, held back until the exchange is settled.
  const std::string& last_bytes() const { return terminal_; }

  // Writes what was counted into the exchange.
  void report();
  bool failed_in_band() const { return accumulator_.failed(); }

 private:
  Exchange& exchange_;
  stream::StreamAccumulator accumulator_;
  std::string terminal_;
  bool cut_line_end_ = false;  // a withheld chunk ended in CR: the LF of it leads the next event
};

// Checks a whole plain reply and takes its usage. An error means that the client gets a 502 instead of it.
Status accept_plain(Exchange& exchange, std::string_view content_type, std::string_view body,
                    stream::JsonParser& parser);

// Replaces the credential, and every run of it of 12 bytes or more, by "[redacted]" (S9).
std::string scrub(std::string_view text, std::string_view credential);

}  // namespace sentinel::engine
