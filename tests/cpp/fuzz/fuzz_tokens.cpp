// Encodings and vocabularies: any bytes; the pieces cover the text, the ids are those of the plain model, from the cache
// too, counts and ids agree, ids give the text back.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "../tokens/slow_model.hpp"
#include "../tokens/vocabulary_file.hpp"
#include "sentinel/base/utf8.hpp"
#include "sentinel/tokens/encoding.hpp"

namespace {

using namespace sentinel::tokens;

void require(bool holds) {
  if (!holds) std::abort();
}

void check_pieces(EncodingName name, const std::string& text) {
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = next_piece(name, text, start);
    require(end > start && end <= text.size());
    require(sentinel::utf8::valid(std::string_view(text).substr(start, end - start)));
    start = end;
  }
}

void check_encoding(const Encoding& encoding, std::string_view bytes) {
  const std::string text = sentinel::utf8::sanitize(bytes);
  check_pieces(encoding.name(), text);
  const std::vector<TokenId> ids = encoding.encode(bytes);
  // Of long texts only the fast paths: the plain model is quadratic.
  if (text.size() <= 2000) require(ids == slow::encode(encoding, text));
  require(ids == encoding.encode_utf8(text));
  require(encoding.count(bytes) == ids.size());
  require(encoding.count_till_limit(bytes, ids.size()) == ids.size());
  require(ids.empty() || !encoding.count_till_limit(bytes, ids.size() - 1));
  const auto back = encoding.decode(ids);
  require(back && *back == text);
}

// The bytes as the token section of a vocabulary of 256 tokens, with the ids 0 to 255.
void check_vocabulary(std::string_view section) {
  std::string packed("sntlvoc1\0\1\0\0", 12);
  for (unsigned shift = 0; shift < 32; shift += 8)
    packed += static_cast<char>(section.size() >> shift & 255U);
  packed += section;
  for (int id = 0; id < 256; ++id) packed += static_cast<char>(id);
  const auto vocabulary = Vocabulary::load(packed);
  if (!vocabulary) return;
  for (TokenId id = 0; id < vocabulary->size(); ++id)
    require(vocabulary->find(vocabulary->bytes_of(id)) == id);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(bytes + 1), size - 1);
  switch (bytes[0] % 3) {
    case 0: check_encoding(o200k(), text); break;
    case 1: check_encoding(cl100k(), text); break;
    default: check_vocabulary(text); break;
  }
  return 0;
}
