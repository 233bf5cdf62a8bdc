#include "sentinel/limit/refusal.hpp"

namespace sentinel::limit {
namespace {

// 1500000 -> "1.50": whole cents at least, up to the micro-USD.
std::string usd(std::int64_t micro_usd) {
  std::string text = std::to_string(micro_usd / kMicroPerUsd);
  text += '.' + std::to_string(kMicroPerUsd + micro_usd % kMicroPerUsd).substr(1);
  while (text.back() == '0' && text[text.size() - 3] != '.') text.pop_back();
  return text;
}

std::string amount_of(Kind kind, std::int64_t amount) {
  if (kind == Kind::money) return usd(amount) + " USD";
  const std::string_view unit = kind == Kind::requests ? "request"
                                : kind == Kind::tokens ? "token"
                                                       : "concurrent call";
  return std::to_string(amount) + ' ' + std::string(unit) + (amount == 1 ? "" : "s");
}

}  // namespace

Error Refusal::error() const {
  if (cause == Cause::busy)
    return {ErrorCode::overloaded, "Too many calls are open at once. Try again shortly."};
  const ErrorCode code = kind == Kind::money ? ErrorCode::budget_exceeded : ErrorCode::rate_limit_exceeded;
  std::string text = "Limit of " + std::string(name_of(kind)) + " reached on " + id +
                     ": this call needs up to " + amount_of(kind, predicted_cost);
  if (cause == Cause::never) {
    return {code,
            text + ", but at most " + amount_of(kind, view.limit) + " may ever pass at once. Ask for less."};
  }
  text += ", " + amount_of(kind, view.remaining) + " of " + amount_of(kind, view.limit) + " left.";
  return {code, text + " Try again in " + format_duration(retry_after) + '.'};
}

}  // namespace sentinel::limit
