// Cuts text into the pieces within which an encoding merges bytes, as the pattern of tiktoken's encoding does.
//
// Contract: `next_piece` gives the end of the piece that starts at `start`; the pieces lie end to end and cover the
// text, as every character matches some branch of either pattern. It equals the regular expression on every text:
// the branches are tried in the pattern's order, and where the expression would backtrack the place it would come to
// is computed (see the .cpp). A piece may be as long as the text.
// Cost: linear in the text: a character is looked at a fixed number of times. No allocation.
// Thread rule: pure. Failure rule: `text` is valid UTF-8 and `start` a character's start before its end (asserted).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sentinel::tokens {

enum class EncodingName : std::uint8_t { o200k_base, cl100k_base };

std::size_t next_piece(EncodingName name, std::string_view text, std::size_t start);

}  // namespace sentinel::tokens
