// GET /v1/models and /v1/models/{id}: what this principal may ask for, in OpenAI's form.
#pragma once

#include <string_view>

#include "sentinel/base/result.hpp"
#include "sentinel/engine/exchange.hpp"

namespace sentinel::engine {

// `path` ends in /models, or in /models/{id} for one model.
Result<Reply> model_list(const Exchange& exchange, std::string_view path);

}  // namespace sentinel::engine
