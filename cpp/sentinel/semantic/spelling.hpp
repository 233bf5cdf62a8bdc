// Whether two words are one word with a slip of the pen.
//
// Cost: O(length) for one slip, O(length^2) at most for two. Thread rule: pure. Failure rule: none.
#pragma once

#include <cstddef>
#include <string_view>

namespace sentinel::semantic {

// At most `most` insertions, deletions, replacements or swaps of neighbours apart; most is 1 or 2.
bool nearly_equal(std::string_view left, std::string_view right, std::size_t most);

// One slip in words of four letters or more, two from eight on; never where a digit is.
bool is_slip(std::string_view left, std::string_view right);

}  // namespace sentinel::semantic
