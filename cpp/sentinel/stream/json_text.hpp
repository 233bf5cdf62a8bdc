// The inside of JSON strings, read where they stand.
//
// Contract: `scan_string` starts after the opening quote and finds the closing one; it refuses control characters and
// text without an end, and says what it saw, so that plain ASCII (nearly all of it) needs no second look. `unescape`
// takes what was scanned; it refuses escapes that JSON does not have and halves of surrogate pairs.
// Neither checks UTF-8. Cost: 16 bytes a step while nothing is to be seen. Thread rule: pure. Failure rule: `npos` or
// false.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sentinel::stream {

struct ScannedString {
  std::size_t end = std::string_view::npos;  // of the closing quote
  bool has_escapes = false;
  bool is_ascii = true;
};

ScannedString scan_string(std::string_view text, std::size_t at);

// Appends what the string means to `out`. On failure `out` holds some of it.
bool unescape(std::string_view escaped, std::string& out);

}  // namespace sentinel::stream
