// The headers of a request that mean something to us, found in one pass over all of them.
//
// Contract: read() takes a head as it came and keeps views into it; what stands twice and may not, the size, and whether
// a value holds a control byte are told, the pipeline decides what is refused (S3). A list that stands on several lines is
// one list (RFC 9110, section 5.3). Names have no case.
// Cost: a look at each name's length and at most two comparisons, eight bytes of a value a step; no allocation but for
// joined lines. Thread rule: one owner.
#pragma once

#include <list>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "sentinel/engine/exchange.hpp"

namespace sentinel::engine {

struct KnownHeaders {
  std::string_view authorization;
  std::string_view api_key;
  std::string_view request_id;
  std::string_view traceparent;
  std::string_view content_encoding;
  std::string_view overhead;
  std::string_view cache_control;
  std::string_view forwarded_for;
  // Not used, but whoever sends one of these twice, or both lengths, wants two readers to see two requests (S3).
  std::string_view host;
  std::string_view content_length;
  std::string_view transfer_encoding;
  // Sent on to the upstream.
  std::string_view anthropic_version;
  std::string_view anthropic_beta;
  std::string_view openai_beta;
  std::string_view idempotency_key;
  std::string_view tracestate;

  std::size_t bytes = 0;            // of all names and values as they stand in the head
  bool holds_control_byte = false;  // in some value
  std::string_view twice;           // the name of one that stands twice and is no list

  void read(std::span<const HeaderView> headers);

  // What proves who asks; empty: nothing. `ambiguous`: two different ones are given.
  std::string_view credential() const;
  bool ambiguous_credential() const;

  bool forwards_ascii() const;
  // What goes on to the upstream; null: nothing, as of most requests.
  std::unique_ptr<const ForwardedHeaders> forwarded() const;

 private:
  std::string_view* slot(std::string_view name);
  bool is_list(const std::string_view& slot) const {
    return &slot == &cache_control || &slot == &forwarded_for;
  }
  void add_line(std::string_view& slot, std::string_view line);
  std::list<std::string> joined_;  // nothing is allocated as long as it is empty
};

}  // namespace sentinel::engine
