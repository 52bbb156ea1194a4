// SPDX-License-Identifier: Apache-2.0
#include <horus/io/file_contents.hpp>

#include <algorithm>
#include <array>
#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>

#include <fmt/format.h>

#include <horus/io/file.hpp>
#include <horus/io/fs.hpp>
#include <horus/io/offload.hpp>

namespace horus::HORUS_ABI::io {
namespace {

constexpr std::size_t kFirstRead = 4096;  // bytes, for a file that does not tell its size

Task<Result<>> write_opened(std::string path, OpenOptions options, Bytes data) {
  auto opening = File::open(std::move(path), options);
  auto file = co_await opening;
  if (!file) co_return file.error();
  auto writing = file->write_all(data);
  auto written = co_await writing;
  if (!written) co_return written.error();
  auto closing = file->close();
  auto closed = co_await closing;
  co_return closed;
}

// Removes a temporary file, also for a task that was asked to stop: its wish ends nothing here.
struct RemoveAlways final : detail::UncancellableAwaiter<RemoveAlways> {
  explicit RemoveAlways(const std::string& path) noexcept : UncancellableAwaiter(-1), path_(path) {}
  static constexpr const char* kName = "unlink";
  void prepare(io_uring_sqe& entry) const noexcept { fill::unlink(entry, AT_FDCWD, path_.c_str(), 0); }
  static void await_resume() noexcept {}

 private:
  const std::string& path_;
};

Result<> change_mode(System* system, const std::string& path, mode_t mode) {
  const int result = system->change_mode(path.c_str(), mode);
  if (result < 0) return Error(-result, "chmod");
  return {};
}

// In the same folder, so that the rename stays on one file system; hidden, and told apart by 64 random bits.
std::string temporary_beside(const std::string& path) {
  std::uint64_t random = 0;
  Reactor::current()->system().random_bytes(&random, sizeof random);
  const std::size_t slash = path.rfind('/');
  const std::size_t name = slash == std::string::npos ? 0 : slash + 1;
  constexpr std::size_t kLongestKept = 200;  // bytes of the name: room below NAME_MAX for the rest
  return fmt::format("{}.{}.{:016x}", path.substr(0, name), path.substr(name, kLongestKept), random);
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Writes the temporary file and puts it in the place of `path`; `renamed` tells whether it is still there.
Task<Result<>> write_and_rename(const std::string& temporary, const std::string& path, Bytes data,
                                mode_t mode, bool& renamed) {
  auto looking = fs::link_status(path);
  const auto existing = co_await looking;
  const bool keep_mode = existing.ok() && existing->is_regular();
  auto opening = File::open(temporary, OpenOptions().write().create_new().mode(keep_mode ? 0600 : mode));
  auto file = co_await opening;
  if (!file) co_return file.error();
  auto writing = file->write_all(data);
  const auto written = co_await writing;
  if (!written) co_return written.error();
  if (keep_mode) {
    auto changing = offload_on(ThreadPool::files(), &change_mode, &Reactor::current()->system(), temporary,
                               existing->mode);
    const auto changed = co_await changing;
    if (!changed) co_return changed.error();
  }
  const auto synced = co_await file->sync();
  if (!synced) co_return synced.error();
  auto closing = file->close();
  const auto closed = co_await closing;
  if (!closed) co_return closed.error();
  auto renaming = fs::rename(temporary, path);
  auto done = co_await renaming;
  renamed = done.ok();
  co_return done;
}

}  // namespace

Task<Result<>> detail::with_text(WritesFile* write, std::string path, std::string text, mode_t mode) {
  auto writing = write(std::move(path), text, mode);
  auto written = co_await writing;
  co_return written;
}

Task<Result<std::string>> read_file(std::string path, std::size_t limit) {
  limit = std::min(limit, std::string().max_size() - 1);
  auto opening = File::open_read(path);
  auto file = co_await opening;
  if (!file) co_return file.error();
  const auto status = co_await file->status();
  if (!status) co_return status.error();
  const bool sized = status->is_regular() && status->size > 0;
  if (sized && status->size > limit) {
    co_return Error(EFBIG, "read", fmt::format("{} ({} bytes, limit {})", path, status->size, limit));
  }
  std::string contents;
  std::size_t size = 0;
  // One byte more than expected: the read that finds the end is then usually the first.
  contents.resize(sized ? static_cast<std::size_t>(status->size) + 1 : std::min(kFirstRead, limit + 1));
  while (true) {
    const MutableBytes room(contents.data() + size, contents.size() - size);
    const auto count = co_await file->read(room);
    if (!count && count.error().end_of_stream()) break;
    if (!count) co_return count.error();
    size += *count;
    if (size > limit) co_return Error(EFBIG, "read", fmt::format("{} (more than {} bytes)", path, limit));
    if (sized && size == status->size) break;
    if (size == contents.size()) contents.resize(std::min(2 * size, limit + 1));
  }
  contents.resize(size);
  co_return Result<std::string>(std::move(contents));
}

Task<Result<>> write_file(std::string path, Bytes data, mode_t mode) {
  return write_opened(std::move(path), OpenOptions().write().create().truncate().mode(mode), data);
}

Task<Result<>> append_file(std::string path, Bytes data, mode_t mode) {
  return write_opened(std::move(path), OpenOptions().append().create().mode(mode), data);
}

Task<Result<>> replace_file(std::string path, Bytes data, mode_t mode) {
  const std::string temporary = temporary_beside(path);
  bool renamed = false;
  auto writing = write_and_rename(temporary, path, data, mode, renamed);
  const auto written = co_await writing;
  if (!renamed) {
    if (written.code() != EEXIST) co_await RemoveAlways(temporary);
    co_return written.error().on(written.error().operation(), path);
  }
  // The new name is on the disk only when its folder is.
  const std::string folder = folder_of(path);
  auto opening = File::open_read(folder);
  const auto opened = co_await opening;
  if (!opened) co_return opened.error();
  const auto synced = co_await opened->sync();
  if (!synced) co_return synced.error();
  co_return Result<>();
}

}  // namespace horus::HORUS_ABI::io
