// Names to addresses, for one loop: every dial asks again, a small cache keeps answers for 30 seconds.
//
// Contract: look_up() never waits. It gives an answer that is there already or one that is on its way; who
// must wait for it leaves a gate in `waiting` and takes it out again. Look-ups of one name in flight are
// one. Failures are told to those who wait and not remembered. An address written as text needs no resolver.
// What may be dialled is not decided here but where the connection is made (address_policy.hpp).
// Cost: a map look-up; a real one runs on Asio's resolver thread, one at a time for each loop.
// Thread rule: the loop's thread. Failure rule: Lookup::failure, in words.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <boost/asio/ip/address.hpp>

#include "sentinel/base/clock.hpp"
#include "sentinel/net/asio.hpp"
#include "sentinel/net/gate.hpp"

namespace sentinel::net {

class Loop;

struct Lookup {
  bool done = false;
  std::vector<asio::ip::address> addresses;
  std::string failure;  // in words, when done and no address
  Duration expires{0};
  std::vector<Gate*> waiting;
};

class Resolver {
 public:
  explicit Resolver(Loop& loop);
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;
  ~Resolver();

  std::shared_ptr<Lookup> look_up(const std::string& host);

  // What a finished look-up does: the answer of `host`, good for 30 seconds from now.
  void remember(const std::string& host, std::vector<asio::ip::address> addresses);

  void cancel();  // gives up look-ups that have not begun; idempotent

 private:
  struct Service;
  void ask(const std::string& host, std::shared_ptr<Lookup> lookup);
  void finish(const std::string& host, Lookup& lookup);

  Loop& loop_;
  std::shared_ptr<Service> service_;
  std::unordered_map<std::string, std::shared_ptr<Lookup>> known_;
};

}  // namespace sentinel::net
