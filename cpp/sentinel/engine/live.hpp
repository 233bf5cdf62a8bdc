// An exchange under way: what its loop keeps beside it. Internal to the runner and to the doors that hand it over.
#pragma once

#include <memory>
#include <utility>

#include "sentinel/base/timer_wheel.hpp"
#include "sentinel/engine/exchange.hpp"
#include "sentinel/engine/ports.hpp"
#include "sentinel/net/gate.hpp"

namespace sentinel::engine {

class Flow;

struct Live {
  Live(std::unique_ptr<Exchange> given, std::shared_ptr<ClientSide> side, std::shared_ptr<ProviderPort> port,
       std::shared_ptr<Flow> control, net::Executor executor)
      : exchange(std::move(given)),
        client(std::move(side)),
        provider(std::move(port)),
        flow(std::move(control)),
        credit(executor),
        slow_reader(&Live::on_slow_reader, this) {}

  static void on_slow_reader(void* self) {
    auto* live = static_cast<Live*>(self);
    if (live->stop == StopReason::none) live->stop = StopReason::slow_reader;
    live->credit.open();
  }

  std::unique_ptr<Exchange> exchange;
  std::shared_ptr<ClientSide> client;
  std::shared_ptr<ProviderPort> provider;
  std::shared_ptr<Flow> flow;
  net::Gate credit;
  Timer slow_reader;
  StopReason stop = StopReason::none;
  bool begun = false;               // the client has the head of a stream
  void (*cancel)(void*) = nullptr;  // hangs up on `source`
  void* source = nullptr;
  Live* previous = nullptr;  // the loop's list of running exchanges
  Live* next = nullptr;
};

}  // namespace sentinel::engine
