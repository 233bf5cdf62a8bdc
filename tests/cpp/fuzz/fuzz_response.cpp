// Any bytes as an HTTP response: nothing crashes, and where the bytes are cut changes nothing.
//
// The first byte chooses the kind of request and where to cut; the rest is the reply.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sentinel/base/result.hpp"
#include "sentinel/net/response_parser.hpp"

namespace {

using sentinel::Result;
using sentinel::net::Header;
using sentinel::net::ResponseHead;
using sentinel::net::ResponseParser;

struct Outcome {
  std::string head;
  std::string body;
  std::string error;
  bool complete = false;
  std::size_t consumed = 0;

  bool operator==(const Outcome&) const = default;
};

void must(bool promise) {
  if (!promise) std::abort();
}

void note(Outcome& outcome, ResponseParser& parser, const Result<ResponseParser::Progress>& got) {
  if (!got) {
    outcome.error = got.error().message;
    return;
  }
  if (got->head) {
    const ResponseHead head = parser.take_head();
    must(head.status >= 200 && head.status <= 599 && head.headers.size() <= 200);
    outcome.head = std::to_string(head.status);
    for (const Header& header : head.headers) {
      outcome.head.append("\n").append(header.name).append(": ").append(header.value);
    }
  }
  for (const std::string_view piece : got->body) outcome.body += piece;
  outcome.consumed += got->consumed;
}

Outcome parse(std::string_view reply, bool no_body, std::size_t step) {
  ResponseParser parser(no_body);
  Outcome outcome;
  for (std::size_t at = 0; at < reply.size() && outcome.error.empty() && !parser.complete(); at += step) {
    note(outcome, parser, parser.feed(reply.substr(at, step)));
  }
  if (outcome.error.empty() && !parser.complete()) note(outcome, parser, parser.eof());
  outcome.complete = parser.complete();
  must(outcome.complete == outcome.error.empty());
  if (!outcome.complete) outcome.consumed = 0;  // how far a refused reply was read depends on the cut
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const bool no_body = (data[0] & 1U) != 0;
  const std::size_t step = 1 + (data[0] >> 1U);
  const std::string_view reply(reinterpret_cast<const char*>(data) + 1, size - 1);
  must(parse(reply, no_body, step) == parse(reply, no_body, size));
  return 0;
}
