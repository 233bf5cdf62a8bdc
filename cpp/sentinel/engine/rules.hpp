// The limits of one node (an account, a key, a route, a credential), split by when they are asked.
//
// Contract: `id` names the node's buckets in the limit table, with a prefix that says what kind of node it is, so that an
// account and a key of one name never share. At most kMaxRules rules on a node: a path of seven nodes (four accounts, end
// user, key, route) then fits the table's kMaxWants. Failure rule: read_rules names the member at fault.
#pragma once

#include <string>
#include <vector>

#include "sentinel/base/result.hpp"
#include "sentinel/engine/document.hpp"
#include "sentinel/limit/rule.hpp"

namespace sentinel::engine {

struct RuleSet {
  static constexpr std::size_t kMaxRules = 8;

  std::string id;
  std::vector<limit::Rule> on_entry;    // requests and concurrency: every request takes them
  std::vector<limit::Rule> on_sending;  // tokens and money: only what goes upstream takes them
  std::vector<limit::Rule>
      on_answering;  // tokens and money of rules that count hits: kept answers take them, too

  bool empty() const { return on_entry.empty() && !limits_use(); }
  bool limits_use() const { return !on_sending.empty() || !on_answering.empty(); }
};

// `path` is where the rules stand in the document, for the error.
Result<RuleSet> read_rules(const Document& given, std::string id, const std::string& path);

}  // namespace sentinel::engine
