// What may stand in a head that we write: printable ASCII, spaces included, and nothing else.
//
// Cost: one pass. Thread rule: pure. Failure rule: none.
#pragma once

#include <algorithm>
#include <string_view>

namespace sentinel {

inline bool is_visible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

}  // namespace sentinel
