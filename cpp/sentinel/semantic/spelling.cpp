#include "sentinel/semantic/spelling.hpp"

#include <algorithm>
#include <utility>

namespace sentinel::semantic {
namespace {

constexpr std::size_t kLongestWord = 32;
constexpr std::size_t kShortestSlip = 4;
constexpr std::size_t kTwoSlips = 8;

}  // namespace

bool nearly_equal(std::string_view left, std::string_view right, std::size_t most) {
  if (left.size() > right.size()) std::swap(left, right);
  if (right.size() - left.size() > most) return false;
  while (!left.empty() && left.front() == right.front()) {
    left.remove_prefix(1);
    right.remove_prefix(1);
  }
  while (!left.empty() && left.back() == right.back()) {
    left.remove_suffix(1);
    right.remove_suffix(1);
  }
  if (right.size() <= 1) return right.size() <= most;
  if (most == 0) return false;
  const bool swapped = left.size() >= 2 && left[0] == right[1] && left[1] == right[0];
  if (swapped && nearly_equal(left.substr(2), right.substr(2), most - 1)) return true;
  if (!left.empty() && nearly_equal(left.substr(1), right.substr(1), most - 1)) return true;
  if (nearly_equal(left, right.substr(1), most - 1)) return true;
  return !left.empty() && nearly_equal(left.substr(1), right, most - 1);
}

bool is_slip(std::string_view left, std::string_view right) {
  const std::size_t shorter = std::min(left.size(), right.size());
  const std::size_t longer = std::max(left.size(), right.size());
  const std::size_t most = shorter >= kTwoSlips ? 2 : 1;
  if (shorter < kShortestSlip || longer > kLongestWord || longer - shorter > most) return false;
  if (!nearly_equal(left, right, most)) return false;
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return std::none_of(left.begin(), left.end(), digit) && std::none_of(right.begin(), right.end(), digit);
}

}  // namespace sentinel::semantic
