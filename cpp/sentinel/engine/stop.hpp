// How an exchange that must end before its upstream does is told to its client, and recorded.
#pragma once

#include "sentinel/base/error.hpp"
#include "sentinel/engine/exchange.hpp"

namespace sentinel::engine {

Error stop_error(StopReason reason);
journal::Outcome stop_outcome(StopReason reason);

}  // namespace sentinel::engine
