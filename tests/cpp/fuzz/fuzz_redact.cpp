// redact: no crash, no growth beyond labels, and redacted text stays as it is.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sentinel/base/redact.hpp"
#include "sentinel/base/utf8.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  const std::string once = sentinel::redact(text);
  if (sentinel::redact(once) != once) std::abort();
  const std::string clean = sentinel::utf8::sanitize(text);
  if (!sentinel::utf8::valid(clean)) std::abort();
  if (!sentinel::utf8::valid(sentinel::utf8::truncate(clean, size / 2))) std::abort();
  return 0;
}
