#include "sentinel/net/resolver.hpp"

#include <algorithm>
#include <utility>

#include <boost/asio/ip/basic_resolver.hpp>

#include "sentinel/net/loop.hpp"

namespace sentinel::net {
namespace {

constexpr Duration kTimeToLive = std::chrono::seconds{30};

using SystemResolver = asio::ip::basic_resolver<asio::ip::tcp, Executor>;

}  // namespace

// Outlives the Resolver while an answer is on its way; `owner` is null once nobody wants it.
struct Resolver::Service {
  Service(Resolver& resolver, Executor executor) : owner(&resolver), system(executor) {}
  Resolver* owner;
  SystemResolver system;
};

Resolver::Resolver(Loop& loop) : loop_(loop), service_(std::make_shared<Service>(*this, loop.executor())) {}

Resolver::~Resolver() {
  service_->owner = nullptr;
  cancel();
}

void Resolver::cancel() { service_->system.cancel(); }

std::shared_ptr<Lookup> Resolver::look_up(const std::string& host) {
  SocketError not_an_address;
  const asio::ip::address literal = asio::ip::make_address(host, not_an_address);
  if (!not_an_address) {
    auto lookup = std::make_shared<Lookup>();
    lookup->addresses.push_back(literal);
    lookup->done = true;
    return lookup;
  }
  const auto known = known_.find(host);
  if (known != known_.end() && (!known->second->done || loop_.now() < known->second->expires))
    return known->second;
  auto lookup = std::make_shared<Lookup>();
  known_.insert_or_assign(host, lookup);
  ask(host, lookup);
  return lookup;
}

void Resolver::ask(const std::string& host, std::shared_ptr<Lookup> lookup) {
  auto answered = [service = service_, host, lookup = std::move(lookup)](
                      const SocketError& error, const SystemResolver::results_type& results) {
    for (const auto& entry : results) {
      const asio::ip::address address = entry.endpoint().address();
      auto& all = lookup->addresses;
      if (std::find(all.begin(), all.end(), address) == all.end()) all.push_back(address);
    }
    if (lookup->addresses.empty()) lookup->failure = error ? error.message() : "no address";
    if (service->owner != nullptr) service->owner->finish(host, *lookup);
  };
  // The name alone: the port is ours, and whether this host has a v6 route shows when it is dialled.
  service_->system.async_resolve(host, "", asio::ip::resolver_base::flags(), std::move(answered));
}

void Resolver::finish(const std::string& host, Lookup& lookup) {
  lookup.done = true;
  lookup.expires = loop_.now() + kTimeToLive;
  for (Gate* gate : lookup.waiting) gate->open();
  lookup.waiting.clear();
  const auto known = known_.find(host);
  const bool current = known != known_.end() && known->second.get() == &lookup;
  if (current && lookup.addresses.empty()) known_.erase(known);
}

void Resolver::remember(const std::string& host, std::vector<asio::ip::address> addresses) {
  auto lookup = std::make_shared<Lookup>();
  lookup->addresses = std::move(addresses);
  finish(host, *lookup);
  known_.insert_or_assign(host, std::move(lookup));
}

}  // namespace sentinel::net
