// SPDX-License-Identifier: Apache-2.0
// Reading, writing and listing through a descriptor of a simulated file, directory or device.
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include <dirent.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

#include <horus/sim/files/file_system.hpp>

namespace horus::HORUS_ABI::sim::detail {
namespace {

constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 44;  // of one file, as ext4 has it

std::size_t total_size(const iovec* parts, std::size_t count) noexcept {
  std::size_t size = 0;
  for (std::size_t i = 0; i < count; ++i) size += parts[i].iov_len;
  return size;
}

}  // namespace

std::uint32_t OpenFile::ready() const noexcept { return EPOLLIN | EPOLLOUT; }

// Direct I/O goes past the page cache: whole sectors of the disk, from memory that the disk can address.
bool OpenFile::misaligned(const iovec* parts, std::size_t count, std::uint64_t offset) const noexcept {
  if ((flags_ & O_DIRECT) == 0) return false;
  std::uint64_t bits = offset;
  for (std::size_t i = 0; i < count; ++i)
    bits |= parts[i].iov_len | reinterpret_cast<std::uintptr_t>(parts[i].iov_base);
  return bits % kDirectSector != 0;
}

ssize_t OpenFile::read_at(const iovec* parts, std::size_t count, std::int64_t offset) {
  if ((flags_ & O_ACCMODE) == O_WRONLY) return -EBADF;
  if (inode_->is_directory()) return -EISDIR;
  std::uint64_t at = offset < 0 ? position_ : static_cast<std::uint64_t>(offset);
  if (misaligned(parts, count, at)) return -EINVAL;
  std::size_t moved = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::size_t size = parts[i].iov_len;
    if (inode_->device == Device::none) {
      size = inode_->data.read(at, parts[i].iov_base, size);
    } else if (inode_->device == Device::null) {
      size = 0;
    } else if (size > 0) {
      std::memset(parts[i].iov_base, 0, size);
    }
    at += size;
    moved += size;
    if (size < parts[i].iov_len) break;
  }
  if (offset < 0) position_ = at;
  return static_cast<ssize_t>(moved);
}

ssize_t OpenFile::write_at(const iovec* parts, std::size_t count, std::int64_t offset, std::int64_t now_ns) {
  if ((flags_ & O_ACCMODE) == O_RDONLY) return -EBADF;
  const bool append = (flags_ & O_APPEND) != 0;
  std::uint64_t at = offset < 0 ? position_ : static_cast<std::uint64_t>(offset);
  if (append) at = inode_->data.size();
  if (misaligned(parts, count, at)) return -EINVAL;
  const std::size_t size = total_size(parts, count);
  if (inode_->device == Device::full) return -ENOSPC;
  if (inode_->device != Device::none) return static_cast<ssize_t>(size);
  if (at > kMostBytes || size > kMostBytes - at) return -EFBIG;
  for (std::size_t i = 0; i < count; ++i) {
    inode_->data.write(at, parts[i].iov_base, parts[i].iov_len);
    at += parts[i].iov_len;
  }
  if (offset < 0) position_ = at;
  inode_->changed_ns = now_ns;
  if (size > 0) FileSystem::tell_of(*inode_, IN_MODIFY);
  return static_cast<ssize_t>(size);
}

void OpenFile::closed() {
  if ((flags_ & O_ACCMODE) != O_RDONLY && inode_->is_file()) FileSystem::tell_of(*inode_, IN_CLOSE_WRITE);
}

int OpenFile::list(void* buffer, std::size_t size) {
  if (!inode_->is_directory()) return -ENOTDIR;
  auto* out = static_cast<char*>(buffer);
  std::size_t used = 0;
  const auto put = [&](const std::string& name, const Inode& inode) {
    const std::size_t length = (offsetof(dirent64, d_name) + name.size() + 1 + 7) & ~std::size_t{7};
    if (used + length > size) return false;
    auto* entry = reinterpret_cast<dirent64*>(out + used);
    std::memset(entry, 0, length);
    entry->d_ino = inode.number;
    entry->d_reclen = static_cast<unsigned short>(length);
    entry->d_type = static_cast<unsigned char>(IFTODT(inode.mode));
    std::memcpy(entry->d_name, name.c_str(), name.size() + 1);
    used += length;
    return true;
  };
  for (; listing_ < 2; ++listing_) {
    if (!put(listing_ == 0 ? "." : "..", *inode_)) return used > 0 ? static_cast<int>(used) : -EINVAL;
  }
  for (auto entry = inode_->entries.upper_bound(listed_); entry != inode_->entries.end(); ++entry) {
    if (!put(entry->first, *entry->second)) return used > 0 ? static_cast<int>(used) : -EINVAL;
    listed_ = entry->first;
  }
  return static_cast<int>(used);
}

}  // namespace horus::HORUS_ABI::sim::detail
