#include "sentinel/engine/state_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "sentinel/base/digest.hpp"

namespace sentinel::engine {
namespace {

constexpr std::string_view kMagic = "sentinel state 1\n";
constexpr std::size_t kDigestDigits = 64;

Error file_error(const std::string& what, const std::string& path) {
  return Error(ErrorCode::internal_error, what + " " + path + ": " + std::strerror(errno));
}

// The magic line, the SHA-256 of what follows, the length of the first part, both parts.
std::string encode(const KeptState& state) {
  const std::string content = std::to_string(state.limits.size()) + "\n" + state.limits + state.breakers;
  return std::string(kMagic) + to_hex(sha256(content)) + "\n" + content;
}

std::optional<KeptState> decode(std::string_view text) {
  if (!text.starts_with(kMagic)) return std::nullopt;
  text.remove_prefix(kMagic.size());
  if (text.size() < kDigestDigits + 1 || text[kDigestDigits] != '\n') return std::nullopt;
  const std::string_view digest = text.substr(0, kDigestDigits);
  text.remove_prefix(kDigestDigits + 1);
  if (to_hex(sha256(text)) != digest) return std::nullopt;
  const std::size_t line = text.find('\n');
  if (line == std::string_view::npos) return std::nullopt;
  const std::size_t size = std::strtoull(std::string(text.substr(0, line)).c_str(), nullptr, 10);
  text.remove_prefix(line + 1);
  if (size > text.size()) return std::nullopt;
  return KeptState{std::string(text.substr(0, size)), std::string(text.substr(size))};
}

bool write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(descriptor, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(put));
  }
  return true;
}

}  // namespace

Result<std::optional<KeptState>> StateFile::load() const {
  std::ifstream file(path_, std::ios::binary);
  if (!file) return std::optional<KeptState>{};
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  auto state = decode(text);
  if (!state) return Error(ErrorCode::internal_error, path_ + " is damaged");
  return state;
}

Status StateFile::save(const KeptState& state) {
  std::string text = encode(state);
  if (text == written_) return Done{};
  const std::string beside = path_ + ".new";
  const int descriptor = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (descriptor < 0) return file_error("cannot open", beside);
  const bool written = write_all(descriptor, text);
  ::close(descriptor);
  if (!written || std::rename(beside.c_str(), path_.c_str()) != 0) return file_error("cannot write", path_);
  written_ = std::move(text);
  return Done{};
}

}  // namespace sentinel::engine
