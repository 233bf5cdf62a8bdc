#include "sentinel/semantic/facts.hpp"

#include <algorithm>
#include <charconv>

#include "sentinel/base/ascii.hpp"
#include "sentinel/semantic/lexicon.hpp"

namespace sentinel::semantic {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_high(char c) { return static_cast<unsigned char>(c) >= 0x80; }
bool is_letter(char c) { return is_upper(c) || is_lower(c) || is_high(c); }
bool is_wordly(char c) { return is_letter(c) || is_digit(c); }
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

constexpr std::string_view kCurlyApostrophe = "\xe2\x80\x99";

constexpr std::string_view kHardSpace = "\xc2\xa0";

// The text with one kind of apostrophe and of blank; no longer than the text.
std::string plain_form(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i).starts_with(kHardSpace)) {
      plain += ' ';
      i += kHardSpace.size() - 1;
    } else if (text.substr(i).starts_with(kCurlyApostrophe)) {
      plain += '\'';
      i += kCurlyApostrophe.size() - 1;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

std::string lower_form(std::string_view text) {
  std::string lowered(text);
  std::transform(lowered.begin(), lowered.end(), lowered.begin(), lower);
  return lowered;
}

void insert_distinct(std::vector<std::uint32_t>& sorted, std::uint32_t mark, std::size_t most, bool& cut) {
  const auto at = std::lower_bound(sorted.begin(), sorted.end(), mark);
  if (at != sorted.end() && *at == mark) return;
  if (sorted.size() == most) {
    cut = true;
    return;
  }
  sorted.insert(at, mark);
}

// The stem of an English word, roughly: plural, past, -ing, -ly, possessive, a final e. Not a dictionary's stem; two
// forms of one word mostly meet. Other words mostly keep apart, as at least three letters stay.
std::string_view stem_of(std::string_view word) {
  constexpr std::size_t kShortest = 3;
  const auto strip = [&](std::string_view suffix) {
    if (word.size() < suffix.size() + kShortest || !word.ends_with(suffix)) return false;
    word.remove_suffix(suffix.size());
    return true;
  };
  strip("'s");
  if (!word.ends_with("ss")) strip("s");
  strip("ly");
  const bool cut = strip("ing") || strip("ed");
  if (cut && word.size() > kShortest && word[word.size() - 1] == word[word.size() - 2]) word.remove_suffix(1);
  if (!cut) strip("e");
  if (word.size() > kShortest && (word.back() == 'y' || word.back() == 'i')) word.remove_suffix(1);
  return word;
}

// Reads one text; the members are what is known so far.
class Reader {
 public:
  explicit Reader(std::string_view text)
      : text_(plain_form(text.substr(0, kMaxTextBytes))), lowered_(lower_form(text_)) {
    facts_.cut = text.size() > kMaxTextBytes;
    capitals_tell_ = capitals_tell();
  }

  Facts read() && {
    std::size_t at = 0;
    while (at < text_.size()) {
      while (at < text_.size() && is_space(text_[at])) ++at;
      const std::size_t begin = at;
      while (at < text_.size() && !is_space(text_[at])) ++at;
      if (at > begin) chunk(begin, at);
    }
    finish();
    return std::move(facts_);
  }

 private:
  // In a title or a shout a capital tells nothing.
  bool capitals_tell() const {
    std::size_t capitals = 0;
    std::size_t words = 0;
    for (std::size_t i = 0; i < text_.size(); ++i) {
      if (!is_letter(text_[i]) || (i > 0 && is_letter(text_[i - 1]))) continue;
      ++words;
      capitals += is_upper(text_[i]) ? 1U : 0U;
    }
    return words < 3 || 2 * capitals <= words;
  }

  // What stands between two blanks.
  void chunk(std::size_t begin, std::size_t end) {
    const bool quoted = text_[begin] == '`';
    while (begin < end && !is_wordly(text_[begin]) && !is_currency(begin, end)) ++begin;
    std::size_t last = end;
    while (last > begin && !is_wordly(text_[last - 1]) && text_[last - 1] != '%') --last;
    const std::string_view whole = std::string_view(lowered_).substr(begin, last - begin);
    if (quoted || is_code(std::string_view(lowered_).substr(begin, end - begin)))
      mark(Kind::code, hash_of(whole));
    else if (is_identifier(whole))
      mark(Kind::identifier, hash_of(whole));
    words_of(begin, last);
    after_stop_ = end > last && (text_[end - 1] == '.' || text_[end - 1] == '?' || text_[end - 1] == '!' ||
                                 text_[end - 1] == ':');
  }

  bool is_currency(std::size_t at, std::size_t end) const {
    const std::string_view rest = std::string_view(text_).substr(at, end - at);
    return rest.starts_with('$') || rest.starts_with("€") || rest.starts_with("£") || rest.starts_with("¥");
  }

  static bool is_code(std::string_view chunk) {
    constexpr std::string_view kCodeBytes = "_{}<>=\\|~^;";
    const std::string_view inner = chunk.substr(0, chunk.empty() ? 0 : chunk.size() - 1);
    if (inner.find_first_of(kCodeBytes) != inner.npos || chunk.find("()") != chunk.npos) return true;
    return chunk.find("::") != chunk.npos || chunk.find("->") != chunk.npos;
  }

  // A mix of letters and digits (but 2nd, 5pm, 10k), an address, a path, a version.
  static bool is_identifier(std::string_view chunk) {
    for (const std::string_view sign : {"€", "£", "¥"}) {
      if (chunk.starts_with(sign)) chunk.remove_prefix(sign.size());
    }
    if (chunk.find('@') != chunk.npos || chunk.find("//") != chunk.npos) return true;
    const auto dots = std::count(chunk.begin(), chunk.end(), '.');
    const bool digits = std::any_of(chunk.begin(), chunk.end(), is_digit);
    const bool letters = std::any_of(chunk.begin(), chunk.end(), is_letter);
    if (dots >= 2 && digits) return true;
    if (dots == 1 && !digits) return is_file_or_host(chunk);
    if (!digits || !letters) return false;
    const auto first_letter = std::find_if(chunk.begin(), chunk.end(), is_letter);
    const bool number_first = first_letter != chunk.begin() && is_digit(chunk.front());
    const std::string_view tail = chunk.substr(static_cast<std::size_t>(first_letter - chunk.begin()));
    return !(number_first && std::none_of(tail.begin(), tail.end(), is_digit));
  }

  // main.py, example.com; not the end of a sentence whose blank was forgotten.
  static bool is_file_or_host(std::string_view chunk) {
    constexpr std::size_t kLongestSuffix = 4;
    const std::size_t dot = chunk.find('.');
    const std::string_view tail = chunk.substr(dot + 1);
    if (dot < 2 || tail.size() < 2 || tail.size() > kLongestSuffix || tail.find('\'') != tail.npos)
      return false;
    return !lexicon::is_function_word(tail) && !lexicon::is_negation(tail);
  }

  void words_of(std::size_t begin, std::size_t end) {
    std::size_t at = begin;
    while (at < end) {
      if (is_digit(text_[at])) {
        at = number(at, end);
      } else if (is_letter(text_[at]) || is_currency(at, end)) {
        at = word(at, end);
      } else {
        if (text_[at] == '%') unit_found("%");
        ++at;
      }
    }
  }

  // Digits with separators inside: 1,000.50 and 9:15 and 12/05. In normal form without grouping and closing zeros.
  std::size_t number(std::size_t begin, std::size_t end) {
    std::size_t at = begin;
    std::string normal;
    bool fraction = false;
    while (at < end && (is_digit(text_[at]) || separates(at, end))) {
      const char c = text_[at];
      const bool groups = c == ',' && grouped(at, end);
      if (c == '.') fraction = true;
      if (!groups) normal += c == ',' ? '.' : c;
      ++at;
    }
    while (normal.size() > 1 && normal.front() == '0' && is_digit(normal[1])) normal.erase(0, 1);
    if (fraction && std::count(normal.begin(), normal.end(), '.') == 1) {
      while (normal.ends_with('0')) normal.pop_back();
      if (normal.ends_with('.')) normal.pop_back();
    }
    at = magnitude(at, end, normal);
    mark(Kind::number, hash_of(normal));
    add_word(begin, at);
    after_number_ = true;
    return at;
  }

  bool separates(std::size_t at, std::size_t end) const {
    const char c = text_[at];
    return (c == '.' || c == ',' || c == ':' || c == '/') && at + 1 < end && is_digit(text_[at + 1]);
  }

  bool grouped(std::size_t comma, std::size_t end) const {
    std::size_t digits = 0;
    for (std::size_t i = comma + 1; i < end && is_digit(text_[i]); ++i) ++digits;
    return digits == 3;
  }

  // 10k is 10000; 3rd is 3.
  std::size_t magnitude(std::size_t at, std::size_t end, std::string& normal) const {
    std::size_t last = at;
    while (last < end && is_letter(text_[last])) ++last;
    const std::string_view tail = std::string_view(lowered_).substr(at, last - at);
    if (tail == "st" || tail == "nd" || tail == "rd" || tail == "th") return last;
    if (tail != "k") return at;
    normal += "000";
    return last;
  }

  std::size_t word(std::size_t begin, std::size_t end) {
    std::size_t at = begin;
    if (is_currency(at, end)) {
      const std::size_t size = text_[at] == '$' ? 1 : (text_[at] == '\xe2' ? 3 : 2);
      unit_found(std::string_view(lowered_).substr(at, size));
      return std::min(at + size, end);
    }
    while (at < end && (is_letter(text_[at]) || joins(begin, at, end) ||
                        (text_[at] == '\'' && at + 1 < end && is_letter(text_[at + 1])))) {
      if (is_currency(at, end)) break;
      ++at;
    }
    read_word(begin, at);
    return at;
  }

  // The hyphen of "self-employed" or "non-refundable", which are not about the employed or the refundable.
  bool joins(std::size_t begin, std::size_t at, std::size_t end) const {
    if (text_[at] != '-' || at + 1 >= end || !is_letter(text_[at + 1])) return false;
    return lexicon::is_prefix(std::string_view(lowered_).substr(begin, at - begin));
  }

  void read_word(std::size_t begin, std::size_t end) {
    const std::string_view lowered = std::string_view(lowered_).substr(begin, end - begin);
    const bool capital = is_upper(text_[begin]);
    const bool initial = facts_.word_count == 0 || after_stop_;
    after_stop_ = false;
    read_denial(lowered);
    read_direction(lowered);
    if (lexicon::is_foreign(lowered)) ++foreign_;
    if (lexicon::is_function_word(lowered)) ++english_;
    read_time(lowered, capital && !initial);
    read_number(lowered);
    if (capitals_tell_ && has_capital(begin, end)) read_name(begin, end, initial);
    letters_ += end - begin;
    for (std::size_t i = begin; i < end; ++i) high_ += is_high(text_[i]) ? 1U : 0U;
    add_word(begin, end);
    previous_ = lowered;
  }

  // A negating word denies the next word that says something, if it comes soon.
  void read_denial(std::string_view lowered) {
    constexpr std::uint32_t kReach = 4;
    if (lexicon::is_negation(lowered)) {
      facts_.negated = !facts_.negated;
      denies_ = kReach;
    } else if (denies_ > 0) {
      --denies_;
      if (lexicon::is_function_word(lowered)) return;
      insert_distinct(facts_.denied, hash_of(stem_of(lowered)), kMaxMarks, facts_.cut);
      denies_ = 0;
    }
  }

  // What a movement comes from and goes to.
  void read_direction(std::string_view lowered) {
    constexpr std::uint32_t kReach = 3;
    if (lowered == "from" || lowered == "to" || lowered == "into" || lowered == "onto") {
      direction_ = lowered == "from" ? &facts_.sources : &facts_.targets;
      directs_ = kReach;
    } else if (directs_ > 0) {
      --directs_;
      if (lexicon::is_function_word(lowered)) return;
      insert_distinct(*direction_, hash_of(stem_of(lowered)), kMaxMarks, facts_.cut);
      directs_ = 0;
    }
  }

  void read_time(std::string_view lowered, bool capital) {
    if (lexicon::is_time_sensitive(lowered)) facts_.time_sensitive = true;
    const bool turned =
        previous_ == "this" || previous_ == "last" || previous_ == "next" || previous_ == "current";
    if (turned && lexicon::is_period(lowered)) facts_.time_sensitive = true;
    if ((previous_ == "right" && lowered == "now") || (previous_ == "the" && lowered == "moment"))
      facts_.time_sensitive = true;
    const auto named = lexicon::calendar_name(lowered);
    if (named && (capital || after_number_ || !lexicon::is_ambiguous_calendar(lowered)))
      mark(Kind::date, *named);
  }

  void read_number(std::string_view lowered) {
    if (const auto value = lexicon::number_value(lowered)) {
      mark(Kind::number, hash_of(std::to_string(*value)));
      after_number_ = true;
      return;
    }
    const auto found = lexicon::unit(lowered);
    if (found && (after_number_ || found->dimension == lexicon::kMoney)) unit_found(lowered);
    after_number_ = false;
  }

  void unit_found(std::string_view word) {
    if (const auto found = lexicon::unit(word)) mark(Kind::unit, found->which);
  }

  bool has_capital(std::size_t begin, std::size_t end) const {
    return std::any_of(text_.begin() + static_cast<std::ptrdiff_t>(begin),
                       text_.begin() + static_cast<std::ptrdiff_t>(end), is_upper);
  }

  // A capital inside a sentence or inside a word, or capitals only.
  void read_name(std::size_t begin, std::size_t end, bool initial) {
    const std::string_view written = std::string_view(text_).substr(begin, end - begin);
    const auto capitals = static_cast<std::size_t>(std::count_if(written.begin(), written.end(), is_upper));
    const bool acronym = capitals > (is_upper(written.front()) ? 1U : 0U);
    if (written.size() < 2 || written.starts_with("I'") || (initial && !acronym)) return;
    const std::string_view lowered = std::string_view(lowered_).substr(begin, end - begin);
    if (lexicon::is_function_word(lowered) || lexicon::is_negation(lowered) ||
        lexicon::calendar_name(lowered))
      return;
    if (lexicon::unit(lowered) || lexicon::number_value(lowered)) return;
    mark(Kind::name, hash_of(stem_of(lowered)));
  }

  void mark(Kind kind, std::uint32_t value) {
    insert_distinct(facts_.marks[static_cast<std::size_t>(kind)], value, kMaxMarks, facts_.cut);
  }

  void add_word(std::size_t begin, std::size_t end) {
    const std::string_view lowered = std::string_view(lowered_).substr(begin, end - begin);
    const std::uint32_t stem = hash_of(stem_of(lowered));
    if (facts_.word_count == 0) facts_.first_word = stem;
    ++facts_.word_count;
    add_trigrams(lowered);
    if (facts_.words.size() == kMaxWords) {
      facts_.cut = true;
      return;
    }
    const auto at = std::lower_bound(facts_.words.begin(), facts_.words.end(), stem,
                                     [](const Word& word, std::uint32_t value) { return word.stem < value; });
    if (at != facts_.words.end() && at->stem == stem) return;
    const auto place = static_cast<std::uint16_t>(facts_.letters.size());
    const bool number = is_digit(lowered.front()) || lexicon::number_value(lowered).has_value();
    facts_.words.insert(at, Word{stem, place, static_cast<std::uint16_t>(lowered.size()),
                                 lexicon::is_function_word(lowered), number});
    facts_.letters += lowered;
  }

  // Of the word with a blank on either side.
  void add_trigrams(std::string_view word) {
    std::string padded = " ";
    padded.append(word).append(" ");
    for (std::size_t i = 0; i + 3 <= padded.size(); ++i) trigrams_.push_back(hash_of({padded.data() + i, 3}));
  }

  void finish() {
    std::sort(trigrams_.begin(), trigrams_.end());
    trigrams_.erase(std::unique(trigrams_.begin(), trigrams_.end()), trigrams_.end());
    if (trigrams_.size() > kMaxTrigrams) trigrams_.resize(kMaxTrigrams);
    facts_.trigrams = std::move(trigrams_);
    facts_.english = 4 * high_ <= letters_ && foreign_ <= english_;
  }

  std::string text_;
  std::string lowered_;
  Facts facts_;
  std::vector<std::uint32_t> trigrams_;
  std::string_view previous_;
  std::size_t letters_ = 0;
  std::size_t high_ = 0;
  std::vector<std::uint32_t>* direction_ = nullptr;
  std::uint32_t directs_ = 0;
  std::uint32_t denies_ = 0;
  std::uint32_t english_ = 0;
  std::uint32_t foreign_ = 0;
  bool capitals_tell_ = true;
  bool after_stop_ = false;
  bool after_number_ = false;
};

}  // namespace

std::uint32_t hash_of(std::string_view bytes) {
  std::uint32_t hash = 0x811c9dc5U;  // FNV-1a
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x01000193U;
  return hash ^ (hash >> 15U);
}

const Word* Facts::find(std::uint32_t stem) const {
  const auto at = std::lower_bound(words.begin(), words.end(), stem,
                                   [](const Word& word, std::uint32_t value) { return word.stem < value; });
  return at != words.end() && at->stem == stem ? &*at : nullptr;
}

Facts read_facts(std::string_view text) { return Reader(text).read(); }

}  // namespace sentinel::semantic
