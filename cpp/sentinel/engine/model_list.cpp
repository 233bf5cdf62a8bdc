#include "sentinel/engine/model_list.hpp"

#include <set>

#include "sentinel/engine/errors.hpp"
#include "sentinel/engine/replies.hpp"

namespace sentinel::engine {
namespace {

bool may_use(const Exchange& exchange, std::string_view model) {
  return !exchange.principal || exchange.principal->may_use(model);
}

void append_model(std::string& out, std::string_view id, const Route& route) {
  out += R"({"id":")";
  append_json_escaped(out, id);
  out += R"(","object":"model","created":0,"owned_by":")";
  append_json_escaped(out, route.targets.front().upstream->name);
  out += "\"}";
}

// Names a client can really ask for: wildcards are rules, not models.
std::set<std::string> visible_models(const Exchange& exchange) {
  std::set<std::string> names;
  for (const auto& route : exchange.snapshot->routes) {
    names.insert(route->name);
    names.insert(route->aliases.begin(), route->aliases.end());
  }
  std::erase_if(names, [&exchange](const std::string& name) {
    return name.find('*') != std::string::npos || !may_use(exchange, name);
  });
  return names;
}

std::string decoded(std::string_view text) {
  const auto hex = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  constexpr std::string_view kHex = "0123456789abcdefABCDEF";
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() &&
                        kHex.find(text[i + 1]) != std::string_view::npos &&
                        kHex.find(text[i + 2]) != std::string_view::npos;
    plain += escape ? static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2])) : text[i];
    if (escape) i += 2;
  }
  return plain;
}

}  // namespace

Result<Reply> model_list(const Exchange& exchange, std::string_view path) {
  constexpr std::string_view kMark = "/models/";
  std::string body;
  const std::size_t mark = path.rfind(kMark);
  if (mark != std::string_view::npos && mark + kMark.size() < path.size()) {
    const std::string id = decoded(path.substr(mark + kMark.size()));
    const Route* route = exchange.snapshot->find_route(id);
    if (route == nullptr || !may_use(exchange, id)) {
      return Error(ErrorCode::model_not_found, "no route serves the model \"" + id + "\"", "model");
    }
    append_model(body, id, *route);
    return json_reply(exchange, 200, std::move(body));
  }
  body = R"({"object":"list","data":[)";
  for (const auto& name : visible_models(exchange)) {
    if (body.back() == '}') body += ',';
    append_model(body, name, *exchange.snapshot->find_route(name));
  }
  body += "]}";
  return json_reply(exchange, 200, std::move(body));
}

}  // namespace sentinel::engine
