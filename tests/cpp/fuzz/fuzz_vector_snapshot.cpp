// Vector snapshots: any bytes, right checksum or not, are refused with a text or become an index that can be searched,
// changed, and written again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "sentinel/base/utf8.hpp"
#include "sentinel/vector/flat_index.hpp"
#include "sentinel/vector/snapshot.hpp"

namespace {

using namespace sentinel;
using namespace sentinel::vector;

void require(bool holds) {
  if (!holds) std::abort();
}

void use(FlatIndex& index) {
  const std::vector<float> query(index.dimension(), 1);
  for (const bool exact : {true, false}) {
    const auto found = index.search(query, {3, {}, exact});
    require(bool{found} && found->size() == 1);
    for (const Match& match : found->front()) require(index.contains(match.id) && match.score <= 1.01F);
    std::vector<std::int64_t> gone;
    for (const Match& match : found->front()) gone.push_back(match.id);
    require(index.remove(gone) == gone.size());
    require(bool{index.add(gone, std::vector<float>(gone.size() * index.dimension(), 1), "fuzz")});
  }
}

void check(std::span<const std::uint8_t> bytes) {
  auto decoded = FlatIndex::decode(bytes);
  if (!decoded) return require(!decoded.error().message.empty());
  FlatIndex& index = **decoded;
  std::vector<std::uint8_t> again(index.encode({}));
  require(index.encode(again) == again.size());
  require(again.size() == bytes.size() && std::memcmp(again.data(), bytes.data(), bytes.size()) == 0);
  use(index);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::span given(bytes, size);
  check(given);
  std::vector<std::uint8_t> sealed(given.begin(), given.end());
  sealed.resize(size + sizeof(std::uint64_t));
  const std::uint64_t sum = checksum(given);
  std::memcpy(sealed.data() + size, &sum, sizeof(sum));
  check(sealed);
  return 0;
}
