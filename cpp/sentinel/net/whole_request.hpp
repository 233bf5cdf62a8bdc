// A POST of HTTP/1.1 that lies whole in one buffer, as nearly every request of ours does.
//
// Contract: read_whole_request() gives the request only if the bytes are one complete request of the plainest kind and
// nothing else: a POST, origin-form target, every byte of the head what RFC 9112 allows, no transfer coding, no expectation, no
// upgrade, a connection that stays open, one Content-Length at most, exactly that many bytes behind the head. Whatever
// is missing, doubtful or merely rare is nullopt: the server's own parser sees it then, and answers it. So this must
// accept less than any strict parser does, and read what it accepts as they do; fuzz_whole_request holds it to llhttp.
// Cost: one pass over the head, no allocation beyond `headers`, whose memory the caller keeps.
// Thread rule: pure. Failure rule: none.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace sentinel::net {

// A field of a request's head; the name in any case, the value without white space around it.
struct RequestHeader {
  std::string_view name;
  std::string_view value;
};

// Views into the buffer; the fields are in the vector that was handed over.
struct WholeRequest {
  std::string_view path;   // escapes are left as they are
  std::string_view query;  // without its question mark
  std::string_view body;
};

std::optional<WholeRequest> read_whole_request(std::string_view bytes, std::vector<RequestHeader>& headers);

}  // namespace sentinel::net
