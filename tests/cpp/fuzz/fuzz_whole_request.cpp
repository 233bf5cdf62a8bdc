// Whatever goes straight to the engine is one request for llhttp too, with every leniency off, and the same one: no
// two readers of a connection may disagree on where a request ends or what it says (S3).
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "llhttp.h"
#include "sentinel/net/whole_request.hpp"

namespace {

using sentinel::net::read_whole_request;
using sentinel::net::RequestHeader;

void must(bool promise) {
  if (!promise) std::abort();
}

struct Reading {
  std::string method;
  std::string target;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  bool name_open = false;
  int complete = 0;
};

Reading& reading(llhttp_t* parser) { return *static_cast<Reading*>(parser->data); }

int on_name(llhttp_t* parser, const char* at, std::size_t size) {
  Reading& read = reading(parser);
  if (!read.name_open) read.headers.emplace_back();
  read.name_open = true;
  read.headers.back().first.append(at, size);
  return 0;
}

int on_value(llhttp_t* parser, const char* at, std::size_t size) {
  reading(parser).name_open = false;
  reading(parser).headers.back().second.append(at, size);
  return 0;
}

llhttp_settings_t make_settings() {
  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  settings.on_method = [](llhttp_t* parser, const char* at, std::size_t size) {
    reading(parser).method.append(at, size);
    return 0;
  };
  settings.on_url = [](llhttp_t* parser, const char* at, std::size_t size) {
    reading(parser).target.append(at, size);
    return 0;
  };
  settings.on_header_field = &on_name;
  settings.on_header_value = &on_value;
  settings.on_body = [](llhttp_t* parser, const char* at, std::size_t size) {
    reading(parser).body.append(at, size);
    return 0;
  };
  settings.on_message_complete = [](llhttp_t* parser) {
    ++reading(parser).complete;
    return 0;
  };
  return settings;
}

std::string_view without_trailing_space(std::string_view text) {
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::vector<RequestHeader> headers;
  const auto request = read_whole_request(bytes, headers);
  if (!request) return 0;

  static const llhttp_settings_t settings = make_settings();
  Reading read;
  llhttp_t parser;
  llhttp_init(&parser, HTTP_REQUEST, &settings);
  parser.data = &read;
  must(llhttp_execute(&parser, bytes.data(), bytes.size()) == HPE_OK);
  must(read.complete == 1 && llhttp_should_keep_alive(&parser) == 1);
  must(read.method == "POST" && read.body == request->body);
  must(read.target ==
           std::string(request->path) + (request->query.empty() ? "" : "?") + std::string(request->query) ||
       read.target == std::string(request->path) + "?");
  must(read.headers.size() == headers.size());
  for (std::size_t i = 0; i < headers.size(); ++i) {
    must(read.headers[i].first == headers[i].name);
    must(without_trailing_space(read.headers[i].second) == headers[i].value);
  }
  return 0;
}
