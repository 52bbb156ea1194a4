// SPDX-License-Identifier: Apache-2.0
// Names in the file system: make, remove, rename, link, query. Each call is a task of one thread that owns its paths.
// Folders as a whole (list, remove with contents, temporary ones): horus/io/directory.hpp.
#pragma once

#include <string>

#include <sys/types.h>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/file_options.hpp>
#include <horus/task/task.hpp>

/// Errors of all of these: those of the system call that its comment names, with the path; ECANCELED when the task
/// was asked to stop before the call took effect.
namespace horus::HORUS_ABI::io::fs {

/// Makes one directory; its permissions are `mode` less the umask. EEXIST when the name is taken. Source: mkdir(2).
[[nodiscard]] HORUS_API Task<Result<>> create_directory(std::string path, mode_t mode = 0777);
/// Makes a directory and its missing parents (mkdir -p). An existing directory is a success.
[[nodiscard]] HORUS_API Task<Result<>> create_directories(std::string path, mode_t mode = 0777);
/// Removes an empty directory. Source: rmdir(2).
[[nodiscard]] HORUS_API Task<Result<>> remove_directory(std::string path);
/// Removes a file or a symbolic link, never the link's target. Source: unlink(2).
[[nodiscard]] HORUS_API Task<Result<>> remove_file(std::string path);

/// Renames within one file system; replaces a file at `to` in one step. Source: rename(2).
[[nodiscard]] HORUS_API Task<Result<>> rename(std::string from, std::string to);
/// Makes `path` a symbolic link that holds `target`, which need not exist. Source: symlink(2).
[[nodiscard]] HORUS_API Task<Result<>> symlink(std::string target, std::string path);
/// The path that a symbolic link holds. Source: readlink(2).
[[nodiscard]] HORUS_API Task<Result<std::string>> read_link(std::string path);
/// Makes `path` a second name of the file `existing`. Source: link(2).
[[nodiscard]] HORUS_API Task<Result<>> link(std::string existing, std::string path);

/// The status of the file at a path; for a symbolic link, of its target. Source: statx(2).
[[nodiscard]] HORUS_API Task<Result<FileStatus>> status(std::string path);
/// The same; for a symbolic link, of the link itself.
[[nodiscard]] HORUS_API Task<Result<FileStatus>> link_status(std::string path);
/// True when there is a file at the path. A dangling link does not count. False for ENOENT and ENOTDIR; other
/// failures stay failures.
[[nodiscard]] HORUS_API Task<Result<bool>> exists(std::string path);
/// Checks whether this process may access the path with `mode` (R_OK | W_OK | X_OK, or F_OK). EACCES when it may not.
/// Source: access(2), by effective IDs.
[[nodiscard]] HORUS_API Task<Result<>> access(std::string path, int mode);

}  // namespace horus::HORUS_ABI::io::fs
