// SPDX-License-Identifier: Apache-2.0
// Names in the file system: make, remove, rename, link, ask. Each call is a task of one thread that owns its paths.
// Folders as a whole (list, remove with contents, temporary ones): horus/io/directory.hpp.
#pragma once

#include <string>

#include <sys/types.h>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/file_options.hpp>
#include <horus/task/task.hpp>

/// Errors of all of these: those of the system call that is named, with the path; ECANCELED when the task was asked to
/// stop before it happened.
namespace horus::io::fs {

/// Makes one directory; `mode` less the umask. EEXIST when the name is taken. Source: mkdir(2).
[[nodiscard]] HORUS_API Task<Result<>> create_directory(std::string path, mode_t mode = 0777);
/// Makes a directory and those above it that are missing (mkdir -p). A success when it is there already.
[[nodiscard]] HORUS_API Task<Result<>> create_directories(std::string path, mode_t mode = 0777);
/// Removes an empty directory. Source: rmdir(2).
[[nodiscard]] HORUS_API Task<Result<>> remove_directory(std::string path);
/// Removes a file or a symbolic link, never what that points to. Source: unlink(2).
[[nodiscard]] HORUS_API Task<Result<>> remove_file(std::string path);

/// Renames within one file system; replaces a file at `to` in one step. Source: rename(2).
[[nodiscard]] HORUS_API Task<Result<>> rename(std::string from, std::string to);
/// Makes `path` a symbolic link that holds `target`, which need not exist. Source: symlink(2).
[[nodiscard]] HORUS_API Task<Result<>> symlink(std::string target, std::string path);
/// What a symbolic link holds. Source: readlink(2).
[[nodiscard]] HORUS_API Task<Result<std::string>> read_link(std::string path);
/// Makes `path` a second name of the file `existing`. Source: link(2).
[[nodiscard]] HORUS_API Task<Result<>> link(std::string existing, std::string path);

/// What a path leads to; of a symbolic link: its target. Source: statx(2).
[[nodiscard]] HORUS_API Task<Result<FileStatus>> status(std::string path);
/// The same; of a symbolic link: the link itself.
[[nodiscard]] HORUS_API Task<Result<FileStatus>> link_status(std::string path);
/// Does the path lead to something? A dangling link does not. False for ENOENT and ENOTDIR; other failures stay failures.
[[nodiscard]] HORUS_API Task<Result<bool>> exists(std::string path);
/// May this process do `mode` (R_OK | W_OK | X_OK, or F_OK) there? EACCES when not. Source: access(2), by effective IDs.
[[nodiscard]] HORUS_API Task<Result<>> access(std::string path, int mode);

}  // namespace horus::io::fs
