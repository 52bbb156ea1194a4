// SPDX-License-Identifier: Apache-2.0
// What closing a descriptor may cost: asked of the kernel, with two or three calls that never wait.
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <string_view>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <horus/io/base/mounts.hpp>
#include <horus/io/seam/system.hpp>

namespace horus::HORUS_ABI::io {
namespace {

// A file that nobody can open any more gives its space back when it is closed: extent by extent.
constexpr std::int64_t kLargeRemoved = std::int64_t{64} << 20;  // bytes

constexpr unsigned kMemoryMajor = 1;  // devices.txt

// Event counters, timers, signals, processes, epoll sets. Others (inotify) wait for the kernel's own bookkeeping.
bool is_quick_inode(int fd) noexcept {
  std::array<char, 32> path;
  std::array<char, 64> name;
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
  const ssize_t size = ::readlink(path.data(), name.data(), name.size());
  if (size < 0) return true;  // no /proc
  const std::string_view target(name.data(), static_cast<std::size_t>(size));
  for (const std::string_view quick : {"[eventfd]", "[timerfd]", "[signalfd]", "[pidfd]", "[eventpoll]"}) {
    if (target.ends_with(quick)) return true;
  }
  return false;
}

}  // namespace

Closing System::closing_of(int fd) noexcept {
  linger lingering{};
  socklen_t size = sizeof lingering;
  if (::getsockopt(fd, SOL_SOCKET, SO_LINGER, &lingering, &size) == 0) {
    // With no time at all it is reset, at once.
    return lingering.l_onoff != 0 && lingering.l_linger > 0 ? Closing::room : Closing::at_once;
  }
  struct stat about;
  if (errno != ENOTSOCK || ::fstat(fd, &about) < 0) return Closing::at_once;  // EBADF: close(2) says so
  switch (about.st_mode & S_IFMT) {
    case S_IFIFO: return Closing::at_once;
    case S_IFREG:
    case S_IFDIR: {
      const bool large = about.st_nlink == 0 && std::int64_t{about.st_blocks} * 512 >= kLargeRemoved;
      if (large || detail::file_may_wait(fd, nullptr)) return Closing::room;
      return S_ISDIR(about.st_mode) ? Closing::at_once
                                    : Closing::entry;  // a folder has nothing to write back
    }
    // A serial line sends what it still holds, at its own speed; memory (/dev/null) holds nothing.
    case S_IFCHR: return major(about.st_rdev) == kMemoryMajor ? Closing::at_once : Closing::room;
    case S_IFBLK: return Closing::room;  // the last close writes the device back
    default: return is_quick_inode(fd) ? Closing::at_once : Closing::room;
  }
}

}  // namespace horus::HORUS_ABI::io
