#include "sentinel/engine/relay.hpp"

#include <algorithm>
#include <unordered_set>

#include "sentinel/stream/reply.hpp"

namespace sentinel::engine {
StreamRelay::StreamRelay(Exchange& exchange, stream::JsonParser& parser)
    : exchange_(exchange),
      accumulator_(info(exchange.endpoint).protocol, {exchange.snapshot->limits.event_bytes, 0}, parser) {}

Status StreamRelay::feed(std::string_view bytes, Instant now, std::string& out) {
  using Kind = stream::StreamEvent::Kind;
  const std::size_t before = out.size();
  const auto pass = [this, now, before, &out](const stream::StreamEvent& event) {
    if (event.kind == Kind::content && !exchange_.first_token_at) exchange_.first_token_at = now;
    std::string_view raw = event.raw;
    const auto here = [this, before, &out] { return given_ + out.size() - before; };
    if (cut_line_end_ && raw.starts_with('\n')) {
      raw.remove_prefix(1);
      out += '\n';
      usage_ranges_.back().end = here();
    }
    const bool usage = event.kind == Kind::usage_only;
    cut_line_end_ = usage && raw.ends_with('\r');
    const std::size_t begin = here() + (raw.starts_with('\n') ? 1 : 0);  // that belongs to the event before
    std::string& place = accumulator_.finished() ? terminal_ : out;
    const bool tells_error = event.kind == Kind::error || accumulator_.failed();
    if (tells_error && exchange_.credential != nullptr) {
      place += scrub(raw, *exchange_.credential);
    } else {
      place += raw;
    }
    if (usage) usage_ranges_.push_back({begin, here()});
  };
  Status fed = accumulator_.feed(bytes, pass);
  given_ += out.size() - before;
  exchange_.relayed_deltas = accumulator_.content_deltas();
  if (finished()) return Done{};  // what follows the terminal event is of no account
  return fed;
}

Status StreamRelay::finish() {
  if (finished() || accumulator_.failed()) return Done{};
  return Error(ErrorCode::upstream_error, "the upstream ended the stream without its terminal event");
}

void StreamRelay::report() {
  if (accumulator_.usage() == nullptr) return;
  exchange_.usage = *accumulator_.usage();
  exchange_.estimated = accumulator_.usage_estimated();
}

Status accept_plain(Exchange& exchange, std::string_view content_type, std::string_view body,
                    stream::JsonParser& parser) {
  if (content_type.find("json") == std::string_view::npos) {
    return Error(ErrorCode::upstream_error, "the upstream answered with something else than JSON");
  }
  auto facts = stream::read_reply(info(exchange.endpoint).protocol, body, parser);
  if (!facts) return std::move(facts.error());
  if (facts->is_error) {
    exchange.billable = false;  // as for an error with a status of its own
    return Error(ErrorCode::upstream_error, "the upstream answered 200 with an error in the body");
  }
  exchange.usage = facts->usage;
  exchange.relayed_bytes = facts->content_bytes;
  return Done{};
}

std::string scrub(std::string_view text, std::string_view credential) {
  constexpr std::size_t kRun = 12;
  constexpr std::string_view kMark = "[redacted]";
  const std::size_t window = std::min(kRun, credential.size());
  if (window == 0) return std::string(text);
  std::unordered_set<std::string_view> runs;
  for (std::size_t i = 0; i + window <= credential.size(); ++i) runs.insert(credential.substr(i, window));
  std::string clean;
  std::size_t redacted_to = 0;  // end of the run found last
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (at + window <= text.size() && runs.contains(text.substr(at, window))) {
      if (at >= redacted_to) clean += kMark;
      redacted_to = at + window;
    }
    if (at >= redacted_to) clean += text[at];
  }
  return clean;
}

}  // namespace sentinel::engine
