// A half-open range of bytes inside one stored answer: [begin, end). Offsets, not views, so that
// it stays true when the answer's bytes move.
#pragma once

#include <cstddef>

namespace sentinel::cache {

struct ByteRange {
  std::size_t begin = 0;
  std::size_t end = 0;

  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

}  // namespace sentinel::cache
