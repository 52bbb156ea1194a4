// SPDX-License-Identifier: Apache-2.0
// Whole files in one await: read, write, append, and replace in a way that survives a crash. One thread; `data` must
// outlive the await, except that a temporary string is moved into the task.
#pragma once

#include <concepts>
#include <cstddef>
#include <string>
#include <utility>

#include <sys/types.h>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/bytes.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io {

namespace detail {

using WritesFile = Task<Result<>>(std::string path, Bytes data, mode_t mode);
HORUS_API Task<Result<>> with_text(WritesFile* write, std::string path, std::string text, mode_t mode);

}  // namespace detail

/// The default limit of `read_file`.
inline constexpr std::size_t kReadFileLimit = std::size_t{64} << 20;  // bytes

/// The contents of a file, read to its end. It also works for files without a known size (/proc, pipes).
///
/// Errors: EFBIG when there are more than `limit` bytes; those of open(2) and read(2), with the path.
/// Example: `auto uptime = co_await horus::io::read_file("/proc/uptime");`
[[nodiscard]] HORUS_API Task<Result<std::string>> read_file(std::string path,
                                                            std::size_t limit = kReadFileLimit);

/// Makes or empties the file and writes `data`. A crash in between leaves a part of it: see `replace_file`.
///
/// Errors: ENOSPC when the disk is full; those of open(2), write(2) and close(2), with the path.
[[nodiscard]] HORUS_API Task<Result<>> write_file(std::string path, Bytes data, mode_t mode = 0666);
template <std::same_as<std::string> Text>
[[nodiscard]] Task<Result<>> write_file(std::string path, Text&& text, mode_t mode = 0666) {
  return detail::with_text(static_cast<detail::WritesFile*>(&write_file), std::move(path), std::move(text),
                           mode);
}

/// Writes `data` to the end of the file; makes the file when there is none.
[[nodiscard]] HORUS_API Task<Result<>> append_file(std::string path, Bytes data, mode_t mode = 0666);
template <std::same_as<std::string> Text>
[[nodiscard]] Task<Result<>> append_file(std::string path, Text&& text, mode_t mode = 0666) {
  return detail::with_text(static_cast<detail::WritesFile*>(&append_file), std::move(path), std::move(text),
                           mode);
}

/// Replaces the file's contents. A reader finds either the complete old contents or the complete new ones, even after
/// a crash or a power cut.
///
/// Semantics: writes a temporary file in the same folder, syncs it, renames it over `path`, syncs the folder. The new
/// file gets the permission bits of the old one, or `mode` less the umask when there was none; a symbolic link at
/// `path` is itself replaced. On failure and on cancellation the old file stays and the temporary one is removed.
/// Errors: those of open(2), write(2), fsync(2) and rename(2), with the path.
/// Source: rename(2), fsync(2).
[[nodiscard]] HORUS_API Task<Result<>> replace_file(std::string path, Bytes data, mode_t mode = 0666);
template <std::same_as<std::string> Text>
[[nodiscard]] Task<Result<>> replace_file(std::string path, Text&& text, mode_t mode = 0666) {
  return detail::with_text(static_cast<detail::WritesFile*>(&replace_file), std::move(path), std::move(text),
                           mode);
}

}  // namespace horus::HORUS_ABI::io
