// SPDX-License-Identifier: Apache-2.0
// Whole folders: list one, remove one with its contents, make a temporary one. Listing runs on the thread pool (no
// ring has an operation for it); everything else is awaited as usual on one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/file_options.hpp>
#include <horus/task/async_stream.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io::fs {

/// One name in a folder, without the folder's path. The kind is the entry's own: a symbolic link is a symlink.
struct DirectoryEntry {
  DirectoryEntry() {}
  std::string name;
  FileKind kind = FileKind::unknown;
  std::uint64_t inode = 0;
};

/// The default limit on the entries that `read_directory` gives.
inline constexpr std::size_t kDirectoryLimit = 100'000;
/// How deep `remove_all` goes unless told otherwise.
/// The default limit on the depth of `remove_all`: folders within folders.
inline constexpr unsigned kRemoveDepth = 128;

/// Everything in a folder except "." and "..", one entry at a time, in the file system's order. It works for folders
/// of any size. A failure is the last value. Names that appear or disappear meanwhile may be missed.
/// Source: getdents(2).
/// Example: `auto names = fs::entries("/dev");  auto entry = co_await names.next();`
[[nodiscard]] HORUS_API AsyncStream<Result<DirectoryEntry>> entries(std::string path);

/// The same as one list, sorted by name. Errors: EOVERFLOW when there are more than `limit` entries; those of
/// open(2).
[[nodiscard]] HORUS_API Task<Result<std::vector<DirectoryEntry>>> read_directory(
    std::string path, std::size_t limit = kDirectoryLimit);

/// Removes a file, or a folder with everything in it; never follows a symbolic link. Gives the number of names
/// removed, 0 when there was nothing.
/// Errors: EOVERFLOW below `depth` folders; those of unlink(2). Names that were already removed stay removed.
[[nodiscard]] HORUS_API Task<Result<std::uint64_t>> remove_all(std::string path,
                                                               unsigned depth = kRemoveDepth);

/// $TMPDIR, or /tmp.
[[nodiscard]] HORUS_API std::string temporary_path();

/// A new folder that only this user can enter, removed with its contents at the end.
///
/// Semantics: prefer `co_await folder.remove()`, which keeps the loop running; the destructor blocks the thread while
/// it removes the folder.
/// Errors: those of mkdir(2).
/// Thread safety: one thread.
/// Example: `auto folder = (co_await fs::TemporaryDirectory::create()).or_throw();`
class HORUS_API TemporaryDirectory {
 public:
  /// Makes `<folder>/<prefix>-<random>`; an empty `folder` means temporary_path().
  [[nodiscard]] static Task<Result<TemporaryDirectory>> create(std::string prefix = "horus",
                                                               std::string folder = {});

  TemporaryDirectory(TemporaryDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryDirectory& operator=(TemporaryDirectory&& other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~TemporaryDirectory();

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// The path of `name` in the folder.
  [[nodiscard]] std::string file(std::string_view name) const { return path_ + '/' + std::string(name); }
  [[nodiscard]] Task<Result<>> remove();
  /// Keeps the folder after all, and returns its path.
  [[nodiscard]] std::string release() noexcept { return std::exchange(path_, {}); }

 private:
  explicit TemporaryDirectory(std::string path) noexcept : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace horus::HORUS_ABI::io::fs
