#include "sentinel/engine/ports.hpp"

#include <algorithm>

#include "sentinel/engine/upstream_request.hpp"

namespace sentinel::engine {
namespace {

// A head with its own copy of the texts, lower-case names as the parser gives them.
net::ResponseHead to_head(int status, const HeaderList& headers) {
  net::ResponseHead head;
  head.status = status;
  std::size_t bytes = 0;
  for (const auto& [name, value] : headers) bytes += name.size() + value.size();
  head.text.reserve(bytes);
  const auto keep = [&head](std::string_view text) {
    const std::size_t at = head.text.size();
    head.text.insert(head.text.end(), text.begin(), text.end());
    return std::string_view(head.text.data() + at, text.size());
  };
  for (const auto& [name, value] : headers) {
    std::string lower = name;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    const std::string_view kept_name = keep(lower);
    head.headers.push_back({kept_name, keep(value)});
  }
  return head;
}

}  // namespace

ProviderCall::ProviderCall(net::Loop& loop, ProviderPort& port, std::uint64_t call_id,
                           const net::Timeouts& timeouts)
    : loop_(loop),
      port_(port),
      call_id_(call_id),
      timeouts_(timeouts),
      total_deadline_(loop.now() + timeouts.total),
      arrived_(loop.executor()),
      timer_(&ProviderCall::on_deadline, this) {}

ProviderCall::~ProviderCall() {
  if (sent_ && !ended_) port_.withdraw(call_id_);
}

void ProviderCall::on_deadline(void* self) {
  auto* call = static_cast<ProviderCall*>(self);
  call->expired_ = true;
  call->arrived_.open();
}

void ProviderCall::cancel() {
  cancelled_ = true;
  arrived_.open();
}

void ProviderCall::answer(ProviderAnswer answer) {
  answers_.push_back(std::move(answer));
  arrived_.open();
}

net::Awaitable<Status> ProviderCall::next_answer(Duration patience, Waiting waiting) {
  expired_ = false;
  const std::string_view phase = waiting == Waiting::head ? "first byte" : "next byte";
  timer_.set(loop_.timers(), std::min(loop_.now() + patience, total_deadline_));
  while (answers_.empty() && !cancelled_ && !expired_) {
    arrived_.reset();
    co_await arrived_.wait();
  }
  timer_.cancel();
  if (cancelled_) co_return Error(ErrorCode::upstream_error, "cancelled");
  if (answers_.empty()) {
    co_return Error(ErrorCode::upstream_timeout,
                    "the provider did not give its " + std::string(phase) + " in time");
  }
  if (answers_.front().failure) {
    ended_ = true;
    co_return Error(ErrorCode::upstream_error, "the provider failed: " + *answers_.front().failure);
  }
  co_return Done{};
}

net::Awaitable<Result<net::ResponseHead>> ProviderCall::send(const Exchange& exchange) {
  ProviderRequest request;
  request.call_id = call_id_;
  request.upstream = exchange.target->upstream->name;
  request.endpoint = info(exchange.endpoint).upstream_path;
  request.model = exchange.upstream_model;
  request.request_id = exchange.request_id;
  request.stream = exchange.facts.stream;
  request.body = body_to_send(exchange);
  if (!port_.ask(std::move(request), credit_))
    co_return Error(ErrorCode::overloaded, "the provider's queue is full");
  sent_ = true;
  Status arrived = co_await next_answer(timeouts_.first_byte, Waiting::head);
  if (!arrived) co_return std::move(arrived.error());
  if (answers_.front().status < 200 || answers_.front().status > 599)
    co_return Error(ErrorCode::upstream_error, "the provider gave no valid status");
  ProviderAnswer head = std::move(answers_.front());
  answers_.pop_front();
  co_return to_head(head.status, head.headers);
}

void ProviderCall::return_credit() {
  const auto bytes = static_cast<std::int64_t>(current_.size());
  current_.clear();
  const std::int64_t waiting = credit_->waiting_bytes.fetch_sub(bytes) - bytes;
  if (waiting < ProviderCredit::kMostBytes && credit_->provider_waits.exchange(false)) port_.resume(call_id_);
}

net::Awaitable<Result<std::string_view>> ProviderCall::read() {
  return_credit();
  while (!ended_) {
    Status arrived = co_await next_answer(timeouts_.idle, Waiting::data);
    if (!arrived) co_return std::move(arrived.error());
    ProviderAnswer piece = std::move(answers_.front());
    answers_.pop_front();
    ended_ = piece.end;
    current_ = std::move(piece.data);
    if (!current_.empty()) break;
  }
  co_return std::string_view(current_);
}

}  // namespace sentinel::engine
