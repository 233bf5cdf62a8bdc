#include "sentinel/tokens/pretokenize.hpp"

#include <cassert>

#include "sentinel/tokens/unicode_classes.hpp"

namespace sentinel::tokens {
namespace {

constexpr ClassSet kLetter = kUpper | kLower | kCaseless;
constexpr ClassSet kSpace = kBlank | kNewline;
constexpr ClassSet kSymbol = kOther | kMark;           // [^\s\p{L}\p{N}]
constexpr ClassSet kEitherCase = kCaseless | kMark;    // what both halves of an o200k word take
constexpr ClassSet kUpperHalf = kUpper | kEitherCase;  // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
constexpr ClassSet kLowerHalf = kLower | kEitherCase;  // [\p{Ll}\p{Lm}\p{Lo}\p{M}]

// Characters of a text by the place where they start. Beyond the end there is a character of no class.
class Characters {
 public:
  explicit Characters(std::string_view text) : text_(text) {}

  struct Character {
    ClassSet in;
    std::uint8_t bytes;
  };

  Character at(std::size_t place) const {
    if (place >= text_.size()) return {0, 0};
    const std::uint32_t lead = byte(place);
    if (lead < 0x80) return {kAsciiClasses[lead], 1};
    return beyond_ascii(place, lead);
  }
  // Where a run of characters of `set` from `place` on ends.
  std::size_t skip(std::size_t place, ClassSet set) const {
    if (set & kCaseless) place = skip_ideographs(place);
    Character next = at(place);
    while (next.in & set) {
      place += next.bytes;
      if (set & kCaseless) place = skip_ideographs(place);
      next = at(place);
    }
    return place;
  }
  // Most of Chinese and Korean at a step: U+5000 to U+9FFF and U+B000 to U+CFFF are letters without case.
  std::size_t skip_ideographs(std::size_t place) const {
    constexpr std::uint32_t kLeads = 0b11011111U << 5U;  // 0xE5 to 0xE9, 0xEB, 0xEC
    const auto is_lead = [](std::uint32_t lead) {
      return lead >= 0xE0 && (kLeads >> (lead & 0x1FU) & 1U) != 0;
    };
    while (place < text_.size() && is_lead(static_cast<std::uint8_t>(text_[place]))) place += 3;
    return place;
  }
  std::uint8_t byte(std::size_t place) const {
    return place < text_.size() ? static_cast<std::uint8_t>(text_[place]) : std::uint8_t{0};
  }
  std::size_t size() const { return text_.size(); }

 private:
  Character beyond_ascii(std::size_t place, std::uint32_t lead) const {
    const auto low = [&](std::size_t offset) { return byte(place + offset) & 0x3FU; };
    if (lead < 0xE0) return {class_of((lead & 0x1FU) << 6U | low(1)), 2};
    if (lead < 0xF0) return {class_of((lead & 0x0FU) << 12U | low(1) << 6U | low(2)), 3};
    return {class_of((lead & 0x07U) << 18U | low(1) << 12U | low(2) << 6U | low(3)), 4};
  }

