// SPDX-License-Identifier: Apache-2.0
// What a thread of the pool would do for a file, at a time that the seed chooses.
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>

#include <horus/sim/files/fifo.hpp>
#include <horus/sim/kernel/kernel.hpp>

namespace horus::HORUS_ABI::sim::detail {
namespace {

const char* path_of(std::uint64_t address) noexcept { return reinterpret_cast<const char*>(address); }

std::shared_ptr<Inode> directory_of(SimProvider& kernel, int fd) {
  const auto* file = dynamic_cast<OpenFile*>(kernel.find(fd));
  return file == nullptr ? nullptr : file->inode();
}

}  // namespace

// Whether a small fault that comes `rate` times per thousand comes now.
bool SimProvider::unlucky(unsigned rate) noexcept {
  return rate > 0 && engine_.fault_random().chance(rate, 1000);
}

ssize_t SimProvider::transfer(const io_uring_sqe& entry, const iovec* parts, std::size_t count,
                              bool writing) {
  auto* file = dynamic_cast<OpenFile*>(find(entry.fd));
  if (file == nullptr) return find(entry.fd) == nullptr ? -EBADF : -EINVAL;
  if (unlucky(engine_.faults().disk_error)) {
    engine_.fault("EIO of a " + std::string(writing ? "write" : "read"));
    return -EIO;
  }
  if (writing && unlucky(engine_.faults().disk_full)) {
    engine_.fault("ENOSPC of a write");
    return -ENOSPC;
  }
  const auto offset = static_cast<std::int64_t>(entry.off);
  iovec single{};
  if (count == 1) {
    single = {parts->iov_base, shortened(parts->iov_len)};
    parts = &single;
  }
  return writing ? file->write_at(parts, count, offset, context_.now()) : file->read_at(parts, count, offset);
}

int SimProvider::open(const io_uring_sqe& entry) {
  std::shared_ptr<OpenFile> file;
  const int result =
      context_.host().disk.open(engine_, directory_of(*this, entry.fd), path_of(entry.addr),
                                static_cast<int>(entry.open_flags), entry.len, context_.now(), file);
  if (result < 0) return result;
  if (S_ISSOCK(file->inode()->mode)) return -ENXIO;
  if (!S_ISFIFO(file->inode()->mode)) return add(std::move(file));
  std::shared_ptr<Object> end;
  const int opened = FifoEnd::open(engine_, *file->inode(), static_cast<int>(entry.open_flags), end);
  return opened < 0 ? opened : add(std::move(end));
}

std::int32_t SimProvider::perform(const io_uring_sqe& entry) {
  if (cut_off_) return -EIO;
  FileSystem& disk = context_.host().disk;
  const std::int64_t now = context_.now();
  ssize_t result = -EINVAL;
  switch (entry.opcode) {
    case IORING_OP_READ:
    case IORING_OP_READ_FIXED:
    case IORING_OP_WRITE:
    case IORING_OP_WRITE_FIXED: {
      const iovec part{reinterpret_cast<void*>(entry.addr), entry.len};
      const bool writing = entry.opcode == IORING_OP_WRITE || entry.opcode == IORING_OP_WRITE_FIXED;
      result = transfer(entry, &part, 1, writing);
      break;
    }
    case IORING_OP_READV:
    case IORING_OP_WRITEV:
      result = transfer(entry, reinterpret_cast<const iovec*>(entry.addr), entry.len,
                        entry.opcode == IORING_OP_WRITEV);
      break;
    case IORING_OP_OPENAT: result = open(entry); break;
    case IORING_OP_STATX: {
      const auto directory = directory_of(*this, entry.fd);
      const bool itself = *path_of(entry.addr) == '\0';
      if (itself && !directory) {
        result = -EBADF;
      } else {
        result = disk.status(directory, path_of(entry.addr), static_cast<int>(entry.statx_flags),
                             *reinterpret_cast<struct ::statx*>(entry.off));
      }
      break;
    }
    case IORING_OP_FSYNC: {
      const auto inode = directory_of(*this, entry.fd);
      if (inode && unlucky(engine_.faults().disk_error)) {
        engine_.fault("EIO of an fsync");
        result = -EIO;
        break;
      }
      if (inode) FileSystem::sync(*inode);
      result = inode ? 0 : -EINVAL;
      break;
    }
    case IORING_OP_FALLOCATE: {
      const auto inode = directory_of(*this, entry.fd);
      const bool reserves = inode && inode->is_file() && entry.len == 0 && entry.addr > 0;
      if (reserves) inode->data.allocate(entry.off, entry.addr);
      result = reserves ? 0 : inode ? -EOPNOTSUPP : -EBADF;
      break;
    }
    case IORING_OP_UNLINKAT:
      result = disk.unlink(directory_of(*this, entry.fd), path_of(entry.addr),
                           static_cast<int>(entry.unlink_flags));
      break;
    case IORING_OP_RENAMEAT:
      result = disk.rename(path_of(entry.addr), path_of(entry.addr2), entry.rename_flags);
      break;
    case IORING_OP_MKDIRAT: result = disk.make_directory(path_of(entry.addr), entry.len, now); break;
    case IORING_OP_SYMLINKAT:
      result = disk.make_symbolic_link(path_of(entry.addr), path_of(entry.addr2), now);
      break;
    case IORING_OP_LINKAT: result = disk.make_link(path_of(entry.addr), path_of(entry.addr2)); break;
    case IORING_OP_CLOSE: result = close(entry.fd); break;
    default: break;
  }
  return static_cast<std::int32_t>(moved("file", entry.fd, result));
}
}  // namespace horus::HORUS_ABI::sim::detail
