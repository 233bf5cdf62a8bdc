// Seeded pseudo-random numbers (xoshiro256**, Blackman and Vigna 2018, seeded by splitmix64).
//
// Contract: the same seed gives the same sequence, so that a failing run can be replayed. Not for secrets: keys and
// peppers come from the operating system. Thread rule: one owner.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <string>

#include "sentinel/base/hex.hpp"

namespace sentinel {

class Random {
 public:
  explicit Random(std::uint64_t seed) {
    for (auto& word : state_) {
      seed += 0x9e3779b97f4a7c15U;
      std::uint64_t mixed = (seed ^ (seed >> 30U)) * 0xbf58476d1ce4e5b9U;
      mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebU;
      word = mixed ^ (mixed >> 31U);
    }
  }

  std::uint64_t next() {
    const std::uint64_t result = std::rotl(state_[1] * 5U, 7) * 9U;
    const std::uint64_t shifted = state_[1] << 17U;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  // A number in [0, bound), bound > 0 (Lemire's multiply-shift; the bias is below 2^-32 for our small bounds).
  std::uint64_t below(std::uint64_t bound) { return ((next() >> 32U) * bound) >> 32U; }

  // Appends 16 lower-case hexadecimal digits.
  void append_hex(std::string& out) { sentinel::append_hex(out, next()); }

 private:
  std::array<std::uint64_t, 4> state_{};
};

}  // namespace sentinel
