#include "sentinel/tokens/encoding.hpp"

#include <array>
#include <utility>

#include "sentinel/base/utf8.hpp"
#include "sentinel/tokens/ascii_lane.hpp"
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

// Gives each piece of the text to `take(piece, key)` or, above 15 bytes, to `take(piece)`, until one says false;
// whether none did.
template <EncodingName kName, class Taker>
bool each_piece(std::string_view text, Taker& taker) {
  for (std::size_t start = 0; start < text.size();) {
    const Window window(text, start);
    std::size_t length = ascii_piece<kName>(window);
    if (length == 0) length = next_piece(kName, text, start) - start;
    const std::string_view piece(text.data() + start, length);
    start += length;
    if (length > PieceKey::kMostBytes) {
      if (!taker.take(piece)) return false;
      continue;
    }
    if (!taker.take(piece, window.key(length))) return false;
  }
  return true;
}

template <class Taker>
bool each_piece(EncodingName name, std::string_view text, Taker& taker) {
  return name == EncodingName::o200k_base ? each_piece<EncodingName::o200k_base>(text, taker)
                                          : each_piece<EncodingName::cl100k_base>(text, taker);
}

// What short pieces are split into: most are a token; what is none is split once and kept in the cache.
class Splits {
 public:
  Splits(const Vocabulary& vocabulary, PieceCache& cache)
      : vocabulary_(vocabulary), cache_(cache), splitter_(vocabulary) {}

  std::size_t count(std::string_view piece, const PieceKey& key, std::uint64_t hash) {
    if (vocabulary_.contains(key, hash)) [[likely]]
      return 1;
    return split(piece, key, hash).count();
  }
  void encode(std::string_view piece, const PieceKey& key, std::uint64_t hash, std::vector<TokenId>& ids) {
    const TokenId whole = vocabulary_.find(key, hash);
    if (whole != kNoToken) [[likely]]
      return ids.push_back(whole);
    const PieceCache::Split parts = split(piece, key, hash);
    if (!parts.has_ids()) return splitter_.split_parts(piece, ids);
    for (std::size_t at = 0; at < parts.count(); ++at) ids.push_back(parts.id(at));
  }
  Splitter& splitter() { return splitter_; }
  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  [[gnu::noinline]] PieceCache::Split split(std::string_view piece, const PieceKey& key, std::uint64_t hash) {
    const PieceCache::Split known = cache_.find(key, hash);
    if (!known.none()) return known;
    parts_.clear();
    splitter_.split_parts(piece, parts_);
    const PieceCache::Split found(parts_);
    cache_.store(key, hash, found);
    return found;
  }

  const Vocabulary& vocabulary_;
  PieceCache& cache_;
  Splitter splitter_;
  std::vector<TokenId> parts_;
};

// Short pieces on their way to a look-up. The vocabulary's table is larger than the processor's nearer caches, so each
// look-up waits for memory: here several wait together.
class Waiting {
 public:
  // Whether there is no room for another one.
  bool add(const Vocabulary& vocabulary, std::string_view piece, const PieceKey& key) {
    const std::uint64_t hash = key.hash();
    vocabulary.prefetch(hash);
    pieces_[count_++] = {piece, key, hash};
    return count_ == kMost;
  }
  // Gives each to `take(piece, key, hash)`, in order.
  template <class Take>
  void empty(Take take) {
    for (std::size_t at = 0; at < count_; ++at) take(pieces_[at].piece, pieces_[at].key, pieces_[at].hash);
    count_ = 0;
  }

 private:
  struct Piece {
    std::string_view piece;
    PieceKey key;
    std::uint64_t hash;
  };
  static constexpr std::size_t kMost = 16;

  std::array<Piece, kMost> pieces_;  // NOLINT: filled as far as it is used
  std::size_t count_ = 0;
};

class Counter {
 public:
  Counter(const Vocabulary& vocabulary, PieceCache& cache) : splits_(vocabulary, cache) {}

  bool take(std::string_view piece, const PieceKey& key) {
    if (waiting_.add(splits_.vocabulary(), piece, key)) look_up();
    return true;
  }
  bool take(std::string_view piece) {
    tokens_ += splits_.splitter().count(piece);
    return true;
  }
  std::size_t tokens() {
    look_up();
    return tokens_;
  }
  std::size_t tokens_so_far() const { return tokens_; }  // without those that wait

 private:
  void look_up() {
    waiting_.empty([this](std::string_view piece, const PieceKey& key, std::uint64_t hash) {
      tokens_ += splits_.count(piece, key, hash);
    });
  }

  Splits splits_;
  Waiting waiting_;
  std::size_t tokens_ = 0;
};

class CounterTillLimit {
 public:
  CounterTillLimit(const Vocabulary& vocabulary, PieceCache& cache, std::size_t limit)
      : longest_(vocabulary.longest()), limit_(limit), counter_(vocabulary, cache) {}

  bool take(std::string_view piece, const PieceKey& key) {
    return counter_.take(piece, key) && counter_.tokens_so_far() <= limit_;
  }
  bool take(std::string_view piece) {
    const std::size_t at_least = (piece.size() - 1) / longest_ + 1;
    return counter_.tokens() <= limit_ && at_least <= limit_ - counter_.tokens() && counter_.take(piece) &&
           counter_.tokens() <= limit_;
  }
  std::size_t tokens() { return counter_.tokens(); }

 private:
  std::size_t longest_;
  std::size_t limit_;
  Counter counter_;
};

class Encoder {
 public:
  Encoder(const Vocabulary& vocabulary, PieceCache& cache) : splits_(vocabulary, cache) {}

  bool take(std::string_view piece, const PieceKey& key) {
    if (waiting_.add(splits_.vocabulary(), piece, key)) look_up();
    return true;
  }
  bool take(std::string_view piece) {
    look_up();
    splits_.splitter().split(piece, ids_);
    return true;
  }
  std::vector<TokenId> ids() && {
    look_up();
    return std::move(ids_);
  }

 private:
  void look_up() {
    waiting_.empty([this](std::string_view piece, const PieceKey& key, std::uint64_t hash) {
      splits_.encode(piece, key, hash, ids_);
    });
  }

  Splits splits_;
  Waiting waiting_;
  std::vector<TokenId> ids_;
};

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
    : name_(name), vocabulary_(std::move(vocabulary)), cache_(std::make_unique<PieceCache>()) {}

std::size_t Encoding::count(std::string_view text) const { return count_utf8(Readable(text).text()); }

std::size_t Encoding::count_utf8(std::string_view text) const {
  Counter counter(vocabulary_, *cache_);
  each_piece(name_, text, counter);
  return counter.tokens();
}

std::optional<std::size_t> Encoding::count_till_limit(std::string_view text, std::size_t limit) const {
  return count_utf8_till_limit(Readable(text).text(), limit);
}

std::optional<std::size_t> Encoding::count_utf8_till_limit(std::string_view text, std::size_t limit) const {
  CounterTillLimit counter(vocabulary_, *cache_, limit);
  if (!each_piece(name_, text, counter) || counter.tokens() > limit) return std::nullopt;
  return counter.tokens();
}

std::vector<TokenId> Encoding::encode(std::string_view text) const {
  return encode_utf8(Readable(text).text());
}

std::vector<TokenId> Encoding::encode_utf8(std::string_view text) const {
  Encoder encoder(vocabulary_, *cache_);
  each_piece(name_, text, encoder);
  return std::move(encoder).ids();
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
