#include "sentinel/net/gate.hpp"

namespace sentinel::net {

Gate::~Gate() = default;

void Gate::open() {
  open_ = true;
  if (!waiter_) return;
  Resume resume = take();
  asio::post(executor_, std::move(resume));
}

void Gate::open_here() {
  open_ = true;
  if (!waiter_) return;
  Resume resume = take();
  std::move(resume)();
}

Gate::Resume Gate::take() {
  Resume resume = std::move(waiter_->resume);
  waiter_.reset();
  return resume;
}

}  // namespace sentinel::net
