// RequestReader and the splices: what is accepted is JSON that a second reader reads alike, before and after a splice.
#include <simdjson.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "sentinel/engine/request.hpp"

namespace {

using sentinel::engine::Endpoint;
using sentinel::engine::kBodyPadding;
using sentinel::engine::RequestReader;

constexpr std::uint8_t kReadEndpoints = 6;

void require(bool holds) {
  if (!holds) std::abort();
}

// Exactly as much memory as the contract asks for, so that a look beyond it is seen.
class Body {
 public:
  explicit Body(std::string_view text) : bytes_(new char[text.size() + kBodyPadding]()), size_(text.size()) {
    std::memcpy(bytes_.get(), text.data(), text.size());
  }
  std::string_view view() const { return {bytes_.get(), size_}; }

 private:
  std::unique_ptr<char[]> bytes_;
  std::size_t size_;
};

std::string model_of(std::string_view body) {
  simdjson::dom::parser parser;
  std::string_view model;
  require(parser.parse(body.data(), body.size())["model"].get_string().get(model) == simdjson::SUCCESS);
  return std::string(model);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return 0;
  const auto endpoint = static_cast<Endpoint>(bytes[0] % kReadEndpoints);
  const Body body({reinterpret_cast<const char*>(bytes + 1), size - 1});
  RequestReader reader;
  const auto facts = reader.read(endpoint, body.view());
  if (!facts) {
    require(!facts.error().message.empty());
    return 0;
  }
  require(model_of(body.view()) == facts->model);
  const Body renamed(sentinel::engine::with_model(body.view(), "a-new/\"name\""));
  require(model_of(renamed.view()) == "a-new/\"name\"");
  const Body asking(sentinel::engine::with_usage_requested(body.view(), *facts));
  const auto again = reader.read(endpoint, asking.view());
  require(again && again->include_usage == std::optional<bool>(true));
  require(again->model == facts->model && again->stream == facts->stream &&
          again->text_bytes == facts->text_bytes);
  return 0;
}
