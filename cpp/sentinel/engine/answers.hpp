// The kept answers and the pipeline: what an exchange may take from the cache (step 4), and what it leaves there (step 10).
//
// Contract: plan() decides from route, request and Cache-Control alone what the cache means for the exchange; without a
// plan it is a bypass. look_up() answers from a kept entry, in the form that was asked, or leaves the exchange as it is;
// it is refused where a rule that counts hits has no room for the answer.
// keep() stores an answer that is whole, unfiltered and permitted (design, "Identity and partition of cached answers").
// Embeddings are kept item by item: look_up() leaves in the body only the items that are missing, complete() puts the
// reply together from what was kept and what came.
// Cost: a digest of the body, one look-up, one copy of the answer. Thread rule: any thread. Failure rule: what cannot be
// read is a miss.
#pragma once

#include <string>
#include <string_view>

#include "sentinel/cache/exact_cache.hpp"
#include "sentinel/engine/exchange.hpp"
#include "sentinel/engine/quotas.hpp"
#include "sentinel/stream/json.hpp"

namespace sentinel::engine {

class Answers {
 public:
  Answers(cache::ExactCache& cache, Quotas& quotas) : cache_(cache), quotas_(quotas) {}

  // Of the body that `reader` read last.
  void plan(Exchange& exchange, RequestReader& reader, std::string_view query,
            std::string_view cache_control) const;

  // Sets the exchange's reply if the answer is here.
  Status look_up(Exchange& exchange, stream::JsonParser& parser, Instant now) const;
  // For one that missed and found no flight to join: the answer may have come in between.
  Status look_again(Exchange& exchange, stream::JsonParser& parser, Instant now) const;

  // `body`: the whole answer as the upstream gave it, terminal event included.
  void keep(Exchange& exchange, std::string_view content_type, std::string_view body,
            stream::JsonParser& parser, Instant now) const;

  // The whole reply of an embeddings request of which `body` answers the asked items; those are kept.
  Result<std::string> complete(Exchange& exchange, std::string body, stream::JsonParser& parser,
                               Instant now) const;

 private:
  Status answer_with(Exchange& exchange, const cache::EntryPtr& entry, stream::JsonParser& parser,
                     Instant now) const;
  Status look_up_items(Exchange& exchange, Instant now) const;
  Status answer_items(Exchange& exchange, Instant now) const;
  Status admit(Exchange& exchange, const stream::Usage& usage, std::int64_t worth_micro_usd,
               Instant now) const;
  bool may_keep(const Exchange& exchange) const;
  cache::Entry entry_for(const Exchange& exchange, Instant now) const;

  cache::ExactCache& cache_;
  Quotas& quotas_;
};

}  // namespace sentinel::engine
