// Where an upstream is and how long its calls may take: plain values, free of Asio, for configuration to fill.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "sentinel/base/clock.hpp"

namespace sentinel::net {

// Where to connect. Two origins share connections only if everything but max_connections is equal.
struct Origin {
  bool tls = true;
  std::string host;  // a name or an address; a v6 address may wear brackets
  std::uint16_t port = 443;
  std::string ca_file;                   // if given, the only trust anchor
  std::vector<std::string> trust_files;  // otherwise the first of these that exists
  bool allow_private = false;
  std::size_t max_connections = 256;  // of this loop

  std::string key() const;  // "https://host:port", for people and logs
};

struct Timeouts {
  Duration connect{0};
  Duration first_byte{0};
  Duration idle{0};
  Duration total{0};
};

}  // namespace sentinel::net
