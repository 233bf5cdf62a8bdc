#include "sentinel/log/descriptor.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <ctime>

namespace sentinel::log {
namespace {

using Steady = std::chrono::steady_clock;

enum class Kind : unsigned char { file, socket, stream };

Kind kind_of(int descriptor) {
  struct stat about{};
  if (::fstat(descriptor, &about) != 0) return Kind::stream;
  if (S_ISREG(about.st_mode)) return Kind::file;
  return S_ISSOCK(about.st_mode) ? Kind::socket : Kind::stream;
}

// A write to a pipe without reader raises SIGPIPE in this thread: block it, and take it away if it came from
// us.
class PipeSignalHeld {
 public:
  PipeSignalHeld() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~PipeSignalHeld() {
    const timespec at_once{};
    if (!was_pending_) sigtimedwait(&pipe_, nullptr, &at_once);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  PipeSignalHeld(const PipeSignalHeld&) = delete;
  PipeSignalHeld& operator=(const PipeSignalHeld&) = delete;

 private:
  sigset_t pipe_{};
  sigset_t before_{};
  bool was_pending_ = false;
};

// As many whole lines as fit into PIPE_BUF; a longer line is cut, there is no other way.
std::string_view portion_of(std::string_view lines) {
  if (lines.size() <= PIPE_BUF) return lines;
  const std::size_t end = lines.rfind('\n', PIPE_BUF - 1);
  return lines.substr(0, end == std::string_view::npos ? PIPE_BUF : end + 1);
}

bool has_room(int descriptor, Steady::duration wait) {
  const auto whole = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
  pollfd ready{.fd = descriptor, .events = POLLOUT, .revents = 0};
  return ::poll(&ready, 1, static_cast<int>(whole)) > 0;  // an error counts as room: write() then names it
}

ssize_t write_some(int descriptor, Kind kind, std::string_view bytes) {
  if (kind == Kind::socket)
    return ::send(descriptor, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  return ::write(descriptor, bytes.data(), bytes.size());
}

}  // namespace

std::size_t deliver(int descriptor, std::string_view lines, std::chrono::milliseconds limit, bool may_wait) {
  const PipeSignalHeld held;
  const Kind kind = kind_of(descriptor);
  const Steady::time_point end = Steady::now() + limit;
  std::size_t taken = 0;
  for (Steady::time_point now = end - limit; taken < lines.size() && now < end; now = Steady::now()) {
    const Steady::duration wait = may_wait ? end - now : Steady::duration::zero();
    if (kind != Kind::file && !has_room(descriptor, wait)) {
      if (!may_wait) break;
      continue;
    }
    const std::string_view left = lines.substr(taken);
    const ssize_t written = write_some(descriptor, kind, kind == Kind::file ? left : portion_of(left));
    if (written < 0 && errno != EINTR && errno != EAGAIN) break;
    if (written > 0) taken += static_cast<std::size_t>(written);
  }
  return taken;
}

}  // namespace sentinel::log
