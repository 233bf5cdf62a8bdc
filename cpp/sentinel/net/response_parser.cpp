#include "sentinel/net/response_parser.hpp"

#include <algorithm>
#include <cassert>
#include <string>
#include <utility>

#include "llhttp.h"
#include "sentinel/base/ascii.hpp"

namespace sentinel::net {
namespace {

constexpr std::size_t kMaxHeadBytes = std::size_t{64} * 1024;
constexpr std::size_t kMaxHeaders = 200;
constexpr int kMaxInformational = 8;
constexpr std::size_t kMaxFramingBytes = std::size_t{8} * 1024;
constexpr std::size_t kUsualHeadBytes = 1024;
constexpr std::size_t kUsualHeaders = 24;

bool is_forbidden_in_value(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && c != '\t') || byte == 0x7f;
}

struct Span {
  std::size_t begin = 0;
  std::size_t size = 0;
};

struct Field {
  Span name;
  Span value;
  bool name_ended = false;
};

}  // namespace

struct ResponseParser::State {
  explicit State(bool head_only) : no_body(head_only) {
    llhttp_init(&machine, HTTP_RESPONSE, &settings());
    machine.data = this;
    text.reserve(kUsualHeadBytes);
    fields.reserve(kUsualHeaders);
  }

  static const llhttp_settings_t& settings();

  llhttp_t machine{};
  const bool no_body;

  // The head being read.
  std::vector<char> text;
  std::vector<Field> fields;
  std::size_t head_bytes = 0;
  int informational = 0;
  bool chunked = false;

  bool started = false;
  bool head_done = false;
  bool complete = false;
  bool keep_alive = false;
  bool surplus = false;
  const char* refusal = nullptr;
  std::optional<Error> failure;

  // What the current feed() found.
  bool head_event = false;
  std::vector<std::string_view> body;
  const char* framing_from = nullptr;  // where, in these bytes, what is no body byte began
  std::size_t framing_bytes = 0;       // and how many such came before these bytes

  std::string_view view(const Span& span) const { return {text.data() + span.begin, span.size}; }

  // The machine overwrites the reason a callback gives, so we keep our own.
  int refuse(const char* reason) {
    refusal = reason;
    return HPE_USER;
  }

  void append(Span& span, std::string_view bytes) {
    if (span.size == 0) span.begin = text.size();
    text.insert(text.end(), bytes.begin(), bytes.end());
    span.size += bytes.size();
  }

  int on_message_begin() {
    text.clear();
    fields.clear();
    return HPE_OK;
  }

  // Trailers are bounded as framing and otherwise of no interest.
  int on_name(std::string_view bytes) {
    if (head_done) return HPE_OK;
    if (fields.empty() || fields.back().name_ended) {
      if (fields.size() == kMaxHeaders) return refuse("more than 200 header fields");
      fields.emplace_back();
    }
    append(fields.back().name, bytes);
    return HPE_OK;
  }

  int on_name_end() {
    if (!head_done) fields.back().name_ended = true;
    return HPE_OK;
  }

  int on_value(std::string_view bytes) {
    if (std::any_of(bytes.begin(), bytes.end(), is_forbidden_in_value)) {
      return refuse("control byte in a header value");
    }
    if (!head_done) append(fields.back().value, bytes);
    return HPE_OK;
  }

  int on_head_end() {
    constexpr int kNoBody = 1;
    if (machine.http_major != 1 || machine.http_minor > 1)
      return refuse("HTTP version is neither 1.0 nor 1.1");
    const int status = machine.status_code;
    if (status < 100 || status > 599) return refuse("status is outside 100 to 599");
    if (status == 101) return refuse("101 Switching Protocols though no upgrade was asked for");
    if (status < 200) {
      return ++informational > kMaxInformational ? refuse("more than 8 informational replies") : kNoBody;
    }
    if (const int refused = check_fields(); refused != HPE_OK) return refused;
    head_done = true;
    head_event = true;
    if (no_body || status == 204 || status == 304) {
      chunked = false;
      return kNoBody;
    }
    // A pause tells run() where the head ended, so that only what follows is counted as framing.
    return chunked ? HPE_PAUSED : HPE_OK;
  }

  int check_fields() {
    int lengths = 0;
    int codings = 0;
    for (Field& field : fields) {
      normalise(field);
      const std::string_view name = view(field.name);
      const std::string_view value = view(field.value);
      if (name == "content-length") ++lengths;
      if (name == "transfer-encoding") {
        ++codings;
        if (!equals_ignoring_case(value, "chunked"))
          return refuse("Transfer-Encoding is not exactly 'chunked'");
      }
      if (name == "content-encoding" && !equals_ignoring_case(value, "identity")) {
        return refuse("a Content-Encoding other than identity, which is all we asked for");
      }
    }
    if (lengths > 1) return refuse("more than one Content-Length");
    if (codings > 1) return refuse("more than one Transfer-Encoding");
    if (lengths > 0 && codings > 0) return refuse("both Content-Length and Transfer-Encoding");
    if (codings > 0 && machine.http_minor == 0) return refuse("Transfer-Encoding in HTTP/1.0");
    chunked = codings > 0;
    return HPE_OK;
  }

  void normalise(Field& field) {
    char* name = text.data() + field.name.begin;
    std::transform(name, name + field.name.size, name, lower);
    const char* value = text.data() + field.value.begin;
    while (field.value.size > 0 && is_blank(value[field.value.size - 1])) --field.value.size;
  }

  int on_body(std::string_view bytes) {
    if (chunked) {
      if (count_framing(bytes.data()) > kMaxFramingBytes) return refuse("more than 8 KiB of chunk framing");
      framing_from = bytes.data() + bytes.size();
      framing_bytes = 0;
    }
    body.push_back(bytes);
    return HPE_OK;
  }

