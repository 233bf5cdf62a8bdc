// An exchange under way: what its loop keeps beside it. Internal to the runner and to the doors that hand it over.
#pragma once

#include <memory>
#include <utility>

#include "sentinel/engine/exchange.hpp"
#include "sentinel/engine/ports.hpp"
#include "sentinel/resilience/flight.hpp"

namespace sentinel::engine {

class Call;
class Flow;

struct Live {
  Live(std::unique_ptr<Exchange> given, std::shared_ptr<ClientSide> side, std::shared_ptr<ProviderPort> port,
       std::shared_ptr<Flow> control)
      : exchange(std::move(given)),
        client(std::move(side)),
        provider(std::move(port)),
        flow(std::move(control)) {}

  std::unique_ptr<Exchange> exchange;
  std::shared_ptr<ClientSide> client;
  std::shared_ptr<ProviderPort> provider;
  std::shared_ptr<Flow> flow;
  StopReason stop = StopReason::none;
  bool begun = false;  // the client has the head of a stream
  bool told = false;   // the client has its end

  std::shared_ptr<Call> call;  // whose answer it waits for, as which consumer, and how far it is
  resilience::ConsumerId consumer = 0;
  std::uint64_t delivered = 0;
  std::uint64_t consumed = 0;

  Live* previous = nullptr;  // the loop's list of running exchanges
  Live* next = nullptr;
};

}  // namespace sentinel::engine
