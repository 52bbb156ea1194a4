// SPDX-License-Identifier: Apache-2.0
// How to open a file, and its status in the file system. Plain values; any thread.
#pragma once

#include <chrono>
#include <cstdint>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::io {

/// How to open a file: `OpenOptions().write().create()`. Without `write()` or `append()` it is opened for reading.
///
/// Source: open(2).
class OpenOptions {
 public:
  OpenOptions() {}

  OpenOptions& read() { return set(read_); }
  OpenOptions& write() { return set(write_); }
  /// Every write goes to the end of the file, whatever its offset, even when other programs write there too.
  OpenOptions& append() { return set(write_).add(O_APPEND); }
  /// Makes the file when there is none.
  OpenOptions& create() { return add(O_CREAT); }
  /// Makes the file; EEXIST when there is one already.
  OpenOptions& create_new() { return add(O_CREAT | O_EXCL); }
  /// Empties the file.
  OpenOptions& truncate() { return add(O_TRUNC); }
  /// Bypasses the page cache. Buffer, offset and length must be multiples of `File::alignment()`; see AlignedBuffer.
  OpenOptions& direct() { return add(O_DIRECT); }
  /// Each write returns when the data is on the disk, as if followed by `sync()`.
  OpenOptions& sync() { return add(O_SYNC); }
  /// Each write returns when the data is on the disk, as if followed by `sync_data()`.
  OpenOptions& sync_data() { return add(O_DSYNC); }
  /// Fails with ELOOP when the last part of the path is a symbolic link.
  OpenOptions& no_follow() { return add(O_NOFOLLOW); }
  /// Permission bits of a newly made file, less the umask. Default: 0666.
  OpenOptions& mode(mode_t bits) {
    mode_ = bits;
    return *this;
  }

  /// The flags for open(2).
  [[nodiscard]] int flags() const noexcept {
    const int access = write_ ? (read_ ? O_RDWR : O_WRONLY) : O_RDONLY;
    return access | flags_ | O_CLOEXEC;
  }
  [[nodiscard]] mode_t mode() const noexcept { return mode_; }
  [[nodiscard]] bool is_direct() const noexcept { return (flags_ & O_DIRECT) != 0; }

 private:
  OpenOptions& set(bool& option) {
    option = true;
    return *this;
  }
  OpenOptions& add(int flag) {
    flags_ |= flag;
    return *this;
  }

  bool read_ = false;
  bool write_ = false;
  int flags_ = 0;
  mode_t mode_ = 0666;
};

enum class FileKind : std::uint8_t {
  unknown,
  regular,
  directory,
  symlink,
  fifo,
  socket,
  character_device,
  block_device,
};

/// "regular file", "directory", …
HORUS_API const char* to_string(FileKind kind) noexcept;
/// The kind for the type bits of st_mode.
HORUS_API FileKind file_kind(mode_t mode) noexcept;

/// A time on the wall clock, as file systems record it.
using FileTime = std::chrono::time_point<std::chrono::system_clock, std::chrono::nanoseconds>;

/// The status of a file. Source: statx(2).
struct FileStatus {
  std::uint64_t size = 0;       ///< bytes; for a symbolic link, the length of the path in it
  std::uint64_t allocated = 0;  ///< bytes on the disk; less than size for a sparse file
  FileKind kind = FileKind::unknown;
  mode_t mode = 0;  ///< permission bits, 07777
  uid_t owner = 0;
  gid_t group = 0;
  std::uint32_t links = 0;
  std::uint64_t inode = 0;
  std::uint64_t device = 0;  ///< two files with the same `device` and `inode` are the same file
  FileTime modified{};       ///< last write to the data
  FileTime changed{};        ///< last change of data, mode, owner or links
  FileTime accessed{};       ///< last read; many file systems are mounted to update it lazily
  FileTime created{};        ///< the epoch when the file system does not record it
  /// With O_DIRECT, buffers, offsets and lengths must be multiples of this; 0: unknown (before Linux 6.1), or the
  /// file system does not support O_DIRECT.
  std::uint32_t direct_alignment = 0;

  [[nodiscard]] bool is_regular() const noexcept { return kind == FileKind::regular; }
  [[nodiscard]] bool is_directory() const noexcept { return kind == FileKind::directory; }
  [[nodiscard]] bool is_symlink() const noexcept { return kind == FileKind::symlink; }
};

/// The statx fields that a FileStatus needs.
inline constexpr unsigned kStatusMask = STATX_BASIC_STATS | STATX_BTIME | STATX_DIOALIGN;
HORUS_API FileStatus to_file_status(const struct ::statx& raw) noexcept;

}  // namespace horus::HORUS_ABI::io
