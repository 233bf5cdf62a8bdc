// Pipeline step 9 without I/O: upstream bytes in, client bytes out, one accumulator beside them.
//
// Contract: only whole events are passed on, as the bytes they came in; held back is the terminal event, which waits until
// the exchange is settled. Where the usage-only chunks lie is told (usage_ranges), because whoever did not ask for them
// must not see them. A stream that ends without its terminal event ends with an error event, never cleanly. A plain reply
// is kept whole (bounded) and checked before it goes out. Error texts are scrubbed of the credential that was sent.
// Cost: one scan and one parse per event, no copy unless an event is split over reads. Thread rule: the loop's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sentinel/cache/byte_range.hpp"
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

  // The usage-only chunks, as offsets into all that feed() has given. The line feed that ends a carriage return belongs
  // to the chunk before it, on whichever side of a read it came.
  const std::vector<cache::ByteRange>& usage_ranges() const { return usage_ranges_; }

  // The terminal event, held back until the exchange is settled.
  const std::string& last_bytes() const { return terminal_; }

  // Writes the usage into the exchange; how much passed is there after each feed.
  void report();
  bool failed_in_band() const { return accumulator_.failed(); }

 private:
  Exchange& exchange_;
  stream::StreamAccumulator accumulator_;
  std::string terminal_;
  std::vector<cache::ByteRange> usage_ranges_;
  std::size_t given_ = 0;
  bool cut_line_end_ = false;  // a usage chunk came without the line feed of its last line end
};

// Checks a whole plain reply and takes its usage. An error means that the client gets a 502 instead of it.
Status accept_plain(Exchange& exchange, std::string_view content_type, std::string_view body,
                    stream::JsonParser& parser);

// Replaces the credential, and every run of it of 12 bytes or more, by "[redacted]" (S9).
std::string scrub(std::string_view text, std::string_view credential);

}  // namespace sentinel::engine
