// Snapshots: any document gives a fault with a text, or a snapshot in which every route leads to a target.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sentinel/engine/snapshot.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

bool is_safe_in_a_head(std::string_view text) {
  for (const char c : text) {
    if (c < 0x20 || c == 0x7f) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(bytes), size);
  const auto snapshot = sentinel::engine::Snapshot::from_json(text);
  if (!snapshot) {
    require(!snapshot.error().message.empty());
    return 0;
  }
  for (const auto& upstream : (*snapshot)->upstreams) {
    for (const std::string* written : {&upstream->host_header, &upstream->base_path, &upstream->path_template,
                                       &upstream->query, &upstream->auth_header}) {
      require(is_safe_in_a_head(*written));
    }
    for (const std::string& credential : upstream->credentials) require(is_safe_in_a_head(credential));
    require(upstream->timeouts.total.count() > 0);
  }
  for (const auto& route : (*snapshot)->routes) {
    for (const auto& target : route->targets) require(target.weight > 0 && target.health != nullptr);
    const auto* found = (*snapshot)->find_route(route->name);
    require(found != nullptr && !found->targets.empty() && found->targets.front().upstream != nullptr);
  }
  (void)(*snapshot)->price_of(text);
  return 0;
}
