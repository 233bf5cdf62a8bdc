// Server-sent events as the standard reads them: the model that SseParser is tested and fuzzed against.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace sentinel::stream::testing {

struct Seen {
  std::string event, data, id;
  std::optional<std::uint64_t> retry_ms;
  bool has_data = false;

  friend bool operator==(const Seen&, const Seen&) = default;
};

inline std::ostream& operator<<(std::ostream& out, const Seen& seen) {
  return out << "{" << seen.event << "|" << seen.data << "|" << seen.id << "|" << seen.has_data << "}";
}

// The standard's algorithm on the whole input at once, a line at a time, without a thought for speed.
class Model {
 public:
  explicit Model(std::string text) : text_(std::move(text)) {
    const std::size_t bom = text_.starts_with("\xEF\xBB\xBF") ? 3 : 0;
    std::size_t block = 0;
    std::size_t line = bom;
    for (std::size_t at = bom; at < text_.size(); ++at) {
      if (text_[at] != '\r' && text_[at] != '\n') continue;
      const std::string content = text_.substr(line, at - line);
      if (text_[at] == '\r' && at + 1 < text_.size() && text_[at + 1] == '\n') ++at;
      line = at + 1;
      if (!content.empty()) {
        process(content);
        continue;
      }
      dispatch(text_.substr(block, at + 1 - block));
      block = at + 1;
    }
    tail = text_.substr(block);
  }

  std::vector<Seen> events;
  std::vector<std::string> raws;
  std::string tail;

 private:
  void process(const std::string& line) {
    const std::size_t colon = line.find(':');
    const std::string field = line.substr(0, colon);
    std::string value = colon == std::string::npos ? "" : line.substr(colon + 1);
    if (value.starts_with(' ')) value.erase(0, 1);
    if (field == "event") type_ = value;
    if (field == "data") data_ += value + "\n", has_data_ = true;
    if (field == "id" && value.find('\0') == std::string::npos) id_ = value;
    const bool digits = !value.empty() && value.find_first_not_of("0123456789") == std::string::npos;
    if (field == "retry" && digits) take_retry(value);
  }

  void take_retry(const std::string& digits) {  // zeros in front of it make no number too large
    std::uint64_t number = 0;
    if (std::from_chars(digits.data(), digits.data() + digits.size(), number).ec == std::errc())
      retry_ = number;
  }

  void dispatch(const std::string& raw) {
    Seen seen{"", "", id_, retry_, has_data_};
    if (has_data_) {
      seen.event = type_.empty() ? "message" : type_;
      seen.data = data_.substr(0, data_.size() - 1);
    }
    events.push_back(seen);
    raws.push_back(raw);
    type_ = data_ = "";
    has_data_ = false;
    retry_.reset();
  }

  std::string text_, type_, data_, id_;
  bool has_data_ = false;
  std::optional<std::uint64_t> retry_;
};

}  // namespace sentinel::stream::testing
