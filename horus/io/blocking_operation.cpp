// SPDX-License-Identifier: Apache-2.0
// Submission entries as blocking system calls, for a pool thread. Argument places are those of io_uring_enter(2).
#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <horus/io/provider.hpp>

namespace horus::io {
namespace {

const char* path_of(std::uint64_t address) { return reinterpret_cast<const char*>(address); }

ssize_t transfer(const io_uring_sqe& entry, const iovec* parts, int count, bool writing) noexcept {
  const auto offset = static_cast<off_t>(entry.off);
  if (offset == -1) return writing ? ::writev(entry.fd, parts, count) : ::readv(entry.fd, parts, count);
  const ssize_t moved = writing ? ::pwritev2(entry.fd, parts, count, offset, static_cast<int>(entry.rw_flags))
                                : ::preadv2(entry.fd, parts, count, offset, static_cast<int>(entry.rw_flags));
  if (moved >= 0 || errno != ESPIPE) return moved;
  return writing ? ::writev(entry.fd, parts, count)
                 : ::readv(entry.fd, parts, count);  // the kernel ignores it too
}

// As io_uring opens: a FIFO does not wait for its other end, which would keep a thread that files need for as long as
// nobody comes. Without a reader it is ENXIO.
int open_without_waiting(const io_uring_sqe& entry) noexcept {
  const int flags = static_cast<int>(entry.open_flags);
  const auto open = [&](int with) {
    return ::openat(entry.fd, path_of(entry.addr), flags | with, entry.len);
  };
  if ((flags & (O_NONBLOCK | O_PATH)) != 0) return open(0);
  const int fd = open(O_NONBLOCK);
  if (fd < 0) return errno == EAGAIN ? open(0) : -1;  // somebody's lease, which ends within a time
  ::fcntl(fd, F_SETFL, flags);
  return fd;
}

ssize_t perform(const io_uring_sqe& entry) noexcept {
  switch (entry.opcode) {
    case IORING_OP_READ:
    case IORING_OP_READ_FIXED:
    case IORING_OP_WRITE:
    case IORING_OP_WRITE_FIXED: {
      const iovec part{reinterpret_cast<void*>(entry.addr), entry.len};
      return transfer(entry, &part, 1,
                      entry.opcode == IORING_OP_WRITE || entry.opcode == IORING_OP_WRITE_FIXED);
    }
    case IORING_OP_READV:
    case IORING_OP_WRITEV:
      return transfer(entry, reinterpret_cast<const iovec*>(entry.addr), static_cast<int>(entry.len),
                      entry.opcode == IORING_OP_WRITEV);
    case IORING_OP_OPENAT: return open_without_waiting(entry);
    case IORING_OP_STATX:
      return ::statx(entry.fd, path_of(entry.addr), static_cast<int>(entry.statx_flags), entry.len,
                     reinterpret_cast<struct statx*>(entry.off));
    case IORING_OP_FSYNC:
      return (entry.fsync_flags & IORING_FSYNC_DATASYNC) != 0 ? ::fdatasync(entry.fd) : ::fsync(entry.fd);
    case IORING_OP_FALLOCATE:
      return ::fallocate(entry.fd, static_cast<int>(entry.len), static_cast<off_t>(entry.off),
                         static_cast<off_t>(entry.addr));
    case IORING_OP_UNLINKAT:
      return ::unlinkat(entry.fd, path_of(entry.addr), static_cast<int>(entry.unlink_flags));
    case IORING_OP_RENAMEAT:
      return ::renameat2(entry.fd, path_of(entry.addr), static_cast<int>(entry.len), path_of(entry.addr2),
                         entry.rename_flags);
    case IORING_OP_MKDIRAT: return ::mkdirat(entry.fd, path_of(entry.addr), entry.len);
    case IORING_OP_SYMLINKAT: return ::symlinkat(path_of(entry.addr), entry.fd, path_of(entry.addr2));
    case IORING_OP_LINKAT:
      return ::linkat(entry.fd, path_of(entry.addr), static_cast<int>(entry.len), path_of(entry.addr2),
                      static_cast<int>(entry.hardlink_flags));
    case IORING_OP_CLOSE: return ::close(entry.fd);
    default: errno = EINVAL; return -1;
  }
}

}  // namespace

std::int32_t perform_blocking(const io_uring_sqe& entry) noexcept {
  ssize_t result = perform(entry);
  // A signal cannot interrupt a pool's thread; a file system may still say so. close(2) has closed even then.
  while (result < 0 && errno == EINTR && entry.opcode != IORING_OP_CLOSE) result = perform(entry);
  return result < 0 ? -errno : static_cast<std::int32_t>(result);
}

}  // namespace horus::io
