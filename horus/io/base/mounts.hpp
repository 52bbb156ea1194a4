// SPDX-License-Identifier: Apache-2.0
// Which files may keep a caller waiting for somebody else: a server (FUSE, NFS, SMB …), a driver behind sysfs. Decided
// from /proc/self/mountinfo and symbolic links, never by asking the file system itself. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::io::detail {

/// A line of /proc/self/mountinfo.
struct Mount {
  enum class Kind : unsigned char {
    local,   ///< names and files are answered by this kernel
    driver,  ///< names are, but reading a file asks a driver (sysfs)
    remote   ///< names and files are answered by somebody else
  };
  std::string point;
  dev_t device = 0;
  Kind kind = Kind::local;
};

/// Parses /proc/self/mountinfo (proc(5)); lines that it does not understand are left out.
HORUS_API std::vector<Mount> parse_mounts(std::string_view text);
/// The one that `path` (absolute, without "." and "..") lies on: the longest prefix, the latest of equals. Null: none.
HORUS_API const Mount* mount_of(const std::vector<Mount>& mounts, std::string_view path) noexcept;

/// True when looking `path` up (from `folder`, AT_FDCWD: the working directory) may wait for a server. The mounts are
/// looked at 10 times a second at most; without a remote one among them this costs 30 ns.
HORUS_API bool path_may_wait(int folder, const char* path) noexcept;
/// True when reading or writing the open file `fd` may. `path` is the name that it was opened by; null: unknown.
HORUS_API bool file_may_wait(int fd, const char* path) noexcept;

}  // namespace horus::HORUS_ABI::io::detail
