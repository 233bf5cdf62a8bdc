// What limits and breakers know, kept over a restart: one small file in the data directory (B25).
//
// Contract: save() replaces the file in one step (write beside it, rename), so that a reader, or a start after kill -9,
// finds the old state or the new one, never half of either. load() gives nothing when there is no file, and an Error when
// what is there was not written by us whole. Cost: a write of what there is, no fsync: a power loss may bring back an
// older state. Thread rule: one owner.
#pragma once

#include <optional>
#include <string>

#include "sentinel/base/result.hpp"

namespace sentinel::engine {

struct KeptState {
  std::string limits;    // limit/snapshot.hpp
  std::string breakers;  // health.hpp

  friend bool operator==(const KeptState&, const KeptState&) = default;
};

class StateFile {
 public:
  explicit StateFile(std::string path) : path_(std::move(path)) {}

  Result<std::optional<KeptState>> load() const;
  Status save(const KeptState& state);  // nothing is written if nothing changed

 private:
  const std::string path_;
  std::string written_;
};

}  // namespace sentinel::engine
