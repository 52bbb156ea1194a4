// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/link/clock_offset.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>

#include <fcntl.h>
#include <unistd.h>

#include <horus/io/seam/system.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kFarthest = INT64_MAX / 4;  // the kernel allows 146 years

}  // namespace

// Lines of "clock seconds nanoseconds"; the clock is a name, or 1 on kernels that have no names for them.
std::int64_t parse_clock_offset(std::string_view text) noexcept {
  const auto number_at = [](std::string_view& rest, std::int64_t& number) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const auto [end, problem] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    return problem == std::errc();
  };
  while (!text.empty()) {
    const std::size_t length = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, length);
    text.remove_prefix(std::min(length + 1, text.size()));
    const std::size_t name = std::min(line.find(' '), line.size());
    if (line.substr(0, name) != "monotonic" && line.substr(0, name) != "1") continue;
    line.remove_prefix(name);
    std::int64_t seconds = 0, nanoseconds = 0;
    if (!number_at(line, seconds) || !number_at(line, nanoseconds)) return kUnknownOffset;
    if (seconds > kFarthest / kSecond || seconds < -kFarthest / kSecond || nanoseconds < 0 ||
        nanoseconds >= kSecond)
      return kUnknownOffset;
    return seconds * kSecond + nanoseconds;
  }
  return kUnknownOffset;
}

std::int64_t clock_offset() noexcept {
  if (io::System::here().world_process() != 0) return 0;
  const int file = ::open("/proc/self/timens_offsets", O_RDONLY | O_CLOEXEC);
  // A kernel without time namespaces has one clock.
  if (file < 0) return errno == ENOENT && ::access("/proc/self/status", F_OK) == 0 ? 0 : kUnknownOffset;
  char text[256];
  const ssize_t size = ::read(file, text, sizeof text);
  ::close(file);
  if (size <= 0) return kUnknownOffset;
  // The offsets are those of its children, which are others after unshare(2).
  char ours[64], childrens[64];
  const ssize_t length = ::readlink("/proc/self/ns/time", ours, sizeof ours);
  if (length <= 0 || ::readlink("/proc/self/ns/time_for_children", childrens, sizeof childrens) != length ||
      !std::equal(ours, ours + length, childrens))
    return kUnknownOffset;
  return parse_clock_offset({text, static_cast<std::size_t>(size)});
}

std::int64_t clock_shift(std::int64_t theirs, std::int64_t ours) noexcept {
  const auto known = [](std::int64_t offset) { return offset >= -kFarthest && offset <= kFarthest; };
  return known(theirs) && known(ours) ? ours - theirs : kUnknownOffset;
}

std::int64_t shifted(std::int64_t stamp_ns, std::int64_t shift, std::int64_t now_ns) noexcept {
  if (shift == 0) return stamp_ns;
  if (shift == kUnknownOffset || stamp_ns == INT64_MIN) return -std::max<std::int64_t>(now_ns, 1);
  std::int64_t then = 0;
  if (__builtin_add_overflow(stamp_ns < 0 ? -stamp_ns : stamp_ns, shift, &then))
    then = shift < 0 ? 1 : INT64_MAX;
  then = std::max<std::int64_t>(then, 1);
  return stamp_ns < 0 ? -then : then;
}

}  // namespace horus::HORUS_ABI::msg
