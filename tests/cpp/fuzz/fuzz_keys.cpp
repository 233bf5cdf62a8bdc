// Keys: any document is taken whole or not at all, any credential is found only if its digest is there.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "sentinel/engine/principal.hpp"

namespace {

using sentinel::engine::KeyTable;

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  static const KeyTable kEmpty("pepper");
  require(kEmpty.find(text) == nullptr);
  if (sentinel::engine::is_well_formed_issued_key(text)) require(text.size() == 40);

  KeyTable keys("pepper");
  const bool put = static_cast<bool>(keys.put(text));
  if (!put) require(keys.size() == 0);
  const std::size_t known = keys.size();
  const auto removed = keys.replace_all(text);
  require(static_cast<bool>(removed) == put);
  if (removed) require(removed->empty() && keys.size() == known);
  require(static_cast<bool>(keys.replace_all("[]")) && keys.size() == 0);
  return 0;
}
