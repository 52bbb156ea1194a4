// SPDX-License-Identifier: Apache-2.0
#include <horus/io/fs.hpp>

#include <cerrno>
#include <climits>

#include <fcntl.h>
#include <unistd.h>

#include <horus/io/file/path_operations.hpp>
#include <horus/io/offload.hpp>

namespace horus::HORUS_ABI::io::fs {
namespace {

Result<> named(const Result<>& outcome, const std::string& path) {
  if (outcome) return {};
  return outcome.error().on(outcome.error().operation(), path);
}

Result<> named(const Result<>& outcome, const std::string& from, const std::string& to) {
  return named(outcome, outcome ? from : from + " -> " + to);
}

Task<Result<FileStatus>> status_of(std::string path, int flags) {
  auto found = co_await detail::StatusQuery(AT_FDCWD, path, flags);
  if (!found) co_return found.error().on("stat", path);
  co_return found;
}

// The length of the path above: 0 when there is none.
std::size_t parent_length(const std::string& path, std::size_t length) {
  while (length > 0 && path[length - 1] != '/') --length;
  while (length > 0 && path[length - 1] == '/') --length;
  return length;
}

Result<std::string> read_link_now(System* system, const std::string& path) {
  std::string target(PATH_MAX, '\0');
  const ssize_t size = system->read_link(path.c_str(), target.data(), target.size());
  if (size < 0) return Error(static_cast<int>(-size), "read link", path);
  target.resize(static_cast<std::size_t>(size));
  return target;
}

Result<> access_now(System* system, const std::string& path, int mode) {
  const int result = system->access(path.c_str(), mode);
  if (result < 0) return Error(-result, "access", path);
  return {};
}

}  // namespace

Task<Result<>> create_directory(std::string path, mode_t mode) {
  const auto made = co_await detail::MakeDirectory(path, mode);
  co_return named(made, path);
}

Task<Result<>> create_directories(std::string path, mode_t mode) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  // Leftwards to the first directory that is there or can be made, then rightwards again.
  std::size_t length = path.size();
  Result<> made;
  while (true) {
    const std::string part = path.substr(0, length);
    made = co_await detail::MakeDirectory(part, mode);
    const std::size_t above = parent_length(path, length);
    if (made.code() != ENOENT || above == 0) break;
    length = above;
  }
  while (length < path.size() && (made || made.code() == EEXIST)) {
    while (path[length] == '/') ++length;
    length = std::min(path.find('/', length), path.size());
    const std::string part = path.substr(0, length);
    made = co_await detail::MakeDirectory(part, mode);
  }
  if (made.code() == EEXIST) {
    const auto found = co_await detail::StatusQuery(AT_FDCWD, path, 0);
    if (found && found->is_directory()) co_return Result<>();
  }
  co_return named(made, path);
}

Task<Result<>> remove_directory(std::string path) {
  const auto removed = co_await detail::Unlink(AT_FDCWD, path, AT_REMOVEDIR);
  co_return named(removed, path);
}

Task<Result<>> remove_file(std::string path) {
  const auto removed = co_await detail::Unlink(AT_FDCWD, path);
  co_return named(removed, path);
}

Task<Result<>> rename(std::string from, std::string to) {
  const auto renamed = co_await detail::Rename(from, to);
  co_return named(renamed, from, to);
}

Task<Result<>> symlink(std::string target, std::string path) {
  const auto made = co_await detail::MakeSymlink(target, path);
  co_return named(made, path);
}

Task<Result<>> link(std::string existing, std::string path) {
  const auto made = co_await detail::MakeLink(existing, path);
  co_return named(made, existing, path);
}

Task<Result<std::string>> read_link(std::string path) {
  auto reading = offload_on(ThreadPool::files(), &read_link_now, &Reactor::current()->system(), path);
  auto target = co_await reading;
  co_return target;
}

Task<Result<>> access(std::string path, int mode) {
  auto asking = offload_on(ThreadPool::files(), &access_now, &Reactor::current()->system(), path, mode);
  auto allowed = co_await asking;
  co_return allowed;
}

Task<Result<FileStatus>> status(std::string path) { return status_of(std::move(path), 0); }
Task<Result<FileStatus>> link_status(std::string path) {
  return status_of(std::move(path), AT_SYMLINK_NOFOLLOW);
}

Task<Result<bool>> exists(std::string path) {
  const auto found = co_await detail::StatusQuery(AT_FDCWD, path, 0);
  if (found) co_return true;
  if (found.code() == ENOENT || found.code() == ENOTDIR) co_return false;
  co_return found.error().on("stat", path);
}

}  // namespace horus::HORUS_ABI::io::fs
