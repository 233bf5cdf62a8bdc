// The vocabularies of the source tree, for tests: found from the working directory or a folder above it.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "sentinel/tokens/encoding.hpp"

namespace sentinel::tokens {

inline std::string packed_vocabulary(EncodingName name) {
  const std::string file = "python/sentinel/tokens/data/" + std::string(to_string(name)) + ".vocabulary";
  std::filesystem::path folder = std::filesystem::current_path();
  while (!std::filesystem::exists(folder / file) && folder.has_relative_path()) folder = folder.parent_path();
  std::ifstream stream(folder / file, std::ios::binary);
  if (!stream) throw std::runtime_error("run this within the source tree: there is no " + file);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

inline Encoding load_encoding(EncodingName name) {
  Result<Encoding> encoding = Encoding::load(name, packed_vocabulary(name));
  if (!encoding) throw std::runtime_error(encoding.error().message);
  return std::move(*encoding);
}

inline const Encoding& o200k() {
  static const Encoding encoding = load_encoding(EncodingName::o200k_base);
  return encoding;
}

inline const Encoding& cl100k() {
  static const Encoding encoding = load_encoding(EncodingName::cl100k_base);
  return encoding;
}

}  // namespace sentinel::tokens
