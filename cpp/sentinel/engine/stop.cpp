#include "sentinel/engine/stop.hpp"

namespace sentinel::engine {

Error stop_error(StopReason reason) {
  switch (reason) {
    case StopReason::key_revoked: return Error(ErrorCode::key_revoked, "the API key was revoked");
    case StopReason::shutdown: return Error(ErrorCode::server_shutting_down, "the server is shutting down");
    case StopReason::slow_reader:
      return Error(ErrorCode::slow_reader, "the client takes its answer too slowly");
    case StopReason::client_gone:
    case StopReason::none: break;
  }
  return Error(ErrorCode::request_timeout, "the client left");
}

journal::Outcome stop_outcome(StopReason reason) {
  if (reason == StopReason::client_gone || reason == StopReason::slow_reader)
    return journal::Outcome::client_gone;
  return reason == StopReason::shutdown ? journal::Outcome::shutdown : journal::Outcome::refused;
}

}  // namespace sentinel::engine
