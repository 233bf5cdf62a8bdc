// The encodings as plainly as they can be written: classes character by character, branches as the pattern has them, and
// byte pair encoding by its definition. What the fast paths are compared with.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sentinel/tokens/encoding.hpp"

namespace sentinel::tokens::slow {

// The definition, word for word: look at all neighbours, join the lowest.
inline std::vector<TokenId> split(const Vocabulary& vocabulary, std::string_view piece) {
  if (const TokenId whole = vocabulary.find(piece); whole != kNoToken) return {whole};
  std::vector<std::string> parts;
  for (char byte : piece) parts.emplace_back(1, byte);
  while (true) {
    TokenId lowest = kNoToken;
    std::size_t place = 0;
    for (std::size_t at = 0; at + 1 < parts.size(); ++at) {
      const TokenId pair = vocabulary.find(parts[at] + parts[at + 1]);
      if (pair >= lowest) continue;
      lowest = pair;
      place = at;
    }
    if (lowest == kNoToken) break;
    parts[place] += parts[place + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(place) + 1);
  }
  std::vector<TokenId> ids;
  for (const std::string& part : parts) ids.push_back(vocabulary.find(part));
  return ids;
}

// Of a text that is UTF-8: pieces one by one without the lane for ASCII, each split without a cache.
inline std::vector<TokenId> encode(const Encoding& encoding, std::string_view text) {
  std::vector<TokenId> ids;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = next_piece(encoding.name(), text, start);
    const std::vector<TokenId> more = split(encoding.vocabulary(), text.substr(start, end - start));
    ids.insert(ids.end(), more.begin(), more.end());
    start = end;
  }
  return ids;
}

}  // namespace sentinel::tokens::slow
