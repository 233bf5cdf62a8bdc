// Which flights may be joined: for each question under way, its plain and its streaming upstream call.
//
// Contract: a caller finds only a flight of its own key. The key is made of three digests that the pipeline
// computes: the partition (tenant scope, route and its version, namespace), the identity of the question, and
// the right under which it may be asked. All three must be equal, so callers of different tenants or rights
// never meet (S27). A streaming caller finds only a streaming call; a plain one prefers it over a plain call,
// for it may end sooner. A flight that can no longer be joined is not found; add() then takes its place, and
// remove() of the displaced one leaves its successor alone.
// Cost: one hash look-up, O(1). Thread rule: one owner, or the caller's lock. Failure rule: none can fail.
#pragma once

#include <array>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <utility>

#include "sentinel/base/digest.hpp"
#include "sentinel/resilience/flight.hpp"

namespace sentinel::resilience {

struct FlightKey {
  Digest partition;
  Digest identity;
  Digest right;

  friend bool operator==(const FlightKey&, const FlightKey&) = default;
};

// Call: what the engine keeps for a flight; needs `Flight& flight()`.
template <class Call>
class FlightTable {
 public:
  std::shared_ptr<Call> find(const FlightKey& key, FlightForm wanted) const {
    const auto found = pairs_.find(key);
    if (found == pairs_.end()) return nullptr;
    for (const FlightForm form : {FlightForm::stream, FlightForm::plain}) {
      const std::shared_ptr<Call>& call = found->second[index(form)];
      if (call != nullptr && call->flight().joinable(wanted)) return call;
    }
    return nullptr;
  }

  void add(const FlightKey& key, std::shared_ptr<Call> call) {
    const FlightForm form = call->flight().form();
    pairs_[key][index(form)] = std::move(call);
  }

  void remove(const FlightKey& key, const Call& call) {
    const auto found = pairs_.find(key);
    if (found == pairs_.end()) return;
    for (auto& held : found->second) {
      if (held.get() == &call) held.reset();
    }
    if (found->second[0] == nullptr && found->second[1] == nullptr) pairs_.erase(found);
  }

  std::size_t size() const { return pairs_.size(); }

 private:
  using Pair = std::array<std::shared_ptr<Call>, 2>;
  struct Hash {  // digests are uniform already
    std::size_t operator()(const FlightKey& key) const {
      std::size_t identity = 0;
      std::size_t partition = 0;
      std::memcpy(&identity, key.identity.data(), sizeof identity);
      std::memcpy(&partition, key.partition.data(), sizeof partition);
      return identity ^ partition;
    }
  };
  static std::size_t index(FlightForm form) { return static_cast<std::size_t>(form); }

  std::unordered_map<FlightKey, Pair, Hash> pairs_;
};

}  // namespace sentinel::resilience
