#include "sentinel/semantic/groups.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

namespace sentinel::semantic {
namespace {

template <class Map>
auto* find_in(Map& map, std::int64_t id) {
  const auto at = map.find(id);
  return at == map.end() ? nullptr : at->second.get();
}

// Four sums, so that they need not wait for each other.
float dot(std::span<const float> left, std::span<const float> right) {
  float sums[4] = {0, 0};
  const std::size_t size = std::min(left.size(), right.size());
  std::size_t i = 0;
  for (; i + 4 <= size; i += 4) {
    for (std::size_t lane = 0; lane < 4; ++lane) sums[lane] += left[i + lane] * right[i + lane];
  }
  for (; i < size; ++i) sums[0] += left[i] * right[i];
  return sums[0] + sums[1] + sums[2] + sums[3];
}

}  // namespace

EntryId Groups::add(std::uint32_t partition, GroupId group, Facts facts, std::vector<float> vector,
                    Removed& removed) {
  while (entries_.size() >= most_ && !by_age_.empty()) {
    const EntryId oldest = by_age_.front();
    by_age_.pop_front();
    if (remove(oldest)) removed.push_back(oldest);
  }
  if (groups_.find(group) == groups_.end()) {
    group = next_group_++;
    groups_[group] = std::make_unique<Group>(Group{partition, {}, std::vector<float>(vector.size())});
  }
  Group& home = *groups_[group];
  const EntryId id = next_entry_++;
  std::transform(home.sum.begin(), home.sum.end(), vector.begin(), home.sum.begin(), std::plus<>());
  home.members.push_back(id);
  auto entry = std::make_unique<Entry>();
  entry->id = id;
  entry->group = group;
  entry->partition = partition;
  entry->facts = std::move(facts);
  entry->vector = std::move(vector);
  entries_[id] = std::move(entry);
  by_age_.push_back(id);
  return id;
}

bool Groups::remove(EntryId id) {
  const auto at = entries_.find(id);
  if (at == entries_.end()) return false;
  leave(*at->second);
  entries_.erase(at);
  forget_removed();
  return true;
}

// Once most of the ages are of entries that are gone.
void Groups::forget_removed() {
  constexpr std::size_t kFew = 64;
  if (by_age_.size() <= 2 * entries_.size() + kFew) return;
  std::erase_if(by_age_, [&](EntryId id) { return !entries_.contains(id); });
}

void Groups::leave(const Entry& entry) {
  const auto at = groups_.find(entry.group);
  Group& home = *at->second;
  std::erase(home.members, entry.id);
  if (home.members.empty()) {
    groups_.erase(at);
    return;
  }
  std::transform(home.sum.begin(), home.sum.end(), entry.vector.begin(), home.sum.begin(), std::minus<>());
}

void Groups::merge(GroupId into, GroupId from) {
  Group* target = group(into);
  Group* source = group(from);
  if (target == nullptr || source == nullptr || target == source) return;
  for (const EntryId id : source->members) {
    entry(id)->group = into;
    target->members.push_back(id);
  }
  std::transform(target->sum.begin(), target->sum.end(), source->sum.begin(), target->sum.begin(),
                 std::plus<>());
  groups_.erase(from);
}

Entry* Groups::entry(EntryId id) { return find_in(entries_, id); }
const Entry* Groups::entry(EntryId id) const { return find_in(entries_, id); }
Group* Groups::group(GroupId id) { return find_in(groups_, id); }
const Group* Groups::group(GroupId id) const { return find_in(groups_, id); }

float cosine_to(const Group& group, std::span<const float> unit_vector) {
  const float length = std::sqrt(dot(group.sum, group.sum));
  return length > 0 ? dot(group.sum, unit_vector) / length : 0.0F;
}

}  // namespace sentinel::semantic
