// The other form of a kept answer: a stream as one body, a body as a stream (design section 4, "Fidelity").
//
// What: the same answer in the form the next caller asked for, or nothing. Every object is read against a
// closed list of members; one that is unknown, double, of another type or at odds with what came before makes
// the whole answer "not understood", which the caller treats as a miss for that form. Nothing is lost but
// what says nothing: padding (`obfuscation`), members known to be null, `annotations` that are empty. Values
// are the original's source text: numbers digit for digit, strings with their escapes; only white space
// between tokens goes. `id`, `created`, `model`, `usage`, `service_tier` and `system_fingerprint` are the
// original's.
//
// stream_to_plain: whole streams only (each choice finished, [DONE] there); the last usage counts, the first
//   `created`; the other envelope members may not change. `content` is null when none was ever sent; a role
//   that was never sent is `assistant`, there is no other. `refusal` and `logprobs` are there when the stream
//   had them at all.
// plain_to_stream: for each choice a role chunk, the text in pieces of at most 1 KiB that never cut a
//   character or an escape (one piece per token when there are log probabilities and their tokens are the
//   text, else one piece for all), each tool call opened and then its arguments, then the finish; after all
//   choices the usage chunk if asked (then `usage` is null on the others) and [DONE]. A caller who asked for
//   usage that the original lacks gets nothing. Members that streams do not have (an empty `annotations`) are
//   not sent. Tool calls of type `function` only: chunks of other types are not documented.
//
// Cost: one JSON parse and one scan of the input, output built in one string. Thread rule: that of the
// JsonParser.
// Failure rule: std::nullopt, nothing else; any bytes may be given.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sentinel/stream/json.hpp"
#include "sentinel/stream/protocol.hpp"

namespace sentinel::cache {

// chat and completions; std::nullopt for any other protocol.
std::optional<std::string> stream_to_plain(stream::Protocol protocol, std::string_view bytes,
                                           stream::JsonParser& json);
std::optional<std::string> plain_to_stream(stream::Protocol protocol, std::string_view body,
                                           bool include_usage, stream::JsonParser& json);

}  // namespace sentinel::cache
