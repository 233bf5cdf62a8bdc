// UTF-8 as the Unicode standard has it (no overlong forms, no surrogates, nothing above U+10FFFF).
//
// Contract: `truncate` gives a prefix of at most `max_bytes` that never ends inside a character (B8); bytes
// that are not UTF-8 are cut where the limit falls. `sanitize` replaces every maximal ill-formed part by
// U+FFFD.
// Cost: one pass, eight ASCII bytes a step; only `sanitize` allocates. Thread rule: pure. Failure rule: none.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sentinel::utf8 {

bool valid(std::string_view text);
std::string_view truncate(std::string_view text, std::size_t max_bytes);
std::string sanitize(std::string_view text);

}  // namespace sentinel::utf8
