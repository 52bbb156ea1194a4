// SPDX-License-Identifier: Apache-2.0
#include <horus/io/host_calls.hpp>

#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <horus/base/above_standard.hpp>
#include <horus/io/reactor.hpp>

namespace horus::io {
namespace {

int result_of(int result) noexcept { return result < 0 ? -errno : result; }

}  // namespace

HostCalls& HostCalls::here() noexcept {
  static HostCalls kernel;
  Reactor* reactor = Reactor::current();
  auto* world = reactor != nullptr ? dynamic_cast<HostCalls*>(&reactor->backend()) : nullptr;
  return world != nullptr ? *world : kernel;
}

HostCalls::~HostCalls() = default;

std::uint64_t HostCalls::world_process() const noexcept { return 0; }
uid_t HostCalls::user() noexcept { return ::geteuid(); }
pid_t HostCalls::process() noexcept { return ::getpid(); }
std::size_t HostCalls::descriptor_limit() noexcept {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? static_cast<std::size_t>(limit.rlim_cur) : 1024;
}
int HostCalls::make_folder(const char* path, mode_t mode) noexcept { return result_of(::mkdir(path, mode)); }
int HostCalls::status(const char* path, struct stat& status) noexcept {
  return result_of(::lstat(path, &status));
}
int HostCalls::rename(const char* from, const char* to) noexcept { return result_of(::rename(from, to)); }
int HostCalls::unlink(const char* path) noexcept { return result_of(::unlink(path)); }
int HostCalls::open_folder(const char* path) noexcept {
  return result_of(above_standard(::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)));
}
int HostCalls::connect(int fd, const sockaddr* to, socklen_t size) noexcept {
  return result_of(::connect(fd, to, size));
}
int HostCalls::socket_pair(int ends[2], int domain, int type) noexcept {
  if (::socketpair(domain, type | SOCK_CLOEXEC, 0, ends) != 0) return -errno;
  ends[0] = above_standard(ends[0]);
  ends[1] = above_standard(ends[1]);
  if (ends[0] >= 0 && ends[1] >= 0) return 0;
  const int problem = errno;
  for (int end = 0; end < 2; ++end) {
    if (ends[end] >= 0) ::close(ends[end]);
  }
  return -problem;
}
ssize_t HostCalls::send(int fd, const void* data, std::size_t size) noexcept {
  const ssize_t sent = ::send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent < 0 ? -errno : sent;
}
ssize_t HostCalls::read(int fd, void* data, std::size_t size) noexcept {
  const ssize_t came = ::read(fd, data, size);
  return came < 0 ? -errno : came;
}
int HostCalls::make_watch() noexcept {
  return result_of(above_standard(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)));
}
int HostCalls::watch_folder(int watch, const char* path, std::uint32_t events) noexcept {
  return result_of(::inotify_add_watch(watch, path, events | IN_ONLYDIR));
}
int HostCalls::make_memory(const char* name) noexcept {
  return result_of(above_standard(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)));
}
int HostCalls::kernel_file(int fd) noexcept { return fd; }
void HostCalls::close(int fd) noexcept { ::close(fd); }

void HostCalls::close_of(std::uint64_t world_process, int fd) noexcept {
  if (world_process == 0) {
    ::close(fd);
  } else if (HostCalls& here = HostCalls::here(); here.world_process() == world_process) {
    here.close(fd);
  }
}

}  // namespace horus::io
