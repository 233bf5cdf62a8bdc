#include "sentinel/limit/headroom.hpp"

#include <algorithm>

namespace sentinel::limit {
namespace {

std::int64_t ceil_to(Duration duration, std::int64_t microseconds) {
  const std::int64_t count = std::max<std::int64_t>(0, duration.count());
  return count / microseconds + (count % microseconds != 0 ? 1 : 0);
}

// 1500 -> "1.5", 61 -> "0.061": thousandths without zeros at the end.
std::string thousandths(std::int64_t value) {
  std::string text = std::to_string(value / 1000);
  if (value % 1000 == 0) return text;
  text += '.' + std::to_string(1000 + value % 1000).substr(1);
  while (text.back() == '0') text.pop_back();
  return text;
}

}  // namespace

bool tighter(const View& view, const View& than) {
  return view.remaining != than.remaining ? view.remaining < than.remaining : view.reset > than.reset;
}

void Headroom::note(Kind kind, const View& view) {
  if (kind != Kind::requests && kind != Kind::tokens) return;
  std::optional<View>& kept = kind == Kind::requests ? requests : tokens;
  if (!kept || tighter(view, *kept)) kept = view;
}

void Headroom::note(const Headroom& other) {
  if (other.requests) note(Kind::requests, *other.requests);
  if (other.tokens) note(Kind::tokens, *other.tokens);
}

std::string format_duration(Duration duration) {
  constexpr std::int64_t kSecond = 1000;
  constexpr std::int64_t kMinute = 60 * kSecond;
  constexpr std::int64_t kHour = 60 * kMinute;
  const std::int64_t total = ceil_to(duration, 1000);
  if (total > 0 && total < kSecond) return std::to_string(total) + "ms";
  std::string text;
  if (total >= kHour) text += std::to_string(total / kHour) + "h";
  if (total >= kMinute) text += std::to_string(total % kHour / kMinute) + "m";
  return text + thousandths(total % kMinute) + "s";
}

std::int64_t retry_after_seconds(Duration duration) {
  return std::max<std::int64_t>(1, ceil_to(duration, 1'000'000));
}

}  // namespace sentinel::limit
