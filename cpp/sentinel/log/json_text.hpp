// Any text as one JSON string that is safe to log: the sink that every logged value passes.
//
// Contract: redacted first, then cut at 256 bytes on a character; invalid UTF-8 becomes U+FFFD; quotes,
//   control characters, line and paragraph separators and the marks that turn the writing direction are
//   escaped, so that a value can neither end its line nor repaint a terminal. Redaction sees at most the
//   first 4 KiB of a text.
// Cost: linear in the text, at most 4 KiB of it; two short allocations. Thread rule: pure. Failure rule:
// none.
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace sentinel::log {

void append_text(std::string& out, std::string_view text);  // with its quotes

// The same, remembering short texts: accounts, models and targets come again line after line, and redacting
// one costs more than the rest of its line. Bounded: 64 texts of at most 64 bytes. One owner.
class TextMemory {
 public:
  void append(std::string& out, std::string_view text);

 private:
  struct Entry {
    std::string text;
    std::string rendered;
  };
  std::array<Entry, 64> entries_;
};

}  // namespace sentinel::log
