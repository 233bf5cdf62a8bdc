// Names behind the small ids that metrics count by.
//
// Contract: ids are given in order of first sight and never change or vanish, so a lane may keep counting by
// an id across configuration reloads. Names come from configuration and the route table, never from a client;
// what a client named and we do not know is `kUnknown`, written "unknown". When the table is full new names
// are kUnknown too.
// Cost: a hash look-up under a mutex; meant for start and reload, not for the hot path. Thread rule: any
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace sentinel::metrics {

using LabelId = std::uint16_t;
inline constexpr LabelId kUnknown = 0;
inline constexpr std::size_t kMaxLabels = 16'384;  // of each kind

class LabelTable {
 public:
  LabelId intern(std::string_view name);   // "" is kUnknown
  std::vector<std::string> names() const;  // index = id

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> names_{"unknown"};
  std::unordered_map<std::string, LabelId> ids_;
};

struct LabelNames {
  LabelTable endpoints;
  LabelTable models;
  LabelTable targets;
};

}  // namespace sentinel::metrics
