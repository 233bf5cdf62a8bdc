// The entries of all partitions, and the groups of those that were judged to have one answer.
//
// An entry is a prompt whose answer is stored elsewhere under the entry's id: its facts, its vector, what became of it.
// A group is a set of entries of one partition; it keeps the sum of its members' vectors, whose direction is what the
// group is about.
//
// Contract: an entry is in exactly one group, a group has at least one member and lives in one partition. At most
// `most` entries; the oldest leaves when one more comes. Ids grow and are never used again.
// Cost: add, remove O(dimension); merge O(members). Memory a vector and about 2 KB an entry, a vector a group.
// Thread rule: one owner. Failure rule: an id that is not there is nothing, never an error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "sentinel/semantic/facts.hpp"

namespace sentinel::semantic {

using EntryId = std::int64_t;
using GroupId = std::int64_t;

struct Entry {
  EntryId id = 0;
  GroupId group = 0;
  std::uint32_t partition = 0;
  std::uint32_t confirmed = 0;      // judged right
  std::uint32_t refuted = 0;        // judged wrong
  std::uint32_t audited_wrong = 0;  // of those, when it had been served
  bool quarantined = false;
  Facts facts;
  std::vector<float> vector;
};

struct Group {
  std::uint32_t partition = 0;
  std::vector<EntryId> members;
  std::vector<float> sum;  // of the members' vectors
};

class Groups {
 public:
  // What `add` made room by removing.
  using Removed = std::vector<EntryId>;

  explicit Groups(std::size_t most) : most_(most) {}

  // Into `group`, or a group of its own if that is 0 or gone. The facts and vector are taken.
  EntryId add(std::uint32_t partition, GroupId group, Facts facts, std::vector<float> vector,
              Removed& removed);
  bool remove(EntryId id);
  // `from` becomes part of `into`; both of one partition.
  void merge(GroupId into, GroupId from);

  Entry* entry(EntryId id);
  const Entry* entry(EntryId id) const;
  Group* group(GroupId id);
  const Group* group(GroupId id) const;

  std::size_t entries() const { return entries_.size(); }
  std::size_t groups() const { return groups_.size(); }

 private:
  void leave(const Entry& entry);
  void forget_removed();

  std::size_t most_;
  EntryId next_entry_ = 1;
  GroupId next_group_ = 1;
  std::unordered_map<EntryId, std::unique_ptr<Entry>> entries_;
  std::unordered_map<GroupId, std::unique_ptr<Group>> groups_;
  std::deque<EntryId> by_age_;  // removed ones are skipped when their turn comes
};

float cosine_to(const Group& group, std::span<const float> unit_vector);

}  // namespace sentinel::semantic
