// Bytes to a file descriptor that may be slow, stuck or gone, without waiting for it for long.
//
// Contract: deliver() writes whole lines where it can and gives the number of bytes taken; fewer than asked
//   means that the descriptor failed (closed reader, disk full) or did not take them in time. A file gets one
//   write; a pipe, terminal or socket gets runs of whole lines of at most PIPE_BUF bytes, each after poll()
//   said there is room, so that a blocking descriptor does not block us and other writers' lines do not land
//   inside ours.
// Cost: one write() per portion, one poll() more where portions are used. Thread rule: one caller per
// descriptor.
// Failure rule: none; SIGPIPE is kept from the process. Flags of the descriptor are left alone: others share
// it.
#pragma once

#include <chrono>
#include <cstddef>
#include <string_view>

namespace sentinel::log {

// `limit` bounds the whole call; without `may_wait` a descriptor without room ends it at once.
std::size_t deliver(int descriptor, std::string_view lines, std::chrono::milliseconds limit, bool may_wait);

}  // namespace sentinel::log
