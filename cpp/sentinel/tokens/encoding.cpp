#include "sentinel/tokens/encoding.hpp"

#include <utility>

#include "sentinel/base/utf8.hpp"
#include "sentinel/tokens/bpe.hpp"

namespace sentinel::tokens {
namespace {

// The text itself if it is UTF-8, or what it is taken as.
class Readable {
 public:
  explicit Readable(std::string_view text) : text_(text) {
    if (utf8::valid(text)) return;
    replaced_ = utf8::sanitize(text);
    text_ = replaced_;
  }
  Readable(const Readable&) = delete;
  Readable& operator=(const Readable&) = delete;
  std::string_view text() const { return text_; }

 private:
  std::string replaced_;
  std::string_view text_;
};

// Calls `take(piece)` for each piece until it says false; whether it never did.
template <class Take>
bool each_piece(EncodingName name, std::string_view text, Take take) {
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = next_piece(name, text, start);
    if (!take(text.substr(start, end - start))) return false;
    start = end;
  }
  return true;
}

}  // namespace

std::string_view to_string(EncodingName name) {
  return name == EncodingName::o200k_base ? "o200k_base" : "cl100k_base";
}

Result<Encoding> Encoding::load(EncodingName name, std::string_view packed_vocabulary) {
  Result<Vocabulary> vocabulary = Vocabulary::load(packed_vocabulary);
  if (!vocabulary) return vocabulary.error();
  return Encoding(name, std::move(*vocabulary));
}

Encoding::Encoding(EncodingName name, Vocabulary vocabulary)
    : name_(name), vocabulary_(std::move(vocabulary)) {}

std::size_t Encoding::count(std::string_view text) const {
  const Readable readable(text);
  Splitter splitter(vocabulary_);
  std::size_t tokens = 0;
  each_piece(name_, readable.text(), [&](std::string_view piece) {
    tokens += splitter.count(piece);
    return true;
  });
  return tokens;
}

std::optional<std::size_t> Encoding::count_till_limit(std::string_view text, std::size_t limit) const {
  const Readable readable(text);
  Splitter splitter(vocabulary_);
  std::size_t tokens = 0;
  const bool within = each_piece(name_, readable.text(), [&](std::string_view piece) {
    const std::size_t at_least = (piece.size() - 1) / vocabulary_.longest() + 1;
    if (at_least > limit - tokens) return false;
    const std::size_t of_piece = splitter.count(piece);
    if (of_piece > limit - tokens) return false;
    tokens += of_piece;
    return true;
  });
  if (!within) return std::nullopt;
  return tokens;
}

std::vector<TokenId> Encoding::encode(std::string_view text) const {
  const Readable readable(text);
  Splitter splitter(vocabulary_);
  std::vector<TokenId> ids;
  each_piece(name_, readable.text(), [&](std::string_view piece) {
    splitter.split(piece, ids);
    return true;
  });
  return ids;
}

Result<std::string> Encoding::decode(std::span<const TokenId> ids) const {
  std::string text;
  for (const TokenId id : ids) {
    if (id >= vocabulary_.size()) {
      return Error(ErrorCode::invalid_request, "no token of this encoding has the id " + std::to_string(id));
    }
    text.append(vocabulary_.bytes_of(id));
  }
  return text;
}

}  // namespace sentinel::tokens
