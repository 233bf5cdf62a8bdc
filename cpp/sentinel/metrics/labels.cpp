#include "sentinel/metrics/labels.hpp"

namespace sentinel::metrics {

LabelId LabelTable::intern(std::string_view name) {
  if (name.empty()) return kUnknown;
  const std::lock_guard lock{mutex_};
  const std::string key{name};
  if (const auto found = ids_.find(key); found != ids_.end()) return found->second;
  if (names_.size() >= kMaxLabels) return kUnknown;
  const auto id = static_cast<LabelId>(names_.size());
  names_.push_back(key);
  ids_.emplace(key, id);
  return id;
}

std::vector<std::string> LabelTable::names() const {
  const std::lock_guard lock{mutex_};
  return names_;
}

}  // namespace sentinel::metrics
