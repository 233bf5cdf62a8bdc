// Instants of the tests' own time, which begins at 0.
#pragma once

#include "sentinel/base/clock.hpp"

namespace sentinel::resilience {

inline Instant at(Duration time) { return {time, Duration{1'700'000'000'000'000} + time}; }

}  // namespace sentinel::resilience
