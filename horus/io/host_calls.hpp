// SPDX-License-Identifier: Apache-2.0
// Calls on the host that are made on the spot, without an entry, and that a simulated world answers for its processes:
// names of files, memory that several processes map, a byte into a socket. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <horus/base/export.hpp>

namespace horus::io {

/// The host of the calling thread: the kernel, unless the thread's reactor belongs to a simulated world.
///
/// Semantics: each call is the one of the manual page that it names. None waits for anybody.
/// Errors: -errno.
/// Thread safety: any thread; in a world, the world's.
class HORUS_API HostCalls {
 public:
  /// Of the calling thread. In a world it lives as long as the current reactor.
  static HostCalls& here() noexcept;
  virtual ~HostCalls();

  /// Differs for every process of every world; 0: the kernel's.
  [[nodiscard]] virtual std::uint64_t world_process() const noexcept;
  virtual uid_t user() noexcept;                                       ///< geteuid(2)
  virtual pid_t process() noexcept;                                    ///< getpid(2)
  virtual std::size_t descriptor_limit() noexcept;                     ///< RLIMIT_NOFILE
  virtual int make_folder(const char* path, mode_t mode) noexcept;     ///< mkdir(2)
  virtual int status(const char* path, struct stat& status) noexcept;  ///< lstat(2)
  virtual int rename(const char* from, const char* to) noexcept;       ///< rename(2)
  virtual int unlink(const char* path) noexcept;                       ///< unlink(2)
  virtual int open_folder(const char* path) noexcept;                  ///< open(2), and no link
  virtual int connect(int fd, const sockaddr* to,
                      socklen_t size) noexcept;  ///< connect(2) on a non-blocking socket
  virtual int socket_pair(int ends[2], int domain, int type) noexcept;        ///< socketpair(2)
  virtual ssize_t send(int fd, const void* data, std::size_t size) noexcept;  ///< send(2), MSG_DONTWAIT
  virtual ssize_t read(int fd, void* data, std::size_t size) noexcept;        ///< read(2) of what never waits
  virtual int make_watch() noexcept;  ///< inotify_init1(2), IN_NONBLOCK
  /// inotify_add_watch(2), of a folder.
  virtual int watch_folder(int watch, const char* path, std::uint32_t events) noexcept;
  /// memfd_create(2), with sealing.
  virtual int make_memory(const char* name) noexcept;
  /// The kernel's file behind memory, for as long as `fd` is open: what fcntl(2) and mmap(2) take. -EBADF: `fd` is no
  /// file of the kernel's.
  virtual int kernel_file(int fd) noexcept;
  /// close(2), of what no operation is in flight on.
  virtual void close(int fd) noexcept;

  /// Closes `fd`, which process `world_process` of a world made (0: the kernel's), wherever it is called. What is left of
  /// a process that has ended is closed already.
  static void close_of(std::uint64_t world_process, int fd) noexcept;
};

}  // namespace horus::io
