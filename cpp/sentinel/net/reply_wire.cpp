#include "sentinel/net/reply_wire.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

namespace sentinel::net {
namespace {

// Not strftime's: those are the locale's, which is the process's to choose.
constexpr std::array<std::string_view, 7> kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

std::string_view reason(int status) {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    default: return "";  // RFC 9112, 4: clients ignore it
  }
}

void append_number(std::string& text, std::size_t number, int base) {
  std::array<char, 20> digits{};
  const auto written = std::to_chars(digits.data(), digits.data() + digits.size(), number, base);
  text.append(digits.data(), written.ptr);
}

void append_two_digits(std::string& text, int number) {
  text.push_back(static_cast<char>('0' + number / 10));
  text.push_back(static_cast<char>('0' + number % 10));
}

void append_field(std::string& wire, std::string_view name, std::string_view value) {
  wire.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

std::string_view HttpDate::at(Duration unix_time) {
  const std::int64_t second = std::chrono::duration_cast<std::chrono::seconds>(unix_time).count();
  if (second == second_) return text_;
  second_ = second;
  const auto time = static_cast<std::time_t>(second);
  std::tm parts{};
  gmtime_r(&time, &parts);
  text_.assign(kDays[static_cast<std::size_t>(parts.tm_wday)]).append(", ");
  append_two_digits(text_, parts.tm_mday);
  text_.append(" ").append(kMonths[static_cast<std::size_t>(parts.tm_mon)]).append(" ");
  append_number(text_, static_cast<std::size_t>(parts.tm_year) + 1900, 10);
  text_.append(" ");
  append_two_digits(text_, parts.tm_hour);
  text_.append(":");
  append_two_digits(text_, parts.tm_min);
  text_.append(":");
  append_two_digits(text_, parts.tm_sec);
  text_.append(" GMT");
  return text_;
}

Length append_reply_head(std::string& wire, int status, HeaderPairs fields, std::string_view date) {
  wire.append("HTTP/1.1 ");
  append_number(wire, static_cast<std::size_t>(status), 10);
  wire.append(" ").append(reason(status)).append("\r\n");
  append_field(wire, "date", date);
  for (const auto& [name, value] : fields) append_field(wire, name, value);
  const bool declared =
      std::ranges::any_of(fields, [](const auto& field) { return field.first == "content-length"; });
  if (!declared) append_field(wire, "transfer-encoding", "chunked");
  wire.append("\r\n");
  return declared ? Length::declared : Length::chunked;
}

void append_chunk(std::string& wire, std::string_view bytes) {
  if (bytes.empty()) return;
  append_number(wire, bytes.size(), 16);
  wire.append("\r\n").append(bytes).append("\r\n");
}

void append_last_chunk(std::string& wire) { wire.append("0\r\n\r\n"); }

}  // namespace sentinel::net
