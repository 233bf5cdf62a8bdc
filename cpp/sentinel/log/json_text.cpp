#include "sentinel/log/json_text.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "sentinel/base/redact.hpp"
#include "sentinel/base/utf8.hpp"

namespace sentinel::log {
namespace {

constexpr std::size_t kMaxLogged = 256;     // bytes of a value that reach the line
constexpr std::size_t kMaxRedacted = 4096;  // bytes of a value that redaction looks at

// Bytes that may need an escape: the rest is copied in runs. 0xC2 and 0xE2 lead the code points of
// `must_escape`.
constexpr std::array<bool, 256> kLook = [] {
  std::array<bool, 256> look{};
  for (std::size_t byte = 0; byte < 0x20; ++byte) look[byte] = true;
  for (const std::size_t byte : {0x22U, 0x5CU, 0x7FU, 0xC2U, 0xE2U}) look[byte] = true;
  return look;
}();

constexpr bool must_escape(std::uint32_t point) {
  return point < 0x20 || point == '"' || point == '\\' || (point >= 0x7F && point <= 0x9F) ||
         (point >= 0x200E && point <= 0x200F) || (point >= 0x2028 && point <= 0x202E) ||
         (point >= 0x2066 && point <= 0x2069);
}

void append_escape(std::string& out, std::uint32_t point) {
  switch (point) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default: break;
  }
  constexpr std::string_view kHex = "0123456789abcdef";
  out += "\\u";
  for (unsigned shift = 16; shift > 0;) {
    shift -= 4;
    out += kHex[(point >> shift) & 15U];
  }
}

struct Character {
  std::uint32_t point;
  std::size_t bytes;
};

// The character that begins at `at`, for the lead bytes of kLook only; `text` is valid UTF-8.
Character character_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t offset) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(text[at + offset]));
  };
  if (byte(0) < 0x80) return {byte(0), 1};
  if (byte(0) < 0xE0) return {(byte(0) & 0x1FU) << 6U | (byte(1) & 0x3FU), 2};
  return {(byte(0) & 0x0FU) << 12U | (byte(1) & 0x3FU) << 6U | (byte(2) & 0x3FU), 3};
}

void append_escaped(std::string& out, std::string_view text) {
  std::size_t copied = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (!kLook[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const Character character = character_at(text, at);
    if (must_escape(character.point)) {
      out.append(text, copied, at - copied);
      append_escape(out, character.point);
      copied = at + character.bytes;
    }
    at += character.bytes;
  }
  out.append(text, copied, text.size() - copied);
}

}  // namespace

void append_text(std::string& out, std::string_view text) {
  out += '"';
  if (!text.empty()) {
    const std::string safe = redact(utf8::sanitize(utf8::truncate(text, kMaxRedacted)));
    append_escaped(out, utf8::truncate(safe, kMaxLogged));
  }
  out += '"';
}

void TextMemory::append(std::string& out, std::string_view text) {
  constexpr std::size_t kMaxRemembered = 64;
  if (text.empty() || text.size() > kMaxRemembered) return append_text(out, text);
  Entry& entry = entries_[std::hash<std::string_view>{}(text) % entries_.size()];
  if (entry.text != text) {
    entry.text = text;
    entry.rendered.clear();
    append_text(entry.rendered, text);
  }
  out += entry.rendered;
}

}  // namespace sentinel::log
