#include "sentinel/engine/rules.hpp"

namespace sentinel::engine {

namespace {

Status add_rates(const Document& texts, const std::string& path, RuleSet& rules, bool count_hits) {
  for (const std::string& text : texts.strings()) {
    auto rate = limit::Rate::parse(text);
    if (!rate) return Error(ErrorCode::invalid_request, path + ".rates: " + rate.error().message, path);
    const bool on_entry = rate->kind() == limit::Kind::requests;
    auto& list = on_entry ? rules.on_entry : count_hits ? rules.on_answering : rules.on_sending;
    list.emplace_back(*rate);
  }
  return Done{};
}

}  // namespace

Result<RuleSet> read_rules(const Document& given, std::string id, const std::string& path) {
  RuleSet rules;
  rules.id = std::move(id);
  Status added = add_rates(given["rates"], path, rules, false);
  if (added) added = add_rates(given["rates_counting_hits"], path, rules, true);
  if (!added) return std::move(added.error());
  const Document& concurrency = given["concurrency"];
  if (!concurrency.is_null()) {
    constexpr std::int64_t kMostCalls = 1'000'000;
    if (concurrency.integer() < 1 || concurrency.integer() > kMostCalls)
      return Error(ErrorCode::invalid_request, path + ".concurrency: must be 1 to 1000000", path);
    rules.on_entry.emplace_back(limit::Slots{concurrency.integer()});
  }
  if (rules.on_entry.size() + rules.on_sending.size() + rules.on_answering.size() > RuleSet::kMaxRules) {
    return Error(ErrorCode::invalid_request,
                 path + ": more than " + std::to_string(RuleSet::kMaxRules) + " limits", path);
  }
  return rules;
}

}  // namespace sentinel::engine
