// SPDX-License-Identifier: Apache-2.0
// Submission entries as blocking system calls, for a pool thread.
#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <horus/io/seam/entry.hpp>
#include <horus/io/seam/provider.hpp>

namespace horus::HORUS_ABI::io {
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
ssize_t transfer_bytes(const io_uring_sqe& entry, bool writing) noexcept {
  const iovec part{reinterpret_cast<void*>(entry.addr), entry.len};
  return transfer(entry, &part, 1, writing);
}
ssize_t transfer_vectors(const io_uring_sqe& entry, bool writing) noexcept {
  return transfer(entry, reinterpret_cast<const iovec*>(entry.addr), static_cast<int>(entry.len), writing);
}

}  // namespace

namespace blocking {

ssize_t read(const io_uring_sqe& entry) noexcept { return transfer_bytes(entry, false); }
ssize_t write(const io_uring_sqe& entry) noexcept { return transfer_bytes(entry, true); }
ssize_t read_vectors(const io_uring_sqe& entry) noexcept { return transfer_vectors(entry, false); }
ssize_t write_vectors(const io_uring_sqe& entry) noexcept { return transfer_vectors(entry, true); }

// As io_uring opens: a FIFO does not wait for its other end, which would keep a thread that files need for as long as
// nobody comes. Without a reader it is ENXIO.
ssize_t open(const io_uring_sqe& entry) noexcept {
  const int flags = static_cast<int>(entry.open_flags);
  const auto open_with = [&](int more) {
    return ::openat(entry.fd, path_of(entry.addr), flags | more, entry.len);
  };
  if ((flags & (O_NONBLOCK | O_PATH)) != 0) return open_with(0);
  const int fd = open_with(O_NONBLOCK);
  if (fd < 0) return errno == EAGAIN ? open_with(0) : -1;  // somebody's lease, which ends within a time
  ::fcntl(fd, F_SETFL, flags);
  return fd;
}
ssize_t status(const io_uring_sqe& entry) noexcept {
  return ::statx(entry.fd, path_of(entry.addr), static_cast<int>(entry.statx_flags), entry.len,
                 reinterpret_cast<struct statx*>(entry.off));
}
ssize_t sync(const io_uring_sqe& entry) noexcept {
  return (entry.fsync_flags & IORING_FSYNC_DATASYNC) != 0 ? ::fdatasync(entry.fd) : ::fsync(entry.fd);
}
ssize_t allocate(const io_uring_sqe& entry) noexcept {
  return ::fallocate(entry.fd, static_cast<int>(entry.len), static_cast<off_t>(entry.off),
                     static_cast<off_t>(entry.addr));
}
ssize_t unlink(const io_uring_sqe& entry) noexcept {
  return ::unlinkat(entry.fd, path_of(entry.addr), static_cast<int>(entry.unlink_flags));
}
ssize_t rename(const io_uring_sqe& entry) noexcept {
  return ::renameat2(entry.fd, path_of(entry.addr), static_cast<int>(entry.len), path_of(entry.addr2),
                     entry.rename_flags);
}
ssize_t make_directory(const io_uring_sqe& entry) noexcept {
  return ::mkdirat(entry.fd, path_of(entry.addr), entry.len);
}
ssize_t make_symlink(const io_uring_sqe& entry) noexcept {
  return ::symlinkat(path_of(entry.addr), entry.fd, path_of(entry.addr2));
}
ssize_t make_link(const io_uring_sqe& entry) noexcept {
  return ::linkat(entry.fd, path_of(entry.addr), static_cast<int>(entry.len), path_of(entry.addr2),
                  static_cast<int>(entry.hardlink_flags));
}
ssize_t close(const io_uring_sqe& entry) noexcept { return ::close(entry.fd); }

}  // namespace blocking

std::int32_t perform_blocking(const io_uring_sqe& entry) noexcept {
  const Instruction* instruction = instruction_of(entry.opcode);
  if (instruction == nullptr || instruction->blocking == nullptr) return -EINVAL;
  ssize_t result = instruction->blocking(entry);
  // A signal cannot interrupt a pool's thread; a file system may still say so. close(2) has closed even then.
  while (result < 0 && errno == EINTR && entry.opcode != IORING_OP_CLOSE)
    result = instruction->blocking(entry);
  return result < 0 ? -errno : static_cast<std::int32_t>(result);
}

}  // namespace horus::HORUS_ABI::io
