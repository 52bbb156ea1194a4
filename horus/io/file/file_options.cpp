// SPDX-License-Identifier: Apache-2.0
#include <horus/io/file_options.hpp>

#include <algorithm>

namespace horus::HORUS_ABI::io {

const char* to_string(FileKind kind) noexcept {
  switch (kind) {
    case FileKind::regular: return "regular file";
    case FileKind::directory: return "directory";
    case FileKind::symlink: return "symbolic link";
    case FileKind::fifo: return "FIFO";
    case FileKind::socket: return "socket";
    case FileKind::character_device: return "character device";
    case FileKind::block_device: return "block device";
    case FileKind::unknown: break;
  }
  return "unknown";
}

FileKind file_kind(mode_t mode) noexcept {
  switch (mode & S_IFMT) {
    case S_IFREG: return FileKind::regular;
    case S_IFDIR: return FileKind::directory;
    case S_IFLNK: return FileKind::symlink;
    case S_IFIFO: return FileKind::fifo;
    case S_IFSOCK: return FileKind::socket;
    case S_IFCHR: return FileKind::character_device;
    case S_IFBLK: return FileKind::block_device;
    default: return FileKind::unknown;
  }
}

namespace {

FileTime to_file_time(const statx_timestamp& stamp) noexcept {
  return FileTime(std::chrono::seconds(stamp.tv_sec) + std::chrono::nanoseconds(stamp.tv_nsec));
}

}  // namespace

FileStatus to_file_status(const struct ::statx& raw) noexcept {
  constexpr std::uint64_t kBlock = 512;  // bytes: the unit of stx_blocks, whatever the file system's own
  FileStatus status;
  status.size = raw.stx_size;
  status.allocated = raw.stx_blocks * kBlock;
  status.kind = file_kind(raw.stx_mode);
  status.mode = raw.stx_mode & 07777U;
  status.owner = raw.stx_uid;
  status.group = raw.stx_gid;
  status.links = raw.stx_nlink;
  status.inode = raw.stx_ino;
  status.device = std::uint64_t{raw.stx_dev_major} << 32 | raw.stx_dev_minor;
  status.modified = to_file_time(raw.stx_mtime);
  status.changed = to_file_time(raw.stx_ctime);
  status.accessed = to_file_time(raw.stx_atime);
  if ((raw.stx_mask & STATX_BTIME) != 0) status.created = to_file_time(raw.stx_btime);
  if ((raw.stx_mask & STATX_DIOALIGN) != 0) {
    status.direct_alignment = std::max(raw.stx_dio_mem_align, raw.stx_dio_offset_align);
  }
  return status;
}

}  // namespace horus::HORUS_ABI::io