  std::size_t count_framing(const char* until) const {
    return framing_bytes + static_cast<std::size_t>(until - framing_from);
  }

  int on_message_end() {
    if (!head_done) return HPE_OK;  // an informational reply; the real one follows
    complete = true;
    keep_alive = llhttp_should_keep_alive(&machine) != 0;
    return HPE_PAUSED;  // whatever follows is not ours to parse
  }

  void fail(std::string_view reason) {
    complete = false;
    failure.emplace(ErrorCode::upstream_error, "upstream sent an invalid HTTP reply: " + std::string(reason));
  }

  // Runs the machine until it stops by itself or the bytes are used up; gives the number used.
  std::size_t run(std::string_view bytes) {
    const char* const end = bytes.data() + bytes.size();
    framing_from = bytes.data();
    const llhttp_errno_t outcome = llhttp_execute(&machine, bytes.data(), bytes.size());
    if (outcome != HPE_OK && outcome != HPE_PAUSED) {
      fail(refusal != nullptr ? refusal : llhttp_get_error_reason(&machine));
      return bytes.size();
    }
    const char* const stop = outcome == HPE_PAUSED ? llhttp_get_error_pos(&machine) : end;
    if (outcome == HPE_PAUSED && !complete) {  // the end of a chunked head
      llhttp_resume(&machine);
    } else if (chunked && head_done) {
      framing_bytes = count_framing(stop);
      if (framing_bytes > kMaxFramingBytes) fail("more than 8 KiB of chunk framing");
    }
    return static_cast<std::size_t>(stop - bytes.data());
  }

  Progress progress(std::size_t consumed) const { return {head_event, complete, body, consumed}; }

  // Good bytes before the fault are handed out first; the Error comes with the next call.
  bool has_events() const { return head_event || !body.empty(); }
};

namespace {

template <class Target, int (Target::*Handler)()>
int call(llhttp_t* machine) {
  return (static_cast<Target*>(machine->data)->*Handler)();
}

template <class Target, int (Target::*Handler)(std::string_view)>
int call(llhttp_t* machine, const char* at, std::size_t size) {
  return (static_cast<Target*>(machine->data)->*Handler)({at, size});
}

}  // namespace

const llhttp_settings_t& ResponseParser::State::settings() {
  static const llhttp_settings_t kSettings = [] {
    llhttp_settings_t made;
    llhttp_settings_init(&made);
    made.on_message_begin = &call<State, &State::on_message_begin>;
    made.on_header_field = &call<State, &State::on_name>;
    made.on_header_field_complete = &call<State, &State::on_name_end>;
    made.on_header_value = &call<State, &State::on_value>;
    made.on_headers_complete = &call<State, &State::on_head_end>;
    made.on_body = &call<State, &State::on_body>;
    made.on_message_complete = &call<State, &State::on_message_end>;
    return made;
  }();
  return kSettings;
}

std::optional<std::string_view> ResponseHead::find(std::string_view name) const {
  for (const Header& header : headers) {
    if (header.name == name) return header.value;
  }
  return std::nullopt;
}

ResponseParser::ResponseParser(bool no_body) : state_(std::make_unique<State>(no_body)) {}
ResponseParser::~ResponseParser() = default;

Result<ResponseParser::Progress> ResponseParser::feed(std::string_view bytes) {
  State& state = *state_;
  state.head_event = false;
  state.body.clear();
  if (state.failure) return *state.failure;
  if (!bytes.empty()) state.started = true;
  std::size_t used = 0;
  while (used < bytes.size() && !state.complete && !state.failure) {
    std::string_view rest = bytes.substr(used);
    if (!state.head_done) {
      rest = rest.substr(0, kMaxHeadBytes - state.head_bytes);
      if (rest.empty()) {
        state.fail("a head of more than 64 KiB");
        break;
      }
    }
    const bool in_head = !state.head_done;
    const std::size_t step = state.run(rest);
    if (in_head) state.head_bytes += step;
    used += step;
  }
  if (state.failure && !state.has_events()) return *state.failure;
  if (state.complete && used < bytes.size()) state.surplus = true;
  return state.progress(used);
}

Result<ResponseParser::Progress> ResponseParser::eof() {
  State& state = *state_;
  state.head_event = false;
  state.body.clear();
  if (state.failure) return *state.failure;
  if (state.complete) return state.progress(0);
  if (state.head_done) {
    llhttp_finish(&state.machine);  // completes a close-delimited body, nothing else
    if (state.complete) return state.progress(0);
  }
  state.failure.emplace(ErrorCode::upstream_error,
                        state.head_done ? "upstream closed the connection in the middle of its reply"
                                        : "upstream closed the connection before its reply");
  return *state.failure;
}

ResponseHead ResponseParser::take_head() {
  State& state = *state_;
  assert(state.head_done);
  ResponseHead head;
  head.status = state.machine.status_code;
  head.text = std::move(state.text);
  head.headers.reserve(state.fields.size());
  const auto view = [&head](const Span& span) {
    return std::string_view(head.text.data() + span.begin, span.size);
  };
  for (const Field& field : state.fields) head.headers.push_back({view(field.name), view(field.value)});
  return head;
}

bool ResponseParser::started() const { return state_->started; }
bool ResponseParser::complete() const { return state_->complete; }
bool ResponseParser::reusable() const { return state_->complete && state_->keep_alive && !state_->surplus; }
bool ResponseParser::failed() const { return state_->failure.has_value(); }

}  // namespace sentinel::net
