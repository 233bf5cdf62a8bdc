// Which slots carry which tag, both ways, so that a tag's slots are found without looking at any other.
//
// Layout: tags lie in an array and are found by name through a SlotTable; each pair of slot and tag is a node in two
// lists, the tag's and the slot's, linked by numbers. Freed numbers are used again.
//
// Contract: a slot carries a tag once, however often it is attached. A tag without slots is forgotten.
// Cost: attach O(tags of the slot), detach O(its tags), first O(1). Thread rule: one owner.
// Failure rule: `attach` may throw bad_alloc; the slot then carries some of its tags; `detach` puts that right.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sentinel/cache/slot_table.hpp"

namespace sentinel::cache {

class TagIndex {
 public:
  void attach(std::uint32_t slot, std::string_view name) {
    if (slot >= first_pair_.size()) first_pair_.resize(slot + std::size_t{1}, kNoSlot);
    if (carries(slot, name)) return;
    const std::uint32_t pair = free_number(pairs_, free_pairs_);
    const std::uint32_t tag = tag_for(name, pair);
    pairs_[pair] = {slot, tag, first_pair_[slot], kNoSlot, tags_[tag].first_pair};
    if (tags_[tag].first_pair != kNoSlot) pairs_[tags_[tag].first_pair].previous_of_tag = pair;
    tags_[tag].first_pair = pair;
    first_pair_[slot] = pair;
  }

  void detach(std::uint32_t slot) {
    if (slot >= first_pair_.size()) return;
    for (std::uint32_t pair = first_pair_[slot]; pair != kNoSlot;) {
      const std::uint32_t next = pairs_[pair].next_of_slot;
      release(pair);
      pair = next;
    }
    first_pair_[slot] = kNoSlot;
  }

  // A slot that carries the tag, kNoSlot: none.
  std::uint32_t first(std::string_view name) const {
    const std::uint32_t tag = find(name);
    return tag == kNoSlot ? kNoSlot : pairs_[tags_[tag].first_pair].slot;
  }

  std::size_t tags() const { return by_name_.size(); }
  void clear() { *this = TagIndex(); }

 private:
  struct Tag {
    std::string name;
    std::uint64_t hash = 0;
    std::uint32_t first_pair = kNoSlot;
  };
  struct HashOf {
    const std::vector<Tag>& tags;
    std::uint64_t operator()(std::uint32_t tag) const { return tags[tag].hash; }
  };
  struct Pair {
    std::uint32_t slot = kNoSlot;
    std::uint32_t tag = kNoSlot;
    std::uint32_t next_of_slot = kNoSlot;
    std::uint32_t previous_of_tag = kNoSlot;
    std::uint32_t next_of_tag = kNoSlot;
  };

  std::uint32_t find(std::string_view name) const {
    SlotTable::Probe probe = by_name_.probe(std::hash<std::string_view>{}(name));
    while (probe.slot != kNoSlot && tags_[probe.slot].name != name) by_name_.advance(probe);
    return probe.slot;
  }

  bool carries(std::uint32_t slot, std::string_view name) const {
    for (std::uint32_t pair = first_pair_[slot]; pair != kNoSlot; pair = pairs_[pair].next_of_slot)
      if (tags_[pairs_[pair].tag].name == name) return true;
    return false;
  }

  // Its free numbers never need memory: there is room for all of them.
  template <class Item>
  static std::uint32_t free_number(std::vector<Item>& items, std::vector<std::uint32_t>& free) {
    if (free.empty()) {
      items.emplace_back();
      free.reserve(items.capacity());
      free.push_back(static_cast<std::uint32_t>(items.size() - 1));
    }
    const std::uint32_t number = free.back();
    free.pop_back();
    return number;
  }

  // The tag of that name, made if need be. Gives `pair` back when there is no memory.
  std::uint32_t tag_for(std::string_view name, std::uint32_t pair) {
    if (const std::uint32_t tag = find(name); tag != kNoSlot) return tag;
    try {
      return make_tag(name);
    } catch (...) {
      free_pairs_.push_back(pair);
      throw;
    }
  }

  std::uint32_t make_tag(std::string_view name) {
    Tag made{std::string(name), std::hash<std::string_view>{}(name), kNoSlot};
    const std::uint32_t tag = free_number(tags_, free_tags_);
    try {
      by_name_.insert(made.hash, tag, HashOf{tags_});
    } catch (...) {
      free_tags_.push_back(tag);
      throw;
    }
    tags_[tag] = std::move(made);
    return tag;
  }

  void release(std::uint32_t pair) {
    const Pair gone = pairs_[pair];
    Tag& tag = tags_[gone.tag];
    (gone.previous_of_tag == kNoSlot ? tag.first_pair : pairs_[gone.previous_of_tag].next_of_tag) =
        gone.next_of_tag;
    if (gone.next_of_tag != kNoSlot) pairs_[gone.next_of_tag].previous_of_tag = gone.previous_of_tag;
    free_pairs_.push_back(pair);
    if (tag.first_pair != kNoSlot) return;
    by_name_.remove(tag.hash, gone.tag, HashOf{tags_});
    tag = {};
    free_tags_.push_back(gone.tag);
  }

  std::vector<Tag> tags_;
  std::vector<std::uint32_t> free_tags_;
  SlotTable by_name_;
  std::vector<Pair> pairs_;
  std::vector<std::uint32_t> free_pairs_;
  std::vector<std::uint32_t> first_pair_;
};

}  // namespace sentinel::cache