  std::string_view text_;
};

// (?i:'s|'t|'re|'ve|'m|'ll|'d) at `place`: its end, or `place` if it is not there. U+017F folds to s.
std::size_t contraction_end(const Characters& text, std::size_t place) {
  if (text.byte(place) != '\'') return place;
  if (text.byte(place + 1) == 0xC5 && text.byte(place + 2) == 0xBF) return place + 3;
  const auto letter = [&](std::size_t at) {
    const bool ascii_letter = (text.at(at).in & (kUpper | kLower)) != 0 && text.byte(at) < 0x80;
    return ascii_letter ? static_cast<char>(text.byte(at) | 0x20) : ' ';
  };
  const char first = letter(place + 1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return place + 2;
  const char second = letter(place + 2);
  const bool both = ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l');
  return both ? place + 3 : place;
}

// \p{N}{1,3} from a first character that is one.
std::size_t number_end(const Characters& text, std::size_t place) {
  for (int digits = 0; digits < 3 && (text.at(place).in & kNumber); ++digits) place += text.at(place).bytes;
  return place;
}

//  ?[^\s\p{L}\p{N}]+ at `start`: its end, or `start`.
std::size_t symbols_end(const Characters& text, std::size_t start) {
  const std::size_t first = text.byte(start) == ' ' ? start + 1 : start;
  const std::size_t end = text.skip(first, kSymbol);
  return end == first ? start : end;
}

struct SpaceRun {
  std::size_t end;
  std::size_t after_newline;   // after its last newline, or its start
  std::size_t last_character;  // where its last character starts
};

SpaceRun space_run(const Characters& text, std::size_t start) {
  SpaceRun run{start, start, start};
  for (auto next = text.at(start); next.in & kSpace; next = text.at(run.end)) {
    run.last_character = run.end;
    run.end += next.bytes;
    if (next.in & kNewline) run.after_newline = run.end;
  }
  return run;
}

// \s+(?!\S)|\s+ on a run that does not reach the end of the text: all but its last character, if that is something.
std::size_t before_word(const SpaceRun& run, std::size_t start) {
  return run.last_character > start ? run.last_character : run.end;
}

// [upper half]*[lower half]+ at `start`: its end, or `start`. The upper half takes all it can. If no character of the
// lower half follows, it gives characters back until it comes to one that the lower half takes too, the last of
// either case; that one is then the whole lower half, as what follows it is upper case.
std::size_t mixed_word_end(const Characters& text, std::size_t start) {
  std::size_t place = text.skip_ideographs(start);
  std::size_t after_either = place;
  auto next = text.at(place);
  for (; next.in & kUpperHalf; next = text.at(place)) {
    place += next.bytes;
    if ((next.in & kEitherCase) == 0) continue;
    after_either = place = text.skip_ideographs(place);
  }
  return next.in & kLower ? text.skip(place, kLowerHalf) : after_either;
}

// [upper half]+[lower half]* at `start`, tried when there is no mixed word: no character of the lower half follows the
// upper one.
std::size_t upper_word_end(const Characters& text, std::size_t start) { return text.skip(start, kUpperHalf); }

// The two word branches: each with the prefix first, then without.
std::size_t o200k_word_end(const Characters& text, std::size_t start, Characters::Character first) {
  const std::size_t after = start + (first.in & kPrefix ? first.bytes : 0);
  for (const auto word_end : {mixed_word_end, upper_word_end}) {
    if (const std::size_t end = word_end(text, after); end != after) return contraction_end(text, end);
    if (after == start) continue;
    if (const std::size_t end = word_end(text, start); end != start) return contraction_end(text, end);
  }
  return start;
}

std::size_t o200k_piece(const Characters& text, std::size_t start) {
  const auto first = text.at(start);
  if (const std::size_t end = o200k_word_end(text, start, first); end != start) return end;
  if (first.in & kNumber) return number_end(text, start);
  if (std::size_t end = symbols_end(text, start); end != start) {
    while ((text.at(end).in & kNewline) || text.byte(end) == '/') ++end;
    return end;
  }
  const SpaceRun run = space_run(text, start);
  if (run.after_newline != start) return run.after_newline;  // \s*[\r\n]+
  return run.end == text.size() ? run.end : before_word(run, start);
}

std::size_t cl100k_piece(const Characters& text, std::size_t start) {
  if (const std::size_t end = contraction_end(text, start); end != start) return end;
  const auto first = text.at(start);
  const std::size_t after = start + (first.in & kPrefix ? first.bytes : 0);
  if (const std::size_t end = text.skip(after, kLetter); end != after) return end;
  if (first.in & kNumber) return number_end(text, start);
  if (const std::size_t end = symbols_end(text, start); end != start) return text.skip(end, kNewline);
  const SpaceRun run = space_run(text, start);
  if (run.end == text.size()) return run.end;  // \s++$
  return run.after_newline != start ? run.after_newline : before_word(run, start);
}

}  // namespace

std::size_t next_piece(EncodingName name, std::string_view text, std::size_t start) {
  assert(start < text.size());
  const Characters characters(text);
  return name == EncodingName::o200k_base ? o200k_piece(characters, start) : cl100k_piece(characters, start);
}

}  // namespace sentinel::tokens
