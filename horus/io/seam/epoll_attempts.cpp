// SPDX-License-Identifier: Apache-2.0
// Attempts that never block, on descriptors whose flags are not ours to change.
#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <horus/io/seam/epoll_provider.hpp>

namespace horus::HORUS_ABI::io {
namespace {

// What a blocking write to something that says it is writable takes at once: a pipe has a free page then, a terminal has
// some room.
constexpr std::size_t kCertainPipeBytes = 4096;
constexpr std::size_t kCertainDeviceBytes = 64;

ssize_t or_errno(ssize_t result) noexcept { return result < 0 ? -errno : result; }

}  // namespace

int EpollProvider::classify(int fd, DescriptorTraits& traits) noexcept {
  struct stat about;
  if (::fstat(fd, &about) < 0) return -errno;
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  using Kind = DescriptorTraits::Kind;
  switch (about.st_mode & S_IFMT) {
    case S_IFSOCK: traits.kind = Kind::socket; break;
    case S_IFIFO: traits.kind = Kind::stream; break;
    case S_IFCHR: traits.kind = Kind::device; break;
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFBLK: traits.kind = Kind::file; break;
    default: traits.kind = Kind::counter; break;  // anonymous inodes
  }
  traits.nonblocking = (flags & O_NONBLOCK) != 0;
  traits.direct = (flags & O_DIRECT) != 0;
  traits.read_waits = traits.write_waits = !use_nowait_;
  return 0;
}

ssize_t EpollProvider::receive(int fd, void* data, std::size_t size, int flags) noexcept {
  return or_errno(::recv(fd, data, size, flags | MSG_DONTWAIT));
}
ssize_t EpollProvider::send(int fd, const void* data, std::size_t size, int flags) noexcept {
  return or_errno(::send(fd, data, size, flags | MSG_DONTWAIT | MSG_NOSIGNAL));
}
ssize_t EpollProvider::receive_message(int fd, msghdr& message, int flags) noexcept {
  return or_errno(::recvmsg(fd, &message, flags | MSG_DONTWAIT));
}
ssize_t EpollProvider::send_message(int fd, const msghdr& message, int flags) noexcept {
  return or_errno(::sendmsg(fd, &message, flags | MSG_DONTWAIT | MSG_NOSIGNAL));
}

ssize_t EpollProvider::read(int fd, const iovec* parts, int count, std::int64_t offset,
                            DescriptorTraits& traits) noexcept {
  return transfer(fd, parts, count, offset, traits, false);
}
ssize_t EpollProvider::write(int fd, const iovec* parts, int count, std::int64_t offset,
                             DescriptorTraits& traits) noexcept {
  return transfer(fd, parts, count, offset, traits, true);
}

ssize_t EpollProvider::transfer(int fd, const iovec* parts, int count, std::int64_t offset,
                                DescriptorTraits& traits, bool writing) noexcept {
  using Kind = DescriptorTraits::Kind;
  if (traits.kind == Kind::socket) {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts);
    message.msg_iovlen = static_cast<std::size_t>(count);
    return writing ? send_message(fd, message, 0) : receive_message(fd, message, 0);
  }
  const bool file = traits.kind == Kind::file;
  bool& waits = writing ? traits.write_waits : traits.read_waits;
  if (file && (traits.direct || waits)) return -EAGAIN;  // direct reads wait for the disk in any case
  if (!waits) {
    const off_t at = file ? static_cast<off_t>(offset) : -1;
    const ssize_t moved = writing ? ::pwritev2(fd, parts, count, at, RWF_NOWAIT)  //
                                  : ::preadv2(fd, parts, count, at, RWF_NOWAIT);
    if (moved >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS)) return or_errno(moved);
    waits = true;
    if (file) return -EAGAIN;
  }
  return transfer_when_ready(fd, parts, count, traits, writing);
}

ssize_t EpollProvider::transfer_when_ready(int fd, const iovec* parts, int count,
                                           const DescriptorTraits& traits, bool writing) noexcept {
  if (traits.nonblocking) return or_errno(writing ? ::writev(fd, parts, count) : ::readv(fd, parts, count));
  const int ready = poll(fd, writing ? POLLOUT : POLLIN);
  if (ready <= 0) return ready == 0 ? -EAGAIN : ready;
  if (!writing) return or_errno(::readv(fd, parts, count));
  const iovec* first = std::find_if(parts, parts + count, [](const iovec& part) { return part.iov_len > 0; });
  if (first == parts + count) return 0;
  using Kind = DescriptorTraits::Kind;
  const bool terminal = traits.kind == Kind::device && ::isatty(fd) == 1;
  std::size_t size = first->iov_len;
  if (terminal) size = std::min(size, kCertainDeviceBytes);
  if (traits.kind == Kind::stream) size = std::min(size, kCertainPipeBytes);
  return or_errno(::write(fd, first->iov_base, size));
}

int EpollProvider::accept(int fd, sockaddr* address, socklen_t* size, int flags,
                          const DescriptorTraits& traits) noexcept {
  // accept4(2) has no MSG_DONTWAIT. Listening sockets of this process are non-blocking; an adopted one is asked first.
  if (!traits.nonblocking) {
    const int ready = poll(fd, POLLIN);
    if (ready <= 0) return ready == 0 ? -EAGAIN : ready;
  }
  return static_cast<int>(or_errno(::accept4(fd, address, size, flags)));
}

int EpollProvider::connect(int fd, const sockaddr* address, socklen_t size) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  const bool blocking = (flags & O_NONBLOCK) == 0;
  if (blocking && ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
  const int result = static_cast<int>(or_errno(::connect(fd, address, size)));
  if (blocking) ::fcntl(fd, F_SETFL, flags);
  return result == -EINTR ? -EINPROGRESS : result;
}

int EpollProvider::connect_result(int fd) noexcept {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) return -errno;
  return -error;
}

int EpollProvider::poll(int fd, std::uint32_t events) noexcept {
  pollfd asked{fd, static_cast<short>(events), 0};
  const int result = ::poll(&asked, 1, 0);
  if (result < 0) return errno == EINTR ? 0 : -errno;
  if (result == 0) return 0;
  if ((asked.revents & POLLNVAL) != 0) return -EBADF;
  return static_cast<unsigned short>(asked.revents);
}

int EpollProvider::shutdown(int fd, int how) noexcept {
  return static_cast<int>(or_errno(::shutdown(fd, how)));
}

}  // namespace horus::HORUS_ABI::io
